//! How many connections may be open: of the process, and of one client address.
//!
//! The worker asks at accept and keeps the [`Admitted`] as long as the connection lives; closing and counting a refused
//! one is its part. With PROXY protocol the address is known late: [`Admission::enter`] first, [`Admitted::claim`] once
//! the header is read.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::telemetry::{Refusal, Seldom};

/// A power of two: one lock is held by few of the workers at a time, and for one map operation.
const SHARDS: usize = 64;

/// The caps and what is open now. One per process.
#[derive(Debug)]
pub struct Admission {
    max_connections: usize,
    /// 0: addresses are not counted.
    max_per_address: usize,
    /// Connections open, undone by dropping [`Admitted`].
    open: AtomicUsize,
    /// Connections open by address. An address without any has no entry.
    addresses: Box<[Mutex<HashMap<IpAddr, usize, RandomState>>]>,
    shard_of: RandomState,
    process_warning: Seldom,
    address_warning: Seldom,
}

/// One admitted connection. Dropping it gives its place back.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    /// What this counts for in [`Admission::addresses`].
    address: Option<IpAddr>,
}

impl Admission {
    pub fn new(max_connections: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Admission {
            max_connections,
            max_per_address,
            open: AtomicUsize::new(0),
            addresses: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_of: RandomState::default(),
            process_warning: Seldom::new(),
            address_warning: Seldom::new(),
        })
    }

    /// A place for a connection whose peer is the client.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Admitted, Refusal> {
        let mut admitted = self.enter()?;
        admitted.claim(peer)?;
        Ok(admitted)
    }

    /// A place for a connection whose client address is not known yet.
    pub fn enter(self: &Arc<Self>) -> Result<Admitted, Refusal> {
        let below = |open: usize| (open < self.max_connections).then_some(open + 1);
        match self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below) {
            Ok(_) => Ok(Admitted { admission: self.clone(), address: None }),
            Err(open) => {
                if let Some(times) = self.process_warning.occurred(Instant::now()) {
                    tracing::warn!(open, times, "connection refused: --max-connections are open");
                }
                Err(Refusal::Process)
            }
        }
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize, RandomState>> {
        // The maps hash with seeds of their own, so the low bits are as good here as any.
        let index = self.shard_of.hash_one(address) as usize % SHARDS;
        // A count is complete whenever the lock is free, so a panic elsewhere does not spoil it.
        self.addresses[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Counts the connection for `client` from now on, instead of for the address it counted for before.
    pub fn claim(&mut self, client: IpAddr) -> Result<(), Refusal> {
        self.release();
        let limit = self.admission.max_per_address;
        if limit == 0 {
            return Ok(());
        }
        let client = client.to_canonical();
        let mut shard = self.admission.shard(client);
        let open = shard.entry(client).or_insert(0);
        if *open < limit {
            *open += 1;
            self.address = Some(client);
            return Ok(());
        }
        drop(shard);
        if let Some(times) = self.admission.address_warning.occurred(Instant::now()) {
            tracing::warn!(%client, limit, times, "connection refused: the client has --max-connections-per-address open");
        }
        Err(Refusal::Address)
    }

    fn release(&mut self) {
        let Some(address) = self.address.take() else { return };
        let mut shard = self.admission.shard(address);
        if let hashbrown::hash_map::Entry::Occupied(mut entry) = shard.entry(address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.release();
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
