//! Backends: one Service port and the addresses behind it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use serde::{Serialize, Serializer};

use super::{Certificate, Reference, SetBy};

/// Names a backend: a port of a Service. Ordered by namespace, name, port. Namespace and name are empty where no Service
/// stands behind it, and the port is its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId {
    pub namespace: String,
    pub service: String,
    pub port: ServicePort,
}

/// A Service port as an Ingress names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServicePort {
    Number(u16),
    Name(String),
}

/// The addresses behind a [`BackendId`] and how they are talked to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Backend {
    pub protocol: Protocol,
    /// The addresses that may get new requests, sorted, no duplicates. Empty: requests are answered 503.
    pub endpoints: Vec<SocketAddr>,
    /// Why the reference could not be resolved, if so; `endpoints` is then empty.
    pub unresolved: Option<String>,
    /// What holds for each endpoint by itself, in their order. Empty: they are all alike.
    pub terms: Vec<EndpointTerms>,
    /// Backends that stand in for this one, with their shares. Empty: none do.
    pub split: Vec<SplitMember>,
    /// The ProxyPolicy that says so.
    pub split_by: Option<Reference>,
    pub policy: BackendPolicy,
    /// Which policies say what `policy` and `protocol` are.
    #[serde(skip_serializing_if = "SetBy::is_empty")]
    pub set_by: SetBy,
}

/// What one endpoint has for itself, where endpoints were written down one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EndpointTerms {
    /// What logs call the backend of its requests.
    pub name: String,
    /// Where it was said to be: its health checks have it as Host, if the check names none.
    pub authority: String,
    /// 0 to 1000; 0: no new requests. Where no endpoint has terms, each weighs 1.
    pub weight: u16,
    /// Its requests in flight. `None`: those that the backend's policy allows.
    pub max_connections: Option<u32>,
}

/// One backend of a traffic split: its own endpoints, as its own policy says, whatever split it has itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitMember {
    pub backend: BackendId,
    /// 0 to 1000; 0: no requests.
    pub weight: u16,
}

/// How a backend's endpoints are chosen, talked to and watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendPolicy {
    pub algorithm: Algorithm,
    /// Requests in flight at one endpoint, over all workers, unless it has its own terms. `None`: no limit.
    pub max_connections: Option<u32>,
    /// Time to open a connection to one endpoint. `None`: the route's.
    pub connect_timeout: Option<Duration>,
    pub retry: Retry,
    pub health_check: Option<HealthCheck>,
    /// `None`: no endpoint is ejected.
    pub outlier: Option<Outlier>,
    /// For [`Protocol::Https`]. `None`: encrypted, not verified.
    pub tls: Option<BackendTls>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Algorithm {
    #[default]
    RoundRobin,
    LeastConnections,
    IpHash,
}

/// When a request is tried again, beyond what always is (see `proxy::forward`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Further tries, each at another endpoint.
    pub attempts: u32,
    pub on: Vec<RetryOn>,
    /// Retries over requests of the last 10 s, but at least 3.
    pub budget_percent: u32,
    /// Also methods that are not idempotent (RFC 9110 §9.2.2).
    pub non_idempotent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum RetryOn {
    ConnectFailure,
    Reset,
    Status(u16),
}

/// Requests that tell whether an endpoint is healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    pub path: String,
    /// The value of Host. `None`: the endpoint's [authority](EndpointTerms::authority), else `service.namespace` of the
    /// backend.
    pub host: Option<String>,
    /// `None`: the endpoint's.
    pub port: Option<u16>,
    pub interval: Duration,
    pub timeout: Duration,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// Statuses from and to, both inclusive.
    pub expected: Vec<(u16, u16)>,
}

/// When an endpoint that fails requests gets none for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlier {
    pub consecutive_errors: u32,
    pub ejection_time: Duration,
}

/// How an endpoint's certificate is verified, and what we show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendTls {
    /// Whose word is taken for it. Empty: it is not verified.
    pub authorities: Vec<Authority>,
    /// Asked for, and verified if there are authorities. Never what a request says, since requests share connections.
    #[serde(serialize_with = "by_name")]
    pub server_name: ServerName<'static>,
    /// Shown to endpoints that ask.
    pub client: Option<Arc<Certificate>>,
}

/// The certificate of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub der: Vec<u8>,
    /// Its distinguished name, for people.
    pub subject: String,
}

impl HealthCheck {
    /// With what counts where nothing is said. What is not said of interval and timeout gives way to the other.
    pub fn new(path: String, interval: Option<Duration>, timeout: Option<Duration>) -> Self {
        let (standard, patience) = (Duration::from_secs(5), Duration::from_secs(3));
        let interval = interval.unwrap_or_else(|| timeout.map_or(standard, |timeout| timeout.max(standard)));
        HealthCheck {
            path,
            host: None,
            port: None,
            interval,
            timeout: timeout.unwrap_or(interval.min(patience)),
            healthy_threshold: 2,
            unhealthy_threshold: 3,
            expected: vec![(200, 299)],
        }
    }
}

impl Default for BackendPolicy {
    fn default() -> Self {
        BackendPolicy {
            algorithm: Algorithm::default(),
            max_connections: None,
            connect_timeout: None,
            retry: Retry::default(),
            health_check: None,
            outlier: Some(Outlier::default()),
            tls: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 2, on: vec![RetryOn::ConnectFailure], budget_percent: 20, non_idempotent: false }
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Outlier { consecutive_errors: 5, ejection_time: Duration::from_secs(10) }
    }
}

/// How an endpoint is talked to, from the Service port's `appProtocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge, without TLS (`kubernetes.io/h2c`, `grpc`).
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServicePort::Number(number) => number.fmt(f),
            ServicePort::Name(name) => name.fmt(f),
        }
    }
}

/// `namespace-service-port`, as in logs and metrics.
impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.service.is_empty() {
            return self.port.fmt(f);
        }
        write!(f, "{}-{}-{}", self.namespace, self.service, self.port)
    }
}

/// What may be seen at a glance: the subject.
impl Serialize for Authority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.subject.serialize(serializer)
    }
}

fn by_name<S: Serializer>(name: &ServerName<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    name.to_str().serialize(serializer)
}

impl Serialize for BackendId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.service.is_empty() {
            return serializer.collect_str(&self.port);
        }
        serializer.collect_str(&format_args!("{}/{}:{}", self.namespace, self.service, self.port))
    }
}
