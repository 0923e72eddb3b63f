//! Metrics in shards: each worker writes its own counters with plain stores, a scrape sums them. No lock, no lookup and
//! no atomic read-modify-write on the request path.
//!
//! Tables ask for a route's counters when they are built, workers write their shards, the admin port encodes. A route
//! that is gone from all tables stops being reported.

mod cluster;
mod control;
mod counter;
mod encode;
mod endpoints;
mod route;
mod tally;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use prometheus::proto::MetricFamily;

use super::AccessLog;
use encode::RouteFamilies;
use worker::WorkerTotal;

pub use cluster::WatchedKind;
pub use control::ControlMetrics;
pub use counter::TimeBuckets;
pub use endpoints::EndpointLabels;
pub use route::{BackendError, RouteLabels, RouteMetrics, RouteShard};
pub use worker::{Refusal, TlsVersion, WorkerShard};

/// What is counted how, and shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `--report-status-classes`.
    pub status_classes: bool,
    /// `--time-buckets`.
    pub time_buckets: TimeBuckets,
    /// `--exclude-metrics`.
    pub excluded: BTreeSet<String>,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    settings: Settings,
    workers: Box<[WorkerShard]>,
    unrouted: Arc<RouteMetrics>,
    routes: Mutex<Routes>,
    control: ControlMetrics,
    /// Set once at start; its dropped lines are reported.
    access_log: OnceLock<Arc<AccessLog>>,
}

/// The counters of every set of labels that some tables hold.
#[derive(Debug, Default)]
struct Routes {
    /// Dead ones are dropped at a scrape, and when the map has grown to `prune_at`.
    by_labels: BTreeMap<RouteLabels, Weak<RouteMetrics>>,
    /// Twice what was alive when the dead were last dropped.
    prune_at: usize,
}

impl Metrics {
    /// `workers`: the number of shards.
    pub fn new(workers: usize) -> Arc<Self> {
        Self::with(workers, Settings::default())
    }

    /// The same, counted and shown as `settings` say.
    pub fn with(workers: usize, settings: Settings) -> Arc<Self> {
        let unrouted = Arc::new(RouteMetrics::new(RouteLabels::default(), workers, &settings.time_buckets));
        let metrics = Metrics {
            settings,
            workers: (0..workers).map(|_| WorkerShard::default()).collect(),
            unrouted: unrouted.clone(),
            routes: Mutex::default(),
            control: ControlMetrics::new(),
            access_log: OnceLock::new(),
        };
        metrics.with_routes(|routes| routes.by_labels.insert(RouteLabels::default(), Arc::downgrade(&unrouted)));
        Arc::new(metrics)
    }

    /// The counters of `labels`, made at their first use. Called when tables are built, never by a request.
    pub fn route(&self, labels: &RouteLabels) -> Arc<RouteMetrics> {
        self.with_routes(|routes| {
            if let Some(known) = routes.by_labels.get(labels).and_then(Weak::upgrade) {
                return known;
            }
            if routes.by_labels.len() >= routes.prune_at {
                routes.alive();
            }
            let made = Arc::new(RouteMetrics::new(labels.clone(), self.workers.len(), &self.settings.time_buckets));
            routes.by_labels.insert(labels.clone(), Arc::downgrade(&made));
            made
        })
    }

    /// Requests that no route took (labels all empty).
    pub fn unrouted(&self) -> &Arc<RouteMetrics> {
        &self.unrouted
    }

    /// The counters that `worker` (0-based) writes.
    pub fn worker(&self, worker: usize) -> &WorkerShard {
        &self.workers[worker]
    }

    /// The metrics that the control side writes.
    pub fn control(&self) -> &ControlMetrics {
        &self.control
    }

    /// Reports the lines that `log` drops from now on. Only the first call counts.
    pub fn watch_access_log(&self, log: Arc<AccessLog>) {
        self.access_log.get_or_init(|| log);
    }

    /// Prometheus text format, version 0.0.4. Takes milliseconds with thousands of routes; delays no worker.
    pub fn encode(&self) -> String {
        let mut families = self.families();
        families.retain(|family| !self.settings.excluded.contains(family.name()));
        encode::text(families)
    }

    /// The names of `--exclude-metrics` that no metric has.
    pub fn excluded_in_vain(&self) -> Vec<&str> {
        let families = self.families();
        let is_known = |name: &&str| families.iter().any(|family| family.name() == *name);
        self.settings.excluded.iter().map(String::as_str).filter(|name| !is_known(name)).collect()
    }

    fn families(&self) -> Vec<MetricFamily> {
        let mut routes = RouteFamilies::of(&self.settings);
        for route in self.with_routes(Routes::alive) {
            routes.add(route.labels(), &route.total());
        }
        let dropped = self.access_log.get().map_or(0, |log| log.dropped());
        let mut families = routes.families();
        families.extend(encode::process_families(&WorkerTotal::of(&self.workers), dropped));
        families.extend(self.control.families());
        families
    }

    fn with_routes<T>(&self, visit: impl FnOnce(&mut Routes) -> T) -> T {
        // The map is whole between any two of its own calls, so a panic elsewhere does not spoil it.
        visit(&mut self.routes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Routes {
    /// Drops the dead and returns the others in the order of their labels.
    fn alive(&mut self) -> Vec<Arc<RouteMetrics>> {
        let mut alive = Vec::with_capacity(self.by_labels.len());
        self.by_labels.retain(|_, route| route.upgrade().map(|route| alive.push(route)).is_some());
        self.prune_at = 2 * alive.len().max(64);
        alive
    }
}
