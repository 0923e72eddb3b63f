//! Metrics in shards: each worker writes its own counters with plain stores, a scrape sums them. No lock, no lookup and
//! no atomic read-modify-write on the request path.

use std::sync::Arc;
use std::time::Duration;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {}

/// Labels of the `proxy_*` metrics; `""` where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteLabels {
    pub namespace: String,
    pub ingress: String,
    pub service: String,
}

/// The counters of one set of labels. All routes with equal labels share one.
#[derive(Debug)]
pub struct RouteMetrics {}

/// One worker's part of [`RouteMetrics`]; only that worker writes.
#[derive(Debug)]
pub struct RouteShard {}

/// One worker's process-wide counters (connections, handshakes, ...); only that worker writes.
#[derive(Debug)]
pub struct WorkerShard {}

/// `proxy_backend_errors_total{reason}`, one per try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendError {
    Connect,
    Timeout,
    Reset,
    Protocol,
    ServerError,
}

impl Metrics {
    /// `workers`: the number of shards.
    pub fn new(workers: usize) -> Arc<Self> {
        todo!("{workers}")
    }

    /// The counters of `labels`, made at their first use. Called when tables are built, never by a request.
    pub fn route(&self, labels: &RouteLabels) -> Arc<RouteMetrics> {
        todo!("{labels:?}")
    }

    /// Requests that no route took (labels all empty).
    pub fn unrouted(&self) -> &Arc<RouteMetrics> {
        todo!()
    }

    pub fn worker(&self, worker: usize) -> &WorkerShard {
        todo!("{worker}")
    }

    /// Prometheus text format, version 0.0.4.
    pub fn encode(&self) -> String {
        todo!()
    }
}

impl RouteMetrics {
    pub fn shard(&self, worker: usize) -> &RouteShard {
        todo!("{worker}")
    }
}

impl RouteShard {
    /// The head was read: one more in flight.
    pub fn started(&self) {
        todo!()
    }

    /// The exchange ended, however it ended: one less in flight, one more request, its duration and body bytes.
    pub fn finished(&self, method: &http::Method, status: u16, duration: Duration, received: u64, sent: u64) {
        todo!("{method} {status} {duration:?} {received} {sent}")
    }

    pub fn backend_error(&self, reason: BackendError) {
        todo!("{reason:?}")
    }

    pub fn retried(&self) {
        todo!()
    }
}

impl WorkerShard {
    pub fn connection_opened(&self, tls: bool) {
        todo!("{tls}")
    }

    pub fn connection_closed(&self, tls: bool) {
        todo!("{tls}")
    }

    /// `reason`: index into a closed set, see [`Refusal`].
    pub fn connection_refused(&self, reason: Refusal) {
        todo!("{reason:?}")
    }
}

/// `proxy_connections_refused_total{reason}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process has `--max-connections` open.
    Process,
    /// The address has `--max-connections-per-address` open.
    Address,
    /// No file descriptor was left.
    Descriptors,
    TlsHandshake,
    ProxyProtocol,
}
