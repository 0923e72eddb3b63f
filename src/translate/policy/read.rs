//! What one policy asks for, whatever the other objects say.
//!
//! A field that is no value of its type, and a target that cannot be understood, are kept as what they are: whoever
//! attaches the policy denies what they might guard.

use std::sync::Arc;
use std::time::Duration;

use super::super::ingress::Age;
use super::super::objects::{Illegible, PolicyObject};
use super::super::problem::{ObjectKind, Problem, Reason};
use super::backend::{self, Tls};
use super::client::{self, Rules, Timeouts};
use super::target::Target;
use super::values::{Flaw, Read};
use crate::api;
use crate::snapshot::{Access, Algorithm, HealthCheck, Outlier, Protocol, Rate, Reference, Retry, SplitMember};

/// A field: absent, read, or not understood.
pub(in crate::translate) type Wish<T> = Option<Result<T, Flaw>>;

/// One policy, read.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::translate) struct Policy {
    pub age: Age,
    pub generation: Option<i64>,
    pub targets: Vec<Target>,
    pub client: ClientWishes,
    pub backend: BackendWishes,
    /// Why it cannot be known what the policy asks for.
    pub blind: Option<Flaw>,
    /// Why it cannot be known of which Ingresses.
    pub lost: Option<Flaw>,
    /// All that is wrong with it by itself.
    pub problems: Vec<Problem>,
}

/// What means something on an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::translate) struct ClientWishes {
    pub access: Wish<Arc<Access>>,
    pub rate_limit: Wish<Rate>,
    pub connection_limit: Wish<u32>,
    pub request: Wish<Rules>,
    pub timeouts: Wish<Timeouts>,
}

/// What means something on a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::translate) struct BackendWishes {
    pub algorithm: Wish<Algorithm>,
    pub traffic_split: Wish<Vec<SplitMember>>,
    pub health_check: Wish<HealthCheck>,
    pub outlier: Wish<Option<Outlier>>,
    pub max_connections: Wish<u32>,
    pub protocol: Wish<Protocol>,
    pub tls: Wish<Tls>,
    pub connect_timeout: Wish<Duration>,
    pub retry: Wish<Retry>,
}

/// Names of the fields that are there.
pub(in crate::translate) const GUARDS: [&str; 4] = ["access", "rateLimit", "connectionLimit", "request"];

pub(super) const DENIED: &str = "the Ingresses that the policy is about answer 503";
pub(super) const AIMLESS: &str =
    "it is not known what the policy is about, so that it has no effect unless an IngressClass names it";

pub(in crate::translate) fn read(owner: &Reference, object: &PolicyObject) -> Policy {
    let metadata = &object.policy.metadata;
    let mut policy = Policy {
        age: Age::of(owner, metadata),
        generation: metadata.generation,
        targets: Vec::new(),
        client: ClientWishes::default(),
        backend: BackendWishes::default(),
        blind: None,
        lost: None,
        problems: Vec::new(),
    };
    let fields = Fields { spec: &object.policy.spec, illegible: &object.illegible };
    policy.client = fields.client();
    policy.backend = fields.backend(&owner.namespace);
    policy.targets(&object.policy.spec.target_refs, &object.illegible);
    policy.source_flaws(&object.illegible);
    policy.tell_wishes();
    policy
}

struct Fields<'a> {
    spec: &'a api::ProxyPolicySpec,
    illegible: &'a [Illegible],
}

impl Fields<'_> {
    fn client(&self) -> ClientWishes {
        ClientWishes {
            access: self.wish("access", self.spec.access.as_ref(), client::access),
            rate_limit: self.wish("rateLimit", self.spec.rate_limit.as_ref(), client::rate_limit),
            connection_limit: self.wish(
                "connectionLimit",
                self.spec.connection_limit.as_ref(),
                client::connection_limit,
            ),
            request: self.wish("request", self.spec.request.as_ref(), client::request),
            timeouts: self.wish("timeouts", self.spec.timeouts.as_ref(), client::timeouts),
        }
    }

    fn backend(&self, namespace: &str) -> BackendWishes {
        let spec = self.spec;
        let split = |entries: &Vec<_>| backend::traffic_split(namespace, entries);
        let tls = |tls: &_| backend::tls(namespace, tls);
        let max_connections = spec.max_connections.as_ref();
        BackendWishes {
            algorithm: self.wish("loadBalancer", spec.load_balancer.as_ref(), backend::algorithm),
            traffic_split: self.wish("trafficSplit", spec.traffic_split.as_ref(), split),
            health_check: self.wish("healthCheck", spec.health_check.as_ref(), backend::health_check),
            outlier: self.wish("outlier", spec.outlier.as_ref(), backend::outlier),
            max_connections: self.wish("maxConnections", max_connections, backend::max_connections),
            protocol: self.wish("protocol", spec.protocol.as_ref(), backend::protocol),
            tls: self.wish("backendTLS", spec.backend_tls.as_ref(), tls),
            connect_timeout: self.wish("connectTimeout", spec.connect_timeout.as_deref(), backend::connect_timeout),
            retry: self.wish("retry", spec.retry.as_ref(), backend::retry),
        }
    }

    fn wish<S: ?Sized, T>(&self, name: &str, value: Option<&S>, read: impl FnOnce(&S) -> Read<T>) -> Wish<T> {
        match self.illegible.iter().find(|illegible| top_field(&illegible.field) == Some(name)) {
            Some(illegible) => Some(Err(flaw(illegible))),
            None => value.map(read),
        }
    }
}

/// `access` of `spec.access.allow[0]`.
pub(super) fn top_field(path: &str) -> Option<&str> {
    path.strip_prefix("spec.")?.split(['.', '[']).next()
}

fn flaw(illegible: &Illegible) -> Flaw {
    Flaw::new(illegible.field.as_str(), illegible.reason.as_str(), "correct it")
}

impl Policy {
    /// What the source could not read, but for the fields that are wishes.
    fn source_flaws(&mut self, illegible: &[Illegible]) {
        for illegible in illegible {
            let name = top_field(&illegible.field);
            let of_target = |target: &Target| illegible.field.starts_with(&target.field);
            match name {
                Some("targetRefs") => match self.targets.iter().find(|target| of_target(target)) {
                    Some(target) if target.kind == ObjectKind::Service => {
                        self.tell(&illegible.field, &illegible.reason, "what is legible counts", "correct it");
                    }
                    _ => self.lose(flaw(illegible), self.effect(false)),
                },
                Some(name) if self.wishes().iter().any(|(known, _)| *known == name) => {}
                None if illegible.field.starts_with("metadata") => {
                    self.tell(&illegible.field, &illegible.reason, "the policy counts all the same", "correct it");
                }
                _ => {
                    let flaw = flaw(illegible);
                    self.tell(&flaw.field, &flaw.what, self.effect(true), &flaw.way_out);
                    self.blind.get_or_insert(flaw);
                }
            }
        }
    }

    pub(super) fn lose(&mut self, flaw: Flaw, effect: &str) {
        self.tell(&flaw.field, &flaw.what, effect, &flaw.way_out);
        self.lost.get_or_insert(flaw);
    }

    /// All fields that are there, with what is wrong with them.
    pub(in crate::translate) fn wishes(&self) -> Vec<(&'static str, Option<&Flaw>)> {
        fn of<'a, T>(name: &'static str, wish: &'a Wish<T>) -> Option<(&'static str, Option<&'a Flaw>)> {
            wish.as_ref().map(|wish| (name, wish.as_ref().err()))
        }
        let ClientWishes { access, rate_limit, connection_limit, request, timeouts } = &self.client;
        let backend = &self.backend;
        let client = [
            of("access", access),
            of("rateLimit", rate_limit),
            of("connectionLimit", connection_limit),
            of("request", request),
            of("timeouts", timeouts),
        ];
        let backend = [
            of("loadBalancer", &backend.algorithm),
            of("trafficSplit", &backend.traffic_split),
            of("healthCheck", &backend.health_check),
            of("outlier", &backend.outlier),
            of("maxConnections", &backend.max_connections),
            of("protocol", &backend.protocol),
            of("backendTLS", &backend.tls),
            of("connectTimeout", &backend.connect_timeout),
            of("retry", &backend.retry),
        ];
        client.into_iter().chain(backend).flatten().collect()
    }

    fn tell_wishes(&mut self) {
        let wrong = self.wishes().into_iter().filter_map(|(name, flaw)| flaw.map(|flaw| (name, flaw.clone())));
        for (name, Flaw { field, what, way_out }) in wrong.collect::<Vec<_>>() {
            let effect = match name {
                "backendTLS" if self.is_about(true) => "the Services that the policy is about answer 503",
                _ if GUARDS.contains(&name) => self.effect(false),
                _ => "the field is left out",
            };
            self.tell(&field, &what, effect, &way_out);
        }
    }

    fn is_about(&self, services: bool) -> bool {
        self.targets.iter().any(|target| (target.kind == ObjectKind::Service) == services)
    }

    /// What follows if it is not known what the policy guards; `services`: nor what it asks of Services.
    fn effect(&self, services: bool) -> &'static str {
        match (self.is_about(false), self.is_about(true)) {
            (false, false) => AIMLESS,
            (true, true) if services => "the Ingresses and Services that the policy is about answer 503",
            (true, _) => DENIED,
            (false, true) if services => "the Services that the policy is about answer 503",
            (false, true) => "it has no effect on a Service",
        }
    }

    pub(super) fn tell(&mut self, field: &str, what: &str, effect: &str, way_out: &str) {
        self.problems.push(Problem::new(field, Reason::Invalid, format!("{what}: {effect}; {way_out}")));
    }

    /// Why the Ingresses that the policy is about are denied.
    pub(in crate::translate) fn denies(&self) -> Option<&Flaw> {
        let guards = self.wishes().into_iter().filter(|(name, _)| GUARDS.contains(name));
        self.blind.as_ref().or(self.lost.as_ref()).or_else(|| guards.filter_map(|(_, flaw)| flaw).next())
    }
}

pub(in crate::translate) fn is_client_field(name: &str) -> bool {
    GUARDS.contains(&name) || name == "timeouts"
}
