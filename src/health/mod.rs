//! Which endpoints are well: ends the ejections that requests led to, and tells log and metrics of each change.
//!
//! `app` starts it once, on the control side's runtime. Requests see what it finds in the flags of endpoints.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::tables::{Change, Nanos, Published, Tables};
use crate::telemetry::Metrics;

/// How late an ejection may end or be told.
const TICK: Duration = Duration::from_millis(100);

/// What is watched, and what was told of it.
#[derive(Debug)]
pub struct Watch {
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    origin: Instant,
    /// The generation whose endpoints the metrics show.
    shown: u64,
}

impl Watch {
    /// The metrics show the endpoints from here on.
    pub fn new(published: Arc<Published>, metrics: Arc<Metrics>) -> Self {
        let mut watch = Watch { published, metrics, origin: Instant::now(), shown: 0 };
        watch.look();
        watch
    }

    /// Never ends.
    pub async fn run(mut self) -> Infallible {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let tables = self.published.load();
        let now = Nanos::try_from(self.origin.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
        let changes = tables.readmit(now);
        for Change { backend, endpoint, ejected } in &changes {
            let address = endpoint.address;
            if *ejected {
                self.metrics.control().ejected(&backend.namespace, &backend.service);
                tracing::warn!(%backend, endpoint = %address, "ejected: it failed too many requests in a row");
            } else {
                tracing::info!(%backend, endpoint = %address, "used again after its ejection");
            }
        }
        if !changes.is_empty() || self.shown != tables.generation {
            self.show(&tables);
        }
    }

    fn show(&mut self, tables: &Tables) {
        self.shown = tables.generation;
        let endpoints = tables.backends().flat_map(|(id, _, live)| {
            live.endpoints.iter().map(move |endpoint| {
                let labels = (id.namespace.clone(), id.service.clone(), endpoint.address.to_string());
                (labels, endpoint.is_usable())
            })
        });
        self.metrics.control().set_endpoints(endpoints);
    }
}
