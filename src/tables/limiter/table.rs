//! The buckets of all limits of the process, by a hash of scope and key. Bounded: a full shard drops the key that is
//! closest to being full and so has least to forget, never the new one. A key that is full is dropped when its room is
//! wanted.
//!
//! Memory is at most 13 MB, however many clients there are: 229,376 keys of 24 bytes, in hash tables of at most 256
//! places each.

use hashbrown::HashTable;

use super::Nanos;
use super::gcra::{Gcra, Level, Span};
use crate::tables::shards::Shards;

const SHARDS: usize = 2048;

/// Keys of one shard. Half of what 256 places hold, since those of dropped keys are not always free at once.
const KEYS: usize = 112;

/// Carried from generation to generation; lives as long as the process.
#[derive(Debug)]
pub(in crate::tables) struct RateTable(pub(super) Shards<Buckets>);

#[derive(Default)]
pub(super) struct Buckets {
    by_key: HashTable<Bucket>,
    /// The latest that was asked at. Who read the time before, and had to wait, asks at this time too: else its bucket
    /// would be filled for the same time twice.
    now: Nanos,
}

struct Bucket {
    key: u64,
    /// When it is full again.
    full: Span,
}

impl RateTable {
    pub(super) fn take(&self, key: u64, gcra: &Gcra, now: Nanos) -> Level {
        let mut buckets = self.0.of(key);
        let now = buckets.at(now);
        if let Some(bucket) = buckets.by_key.find_mut(key, |bucket| bucket.key == key) {
            return gcra.take(&mut bucket.full, now);
        }
        let mut full = Span::default();
        let level = gcra.take(&mut full, now);
        if !full.is_over(now) {
            buckets.make_room(now);
            buckets.by_key.insert_unique(key, Bucket { key, full }, |bucket| bucket.key);
        }
        level
    }

    pub(super) fn give_back(&self, key: u64, gcra: &Gcra) {
        if let Some(bucket) = self.0.of(key).by_key.find_mut(key, |bucket| bucket.key == key) {
            gcra.give_back(&mut bucket.full);
        }
    }

    /// Drops what is full, in one shard a call, and memory that is not needed any more. A table that gets requests does
    /// without; this is for one that got many once.
    pub(in crate::tables) fn sweep(&self, turn: usize, now: Nanos) {
        let mut buckets = self.0.nth(turn);
        let now = buckets.at(now);
        buckets.drop_full(now);
    }

    /// Keys that are held, and bytes.
    #[cfg(test)]
    pub(in crate::tables) fn size(&self) -> (usize, usize) {
        self.0.size(|buckets| (buckets.by_key.len(), buckets.by_key.allocation_size()))
    }
}

impl Buckets {
    fn at(&mut self, now: Nanos) -> Nanos {
        self.now = self.now.max(now);
        self.now
    }

    /// So that one more goes in, and the table does not grow for keys that are not worth keeping.
    fn make_room(&mut self, now: Nanos) {
        if self.by_key.len() < self.by_key.capacity().min(KEYS) {
            return;
        }
        let Some(&Bucket { key, full }) = self.by_key.iter().min_by_key(|bucket| bucket.full) else { return };
        if full.is_over(now) || self.by_key.len() < KEYS {
            self.drop_full(now);
        } else if let Ok(least) = self.by_key.find_entry(key, |bucket| bucket.key == key) {
            least.remove();
        }
    }

    fn drop_full(&mut self, now: Nanos) {
        self.by_key.retain(|bucket| !bucket.full.is_over(now));
        let (len, room) = (self.by_key.len(), self.by_key.capacity());
        if len < room / 4 {
            self.by_key.shrink_to(len * 2, |bucket| bucket.key);
        } else if len > room / 4 * 3 && room < KEYS {
            // Else the next few new keys would each look at all again.
            self.by_key.reserve(room - len + 1, |bucket| bucket.key);
        }
    }
}

impl Default for RateTable {
    fn default() -> Self {
        RateTable(Shards::new(SHARDS))
    }
}
