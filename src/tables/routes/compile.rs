//! Compiles the routes of a snapshot, taking over every host that did not change.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::{HeaderName, HeaderValue};

use super::{DefaultRoute, HostRoutes, PathTree, Routes};
use crate::snapshot::{Access, Action, BackendId, Host, HostPattern, Reference, Route, RoutePolicy, Snapshot};
use crate::tables::backends::{Backends, take_equal};
use crate::tables::counts::Counts;
use crate::tables::{AccessList, ConnectionLimiter, LiveAction, LiveRoute, RateLimiter, Tables};
use crate::telemetry::{Metrics, RouteLabels, RouteMetrics};

/// What routes are compiled with.
struct Compiler<'a> {
    /// Where each backend stands in [`Tables::backends`].
    slots: HashMap<&'a BackendId, usize, RandomState>,
    counts: &'a Counts,
    /// Routes often have the same list.
    lists: RefCell<HashMap<*const Access, Arc<AccessList>, RandomState>>,
    metrics: &'a Metrics,
    /// The routes before, if what they say of backends still holds.
    previous: Option<&'a Routes>,
}

impl Routes {
    /// The routes of `snapshot`, whose backends are at the places that `backends` tells.
    pub(in crate::tables) fn compile(
        snapshot: &Snapshot,
        backends: &Backends,
        counts: &Counts,
        previous: Option<&Tables>,
        metrics: &Metrics,
    ) -> Arc<Routes> {
        let previous = previous.filter(|_| !backends.moved);
        if let Some(previous) = previous
            && previous.snapshot.hosts == snapshot.hosts
            && previous.snapshot.default_backend == snapshot.default_backend
            && previous.snapshot.default_policy == snapshot.default_policy
        {
            return previous.routes.clone();
        }
        let slots = snapshot.backends.keys().zip(backends.slots.iter().copied()).collect();
        let previous = previous.map(|previous| &*previous.routes);
        let compiler = Compiler { slots, counts, lists: RefCell::default(), metrics, previous };
        Arc::new(compiler.routes(snapshot))
    }
}

impl Compiler<'_> {
    fn routes(&self, snapshot: &Snapshot) -> Routes {
        let default = snapshot.default_backend.as_ref().map(|backend| DefaultRoute {
            tls: self.default_route(backend, &snapshot.default_policy, true),
            plain: self.default_route(backend, &snapshot.default_policy, false),
        });
        let hosts = snapshot.hosts.clone();
        let mut routes = match self.previous {
            Some(Routes { exact, wildcard, any, .. }) => {
                Routes { hosts, exact: exact.clone(), wildcard: wildcard.clone(), any: any.clone(), default }
            }
            None => Routes { hosts, default, ..Routes::default() },
        };
        let mut before = self.previous.into_iter().flat_map(|previous| &*previous.hosts).peekable();
        for (pattern, host) in &*snapshot.hosts {
            let known = take_equal(&mut before, |(known, _)| (*known).cmp(pattern), |(gone, _)| routes.remove(gone));
            if known.is_none_or(|(_, known)| known != host) {
                routes.insert(self.host(pattern, host));
            }
        }
        before.for_each(|(gone, _)| routes.remove(gone));
        routes
    }

    fn host(&self, pattern: &HostPattern, host: &Arc<Host>) -> Arc<HostRoutes> {
        Arc::new(HostRoutes {
            pattern: pattern.clone(),
            source: host.clone(),
            live: host.routes.iter().map(|route| self.route(pattern, host.tls, route)).collect(),
            paths: PathTree::build(host.routes.iter().map(|route| &route.path)),
        })
    }

    fn route(&self, pattern: &HostPattern, tls: bool, route: &Route) -> Arc<LiveRoute> {
        let Reference { namespace, name } = &route.owner;
        let service = match &route.action {
            Action::Forward(backend) => backend.service.as_str(),
            Action::Deny(_) => "",
        };
        let RoutePolicy { access, methods, connect, required_headers, rate_limits, connection_limits, .. } =
            &*route.policy;
        let Counts { rates, in_flight, .. } = self.counts;
        Arc::new(LiveRoute {
            action: self.action(&route.action),
            https_redirect: route.https_redirect,
            access: access.iter().map(|access| self.list(access)).collect(),
            required_headers: required_headers.iter().filter_map(|name| HeaderName::try_from(name).ok()).collect(),
            allow: allow(methods.as_deref(), *connect),
            rate_limits: rate_limits.iter().map(|limit| RateLimiter::new(limit, rates)).collect(),
            connection_limits: connection_limits.iter().map(|limit| ConnectionLimiter::new(limit, in_flight)).collect(),
            policy: route.policy.clone(),
            tls,
            metrics: self.counters(namespace, name, service),
            label: format!("{} {pattern} {}", route.owner, route.path.path.as_str()).trim_start().to_owned(),
            namespace: namespace.clone(),
            ingress: name.clone(),
        })
    }

    /// No Ingress asked for it, so no rules hold but those of the process.
    fn default_route(&self, backend: &BackendId, policy: &Arc<RoutePolicy>, tls: bool) -> Arc<LiveRoute> {
        Arc::new(LiveRoute {
            action: self.forward(backend),
            https_redirect: false,
            access: Box::default(),
            required_headers: Box::default(),
            allow: allow(None, policy.connect),
            rate_limits: Box::default(),
            connection_limits: Box::default(),
            policy: policy.clone(),
            tls,
            metrics: self.counters(&backend.namespace, "", &backend.service),
            label: "default-backend".to_owned(),
            namespace: backend.namespace.clone(),
            ingress: String::new(),
        })
    }

    fn list(&self, access: &Arc<Access>) -> Arc<AccessList> {
        let mut lists = self.lists.borrow_mut();
        lists.entry(Arc::as_ptr(access)).or_insert_with(|| Arc::new(AccessList::new(access))).clone()
    }

    fn action(&self, action: &Action) -> LiveAction {
        match action {
            Action::Forward(backend) => self.forward(backend),
            Action::Deny(_) => LiveAction::Deny,
        }
    }

    /// A snapshot names no backend that it does not hold. If one did, its requests would get what those of an
    /// unresolved backend get, 503.
    fn forward(&self, backend: &BackendId) -> LiveAction {
        self.slots.get(backend).map_or(LiveAction::Deny, |&slot| LiveAction::Forward(slot))
    }

    fn counters(&self, namespace: &str, ingress: &str, service: &str) -> Arc<RouteMetrics> {
        self.metrics.route(&RouteLabels {
            namespace: namespace.to_owned(),
            ingress: ingress.to_owned(),
            service: service.to_owned(),
        })
    }
}

/// TRACE is served nowhere, and CONNECT where `connect` says so.
fn allow(methods: Option<&[String]>, connect: bool) -> HeaderValue {
    const ALL: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    const AND_CONNECT: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT";
    let all = HeaderValue::from_static(if connect { AND_CONNECT } else { ALL });
    let Some(methods) = methods else { return all };
    let served: Vec<&str> = methods.iter().map(String::as_str).filter(|method| *method != "TRACE").collect();
    HeaderValue::try_from(served.join(", ")).unwrap_or(all)
}
