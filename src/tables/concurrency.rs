//! How many requests of one client are in flight, for limits on that. Counts hang on the limit's scope and outlive
//! generations. A client without a request in flight has no entry, so there are never more entries than requests.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::limiter::client_bits;
use super::shards::Shards;
use crate::snapshot::ConnectionLimit;

const SHARDS: usize = 64;

/// Places that a shard keeps when it empties.
const KEPT: usize = 28;

/// A [`ConnectionLimit`] as requests use it.
#[derive(Debug)]
pub struct ConnectionLimiter {
    counts: Arc<InFlight>,
    /// Stands for the scope in the hash.
    scope: u64,
    per_client: u32,
}

/// One request of a client, counted until dropped.
#[must_use]
pub struct Counted {
    counts: Arc<InFlight>,
    key: u64,
}

/// Carried from generation to generation.
#[derive(Debug)]
pub(super) struct InFlight(Shards<HashTable<Client>>);

pub(super) struct Client {
    key: u64,
    /// Never 0.
    requests: u32,
}

impl ConnectionLimiter {
    pub(super) fn new(limit: &ConnectionLimit, counts: &Arc<InFlight>) -> Self {
        let scope = counts.0.hash(&limit.scope);
        ConnectionLimiter { counts: counts.clone(), scope, per_client: limit.per_client }
    }

    /// Counts a request of `client`. `None`: it has as many in flight as it may. One lock of one shard.
    pub fn enter(&self, client: IpAddr) -> Option<Counted> {
        let key = self.counts.0.hash((self.scope, client_bits(client)));
        self.counts.add(key, self.per_client).then(|| Counted { counts: self.counts.clone(), key })
    }
}

/// Counts a request for each limit, or for none. `None`: one of them has enough of this client.
pub fn enter_all<C: FromIterator<Counted>>(limits: &[ConnectionLimiter], client: IpAddr) -> Option<C> {
    limits.iter().map(|limit| limit.enter(client)).collect()
}

impl InFlight {
    fn add(&self, key: u64, most: u32) -> bool {
        let mut clients = self.0.of(key);
        match clients.entry(key, |client| client.key == key, |client| client.key) {
            Entry::Occupied(mut client) if client.get().requests < most => client.get_mut().requests += 1,
            Entry::Vacant(place) if most > 0 => drop(place.insert(Client { key, requests: 1 })),
            _ => return false,
        }
        true
    }

    fn remove(&self, key: u64) {
        let mut clients = self.0.of(key);
        if let Ok(mut client) = clients.find_entry(key, |client| client.key == key) {
            client.get_mut().requests -= 1;
            if client.get().requests == 0 {
                client.remove();
            }
        }
        if clients.is_empty() && clients.capacity() > KEPT {
            clients.shrink_to(KEPT, |client| client.key);
        }
    }

    /// Clients with requests in flight, and bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        self.0.size(|clients| (clients.len(), clients.allocation_size()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.remove(self.key);
    }
}

impl Default for InFlight {
    fn default() -> Self {
        InFlight(Shards::new(SHARDS))
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}
