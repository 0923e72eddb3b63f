//! What a route holds its requests to, and the backends and endpoints behind it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::snapshot::{
    Access, Algorithm, BackendTls, HealthCheck, LimitKey, Outlier, Protocol, RateLimit, Reference, Retry, RoutePolicy,
    SetBy,
};
use crate::tables::{LiveBackend, LiveRoute, Tables};

/// What holds for the requests of a route.
#[derive(Clone, Debug, Serialize)]
pub struct Rules {
    /// Why the route is not served at all.
    pub denied: Option<String>,
    pub https_redirect: bool,
    pub access: Vec<Verdict>,
    /// `None`: all but TRACE and CONNECT.
    pub methods: Option<Vec<String>>,
    /// CONNECT is served, whatever `methods` says.
    pub connect: bool,
    pub required_headers: Vec<String>,
    pub rate_limits: Vec<Rate>,
    pub connection_limits: Vec<InFlight>,
    pub max_body_size: Option<u64>,
    pub idle_timeout: String,
    pub send_timeout: String,
    pub request_timeout: Option<String>,
    /// The policies that say so.
    pub set_by: SetBy,
}

/// What an access list says of the client.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub permits: bool,
    #[serde(flatten)]
    pub list: Arc<Access>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    /// The policy it stands in, and the Ingress whose requests it counts.
    pub policy: String,
    pub ingress: String,
    pub requests: u32,
    pub per: String,
    pub burst: u32,
    /// `client`, `route` or the name of a field.
    pub key: String,
    /// What is answered beyond.
    pub status: u16,
}

/// Requests of one client in flight.
#[derive(Clone, Debug, Serialize)]
pub struct InFlight {
    pub policy: String,
    pub ingress: String,
    pub per_client: u32,
}

/// A backend that may take the request.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    pub name: String,
    /// Its share among the members of a split.
    pub weight: u16,
    /// The policy of that split.
    pub split_by: Option<Reference>,
    pub protocol: Protocol,
    pub algorithm: Algorithm,
    pub retry: Retry,
    pub health_check: Option<HealthCheck>,
    pub outlier: Option<Outlier>,
    pub tls: Option<BackendTls>,
    /// The endpoints' certificates are verified. `None`: they are not asked for any.
    pub verified: Option<bool>,
    pub unresolved: Option<String>,
    /// Time to open a connection to one endpoint.
    pub connect_timeout: String,
    /// Requests that each endpoint may have in flight, unless it has its own limit.
    pub max_connections: Option<u32>,
    /// The policies that say so.
    pub set_by: SetBy,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// As logs have it, where it is not the backend's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub weight: u16,
    /// `usable`, or why it gets no new requests.
    pub state: &'static str,
    /// Why its newest check failed, if it did.
    pub failed_check: Option<String>,
    pub in_flight: u32,
    /// Requests that it may have in flight.
    pub max_connections: Option<u32>,
}

impl Rules {
    pub(super) fn of(route: &LiveRoute, client: IpAddr, denied: Option<String>) -> Self {
        let policy = &route.policy;
        let lists = policy.access.iter().zip(&route.access);
        Rules {
            denied,
            https_redirect: route.https_redirect,
            access: lists.map(|(list, live)| Verdict { permits: live.permits(client), list: list.clone() }).collect(),
            methods: policy.methods.clone(),
            connect: policy.connect,
            required_headers: policy.required_headers.clone(),
            rate_limits: policy.rate_limits.iter().map(Rate::of).collect(),
            connection_limits: policy
                .connection_limits
                .iter()
                .map(|limit| InFlight {
                    policy: limit.scope.policy.to_string(),
                    ingress: limit.scope.ingress.to_string(),
                    per_client: limit.per_client,
                })
                .collect(),
            max_body_size: policy.max_body_size,
            idle_timeout: format!("{:?}", policy.idle_timeout),
            send_timeout: format!("{:?}", policy.send_timeout),
            request_timeout: policy.request_timeout.map(|time| format!("{time:?}")),
            set_by: policy.set_by.clone(),
        }
    }
}

impl Rate {
    fn of(limit: &RateLimit) -> Self {
        Rate {
            policy: limit.scope.policy.to_string(),
            ingress: limit.scope.ingress.to_string(),
            requests: limit.rate.requests,
            per: format!("{:?}", limit.rate.per),
            burst: limit.rate.burst,
            key: match &limit.rate.key {
                LimitKey::ClientIp => "client".to_owned(),
                LimitKey::Header(name) => format!("header {name}"),
                LimitKey::Route => "route".to_owned(),
            },
            status: limit.rate.status,
        }
    }
}

/// All backends that may take a request for the one at `slot`.
pub(super) fn choices(tables: &Tables, slot: usize, route: &RoutePolicy) -> Vec<Choice> {
    let split_by = tables.backends.get(slot).and_then(|backend| backend.source.split_by.as_ref());
    let choices = tables.choices(slot).into_iter();
    choices.map(|(backend, weight)| Choice { weight, split_by: split_by.cloned(), ..choice(backend, route) }).collect()
}

fn choice(backend: &LiveBackend, route: &RoutePolicy) -> Choice {
    let source = &backend.source;
    let policy = source.policy.clone();
    let verified = policy.tls.as_ref().is_some_and(|tls| !tls.authorities.is_empty());
    let endpoints = backend.endpoints.iter().enumerate().map(|(place, endpoint)| {
        let in_flight = endpoint.in_flight.load(Ordering::Relaxed);
        let (weight, max_connections) = (backend.weight(place), backend.max_connections(place));
        let state = if endpoint.unhealthy.load(Ordering::Relaxed) {
            "unhealthy"
        } else if endpoint.ejected.load(Ordering::Relaxed) {
            "ejected"
        } else if weight == 0 {
            "weight 0"
        } else if max_connections.is_some_and(|most| in_flight >= most) {
            "full"
        } else {
            "usable"
        };
        let name = source.terms.get(place).map(|terms| terms.name.clone());
        Endpoint {
            address: endpoint.address,
            name,
            weight,
            state,
            failed_check: endpoint.failed_check(),
            in_flight,
            max_connections,
        }
    });
    Choice {
        name: backend.name.clone(),
        weight: 1,
        split_by: None,
        protocol: backend.protocol,
        algorithm: policy.algorithm,
        retry: policy.retry,
        health_check: policy.health_check,
        outlier: policy.outlier,
        tls: policy.tls,
        verified: (backend.protocol == Protocol::Https).then_some(verified),
        unresolved: source.unresolved.clone(),
        connect_timeout: format!("{:?}", backend.connect_timeout(route)),
        max_connections: policy.max_connections,
        set_by: source.set_by.clone(),
        endpoints: endpoints.collect(),
    }
}
