//! The language between Kubernetes and the wire: the complete wanted behaviour of the proxy as plain data.
//!
//! `translate` writes a [`Snapshot`], `tables` turns it into its live form. Nothing here knows Kubernetes types or
//! hyper; every type compares, prints and serialises, so two snapshots can be diffed and one can be shown to a person.
//! Maps are ordered, so equal behaviour gives equal values. Parts are shared (`Arc`) between one snapshot and the next,
//! so that comparing what did not change costs a pointer comparison.

mod backend;
mod certificate;
pub mod host;
mod limit;
pub mod path;
mod route;
mod set_by;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub use backend::{
    Algorithm, Authority, Backend, BackendId, BackendPolicy, BackendTls, EndpointTerms, HealthCheck, Outlier, Protocol,
    Retry, RetryOn, ServicePort, SplitMember,
};
pub use certificate::{Certificate, PrivateKey};
pub use host::{HostName, HostPattern, InvalidHost};
pub use limit::{Access, ConnectionLimit, LimitKey, LimitScope, Rate, RateLimit};
pub use path::{InvalidPath, NormalPath};
pub use route::{Action, PathKind, PathMatch, Route, RoutePolicy};
pub use set_by::SetBy;
pub use settings::{Hsts, Settings};

/// The complete wanted behaviour of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// What each host serves. A request picks the exact name, else the one-label wildcard, else [`HostPattern::Any`].
    pub hosts: Arc<BTreeMap<HostPattern, Arc<Host>>>,
    /// Every Service port that a route names, also those that could not be resolved.
    pub backends: BTreeMap<BackendId, Arc<Backend>>,
    /// Certificates by the name a client asks for (SNI). Several per name: one per key type, oldest first.
    pub certificates: Arc<BTreeMap<HostPattern, Vec<Reference>>>,
    /// The certificates named above and the default one, by the Secret they come from.
    pub secrets: Arc<BTreeMap<Reference, Arc<Certificate>>>,
    /// Serves clients whose SNI names nothing above. `None`: a self-made certificate.
    pub default_certificate: Option<Reference>,
    /// Serves what no route matches, in place of 404.
    pub default_backend: Option<BackendId>,
    /// How its requests are treated.
    pub default_policy: Arc<RoutePolicy>,
    /// What counts for every request of the process.
    pub settings: Settings,
}

/// The routes of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The host stands in some `tls:` section: HSTS is sent over https, and routes may redirect to https.
    pub tls: bool,
    /// In order of precedence (see [`PathMatch`]), no two of which match the same requests.
    pub routes: Vec<Route>,
}

/// Names one Kubernetes object of a kind that the context tells. One without a namespace has its name alone; both are
/// empty where there is no object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub namespace: String,
    pub name: String,
}

impl Reference {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Reference { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
