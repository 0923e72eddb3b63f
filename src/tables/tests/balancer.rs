//! What the tests of balancers share: a backend written in few words, and how often each endpoint is picked.

mod ip_hash;
mod least_connections;
mod limits;
mod round_robin;
mod split;

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::snapshot::{Algorithm, BackendPolicy, EndpointTerms};
use crate::tables::{Lease, LiveBackend, NoLease};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A backend with endpoints of these weights, on ports from 1.
fn weighted(algorithm: Algorithm, weights: &[u16]) -> Backend {
    let ports: Vec<u16> = (1..).take(weights.len()).collect();
    let policy = BackendPolicy { algorithm, ..BackendPolicy::default() };
    let terms = weights.iter().map(|&weight| EndpointTerms { weight, ..EndpointTerms::default() }).collect();
    Backend { terms, policy, ..Backend::clone(&backend(&ports)) }
}

/// Tables with one backend.
fn with(backend: Backend, previous: Option<&Tables>) -> Tables {
    let backends = BTreeMap::from([(backend_id("s"), Arc::new(backend))]);
    build(Snapshot { backends, ..Snapshot::default() }, previous)
}

/// One whose endpoints have these ports and are all alike.
fn with_ports(ports: &[u16], previous: Option<&Tables>) -> Tables {
    with(Backend::clone(&backend(ports)), previous)
}

fn pick(backend: &LiveBackend, tried: &[u64]) -> Result<Lease, NoLease> {
    backend.pick(CLIENT, 0, tried)
}

/// The port that is picked; the lease is dropped.
fn port(backend: &LiveBackend) -> u16 {
    pick(backend, &[]).unwrap().endpoint().address.port()
}

/// How often each port is picked.
fn picks(backend: &LiveBackend, tried: &[u64], count: usize) -> BTreeMap<u16, usize> {
    let mut picks = BTreeMap::new();
    for _ in 0..count {
        *picks.entry(pick(backend, tried).unwrap().endpoint().address.port()).or_default() += 1;
    }
    picks
}
