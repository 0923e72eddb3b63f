//! Picks an endpoint of a backend, and a backend of a split. The state is the process's, not a worker's: turns, requests
//! in flight and what is passed over are the same for all.
//!
//! One file an algorithm. What all of them keep to is here: an endpoint gets no new request that has weight 0, is
//! unhealthy or ejected, was tried already, or has as many requests in flight as it may have.

mod cycle;
mod ip_hash;
mod least_connections;
mod round_robin;
mod split;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::cycle::Wheel;
use super::{LiveBackend, LiveEndpoint};
use crate::snapshot::{Algorithm, Backend};

pub(super) use split::Split;

/// How a backend chooses among its endpoints.
#[derive(Clone, Debug)]
pub(super) struct Balancer {
    /// The turns go on from generation to generation.
    wheel: Wheel,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Turn,
    Load,
    /// Holds the key of each endpoint.
    Client(Arc<[u64]>),
}

/// A picked endpoint, counted as in flight until dropped.
#[derive(Debug)]
pub struct Lease(Arc<LiveEndpoint>);

/// Why there is no endpoint for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLease {
    /// None is left that may be used.
    Nobody,
    /// Each that may be used has as many requests in flight as it may have.
    Full,
}

/// The endpoints of a backend as one request sees them.
struct Choice<'a> {
    backend: &'a LiveBackend,
    /// Ids of endpoints.
    tried: &'a [u64],
}

impl LiveBackend {
    /// An endpoint for a request of `client`, passing over those whose ids are in `tried`. `random` decides where the
    /// algorithm leaves a choice.
    pub fn pick(&self, client: IpAddr, random: u64, tried: &[u64]) -> Result<Lease, NoLease> {
        let choice = Choice { backend: self, tried };
        let lease = match &self.balancer.by {
            By::Turn => round_robin::pick(&choice, random),
            By::Load => least_connections::pick(&choice, random),
            By::Client(keys) => ip_hash::pick(&choice, keys, client),
        };
        lease.ok_or_else(|| choice.why_nobody())
    }

    /// Some endpoint would take a request now.
    pub fn is_open(&self) -> bool {
        let choice = Choice { backend: self, tried: &[] };
        choice.places().any(|place| choice.is_open(place))
    }

    /// The weight of the endpoint at this place; 0: no new requests.
    pub fn weight(&self, place: usize) -> u16 {
        weight(&self.source, place)
    }

    /// Requests that the endpoint at this place may have in flight. `None`: any number.
    pub fn max_connections(&self, place: usize) -> Option<u32> {
        let own = self.source.terms.get(place).and_then(|terms| terms.max_connections);
        own.or(self.source.policy.max_connections)
    }
}

impl Balancer {
    pub(super) fn new(backend: &Backend) -> Self {
        Self::with(backend, Wheel::new(weights(backend)))
    }

    /// For the backend as it is now; the turns go on.
    pub(super) fn renewed(&self, backend: &Backend) -> Self {
        Self::with(backend, self.wheel.renewed(weights(backend)))
    }

    fn with(backend: &Backend, wheel: Wheel) -> Self {
        let keys = || backend.endpoints.iter().map(|&address: &SocketAddr| ip_hash::key(address)).collect();
        let by = match backend.policy.algorithm {
            Algorithm::RoundRobin => By::Turn,
            Algorithm::LeastConnections => By::Load,
            Algorithm::IpHash => By::Client(keys()),
        };
        Balancer { wheel, by }
    }
}

impl Choice<'_> {
    fn places(&self) -> std::ops::Range<usize> {
        0..self.backend.endpoints.len()
    }

    fn wheel(&self) -> &Wheel {
        &self.backend.balancer.wheel
    }

    fn weight(&self, place: usize) -> u64 {
        self.backend.weight(place).into()
    }

    fn in_flight(&self, place: usize) -> u32 {
        self.backend.endpoints[place].in_flight.load(Ordering::Relaxed)
    }

    /// It may get the request, if it is not full.
    fn may_use(&self, place: usize) -> bool {
        let endpoint = &self.backend.endpoints[place];
        endpoint.is_usable() && self.weight(place) > 0 && !self.tried.contains(&endpoint.id)
    }

    fn is_open(&self, place: usize) -> bool {
        self.may_use(place) && self.backend.max_connections(place).is_none_or(|most| self.in_flight(place) < most)
    }

    fn lease(&self, place: usize) -> Option<Lease> {
        if !self.may_use(place) {
            return None;
        }
        Lease::take(&self.backend.endpoints[place], self.backend.max_connections(place))
    }

    fn why_nobody(&self) -> NoLease {
        if self.places().any(|place| self.may_use(place)) { NoLease::Full } else { NoLease::Nobody }
    }
}

impl LiveEndpoint {
    /// Neither its checks nor the requests it failed speak against it.
    pub fn is_usable(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed) && !self.ejected.load(Ordering::Relaxed)
    }
}

impl Lease {
    /// `None`: the endpoint has `most` requests in flight.
    fn take(endpoint: &Arc<LiveEndpoint>, most: Option<u32>) -> Option<Self> {
        match most {
            None => _ = endpoint.in_flight.fetch_add(1, Ordering::Relaxed),
            Some(most) => {
                let room = |in_flight| (in_flight < most).then(|| in_flight + 1);
                endpoint.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
            }
        }
        Some(Lease(endpoint.clone()))
    }

    pub fn endpoint(&self) -> &Arc<LiveEndpoint> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn weight(backend: &Backend, place: usize) -> u16 {
    backend.terms.get(place).map_or(1, |terms| terms.weight)
}

fn weights(backend: &Backend) -> impl Iterator<Item = u16> {
    (0..backend.endpoints.len()).map(|place| weight(backend, place))
}
