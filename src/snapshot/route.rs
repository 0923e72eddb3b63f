//! Routes: which requests of a host, what happens to them, under which rules.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Access, BackendId, ConnectionLimit, NormalPath, RateLimit, Reference, SetBy};

/// One rule: the requests it takes and what happens to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    pub path: PathMatch,
    /// The Ingress that asked for it.
    pub owner: Reference,
    pub action: Action,
    /// Plain http is answered with 308 to https.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub https_redirect: bool,
    /// Shared by all routes that are held to the same rules.
    pub policy: Arc<RoutePolicy>,
}

/// Which paths a route takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PathMatch {
    pub kind: PathKind,
    pub path: NormalPath,
}

/// How a path is compared. In order of precedence where two have the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum PathKind {
    Exact,
    /// By path element: `/a` takes `/a`, `/a/` and `/a/b`, not `/ab`.
    Prefix,
    /// Matches as `Prefix` does.
    ImplementationSpecific,
}

/// What happens to the requests of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    Forward(BackendId),
    /// The owner asked for something that cannot be honoured safely: 503, with the reason in its Report.
    Deny(String),
}

/// The rules a route's requests are held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoutePolicy {
    /// A client has to pass all of them; 403 else. Shared by all routes that have the same list.
    pub access: Vec<Arc<Access>>,
    /// The methods that are served; 405 for others. `None`: all but TRACE and CONNECT.
    pub methods: Option<Vec<String>>,
    /// CONNECT opens a tunnel to an endpoint; 405 else. Whoever makes the route says so: translation where `methods` lists
    /// CONNECT, or is `None` and `--connect-tunnel` is on. `methods` decides about the others alone, so that without a list
    /// all of them stay served.
    pub connect: bool,
    /// Names of fields that a request must have, lower case; 400 else.
    pub required_headers: Vec<String>,
    /// A request has to pass all of them.
    pub rate_limits: Vec<RateLimit>,
    /// Requests that one client may have in flight, for each of these; 429 beyond.
    pub connection_limits: Vec<ConnectionLimit>,
    /// Largest request body in bytes; 413 beyond. `None`: no limit.
    pub max_body_size: Option<u64>,
    /// Time to open a connection to one endpoint.
    pub connect_timeout: Duration,
    /// Longest silence of the backend: until the response head, then between two reads.
    pub idle_timeout: Duration,
    /// Longest time the backend may take nothing of a request that is ready to be written to it.
    pub send_timeout: Duration,
    /// From the request head to the last byte of the response. `None`: no limit.
    pub request_timeout: Option<Duration>,
    /// Which policies say so.
    #[serde(skip_serializing_if = "SetBy::is_empty")]
    pub set_by: SetBy,
}

impl Default for RoutePolicy {
    fn default() -> Self {
        RoutePolicy {
            access: Vec::new(),
            methods: None,
            connect: false,
            required_headers: Vec::new(),
            rate_limits: Vec::new(),
            connection_limits: Vec::new(),
            max_body_size: None,
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            request_timeout: None,
            set_by: SetBy::default(),
        }
    }
}

impl PathMatch {
    /// The order in which the routes of a host are tried: Exact, then the longest path string, then `Prefix` before
    /// `ImplementationSpecific`.
    pub fn precedence(&self) -> impl Ord + use<> {
        (self.kind != PathKind::Exact, Reverse(self.path.as_str().len()), self.kind, self.path.clone())
    }
}
