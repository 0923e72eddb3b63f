//! What all workers count together, in shards of which one is locked at a time, for one lookup.
//!
//! A hash stands for a key: 64 bits of SipHash under a secret seed, so nobody can aim at another's entry, and no key is
//! stored, however long it is.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Shards<S> {
    hasher: RandomState,
    shards: Box<[Shard<S>]>,
}

/// On a cache line of its own, so that only those wait for each other that ask for the same shard.
#[derive(Default)]
#[repr(align(64))]
struct Shard<S>(Mutex<S>);

impl<S: Default> Shards<S> {
    pub(super) fn new(count: usize) -> Self {
        Shards { hasher: RandomState::new(), shards: (0..count).map(|_| Shard::default()).collect() }
    }
}

impl<S> Shards<S> {
    pub(super) fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The shard of a key, by other bits of its hash than hash tables use.
    pub(super) fn of(&self, hash: u64) -> MutexGuard<'_, S> {
        self.nth((hash >> 32) as usize)
    }

    pub(super) fn nth(&self, number: usize) -> MutexGuard<'_, S> {
        // Nothing is left half-written under these locks.
        self.shards[number % self.shards.len()].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries, and bytes: the sum of what `size` says of each shard, and of the shards themselves.
    #[cfg(test)]
    pub(super) fn size(&self, size: impl Fn(&S) -> (usize, usize)) -> (usize, usize) {
        let sizes = (0..self.shards.len()).map(|number| size(&self.nth(number)));
        let own = self.shards.len() * size_of::<Shard<S>>();
        sizes.fold((0, own), |(entries, bytes), (more, more_bytes)| (entries + more, bytes + more_bytes))
    }
}

impl<S> fmt::Debug for Shards<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}
