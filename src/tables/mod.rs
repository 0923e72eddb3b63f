//! The live form of a [`Snapshot`]: what a request needs, found without locks.
//!
//! Pure: no I/O, no async, no clock, no randomness, no logging. `app` builds and publishes, `proxy` reads.

mod access;
mod backend_tls;
mod backends;
mod balancer;
mod budget;
mod build;
mod certs;
mod concurrency;
mod counts;
mod limiter;
mod outlier;
mod publish;
mod routes;
mod shards;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::snapshot::{Backend, BackendId, Protocol, RoutePolicy, Snapshot};
use crate::telemetry::RouteMetrics;

pub use access::AccessList;
pub use backend_tls::LiveTls;
pub use balancer::{Lease, NoLease};
pub use certs::Certs;
pub use concurrency::{ConnectionLimiter, Counted, enter_all};
pub use limiter::{Caller, ClientBits, Decision, Nanos, RateLimiter, client_bits, take_all};
pub use outlier::Change;
pub use publish::{Held, Published, Reader};
pub use routes::{Listed, NoRoute, Routes};

/// One generation. A request holds one from its head on until it is over, or what is left of it takes long.
pub struct Tables {
    /// Counts publications, from 1.
    pub generation: u64,
    /// What this was built from; shown by `/debug`, compared before the next publication.
    pub snapshot: Arc<Snapshot>,
    /// Shared with the previous generation while hosts and the set of backends stay the same.
    pub routes: Arc<Routes>,
    /// Indexed by [`LiveAction::Forward`].
    pub backends: Arc<[Arc<LiveBackend>]>,
    /// Where each of the snapshot's backends stands in `backends`, in the snapshot's order.
    slots: Arc<[usize]>,
    pub certs: Arc<Certs>,
    pub settings: LiveSettings,
    /// What limits have counted; the same in all generations.
    counts: counts::Counts,
}

/// A route as requests use it. The same value serves all requests of the route; everything per-route that a request
/// needs is resolved here.
#[derive(Debug)]
pub struct LiveRoute {
    pub action: LiveAction,
    pub https_redirect: bool,
    pub policy: Arc<RoutePolicy>,
    /// Of `policy.access`: a client has to pass all of them.
    pub access: Box<[Arc<AccessList>]>,
    /// Of `policy.required_headers`.
    pub required_headers: Box<[HeaderName]>,
    /// The value of Allow: the methods that are served.
    pub allow: HeaderValue,
    /// Of `policy.rate_limits`, for [`take_all`].
    pub rate_limits: Box<[RateLimiter]>,
    /// Of `policy.connection_limits`, for [`enter_all`].
    pub connection_limits: Box<[ConnectionLimiter]>,
    /// The host stands in some `tls:`.
    pub tls: bool,
    pub metrics: Arc<RouteMetrics>,
    /// `namespace/ingress host path` as the access log's `route`.
    pub label: String,
    pub namespace: String,
    pub ingress: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveAction {
    /// Index into [`Tables::backends`].
    Forward(usize),
    /// 503; the reason is in the owner's Report.
    Deny,
}

/// A backend as requests use it.
#[derive(Debug)]
pub struct LiveBackend {
    pub id: Arc<BackendId>,
    /// `namespace-service-port`, as in logs, unless its endpoints have names of their own ([`LiveBackend::name_at`]).
    pub name: String,
    pub protocol: Protocol,
    /// Each of its endpoints has it.
    tls: Option<Arc<LiveTls>>,
    /// What this was made from.
    pub source: Arc<Backend>,
    /// In the order of `source.endpoints`. One that was in the previous generation is the same value here.
    pub endpoints: Arc<[Arc<LiveEndpoint>]>,
    balancer: balancer::Balancer,
    /// Stands in for the endpoints, see [`Tables::choose`].
    split: Option<balancer::Split>,
    /// Those of the process.
    ejections: Arc<outlier::Ejections>,
    budget: Arc<budget::Budget>,
}

/// One address behind a backend, with the state that outlives generations.
#[derive(Debug)]
pub struct LiveEndpoint {
    /// Unique in the process and never used again; names the endpoint's pool in each worker.
    pub id: u64,
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// For [`Protocol::Https`], which never is without. Connections opened under another are not used for this endpoint.
    pub tls: Option<Arc<LiveTls>>,
    /// Requests in flight over all workers, counted by [`Lease`]. Shared with what the endpoint was when it was talked to in
    /// another way: the requests of then are with it still.
    pub in_flight: Arc<AtomicU32>,
    /// Gets no new requests, since its checks fail. Set by `health`.
    pub unhealthy: AtomicBool,
    /// Why its newest check failed, if it did. For people; requests do not look.
    failed_check: Mutex<Option<String>>,
    /// It failed requests and gets no new ones for a while. Set and cleared in `outlier`.
    pub ejected: AtomicBool,
    /// Requests that it failed since it last served one, and tunnels apart from them; see `outlier`.
    failures: AtomicU64,
    /// No longer in the newest generation: pools close its idle connections. Set by the build that drops it.
    pub retired: AtomicBool,
}

/// [`crate::snapshot::Settings`] as requests use them.
#[derive(Clone, Debug, Default)]
pub struct LiveSettings {
    pub trusted_proxies: Arc<[IpNet]>,
    pub proxy_protocol: bool,
    /// `X-Forwarded-For` to a backend never holds more than the client's address.
    pub client_only_forwarded_for: bool,
    /// Ready header value; `None`: HSTS is off.
    pub hsts: Option<HeaderValue>,
}
