//! Which endpoints are checked, one checker for each in the process, and what follows from what they find. A checker is
//! a task that asks (`probe`) and reports; counting, the flags of endpoints and the log are written here only, in
//! `Watch`'s task, so that what a checker found before it was stopped cannot undo what came after.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::probe::{Failure, Probe};
use super::verdict::Verdict;
use crate::snapshot::HealthCheck;
use crate::tables::{LiveBackend, LiveEndpoint, Tables};
use crate::telemetry::Seldom;

/// Checks under way at a time, each of which has a file open. Others wait for their turn.
pub const MOST_AT_ONCE: usize = 128;

/// First checks of endpoints that come together are spread over their interval, but come within this time.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// How much shorter or longer than it says an interval may be, so that checks that fell together drift apart.
const JITTER: f64 = 0.1;

/// Findings that wait to be looked at; checkers wait while there are as many.
const FINDINGS: usize = 256;

/// All checkers of the process.
#[derive(Debug)]
pub(super) struct Checks {
    /// By the endpoint's id.
    checkers: HashMap<u64, Checker>,
    /// Whose endpoints are checked, as of the newest generation; by its address, which no other has while it is here.
    backends: HashMap<usize, Arc<LiveBackend>>,
    /// The number of the newest checker.
    newest: u64,
    means: Arc<Means>,
    findings: mpsc::Receiver<Finding>,
}

/// What checkers share.
#[derive(Debug)]
struct Means {
    turns: Semaphore,
    late: Seldom,
    /// What the process itself lacks for checks.
    lacking: Seldom,
    findings: mpsc::Sender<Finding>,
}

/// One endpoint that is checked.
#[derive(Debug)]
struct Checker {
    /// Tells it from one that the endpoint had before.
    number: u64,
    check: HealthCheck,
    /// As of the newest generation.
    backend: Arc<LiveBackend>,
    endpoint: Arc<LiveEndpoint>,
    verdict: Verdict,
    task: AbortHandle,
}

/// What one check came to.
#[derive(Debug)]
pub(super) struct Finding {
    endpoint: u64,
    checker: u64,
    /// `None`: it passed.
    failure: Option<String>,
}

impl Checks {
    pub(super) fn new() -> Self {
        let (sender, findings) = mpsc::channel(FINDINGS);
        let (late, lacking) = (Seldom::new(), Seldom::new());
        let means = Means { turns: Semaphore::new(MOST_AT_ONCE), late, lacking, findings: sender };
        let (checkers, backends) = (HashMap::new(), HashMap::new());
        Checks { checkers, backends, newest: 0, means: Arc::new(means), findings }
    }

    /// Checks what `tables` say from here on. What is checked as before goes on; an endpoint whose check is another now
    /// is held to be what it was until that says otherwise; one that is not checked any more is used again. Backends that
    /// are the same as before are passed over.
    pub(super) fn follow(&mut self, tables: &Tables) {
        let checked = tables.backends.iter().filter(|backend| backend.source.policy.health_check.is_some());
        let now: HashMap<_, _> = checked.map(|backend| (Arc::as_ptr(backend).addr(), backend.clone())).collect();
        let seen = mem::take(&mut self.backends);
        let changed = seen.iter().filter(|(address, _)| !now.contains_key(address));
        let endpoints = changed.flat_map(|(_, backend)| &*backend.endpoints);
        let mut before: HashMap<_, _> =
            endpoints.filter_map(|endpoint| self.checkers.remove_entry(&endpoint.id)).collect();
        for (_, backend) in now.iter().filter(|(address, _)| !seen.contains_key(address)) {
            let Some(check) = &backend.source.policy.health_check else { continue };
            for endpoint in &*backend.endpoints {
                let same = before.remove(&endpoint.id).filter(|checker| checker.is_for(backend, check));
                let checker = same.map(|same| same.of(backend));
                let checker = checker.unwrap_or_else(|| self.start(backend, endpoint, check));
                self.checkers.insert(endpoint.id, checker);
            }
        }
        self.backends = now;
        before.values().for_each(Checker::let_go);
    }

    /// The next thing that a checker found.
    pub(super) async fn next(&mut self) -> Finding {
        self.findings.recv().await.expect("`means` holds a sender")
    }

    /// Counts what was found. `true`: the endpoint's health has changed.
    pub(super) fn take(&mut self, finding: Finding) -> bool {
        let of_this = |checker: &&mut Checker| checker.number == finding.checker;
        let Some(checker) = self.checkers.get_mut(&finding.endpoint).filter(of_this) else { return false };
        let changed = checker.verdict.overturned(finding.failure.is_none(), &checker.check);
        // First, so that who sees that it is unhealthy sees why.
        checker.endpoint.note_check(finding.failure.clone());
        if changed {
            checker.tell(finding.failure.as_deref());
        }
        changed
    }

    fn start(&mut self, backend: &Arc<LiveBackend>, endpoint: &Arc<LiveEndpoint>, check: &HealthCheck) -> Checker {
        self.newest += 1;
        let number = self.newest;
        let probe = Probe::new(backend, endpoint, check);
        let task = tokio::spawn(ask_forever(probe, check.interval, self.means.clone(), endpoint.id, number));
        Checker {
            number,
            check: check.clone(),
            backend: backend.clone(),
            endpoint: endpoint.clone(),
            verdict: Verdict::new(!endpoint.unhealthy.load(Relaxed)),
            task: task.abort_handle(),
        }
    }
}

impl Means {
    /// For one check. Where it is later than an interval, checks come more seldom than their policies say.
    async fn turn(&self, interval: Duration) -> SemaphorePermit<'_> {
        let due = Instant::now();
        let turn = self.turns.acquire().await.expect("it is never closed");
        if due.elapsed() > interval
            && let Some(times) = self.late.occurred(Instant::now().into_std())
        {
            tracing::warn!(
                at_once = MOST_AT_ONCE,
                times,
                "health checks come late: too many are under way until they time out; shorten their timeouts, or lengthen \
                 their intervals"
            );
        }
        turn
    }
}

impl Checker {
    /// It asks what is to be asked now.
    fn is_for(&self, backend: &LiveBackend, check: &HealthCheck) -> bool {
        let address = self.endpoint.address;
        let authority = |backend: &LiveBackend| backend.terms_at(address).map(|terms| terms.authority.clone());
        self.check == *check && authority(&self.backend) == authority(backend)
    }

    fn name(&self) -> &str {
        self.backend.name_at(Some(self.endpoint.address))
    }

    fn of(mut self, backend: &Arc<LiveBackend>) -> Self {
        self.backend = backend.clone();
        self
    }

    /// The endpoint is not checked any more, and used again if it is still there.
    fn let_go(&self) {
        if self.endpoint.retired.load(Relaxed) {
            return;
        }
        self.endpoint.note_check(None);
        if self.endpoint.unhealthy.swap(false, Relaxed) {
            let (backend, endpoint) = (self.name(), self.endpoint.address);
            tracing::info!(%backend, %endpoint, "used again: it is not checked any more");
        }
    }

    /// The endpoint is used from here on, or not any more.
    fn tell(&self, failure: Option<&str>) {
        let (backend, endpoint) = (self.name(), self.endpoint.address);
        self.endpoint.unhealthy.store(failure.is_some(), Relaxed);
        match failure {
            Some(failure) => {
                let checks = self.check.unhealthy_threshold;
                tracing::warn!(%backend, %endpoint, checks, failure, "unhealthy: it failed its checks");
            }
            None => {
                let checks = self.check.healthy_threshold;
                tracing::info!(%backend, %endpoint, checks, "healthy again: it passed its checks");
            }
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks one endpoint, never twice at the same time.
async fn ask_forever(probe: Probe, interval: Duration, means: Arc<Means>, endpoint: u64, checker: u64) {
    let mut next = Instant::now() + interval.min(FIRST_WITHIN).mul_f64(fastrand::f64());
    loop {
        sleep_until(next).await;
        let turn = means.turn(interval).await;
        next = Instant::now() + interval.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0));
        // On the heap, so that a checker that waits is small.
        let asked = Box::pin(probe.ask()).await;
        drop(turn);
        let failure = match asked {
            Ok(()) => None,
            Err(Failure::Theirs(why)) => Some(why),
            Err(Failure::Ours(error)) => {
                tracing::debug!(%error, "an endpoint could not be checked");
                if let Some(times) = means.lacking.occurred(Instant::now().into_std()) {
                    tracing::warn!(%error, times, "health checks come to nothing for what the process itself lacks");
                }
                continue;
            }
        };
        if means.findings.send(Finding { endpoint, checker, failure }).await.is_err() {
            return;
        }
    }
}
