//! Counters that belong to a worker rather than to a route: connections, TLS handshakes, panics.

use super::counter::Counter;

/// One worker's process-wide counters; only that worker writes.
#[derive(Debug, Default)]
#[repr(align(64))] // no cache line is shared with another worker's shard
pub struct WorkerShard {
    /// By listener: http, https.
    opened: [Counter; LISTENERS.len()],
    closed: [Counter; LISTENERS.len()],
    refused: [Counter; Refusal::ALL.len()],
    /// By version, then by whether a session was resumed.
    handshakes: [[Counter; 2]; TlsVersion::ALL.len()],
    handshake_waits: Counter,
    shed: Counter,
    panics: Counter,
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
    /// The process takes nearly all of the memory that it may.
    Memory,
    /// It asked for nothing while another needed its place.
    Idle,
}

/// `proxy_tls_handshakes_total{version}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// Names of the `listener` label, indexed by `tls`.
pub(super) const LISTENERS: [&str; 2] = ["http", "https"];

/// What a scrape reports: the sum over workers.
#[derive(Debug, Default)]
pub(super) struct WorkerTotal {
    pub(super) opened: [u64; LISTENERS.len()],
    pub(super) closed: [u64; LISTENERS.len()],
    pub(super) refused: [u64; Refusal::ALL.len()],
    pub(super) handshakes: [[u64; 2]; TlsVersion::ALL.len()],
    pub(super) handshake_waits: u64,
    pub(super) shed: u64,
    pub(super) panics: u64,
}

impl WorkerShard {
    /// `tls`: on the https listener.
    pub fn connection_opened(&self, tls: bool) {
        self.opened[usize::from(tls)].add(1);
    }

    pub fn connection_closed(&self, tls: bool) {
        self.closed[usize::from(tls)].add(1);
    }

    pub fn connection_refused(&self, reason: Refusal) {
        self.refused[reason as usize].add(1);
    }

    pub fn tls_handshake(&self, version: TlsVersion, resumed: bool) {
        self.handshakes[version as usize][usize::from(resumed)].add(1);
    }

    /// A handshake waits for the work of another.
    pub fn tls_handshake_waits(&self) {
        self.handshake_waits.add(1);
    }

    /// A request was refused since memory is scarce.
    pub fn request_shed(&self) {
        self.shed.add(1);
    }

    /// A panic inside one request or connection was caught.
    pub fn panicked(&self) {
        self.panics.add(1);
    }
}

impl WorkerTotal {
    pub(super) fn of(shards: &[WorkerShard]) -> Self {
        let mut total = WorkerTotal::default();
        for shard in shards {
            // Closed before opened, so that a connection that comes and goes meanwhile does not count as less than nothing.
            add(&mut total.closed, &shard.closed);
            add(&mut total.opened, &shard.opened);
            add(&mut total.refused, &shard.refused);
            for (sum, counters) in total.handshakes.iter_mut().zip(&shard.handshakes) {
                add(sum, counters);
            }
            total.handshake_waits += shard.handshake_waits.value();
            total.shed += shard.shed.value();
            total.panics += shard.panics.value();
        }
        total
    }
}

impl Refusal {
    /// In order of declaration, which is how counters are indexed.
    pub(super) const ALL: [Refusal; 7] = [
        Refusal::Process,
        Refusal::Address,
        Refusal::Descriptors,
        Refusal::TlsHandshake,
        Refusal::ProxyProtocol,
        Refusal::Memory,
        Refusal::Idle,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Refusal::Process => "process",
            Refusal::Address => "address",
            Refusal::Descriptors => "descriptors",
            Refusal::TlsHandshake => "tls_handshake",
            Refusal::ProxyProtocol => "proxy_protocol",
            Refusal::Memory => "memory",
            Refusal::Idle => "idle",
        }
    }
}

impl TlsVersion {
    /// In order of declaration, which is how counters are indexed.
    pub(super) const ALL: [TlsVersion; 2] = [TlsVersion::V1_2, TlsVersion::V1_3];

    pub(super) fn label(self) -> &'static str {
        match self {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        }
    }
}

fn add<const N: usize>(total: &mut [u64; N], shard: &[Counter; N]) {
    for (sum, counter) in total.iter_mut().zip(shard) {
        *sum += counter.value();
    }
}
