//! The counters of routes: written by workers while requests run, summed by a scrape.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use super::counter::{Counter, Histogram, HistogramTotal, TimeBuckets};
use super::tally::{Pair, Tally};

/// Labels of the `proxy_*` metrics; `""` where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteLabels {
    pub namespace: String,
    pub ingress: String,
    pub service: String,
}

/// The counters of one set of labels. All routes with equal labels share one; its series end with the last of them.
#[derive(Debug)]
pub struct RouteMetrics {
    labels: RouteLabels,
    /// One per worker, made by that worker's first request: a route without traffic costs a few words.
    shards: Box<[OnceLock<Box<RouteShard>>]>,
    time_buckets: TimeBuckets,
}

/// One worker's part of [`RouteMetrics`]; only that worker writes.
#[derive(Debug)]
#[repr(align(64))] // no cache line is shared with another worker's shard
pub struct RouteShard {
    /// Requests whose head was read. Less the finished ones: in flight.
    started: Counter,
    /// Its count is the number of finished requests.
    durations: Histogram,
    received: Counter,
    sent: Counter,
    retries: Counter,
    rate_limited: Counter,
    requests: Tally,
    /// By [`BackendError`].
    backend_errors: [Counter; BackendError::ALL.len()],
}

/// `proxy_backend_errors_total{reason}`, one per try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendError {
    Connect,
    Timeout,
    Reset,
    Protocol,
    ServerError,
}

/// What a scrape reports of one set of labels.
#[derive(Debug, Default)]
pub(super) struct RouteTotal {
    pub(super) in_flight: u64,
    pub(super) durations: HistogramTotal,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) retries: u64,
    pub(super) rate_limited: u64,
    pub(super) requests: BTreeMap<Pair, u64>,
    pub(super) backend_errors: [u64; BackendError::ALL.len()],
}

impl RouteMetrics {
    pub(super) fn new(labels: RouteLabels, workers: usize, time_buckets: &TimeBuckets) -> Self {
        let shards = (0..workers).map(|_| OnceLock::new()).collect();
        RouteMetrics { labels, shards, time_buckets: time_buckets.clone() }
    }

    /// The part that `worker` (0-based) writes.
    pub fn shard(&self, worker: usize) -> &RouteShard {
        self.shards[worker].get_or_init(|| Box::new(RouteShard::new(&self.time_buckets)))
    }

    pub fn labels(&self) -> &RouteLabels {
        &self.labels
    }

    pub(super) fn total(&self) -> RouteTotal {
        let mut total = RouteTotal::default();
        let mut started = 0;
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            // Before `started`, so that a request that begins and ends meanwhile does not count as less than nothing.
            total.durations.add(&shard.durations);
            started += shard.started.value();
            total.received += shard.received.value();
            total.sent += shard.sent.value();
            total.retries += shard.retries.value();
            total.rate_limited += shard.rate_limited.value();
            shard.requests.for_each(|pair, count| *total.requests.entry(pair).or_default() += count);
            for (sum, counter) in total.backend_errors.iter_mut().zip(&shard.backend_errors) {
                *sum += counter.value();
            }
        }
        total.in_flight = started.saturating_sub(total.durations.count());
        total
    }
}

impl RouteShard {
    fn new(time_buckets: &TimeBuckets) -> Self {
        RouteShard {
            started: Counter::default(),
            durations: Histogram::new(time_buckets),
            received: Counter::default(),
            sent: Counter::default(),
            retries: Counter::default(),
            rate_limited: Counter::default(),
            requests: Tally::default(),
            backend_errors: <[Counter; BackendError::ALL.len()]>::default(),
        }
    }

    /// The head was read: one more in flight.
    pub fn started(&self) {
        self.started.add(1);
    }

    /// The exchange ended, however it ended: one less in flight, one more request, its duration and body bytes.
    pub fn finished(&self, method: &http::Method, status: u16, duration: Duration, received: u64, sent: u64) {
        self.durations.observe(duration);
        self.received.add(received);
        self.sent.add(sent);
        self.requests.count(Pair::new(method, status));
    }

    pub fn backend_error(&self, reason: BackendError) {
        self.backend_errors[reason as usize].add(1);
    }

    pub fn retried(&self) {
        self.retries.add(1);
    }

    /// A rate limit refused a request.
    pub fn rate_limited(&self) {
        self.rate_limited.add(1);
    }
}

impl BackendError {
    /// In order of declaration, which is how counters are indexed.
    pub(super) const ALL: [BackendError; 5] = [
        BackendError::Connect,
        BackendError::Timeout,
        BackendError::Reset,
        BackendError::Protocol,
        BackendError::ServerError,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            BackendError::Connect => "connect",
            BackendError::Timeout => "timeout",
            BackendError::Reset => "reset",
            BackendError::Protocol => "protocol",
            BackendError::ServerError => "5xx",
        }
    }
}
