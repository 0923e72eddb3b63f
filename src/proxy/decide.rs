//! What becomes of a request, as far as its head and the tables tell: its route, a redirect, what the route demands.
//!
//! Nothing is counted, waited for or changed here, so the answer is the same for `request`, which asks for each request,
//! and for `explain`, which asks what would become of one. What depends on other requests (limits, turns, connections)
//! is `admit`'s and `forward`'s.

use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, Method, Uri};

use super::client_address::Resolved;
use super::error::ProxyError;
use super::head_check::{Checked, Connect};
use super::headers::{self, Scheme};
use crate::snapshot::RoutePolicy;
use crate::tables::{LiveAction, LiveRoute, NoRoute, Routes};

/// A request whose head was checked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub head: &'a Parts,
    pub target: &'a Checked,
    /// The client's connection is TLS.
    pub tls: bool,
    pub client: Resolved,
}

/// What a route does with a request that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is sent to https.
    Redirect,
    /// It goes on, if limits let it.
    Admit,
}

/// The route of a request for `target`; `uri` is what was checked.
pub fn route<'a>(routes: &'a Routes, target: &Checked, uri: &Uri) -> Result<&'a Arc<LiveRoute>, ProxyError> {
    Ok(routes.find(target.host(), target.path(uri))?)
}

/// What `route` does with a request: the redirect comes first, then its demands, in the order in which they are asked
/// for. `least_body`: the bytes that the body has at least.
pub fn next(route: &LiveRoute, asked: Asked<'_>, least_body: impl FnOnce() -> u64) -> Result<Next, ProxyError> {
    let scheme = || headers::effective_scheme(&asked.head.headers, asked.tls, asked.client.trusted_peer);
    if route.https_redirect && scheme() == Scheme::Http {
        return Ok(Next::Redirect);
    }
    demand(route, asked, least_body).map(|()| Next::Admit)
}

/// The place of the route's backend in [`crate::tables::Tables::backends`].
pub fn slot(route: &LiveRoute) -> Result<usize, ProxyError> {
    match route.action {
        LiveAction::Forward(slot) => Ok(slot),
        LiveAction::Deny => Err(ProxyError::Denied),
    }
}

fn demand(route: &LiveRoute, asked: Asked<'_>, least_body: impl FnOnce() -> u64) -> Result<(), ProxyError> {
    if !route.access.iter().all(|list| list.permits(asked.client.client)) {
        return Err(ProxyError::Forbidden);
    }
    demand_method(&route.policy, asked)?;
    // Over HTTP/2 the host stands in the target.
    let has =
        |name: &HeaderName| asked.head.headers.contains_key(name) || (*name == HOST && !asked.target.host().is_empty());
    if !route.required_headers.iter().all(has) {
        return Err(ProxyError::FieldMissing);
    }
    if route.policy.max_body_size.is_some_and(|limit| least_body() > limit) {
        return Err(ProxyError::BodyTooLarge);
    }
    Ok(())
}

fn demand_method(policy: &RoutePolicy, asked: Asked<'_>) -> Result<(), ProxyError> {
    let method = match asked.target.connect {
        Some(Connect::Tunnel) if policy.connect => return Ok(()),
        Some(Connect::Tunnel) => return Err(ProxyError::ConnectRefused),
        // What the backend gets, and what it is over HTTP/1.1.
        Some(Connect::Websocket) => &Method::GET,
        None => &asked.head.method,
    };
    match &policy.methods {
        _ if method == Method::TRACE => Err(ProxyError::MethodNotAllowed),
        Some(methods) if !methods.iter().any(|listed| listed == method.as_str()) => Err(ProxyError::MethodNotListed),
        _ => Ok(()),
    }
}

impl From<NoRoute> for ProxyError {
    fn from(none: NoRoute) -> Self {
        match none {
            NoRoute::NotFound => ProxyError::NoRoute,
            NoRoute::Ambiguous => ProxyError::AmbiguousPath,
        }
    }
}
