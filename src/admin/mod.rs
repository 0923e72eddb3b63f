//! The admin port: is the process alive, is it ready, its metrics, and read-only views of what it serves.
//!
//! Runs on the control side's runtime, so that no question asked here delays a request. `app` makes the [`State`], tells
//! it what changes and spawns [`serve`]. Nothing shown holds key material: [`crate::snapshot`] types that have some do
//! not serialise it.

mod debug;
mod document;
mod readiness;
mod respond;
mod server;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::explain::Site;
use crate::tables::Published;
use crate::telemetry::Metrics;
use crate::translate::{PolicyStatus, Report};

pub use readiness::{Pending, Readiness};
pub use server::serve;

/// What the admin port answers from.
pub struct State {
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    /// `--debug-remote`: `/debug/*` answers all peers, not only those on loopback.
    debug_remote: bool,
    /// `--health-check-path`: answered as `/healthz` is.
    health_check_path: String,
    /// For `/debug/explain`.
    site: Site,
    findings: Mutex<Findings>,
    /// Documents that may be made or sent at a time; each can be megabytes.
    documents: Arc<Semaphore>,
}

/// What is wrong at present, as the control side last said.
#[derive(Clone)]
struct Findings {
    reports: Arc<[Report]>,
    policies: Arc<[PolicyStatus]>,
    source: Arc<Value>,
}

/// See [`State::documents`].
const DOCUMENTS: usize = 8;

impl State {
    pub fn new(
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        debug_remote: bool,
        health_check_path: String,
        site: Site,
    ) -> Arc<Self> {
        let findings =
            Findings { reports: Arc::default(), policies: Arc::default(), source: Arc::new(Value::Array(Vec::new())) };
        Arc::new(State {
            published,
            metrics,
            readiness,
            debug_remote,
            health_check_path,
            site,
            findings: Mutex::new(findings),
            documents: Arc::new(Semaphore::new(DOCUMENTS)),
        })
    }

    /// The reports of the newest translation.
    pub fn set_reports(&self, reports: Arc<[Report]>) {
        self.findings().reports = reports;
    }

    /// What became of the policies in the newest translation.
    pub fn set_policies(&self, policies: Arc<[PolicyStatus]>) {
        self.findings().policies = policies;
    }

    /// What the source cannot read at present, and what it passes over, an array; shown as it is.
    pub fn set_source_problems(&self, problems: Value) {
        self.findings().source = Arc::new(problems);
    }

    /// Each part is replaced whole, so a panic elsewhere cannot leave them half-written.
    fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("readiness", &self.readiness)
            .field("debug_remote", &self.debug_remote)
            .finish_non_exhaustive()
    }
}
