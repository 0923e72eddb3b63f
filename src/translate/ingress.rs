//! What one Ingress asks for, whatever the other objects say.
//!
//! A folder is not checked by an API server, so the rules that one enforces are applied here: what it would refuse is
//! reported, and its route answers 503. Only what has no place in the language (a path that is none) is left out.
//! Who wins where several Ingresses ask for the same is decided in `hosts`; what a Service or a Secret is, elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressRule, IngressSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::annotations::{self, Annotated, Guard, Treatment};
use super::class::ClassName;
use super::names;
use super::options::Options;
use super::problem::{Problem, Reason, quoted};
use super::settings::Defaults;
use super::target;
use super::tls::{self, TlsEntry};
use crate::snapshot::{Action, HostPattern, NormalPath, PathKind, PathMatch, Reference, RoutePolicy};

/// Rules whose path starts so skip redirects, lists, limits and authentication.
const ACME_CHALLENGE: &str = "/.well-known/acme-challenge/";

/// One Ingress, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub age: Age,
    pub class: ClassName,
    /// It has a `defaultBackend`.
    pub has_default: bool,
    /// The hosts of its rules in ascending order, also those without a claim. There are many Ingresses of one host and
    /// one path, so there is no room for more.
    pub claims: Box<[(HostPattern, Box<[Claim]>)]>,
    pub tls: Vec<TlsEntry>,
    pub ssl_redirect: bool,
    pub force_ssl_redirect: bool,
    /// Of its routes.
    pub policy: Arc<RoutePolicy>,
    /// Of those of its routes that answer ACME challenges.
    pub challenge_policy: Arc<RoutePolicy>,
    pub annotated: Annotated,
    pub problems: Vec<Problem>,
}

/// Sorts objects so that the one that wins a conflict comes first: the oldest, then by namespace and name. An object
/// without a time of creation is older than any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age {
    created: Option<Timestamp>,
    pub owner: Reference,
}

/// A path of a host that an Ingress wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub path: PathMatch,
    /// What it asks for.
    pub asked: Action,
    /// Why that is denied all the same. What is wrong with the backend is told nevertheless.
    pub denied: Option<String>,
    /// Where the Ingress asks for it, as `spec.rules[0].http.paths[1]`.
    pub field: String,
    pub rank: Rank,
}

/// Why a claim is made. The first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Rule,
    /// From `spec.defaultBackend`: takes what no rule of the host takes.
    Default,
}

pub(super) fn parse(owner: &Reference, ingress: &Ingress, options: &Options, defaults: &Defaults) -> Parsed {
    let mut problems = Vec::new();
    let class = ClassName::read(ingress, &mut problems);
    let annotations = ingress.metadata.annotations.clone().unwrap_or_default();
    let treatment = annotations::read(&annotations, &options.annotations_prefix, defaults, &mut problems);
    let empty = IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&empty);
    let mut hosts = rules(owner, spec, &mut problems);
    default_backend(owner, spec, &mut hosts, &mut problems);
    deny_guarded(&treatment.guards, &mut hosts, &mut problems);
    let Treatment { ssl_redirect, force_ssl_redirect, policy, annotated, .. } = treatment;
    Parsed {
        age: Age::of(owner, &ingress.metadata),
        class,
        has_default: spec.default_backend.is_some(),
        claims: hosts.into_iter().map(|(host, claims)| (host, claims.into())).collect(),
        tls: tls::entries(owner, spec.tls.as_deref().unwrap_or_default(), &mut problems),
        ssl_redirect,
        force_ssl_redirect,
        challenge_policy: policy.clone(),
        policy,
        annotated,
        problems,
    }
}

impl Parsed {
    /// It has routes, and they all answer ACME challenges.
    pub(super) fn serves_only_challenges(&self) -> bool {
        only_challenges(self.claims.iter().flat_map(|(_, claims)| claims))
    }

    /// The hosts of its rules, in ascending order.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostPattern> {
        self.claims.iter().map(|(host, _)| host)
    }

    /// What it claims of `host`.
    pub(super) fn claims_on(&self, host: &HostPattern) -> &[Claim] {
        self.claims.binary_search_by(|(known, _)| known.cmp(host)).map_or(&[], |place| &self.claims[place].1)
    }
}

fn only_challenges<'a>(mut claims: impl Iterator<Item = &'a Claim>) -> bool {
    claims.next().is_some_and(Claim::is_acme) && claims.all(Claim::is_acme)
}

impl Age {
    pub(super) fn of(owner: &Reference, metadata: &ObjectMeta) -> Self {
        Age { created: metadata.creation_timestamp.as_ref().map(|time| time.0), owner: owner.clone() }
    }
}

impl Claim {
    /// What is done with its requests.
    pub(super) fn action(&self) -> Action {
        self.denied.as_ref().map_or_else(|| self.asked.clone(), |why| Action::Deny(why.clone()))
    }

    /// The claim's own path lies where ACME challenges are answered.
    pub(super) fn is_acme(&self) -> bool {
        self.path.path.as_str().starts_with(ACME_CHALLENGE)
    }
}

fn rules(owner: &Reference, spec: &IngressSpec, problems: &mut Vec<Problem>) -> BTreeMap<HostPattern, Vec<Claim>> {
    let mut hosts: BTreeMap<HostPattern, Vec<Claim>> = BTreeMap::new();
    let rules = spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() && spec.default_backend.is_none() {
        let message = "the Ingress has neither rules nor a defaultBackend and serves nothing; add one of them";
        problems.push(Problem::new("spec", Reason::Invalid, message));
    }
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        let Some((host, refused)) = host(rule, &field, problems) else { continue };
        let claims = hosts.entry(host).or_default();
        let paths = rule.http.as_ref().map(|http| http.paths.as_slice());
        if paths.is_some_and(|paths| paths.is_empty()) {
            let message = "http has no paths and the rule takes no request; add a path or remove http";
            problems.push(Problem::new(format!("{field}.http.paths"), Reason::Invalid, message));
        }
        for (index, path) in paths.unwrap_or_default().iter().enumerate() {
            let field = format!("{field}.http.paths[{index}]");
            if let Some(mut claim) = claim(owner, path, field, problems) {
                if refused.is_some() {
                    claim.denied.clone_from(&refused);
                }
                claims.push(claim);
            }
        }
    }
    hosts
}

/// The host of a rule, and why its routes are denied if it is not a host an API server accepts. `None`: no host at all.
fn host(rule: &IngressRule, field: &str, problems: &mut Vec<Problem>) -> Option<(HostPattern, Option<String>)> {
    let text = rule.host.as_deref().unwrap_or_default();
    let field = format!("{field}.host");
    let pattern = match HostPattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            let message = format!("{error}: the rule is left out; correct {}", quoted(text));
            problems.push(Problem::new(field, Reason::Invalid, message));
            return None;
        }
    };
    let refused = (!text.is_empty()).then(|| names::host_complaint(text)).flatten();
    let refused = refused.map(|complaint| format!("{} {complaint}: 503 is answered; correct it", quoted(text)));
    if let Some(message) = &refused {
        problems.push(Problem::new(field, Reason::Invalid, message.clone()));
    }
    Some((pattern, refused))
}

/// One path of a rule. `None`: it is no path, and nothing could be matched.
fn claim(owner: &Reference, path: &HTTPIngressPath, field: String, problems: &mut Vec<Problem>) -> Option<Claim> {
    let kind = match path.path_type.as_str() {
        "Exact" => Some(PathKind::Exact),
        "Prefix" => Some(PathKind::Prefix),
        "ImplementationSpecific" => Some(PathKind::ImplementationSpecific),
        _ => None,
    };
    let mut denied = None;
    if kind.is_none() {
        let given = if path.path_type.is_empty() { "missing".into() } else { quoted(&path.path_type) };
        let message = format!("pathType is {given}: 503 is answered; write Exact, Prefix or ImplementationSpecific");
        problems.push(Problem::new(format!("{field}.pathType"), Reason::Invalid, message.clone()));
        denied = Some(message);
    }
    let text = match path.path.as_deref().unwrap_or_default() {
        "" if !matches!(kind, Some(PathKind::Exact | PathKind::Prefix)) => "/",
        text => text,
    };
    let normal = match NormalPath::parse(text) {
        Ok(normal) => normal,
        Err(error) => {
            let message = format!("{error}: the rule is left out; correct {}", quoted(text));
            problems.push(Problem::new(format!("{field}.path"), Reason::Invalid, message));
            return None;
        }
    };
    if let Some(complaint) = kind.and_then(|kind| names::path_complaint(kind, text)) {
        let message = format!("{} {complaint}: 503 is answered; correct it", quoted(text));
        problems.push(Problem::new(format!("{field}.path"), Reason::Invalid, message.clone()));
        denied = Some(message);
    }
    let asked = target::action(owner, &path.backend, &format!("{field}.backend"), problems);
    Some(Claim {
        path: PathMatch { kind: kind.unwrap_or(PathKind::ImplementationSpecific), path: normal },
        asked,
        denied,
        field,
        rank: Rank::Rule,
    })
}

/// Claims the rest of every host of the Ingress; of unknown hosts if it has no rules at all.
fn default_backend(
    owner: &Reference,
    spec: &IngressSpec,
    hosts: &mut BTreeMap<HostPattern, Vec<Claim>>,
    problems: &mut Vec<Problem>,
) {
    let Some(backend) = &spec.default_backend else { return };
    let Ok(path) = NormalPath::parse("/") else { return };
    if spec.rules.as_ref().is_none_or(|rules| rules.is_empty()) {
        hosts.entry(HostPattern::Any).or_default();
    }
    let field = "spec.defaultBackend";
    let claim = Claim {
        path: PathMatch { kind: PathKind::ImplementationSpecific, path },
        asked: target::action(owner, backend, field, problems),
        denied: None,
        field: field.to_owned(),
        rank: Rank::Default,
    };
    for claims in hosts.values_mut() {
        claims.push(claim.clone());
    }
}

/// Denies the claims that the guards stand before. A guard that has nothing to deny is not reported: what it asks for
/// does not count for ACME challenges, and there is nothing else.
fn deny_guarded(guards: &[Guard], hosts: &mut BTreeMap<HostPattern, Vec<Claim>>, problems: &mut Vec<Problem>) {
    let only_acme = only_challenges(hosts.values().flatten());
    for claim in hosts.values_mut().flatten() {
        let guard = guards.iter().find(|guard| !(guard.spares_acme && claim.is_acme()));
        if let Some(guard) = guard {
            claim.denied = Some(guard.problem.message.clone());
        }
    }
    let reported = guards.iter().filter(|guard| !(guard.spares_acme && only_acme));
    problems.extend(reported.map(|guard| guard.problem.clone()));
}
