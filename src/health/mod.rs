//! Which endpoints are well: checks those whose policy asks for it, ends the ejections that requests led to, and tells
//! log and metrics of each change.
//!
//! `app` starts it once, on the control side's runtime. Requests see what it finds in the flags of endpoints.

mod checks;
mod probe;
mod verdict;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use self::checks::Checks;
use crate::tables::{Change, Nanos, Published, Tables};
use crate::telemetry::Metrics;

pub use self::checks::MOST_AT_ONCE;

/// How late checks may begin or end, an ejection may end or be told, and the metrics may be.
const TICK: Duration = Duration::from_millis(100);

/// What is watched, and what was told of it.
#[derive(Debug)]
pub struct Watch {
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    origin: Instant,
    checks: Checks,
    /// The generation whose endpoints are checked and shown by the metrics.
    shown: u64,
    /// The metrics do not show the last that checks found.
    stale: bool,
}

impl Watch {
    /// The metrics show the endpoints from here on, and checks begin. Must be called within the runtime that is to do
    /// them.
    pub fn new(published: Arc<Published>, metrics: Arc<Metrics>) -> Self {
        let checks = Checks::new();
        let mut watch = Watch { published, metrics, origin: Instant::now(), checks, shown: 0, stale: false };
        watch.look();
        watch
    }

    /// Never ends.
    pub async fn run(mut self) -> Infallible {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look(),
                finding = self.checks.next() => if self.checks.take(finding) {
                    self.stale = true;
                    // Half of those that are well now may be ejected, which can be fewer than before.
                    self.readmit(&self.published.load());
                }
            }
        }
    }

    fn look(&mut self) {
        let tables = self.published.load();
        if self.shown != tables.generation {
            self.checks.follow(&tables);
            self.stale = true;
        }
        self.readmit(&tables);
        if self.stale {
            self.show(&tables);
        }
    }

    fn readmit(&mut self, tables: &Tables) {
        let now = Nanos::try_from(self.origin.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
        let changes = tables.readmit(now);
        for Change { backend, endpoint, ejected } in &changes {
            let address = endpoint.address;
            let name = tables.name_at(backend, address);
            if *ejected {
                self.metrics.control().ejected(&backend.namespace, &backend.service);
                tracing::warn!(backend = %name, endpoint = %address, "ejected: it failed too many requests in a row");
            } else {
                tracing::info!(backend = %name, endpoint = %address, "used again after its ejection");
            }
        }
        self.stale |= !changes.is_empty();
    }

    fn show(&mut self, tables: &Tables) {
        self.shown = tables.generation;
        self.stale = false;
        let endpoints = tables.backends().flat_map(|(id, _, live)| {
            live.endpoints.iter().map(move |endpoint| {
                let labels = (id.namespace.clone(), id.service.clone(), endpoint.address.to_string());
                (labels, endpoint.is_usable())
            })
        });
        self.metrics.control().set_endpoints(endpoints);
    }
}
