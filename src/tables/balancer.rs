//! Picks an endpoint. One cursor per backend for the whole process, so the turn is exact at any number of workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{LiveBackend, LiveEndpoint};

/// How a backend chooses among its endpoints.
#[derive(Debug)]
pub(super) enum Balancer {
    /// The cursor counts picks; it is carried from generation to generation.
    RoundRobin { cursor: Arc<AtomicUsize> },
}

/// A picked endpoint, counted as in flight until dropped.
#[derive(Debug)]
pub struct Lease(Arc<LiveEndpoint>);

impl LiveBackend {
    /// The endpoint whose turn it is, passing over those whose ids are in `tried`. `None`: nothing is left.
    pub fn pick(&self, tried: &[u64]) -> Option<Lease> {
        todo!("{tried:?}")
    }
}

impl Lease {
    pub fn endpoint(&self) -> &Arc<LiveEndpoint> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
