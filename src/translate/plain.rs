//! From a configuration file with `[[backends]]` to a Snapshot: a plain proxy in front of them, for every host and path.
//!
//! `source::file` reads the file; the addresses of host names come from whoever resolves them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::endpoints::address_complaint;
use super::options::Options;
use super::problem::{ObjectKind, ObjectRef, Problem, Reason};
use super::reports::Reports;
use super::{Translation, settings};
use crate::snapshot::{
    Access, Action, Algorithm, Backend, BackendId, BackendPolicy, Certificate, EndpointTerms, HealthCheck, Host,
    HostPattern, LimitScope, NormalPath, PathKind, PathMatch, Rate, RateLimit, Reference, Route, RoutePolicy,
    ServicePort, Settings, Snapshot,
};

/// What a request may take where neither a flag nor the file says so.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// In the order of the file; no two have the same name or place.
    pub backends: Vec<PlainBackend>,
    pub algorithm: Algorithm,
    pub health_check: Option<HealthCheck>,
    pub rate_limit: Option<Rate>,
    pub access: Option<Arc<Access>>,
    /// `None`: the port does not speak TLS.
    pub certificate: Option<Arc<Certificate>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainBackend {
    /// What logs call it.
    pub name: String,
    pub place: Place,
    /// 0 to 1000; 0: no requests.
    pub weight: u16,
    pub max_connections: Option<u32>,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Address(SocketAddr),
    /// A host name in normal form, and a port. Each address of the name is an endpoint on the backend's terms.
    Name(String, u16),
}

/// As the Host field has it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Address(address) => address.fmt(f),
            Place::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl Plain {
    /// The host names whose addresses are wanted.
    pub fn names(&self) -> BTreeSet<String> {
        let name = |backend: &PlainBackend| match &backend.place {
            Place::Address(_) => None,
            Place::Name(name, _) => Some(name.clone()),
        };
        self.backends.iter().filter_map(name).collect()
    }

    /// `addresses`: of the [names](Self::names), as far as they resolve.
    pub fn translate(&self, addresses: &BTreeMap<String, Arc<[IpAddr]>>, options: &Options) -> Translation {
        let id =
            BackendId { namespace: String::new(), service: String::new(), port: ServicePort::Name("backends".into()) };
        let mut reports = Reports::default();
        let backend = self.backend(addresses, options, &mut reports);
        let host = Host { tls: self.certificate.is_some(), routes: vec![self.route(&id, options)] };
        let certificate = self.certificate.iter().map(|certificate| (nobody(), certificate.clone()));
        let snapshot = Snapshot {
            hosts: Arc::new(BTreeMap::from([(HostPattern::Any, Arc::new(host))])),
            backends: BTreeMap::from([(id, Arc::new(backend))]),
            secrets: Arc::new(certificate.collect()),
            default_certificate: self.certificate.as_ref().map(|_| nobody()),
            settings: process_settings(options),
            ..Snapshot::default()
        };
        Translation { snapshot, reports: reports.into_vec(), names_to_resolve: self.names(), ..Translation::default() }
    }

    fn route(&self, id: &BackendId, options: &Options) -> Route {
        let scope = || LimitScope { policy: Reference::new("", "rate_limit"), ingress: nobody() };
        Route {
            path: PathMatch { kind: PathKind::Prefix, path: NormalPath::parse("/").expect("a slash is a path") },
            owner: nobody(),
            action: Action::Forward(id.clone()),
            https_redirect: false,
            policy: Arc::new(RoutePolicy {
                access: self.access.iter().cloned().collect(),
                rate_limits: self
                    .rate_limit
                    .iter()
                    .map(|rate| RateLimit { scope: scope(), rate: rate.clone() })
                    .collect(),
                connect: options.connect_tunnel,
                request_timeout: Some(options.request_timeout.unwrap_or(REQUEST_TIMEOUT)),
                ..RoutePolicy::default()
            }),
        }
    }

    fn backend(
        &self,
        addresses: &BTreeMap<String, Arc<[IpAddr]>>,
        options: &Options,
        reports: &mut Reports,
    ) -> Backend {
        let mut endpoints: BTreeMap<SocketAddr, EndpointTerms> = BTreeMap::new();
        for backend in &self.backends {
            let object = ObjectRef { kind: ObjectKind::Backend, namespace: String::new(), name: backend.name.clone() };
            let found = backend.addresses(addresses);
            if found.is_empty() {
                let message = format!(
                    "{} does not resolve (yet): it gets no requests; correct it or its DNS entry",
                    backend.place
                );
                reports.add(object.clone(), Problem::new("addr", Reason::NoEndpoints, message));
            }
            for address in found {
                let (reason, message) = match (address_complaint(address.ip(), options), endpoints.entry(address)) {
                    (Some(complaint), _) => {
                        (Reason::Invalid, format!("{address} {complaint}: it is not used; correct it"))
                    }
                    (None, Entry::Occupied(taken)) => {
                        let name = &taken.get().name;
                        (Reason::Conflict, format!("{address} is also {name}, whose it stays; remove one of them"))
                    }
                    (None, Entry::Vacant(free)) => {
                        free.insert(backend.terms());
                        continue;
                    }
                };
                reports.add(object.clone(), Problem::new("addr", reason, message));
            }
        }
        let unresolved = endpoints.is_empty().then(|| "no backend has an address (yet)".to_owned());
        let (endpoints, terms) = endpoints.into_iter().unzip();
        let policy = BackendPolicy {
            algorithm: self.algorithm,
            health_check: self.health_check.clone(),
            ..BackendPolicy::default()
        };
        Backend { endpoints, terms, unresolved, policy, ..Backend::default() }
    }
}

impl PlainBackend {
    fn addresses(&self, of_names: &BTreeMap<String, Arc<[IpAddr]>>) -> Vec<SocketAddr> {
        match &self.place {
            Place::Address(address) => vec![*address],
            Place::Name(name, port) => {
                let addresses = of_names.get(name).into_iter().flat_map(|addresses| addresses.iter());
                addresses.map(|address| SocketAddr::new(*address, *port)).collect()
            }
        }
    }

    fn terms(&self) -> EndpointTerms {
        EndpointTerms {
            name: self.name.clone(),
            authority: self.place.to_string(),
            weight: self.weight,
            max_connections: self.max_connections,
        }
    }
}

/// Stands where an object would be named: there is none.
fn nobody() -> Reference {
    Reference::new("", "")
}

/// HSTS is sent only if a flag asks for it: it would hold for all ports of the host, most of which are not ours.
fn process_settings(options: &Options) -> Settings {
    let options = Options { hsts: Some(options.hsts.unwrap_or(false)), ..options.clone() };
    settings::read(&options, None).settings
}
