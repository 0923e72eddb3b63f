//! Passive ejection: an endpoint that fails requests in a row gets none for a while, but never more than half of those
//! that a backend could use.
//!
//! Failures are counted at the endpoint, over all workers and generations; who is ejected is kept for the process.
//! `proxy` tells what endpoints did, `health` ends ejections and tells the world. Locks are taken when something
//! changes, not by requests that succeed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{LiveBackend, LiveEndpoint, Nanos, Tables};
use crate::snapshot::BackendId;

/// What a failed request adds to an endpoint's count, and what a tunnel does that could not be opened. They are counted in
/// one word, so that each failure sees how many there are, but apart: that a tunnel could be opened says nothing of how
/// requests are answered.
const REQUEST: u64 = 1;
const TUNNEL: u64 = 1 << 32;

/// Endpoints that get no requests since they failed some. Belongs to no generation.
#[derive(Debug, Default)]
pub(super) struct Ejections(Mutex<Vec<Ejection>>);

#[derive(Debug)]
struct Ejection {
    backend: Arc<BackendId>,
    endpoint: Arc<LiveEndpoint>,
    time: Duration,
    /// `None`: not told yet; its time begins then.
    until: Option<Nanos>,
    /// What the endpoint's count is set to at the end: one failure more, and it is ejected again.
    failures: u64,
}

/// An endpoint was ejected, or is used again.
#[derive(Clone, Debug)]
pub struct Change {
    pub backend: Arc<BackendId>,
    pub endpoint: Arc<LiveEndpoint>,
    pub ejected: bool,
}

impl LiveBackend {
    /// The endpoint answered a request.
    pub fn served(&self, endpoint: &LiveEndpoint) {
        // Read first, so that the usual case writes nothing that other workers read.
        if endpoint.failures.load(Relaxed) != 0 {
            endpoint.failures.store(0, Relaxed);
        }
    }

    /// A tunnel to the endpoint could be opened.
    pub fn opened(&self, endpoint: &LiveEndpoint) {
        if endpoint.failures.load(Relaxed) >= TUNNEL {
            endpoint.failures.fetch_and(TUNNEL - 1, Relaxed);
        }
    }

    /// The endpoint of this id could not be connected to, or failed a request.
    pub fn failed(&self, id: u64) {
        self.count(id, REQUEST);
    }

    /// The endpoint of this id could not be connected to for a tunnel.
    pub fn not_opened(&self, id: u64) {
        self.count(id, TUNNEL);
    }

    fn count(&self, id: u64, failure: u64) {
        let Some(outlier) = &self.source.policy.outlier else { return };
        let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.id == id) else { return };
        let counted = endpoint.failures.fetch_add(failure, Relaxed).wrapping_add(failure);
        let failures = counted % TUNNEL + counted / TUNNEL;
        let errors = u64::from(outlier.consecutive_errors);
        // Where half are ejected already, not each failure asks again.
        if !endpoint.ejected.load(Relaxed) && failures.is_multiple_of(errors) {
            self.eject(endpoint, failure * (errors - 1), outlier.ejection_time);
        }
    }

    /// Uses ejected endpoints again as far as more than half of all are.
    pub(super) fn relieve(&self) {
        if self.endpoints.iter().any(|endpoint| endpoint.ejected.load(Relaxed)) {
            self.relieve_locked(&self.ejections.lock());
        }
    }

    fn relieve_locked(&self, _: &[Ejection]) {
        let (ejected, most) = self.ejected();
        let first = self.candidates().filter(|endpoint| endpoint.ejected.load(Relaxed));
        first.take(ejected.saturating_sub(most)).for_each(|endpoint| endpoint.ejected.store(false, Relaxed));
    }

    fn eject(&self, endpoint: &Arc<LiveEndpoint>, failures: u64, time: Duration) {
        let mut ejections = self.ejections.lock();
        let (ejected, most) = self.ejected();
        let is_candidate = self.candidates().any(|candidate| candidate.id == endpoint.id);
        if ejected >= most || !is_candidate || endpoint.ejected.swap(true, Relaxed) {
            return;
        }
        // One that was relieved and is not told yet.
        ejections.retain(|known| known.endpoint.id != endpoint.id);
        ejections.push(Ejection { backend: self.id.clone(), endpoint: endpoint.clone(), time, until: None, failures });
    }

    /// How many are ejected, and how many may be.
    fn ejected(&self) -> (usize, usize) {
        let ejected = self.candidates().filter(|endpoint| endpoint.ejected.load(Relaxed)).count();
        let most = self.source.policy.outlier.as_ref().map_or(0, |_| self.candidates().count() / 2);
        (ejected, most)
    }

    /// The endpoints that would get requests if none were ejected.
    fn candidates(&self) -> impl Iterator<Item = &Arc<LiveEndpoint>> {
        let all = self.endpoints.iter().enumerate();
        let well = all.filter(|(place, endpoint)| self.weight(*place) > 0 && !endpoint.unhealthy.load(Relaxed));
        well.map(|(_, endpoint)| endpoint)
    }
}

impl Tables {
    /// Ends ejections whose time is over, and those of more than half of a backend's endpoints, whatever led to them: an
    /// endpoint that is well again, a request of an older generation. Tells what has changed since the last call.
    pub fn readmit(&self, now: Nanos) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut ejections = self.counts.ejections.lock();
        let ejecting: BTreeSet<_> = ejections.iter().map(|ejection| &ejection.backend).collect();
        let newest = ejecting.into_iter().filter_map(|id| self.backend(id));
        newest.for_each(|backend| backend.relieve_locked(&ejections));
        ejections.retain_mut(|ejection| {
            let change =
                |ejected| Change { backend: ejection.backend.clone(), endpoint: ejection.endpoint.clone(), ejected };
            let endpoint = &ejection.endpoint;
            if endpoint.retired.load(Relaxed) {
                return false;
            }
            let until = *ejection.until.get_or_insert_with(|| {
                changes.push(change(true));
                now.saturating_add(u64::try_from(ejection.time.as_nanos()).unwrap_or(u64::MAX))
            });
            let over = now >= until || !endpoint.ejected.load(Relaxed);
            if over {
                endpoint.failures.store(ejection.failures, Relaxed);
                endpoint.ejected.store(false, Relaxed);
                changes.push(change(false));
            }
            !over
        });
        changes
    }
}

impl Ejections {
    /// Entries are pushed and removed whole, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Vec<Ejection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
