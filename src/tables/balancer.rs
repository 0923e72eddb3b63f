//! Picks an endpoint. One cursor per backend for the whole process, so the turn is exact at any number of workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{LiveBackend, LiveEndpoint};

/// How a backend chooses among its endpoints.
#[derive(Clone, Debug)]
pub(super) enum Balancer {
    /// The cursor counts turns; it is carried from generation to generation.
    RoundRobin { cursor: Arc<AtomicUsize> },
}

/// A picked endpoint, counted as in flight until dropped.
#[derive(Debug)]
pub struct Lease(Arc<LiveEndpoint>);

impl LiveBackend {
    /// The endpoint whose turn it is, passing over those whose ids are in `tried`. `None`: nothing is left.
    pub fn pick(&self, tried: &[u64]) -> Option<Lease> {
        let Balancer::RoundRobin { cursor } = &self.balancer;
        round_robin(&self.endpoints, cursor, tried).map(Lease::new)
    }
}

/// Who meets a tried endpoint takes another turn rather than the next in line, whose share would double. Other threads
/// may take the turns between, so after as many turns as there are endpoints anyone untried will do.
fn round_robin<'a>(
    endpoints: &'a [Arc<LiveEndpoint>],
    cursor: &AtomicUsize,
    tried: &[u64],
) -> Option<&'a Arc<LiveEndpoint>> {
    let untried = |endpoint: &&Arc<LiveEndpoint>| !tried.contains(&endpoint.id);
    let turn = || &endpoints[cursor.fetch_add(1, Ordering::Relaxed) % endpoints.len()];
    endpoints.iter().map(|_| turn()).find(untried).or_else(|| endpoints.iter().find(untried))
}

impl Default for Balancer {
    fn default() -> Self {
        Balancer::RoundRobin { cursor: Arc::default() }
    }
}

impl Lease {
    fn new(endpoint: &Arc<LiveEndpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease(endpoint.clone())
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
