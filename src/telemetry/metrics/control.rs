//! Metrics of the control side: translation, publication, sources, certificates. Written a few times per change, so
//! these are ordinary `prometheus` types, and sets that are replaced as a whole sit behind a lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

use super::cluster::{ClusterMetrics, WatchedKind};
use super::encode::{family, gauge};
use super::endpoints::{EndpointLabels, EndpointMetrics};

/// The `headgate_*` and `process_*` metrics.
#[derive(Debug)]
pub struct ControlMetrics {
    registry: Registry,
    generation: IntGauge,
    held: IntGauge,
    publications: IntCounter,
    translation: Histogram,
    apply_latency: Histogram,
    source_errors: IntGauge,
    write_errors: IntGauge,
    source_success: Gauge,
    memory_level: IntGauge,
    memory_limit: IntGauge,
    /// Replaced by each translation.
    problems: Mutex<BTreeMap<String, usize>>,
    /// By namespace and Secret; seconds since the Unix epoch. Replaced by each publication.
    certificates: Mutex<BTreeMap<(String, String), i64>>,
    endpoints: Mutex<EndpointMetrics>,
    cluster: Mutex<ClusterMetrics>,
}

/// From 0.1 ms: a change of one object is meant to cost little.
const BOUNDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The names and labels are constants of this module, checked by its test.
const VALID: &str = "the metric's name and labels are valid and used once";

impl ControlMetrics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let build = Opts::new("headgate_build_info", "1, with the version in a label.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        registered(&registry, Gauge::with_opts(build)).set(1.0);
        registry.register(Box::new(ProcessCollector::for_self())).expect(VALID);
        ControlMetrics {
            generation: registered(
                &registry,
                IntGauge::new("headgate_generation", "Number of the tables that new requests use."),
            ),
            held: registered(
                &registry,
                IntGauge::new(
                    "headgate_generations_held",
                    "Older tables that were still held at the last publication.",
                ),
            ),
            publications: registered(
                &registry,
                IntCounter::new("headgate_publish_total", "Tables published; equal ones are not."),
            ),
            translation: histogram(
                &registry,
                "headgate_translate_duration_seconds",
                "Time to translate all objects into a snapshot.",
            ),
            apply_latency: histogram(
                &registry,
                "headgate_apply_latency_seconds",
                "Time from the notice of a change to its tables being live.",
            ),
            source_errors: registered(
                &registry,
                IntGauge::new("headgate_source_errors", "Files or kinds of object that cannot be read at present."),
            ),
            write_errors: registered(
                &registry,
                IntGauge::new(
                    "headgate_write_errors",
                    "What cannot be written to the cluster at present: kinds of status, Events, the Lease.",
                ),
            ),
            source_success: registered(
                &registry,
                Gauge::new(
                    "headgate_source_last_success_timestamp_seconds",
                    "When the source was last read without an error.",
                ),
            ),
            memory_level: registered(
                &registry,
                IntGauge::new(
                    "proxy_memory_level",
                    "0: memory is enough; 1: connections are not kept; 2: connections and requests are refused.",
                ),
            ),
            memory_limit: registered(
                &registry,
                IntGauge::new("proxy_memory_limit_bytes", "Memory that the process may take; 0: any."),
            ),
            registry,
            problems: Mutex::default(),
            certificates: Mutex::default(),
            endpoints: Mutex::default(),
            cluster: Mutex::default(),
        }
    }

    /// `generation` went live.
    pub fn published(&self, generation: u64) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.publications.inc();
    }

    /// Requests or workers still hold so many older generations.
    pub fn held(&self, generations: usize) {
        self.held.set(i64::try_from(generations).unwrap_or(i64::MAX));
    }

    /// One translation took `duration`.
    pub fn translated(&self, duration: Duration) {
        self.translation.observe(duration.as_secs_f64());
    }

    /// A change was live `latency` after it was noticed.
    pub fn applied(&self, latency: Duration) {
        self.apply_latency.observe(latency.as_secs_f64());
    }

    /// The problems of the newest translation, one item each, named by their reason.
    pub fn set_problems(&self, reasons: impl IntoIterator<Item = impl Into<String>>) {
        let mut counts = BTreeMap::new();
        for reason in reasons {
            *counts.entry(reason.into()).or_default() += 1;
        }
        replace(&self.problems, counts);
    }

    /// How many files or kinds of object cannot be read at present.
    pub fn set_source_errors(&self, count: usize) {
        self.source_errors.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many kinds of status, or else of what is told in a cluster, cannot be written at present.
    pub fn set_write_errors(&self, count: usize) {
        self.write_errors.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The source was read without an error.
    pub fn source_succeeded(&self, now: SystemTime) {
        self.source_success.set(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }

    /// How much memory the process may take.
    pub fn set_memory_limit(&self, bytes: u64) {
        self.memory_limit.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// How scarce memory is.
    pub fn set_memory_level(&self, level: u8) {
        self.memory_level.set(level.into());
    }

    /// The certificates in use: namespace, Secret, end of validity in seconds since the Unix epoch.
    pub fn set_certificates(&self, certificates: impl IntoIterator<Item = (String, String, i64)>) {
        let ends = certificates.into_iter().map(|(namespace, secret, end)| ((namespace, secret), end));
        replace(&self.certificates, ends.collect());
    }

    /// From here on `all` is asked for the endpoints, and which of them get requests.
    pub fn watch_endpoints(&self, all: impl Fn() -> Vec<(EndpointLabels, bool)> + Send + 'static) {
        locked(&self.endpoints).watch(Box::new(all));
    }

    /// From here on `ask` is asked whether this process holds the Lease, and how the watches of a cluster stand.
    pub fn watch_cluster(&self, ask: impl Fn() -> (bool, Vec<WatchedKind>) + Send + 'static) {
        locked(&self.cluster).watch(Box::new(ask));
    }

    /// An endpoint of the Service was ejected.
    pub fn ejected(&self, namespace: &str, service: &str) {
        locked(&self.endpoints).ejected(namespace, service);
    }

    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let problems =
            locked(&self.problems).iter().map(|(reason, count)| gauge(&[("reason", reason)], *count as f64)).collect();
        let certificates = locked(&self.certificates)
            .iter()
            .map(|((namespace, secret), end)| gauge(&[("namespace", namespace), ("secret", secret)], *end as f64))
            .collect();
        let mut families = self.registry.gather();
        families.extend([
            family("headgate_problems", "Problems of objects at present.", MetricType::GAUGE, problems),
            family(
                "headgate_certificate_not_after_timestamp_seconds",
                "End of validity of a certificate in use.",
                MetricType::GAUGE,
                certificates,
            ),
        ]);
        families.extend(locked(&self.endpoints).families());
        families.extend(locked(&self.cluster).families());
        families
    }
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(BOUNDS.to_vec())))
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

fn replace<T>(slot: &Mutex<T>, value: T) {
    *locked(slot) = value;
}

/// The values are replaced whole, so a panic elsewhere cannot leave them half-written.
fn locked<T>(slot: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
