//! From counters to the Prometheus text format, version 0.0.4. With `control`, the only code that knows the
//! `prometheus` crate.
//!
//! A route without a request yet shows `proxy_requests_in_flight 0` only, which keeps 5,000 quiet routes cheap for the
//! server that scrapes them. The reasons of backend errors appear together, with the first error.

use std::collections::BTreeMap;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::Settings;
use super::counter::{HistogramTotal, TimeBuckets};
use super::route::{BackendError, RouteLabels, RouteTotal};
use super::worker::{LISTENERS, Refusal, TlsVersion, WorkerTotal};

/// `families` as text; those without a metric are left out.
pub(super) fn text(families: Vec<MetricFamily>) -> String {
    let shown: Vec<_> = families.into_iter().filter(|family| !family.get_metric().is_empty()).collect();
    let mut text = String::new();
    if let Err(error) = TextEncoder::new().encode_utf8(&shown, &mut text) {
        tracing::error!(%error, "metrics cannot be encoded");
    }
    text
}

/// The metrics of routes, in the order of `routes`.
#[derive(Debug, Default)]
pub(super) struct RouteFamilies {
    settings: Settings,
    requests: Vec<Metric>,
    in_flight: Vec<Metric>,
    durations: Vec<Metric>,
    received: Vec<Metric>,
    sent: Vec<Metric>,
    backend_errors: Vec<Metric>,
    retries: Vec<Metric>,
    rate_limited: Vec<Metric>,
}

impl RouteFamilies {
    pub(super) fn of(settings: &Settings) -> Self {
        RouteFamilies { settings: settings.clone(), ..RouteFamilies::default() }
    }

    pub(super) fn add(&mut self, labels: &RouteLabels, total: &RouteTotal) {
        let route =
            pairs(&[("namespace", &labels.namespace), ("ingress", &labels.ingress), ("service", &labels.service)]);
        self.in_flight.push(gauge_of(route.clone(), total.in_flight as f64));
        if total.durations.count() > 0 {
            self.durations.push(histogram_of(route.clone(), &self.settings.time_buckets, &total.durations));
            self.received.push(counter_of(route.clone(), total.received));
            self.sent.push(counter_of(route.clone(), total.sent));
        }
        for ((method, status), count) in self.by_status(total) {
            let request = pairs(&[("method", method), ("status", &status)]);
            self.requests.push(counter_of([route.clone(), request].concat(), count));
        }
        if total.retries > 0 {
            self.retries.push(counter_of(route.clone(), total.retries));
        }
        if total.rate_limited > 0 {
            self.rate_limited.push(counter_of(route.clone(), total.rate_limited));
        }
        if total.backend_errors.iter().any(|count| *count > 0) {
            for (reason, count) in BackendError::ALL.iter().zip(total.backend_errors) {
                let reason = pairs(&[("reason", reason.label())]);
                self.backend_errors.push(counter_of([route.clone(), reason].concat(), count));
            }
        }
    }

    fn by_status(&self, total: &RouteTotal) -> BTreeMap<(&'static str, String), u64> {
        let mut counts = BTreeMap::new();
        for (pair, count) in &total.requests {
            let status = match pair.status() {
                Some(status) if self.settings.status_classes => format!("{}xx", status / 100),
                Some(status) => status.to_string(),
                None => "_OTHER".to_owned(),
            };
            *counts.entry((pair.method(), status)).or_default() += count;
        }
        counts
    }

    pub(super) fn families(self) -> Vec<MetricFamily> {
        let counters = [
            ("proxy_requests_total", "Finished requests.", self.requests),
            ("proxy_request_bytes_total", "Bytes of request bodies.", self.received),
            ("proxy_response_bytes_total", "Bytes of response bodies.", self.sent),
            ("proxy_backend_errors_total", "Tries at an endpoint that failed.", self.backend_errors),
            ("proxy_retries_total", "Tries after the first.", self.retries),
            ("proxy_rate_limit_exceeded_total", "Requests that a rate limit refused.", self.rate_limited),
        ];
        let mut families = vec![
            family(
                "proxy_requests_in_flight",
                "Requests whose response has not ended.",
                MetricType::GAUGE,
                self.in_flight,
            ),
            family(
                "proxy_request_duration_seconds",
                "Time from the request head to the last byte of the response.",
                MetricType::HISTOGRAM,
                self.durations,
            ),
        ];
        families.extend(counters.map(|(name, help, metrics)| family(name, help, MetricType::COUNTER, metrics)));
        families
    }
}

/// The metrics that belong to no route.
pub(super) fn process_families(total: &WorkerTotal, access_log_dropped: u64) -> Vec<MetricFamily> {
    let by_listener = |values: [u64; 2]| LISTENERS.into_iter().zip(values);
    let open = [0, 1].map(|listener| total.opened[listener].saturating_sub(total.closed[listener]));
    let refused =
        Refusal::ALL.iter().zip(total.refused).map(|(reason, count)| counter(&[("reason", reason.label())], count));
    let handshakes = TlsVersion::ALL.iter().zip(total.handshakes).flat_map(|(version, counts)| {
        let resumed = ["false", "true"].into_iter().zip(counts);
        resumed.map(|(resumed, count)| counter(&[("version", version.label()), ("resumed", resumed)], count))
    });
    let counters = [
        (
            "proxy_connections_total",
            "Connections accepted and kept.",
            by_listener(total.opened).map(|(listener, count)| counter(&[("listener", listener)], count)).collect(),
        ),
        (
            "proxy_connections_refused_total",
            "Connections closed before their first request, or since others needed their place (idle).",
            refused.collect(),
        ),
        ("proxy_tls_handshakes_total", "TLS handshakes completed.", handshakes.collect()),
        (
            "proxy_tls_handshake_errors_total",
            "TLS handshakes that failed; also counted as refused connections.",
            vec![counter(&[], total.refused[Refusal::TlsHandshake as usize])],
        ),
        (
            "proxy_tls_handshake_waits_total",
            "Times that a TLS handshake waited for the work of another.",
            vec![counter(&[], total.handshake_waits)],
        ),
        ("proxy_requests_shed_total", "Requests refused because memory was scarce.", vec![counter(&[], total.shed)]),
        ("proxy_panics_total", "Panics caught in a request or a connection.", vec![counter(&[], total.panics)]),
        (
            "proxy_access_log_dropped_total",
            "Access log lines that were not written.",
            vec![counter(&[], access_log_dropped)],
        ),
    ];
    let mut families = vec![family(
        "proxy_connections",
        "Open connections.",
        MetricType::GAUGE,
        by_listener(open).map(|(listener, count)| gauge(&[("listener", listener)], count as f64)).collect(),
    )];
    families.extend(counters.map(|(name, help, metrics)| family(name, help, MetricType::COUNTER, metrics)));
    families
}

pub(super) fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

pub(super) fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    gauge_of(pairs(labels), value)
}

pub(super) fn counter(labels: &[(&str, &str)], value: u64) -> Metric {
    counter_of(pairs(labels), value)
}

fn gauge_of(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}

fn counter_of(labels: Vec<LabelPair>, value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn histogram_of(labels: Vec<LabelPair>, bounds: &TimeBuckets, total: &HistogramTotal) -> Metric {
    let mut below = 0;
    let buckets = bounds.seconds.iter().zip(&total.buckets).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(total.count());
    histogram.set_sample_sum(total.nanos as f64 / 1e9);
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
