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
use crate::telemetry::{EndpointLabels, Metrics};

pub use self::checks::MOST_AT_ONCE;

/// How late checks may begin or end, and an ejection may end or be told.
const TICK: Duration = Duration::from_millis(100);

/// What is watched, and what was told of it.
#[derive(Debug)]
pub struct Watch {
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    origin: Instant,
    checks: Checks,
    /// The generation whose endpoints are checked.
    followed: u64,
}

impl Watch {
    /// The metrics show the endpoints from here on, and checks begin. Must be called within the runtime that is to do
    /// them.
    pub fn new(published: Arc<Published>, metrics: Arc<Metrics>) -> Self {
        let checks = Checks::new();
        // The tables hold metrics too.
        let shown = Arc::downgrade(&published);
        metrics
            .control()
            .watch_endpoints(move || shown.upgrade().map_or_else(Vec::new, |published| endpoints(&published.load())));
        let mut watch = Watch { published, metrics, origin: Instant::now(), checks, followed: 0 };
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
                    // Half of those that are well now may be ejected, which can be fewer than before.
                    self.readmit(&self.published.load());
                }
            }
        }
    }

    fn look(&mut self) {
        let tables = self.published.load();
        if self.followed != tables.generation {
            self.checks.follow(&tables);
            self.followed = tables.generation;
        }
        self.readmit(&tables);
    }

    fn readmit(&mut self, tables: &Tables) {
        let now = Nanos::try_from(self.origin.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
        for Change { backend, endpoint, ejected } in tables.readmit(now) {
            let address = endpoint.address;
            let name = tables.name_at(&backend, address);
            if ejected {
                self.metrics.control().ejected(&backend.namespace, &backend.service);
                tracing::warn!(backend = %name, endpoint = %address, "ejected: it failed too many requests in a row");
            } else {
                tracing::info!(backend = %name, endpoint = %address, "used again after its ejection");
            }
        }
    }
}

/// All of them, and whether they get requests.
fn endpoints(tables: &Tables) -> Vec<(EndpointLabels, bool)> {
    let endpoints = tables.backends.iter().flat_map(|backend| {
        backend.endpoints.iter().map(|endpoint| {
            let labels = (backend.id.namespace.clone(), backend.id.service.clone(), endpoint.address.to_string());
            (labels, endpoint.is_usable())
        })
    });
    endpoints.collect()
}
