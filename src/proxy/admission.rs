//! How many connections may be open, of the process and of one client address, and how many requests of an address in
//! flight, over however many connections. An address is what limits take for one client: of IPv6 a /64.
//!
//! The worker asks at accept and keeps the [`Admitted`] as long as the connection lives; closing and counting a refused
//! one is its part. With PROXY protocol the address is known late: [`Admitted::claim`] once the header is read.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::tables::{ClientBits, client_bits};
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
    /// Connections open by address, and its requests. An address without any connection has no entry.
    addresses: Box<[Mutex<Addresses>]>,
    shard_of: RandomState,
    process_warning: Seldom,
    address_warning: Seldom,
}

type Addresses = HashMap<ClientBits, (usize, Arc<Requests>), RandomState>;

/// The requests in flight of one client address, held by each of its connections.
#[derive(Debug)]
pub struct Requests {
    most: usize,
    in_flight: AtomicUsize,
}

/// One admitted connection. Dropping it gives its place back.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    /// What this counts for in [`Admission::addresses`].
    address: Option<(ClientBits, Arc<Requests>)>,
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

    /// A place for a connection; `client` may not be known yet. Where none is free `make_room` may close another
    /// connection, which counts until it is gone.
    pub fn admit(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        make_room: impl FnOnce() -> bool,
    ) -> Result<Admitted, Refusal> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        let mut admitted = Admitted { admission: self.clone(), address: None };
        // First, so that nobody is closed for one that is refused.
        client.map_or(Ok(()), |client| admitted.claim(client))?;
        if open < self.max_connections || make_room() {
            return Ok(admitted);
        }
        if let Some(times) = self.process_warning.occurred(Instant::now()) {
            tracing::warn!(open, times, "connection refused: --max-connections are open");
        }
        Err(Refusal::Process)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn shard(&self, address: ClientBits) -> MutexGuard<'_, Addresses> {
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
        let address = client_bits(client);
        let mut shard = self.admission.shard(address);
        let none = || (0, Arc::new(Requests { most: limit, in_flight: AtomicUsize::new(0) }));
        let (open, requests) = shard.entry(address).or_insert_with(none);
        if *open < limit {
            *open += 1;
            self.address = Some((address, requests.clone()));
            return Ok(());
        }
        drop(shard);
        if let Some(times) = self.admission.address_warning.occurred(Instant::now()) {
            tracing::warn!(%client, limit, times, "connection refused: the client has --max-connections-per-address open");
        }
        Err(Refusal::Address)
    }

    /// Those of its client's address; `None`: addresses are not counted.
    pub fn requests(&self) -> Option<Arc<Requests>> {
        self.address.as_ref().map(|(_, requests)| requests.clone())
    }

    fn release(&mut self) {
        let Some((address, _)) = self.address.take() else { return };
        let mut shard = self.admission.shard(address);
        if let hashbrown::hash_map::Entry::Occupied(mut entry) = shard.entry(address) {
            let (open, _) = entry.get_mut();
            *open -= 1;
            if *open == 0 {
                entry.remove();
            }
        }
    }
}

impl Requests {
    /// Counts one more. False: the address had as many before as it may, and yet this one counts until its end.
    pub fn begin(&self) -> bool {
        self.in_flight.fetch_add(1, Ordering::Relaxed) < self.most
    }

    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
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
