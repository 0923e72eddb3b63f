//! What the annotations of an Ingress change about its routes.
//!
//! Every key under our prefixes ends as honoured, as reported (served without), or as a guard: a key that asks for
//! protection which is not honoured, so that the routes it should protect are denied. Keys of others are not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::problem::{Problem, Reason, quoted};
use super::settings::Defaults;
use super::values;
use crate::snapshot::RoutePolicy;

/// Our own prefix, beside the one that `--annotations-prefix` names.
const OWN_PREFIX: &str = "headgate.dev/";
const ACCEPT_UNSUPPORTED: &str = "accept-unsupported";

/// How the routes of one Ingress are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Treatment {
    /// Redirect plain http where the host stands in some `tls:`.
    pub ssl_redirect: bool,
    /// Redirect plain http everywhere.
    pub force_ssl_redirect: bool,
    pub policy: Arc<RoutePolicy>,
    pub annotated: Annotated,
    pub guards: Vec<Guard>,
}

/// What of the policy the annotations say, rather than defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Annotated {
    pub body_size: bool,
    pub idle_timeout: bool,
}

/// A key that asks for protection which is not honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    /// Lists, limits and authentication do not count for ACME challenges, whose routes are then not denied.
    pub spares_acme: bool,
    pub problem: Problem,
}

/// Reads `annotations`; `prefix` is without its slash. What is not a guard's problem goes to `problems`.
pub(super) fn read(
    annotations: &BTreeMap<String, String>,
    prefix: &str,
    defaults: &Defaults,
    problems: &mut Vec<Problem>,
) -> Treatment {
    let others = annotations.iter().filter(|(key, _)| !key.starts_with(OWN_PREFIX));
    let known: BTreeMap<&str, &str> =
        others.filter_map(|(key, value)| Some((bare(key, prefix)?, value.as_str()))).collect();
    let accepted = accepted(annotations, prefix, &known, problems);
    let mut reading = Reading {
        treatment: Treatment {
            ssl_redirect: defaults.ssl_redirect,
            force_ssl_redirect: false,
            policy: defaults.policy.clone(),
            annotated: Annotated::default(),
            guards: Vec::new(),
        },
        prefix,
        problems,
    };
    for (key, value) in known {
        if !reading.honoured(key, value) && !accepted.contains(key) {
            reading.refused(key);
        }
    }
    reading.treatment
}

/// The key without the prefix, if it has it.
fn bare<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    key.strip_prefix(prefix)?.strip_prefix('/')
}

/// The keys that the owner accepts to be without.
fn accepted<'a>(
    annotations: &'a BTreeMap<String, String>,
    prefix: &str,
    known: &BTreeMap<&str, &str>,
    problems: &mut Vec<Problem>,
) -> BTreeSet<&'a str> {
    let mut accepted = BTreeSet::new();
    for (key, value) in annotations {
        let Some(own) = key.strip_prefix(OWN_PREFIX) else { continue };
        if own != ACCEPT_UNSUPPORTED {
            let message = format!("{key} is not known: it has no effect; remove it");
            problems.push(Problem::new(field(key), Reason::Unsupported, message));
            continue;
        }
        for entry in value.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let entry = bare(entry, prefix).unwrap_or(entry);
            if !known.contains_key(entry) {
                let message = format!("there is no annotation {prefix}/{entry} to accept; correct or remove the entry");
                problems.push(Problem::new(field(key), Reason::Invalid, message));
            }
            accepted.insert(entry);
        }
    }
    accepted
}

struct Reading<'a> {
    treatment: Treatment,
    prefix: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    /// Applies a key that is honoured. `false`: it is not.
    fn honoured(&mut self, key: &str, value: &str) -> bool {
        match key {
            "ssl-redirect" => self.treatment.ssl_redirect = self.boolean(key, value, self.treatment.ssl_redirect),
            "force-ssl-redirect" => self.treatment.force_ssl_redirect = self.boolean(key, value, false),
            "proxy-body-size" => {
                let size = self.body_size(key, value);
                self.policy().max_body_size = size;
                self.treatment.annotated.body_size = true;
            }
            "proxy-connect-timeout" => {
                self.timeout(key, value, |policy| &mut policy.connect_timeout);
            }
            "proxy-read-timeout" => {
                self.timeout(key, value, |policy| &mut policy.idle_timeout);
                self.treatment.annotated.idle_timeout = true;
            }
            "proxy-send-timeout" => {
                self.timeout(key, value, |policy| &mut policy.send_timeout);
            }
            // Off asks for nothing, which is what happens.
            "ssl-passthrough" | "enable-modsecurity" => return values::boolean(value) == Some(false),
            _ => return false,
        }
        true
    }

    fn boolean(&mut self, key: &str, value: &str, default: bool) -> bool {
        values::boolean(value).unwrap_or_else(|| {
            self.invalid(key, format!("{} is not a boolean: {default} counts; write true or false", quoted(value)));
            default
        })
    }

    /// That of the Ingress alone: until it says something it has the very rules of all others.
    fn policy(&mut self) -> &mut RoutePolicy {
        Arc::make_mut(&mut self.treatment.policy)
    }

    fn timeout(&mut self, key: &str, value: &str, of: fn(&mut RoutePolicy) -> &mut Duration) {
        let timeout = of(self.policy());
        match values::seconds(value) {
            Some(seconds) => *timeout = seconds,
            None => {
                let (default, shown) = (*timeout, quoted(value));
                let message = format!("{shown} is not a number of seconds: {default:?} counts; write digits, no unit");
                self.invalid(key, message);
            }
        }
    }

    /// A limit that cannot be read is the default one or what ingress-nginx ships, never none.
    fn body_size(&mut self, key: &str, value: &str) -> Option<u64> {
        let fallback = self.treatment.policy.max_body_size.unwrap_or(values::STANDARD_BODY_SIZE);
        let (limit, effect) = match values::body_size(value) {
            Some(size) if !size.unit_ignored => return size.limit,
            Some(size) => (size.limit, values::STANDARD_BODY_SIZE),
            None => (Some(fallback), fallback),
        };
        let shown = quoted(value);
        let message = format!("{shown} is not a size: {effect} bytes count; write digits with k, m, g or no unit");
        self.invalid(key, message);
        limit
    }

    fn invalid(&mut self, key: &str, message: String) {
        self.problems.push(Problem::new(self.field(key), Reason::Invalid, message));
    }

    /// Reports a key that is not honoured.
    fn refused(&mut self, key: &str) {
        let policy = policy_field(key).map(|said| format!("say it as {said} and ")).unwrap_or_default();
        let way_out =
            format!("{policy}remove it, or list {key} in {OWN_PREFIX}{ACCEPT_UNSUPPORTED} to be served without it");
        let field = self.field(key);
        match guard(key) {
            Some(spares_acme) => {
                let message = format!("{key} asks for protection that is not honoured: 503 is answered; {way_out}");
                let problem = Problem::new(field, Reason::Denied, message);
                self.treatment.guards.push(Guard { spares_acme, problem });
            }
            None => {
                let message = format!("{key} is not honoured: requests are served without it; {way_out}");
                self.problems.push(Problem::new(field, Reason::Unsupported, message));
            }
        }
    }

    fn field(&self, key: &str) -> String {
        field(&format!("{}/{key}", self.prefix))
    }
}

/// The key guards something; and whether ACME challenges are exempt from what it asks for.
fn guard(key: &str) -> Option<bool> {
    let blanket = key.ends_with("-snippet")
        || key == "ssl-passthrough"
        || key == "enable-modsecurity"
        || key.starts_with("modsecurity-");
    let spares_acme =
        key.starts_with("auth-") || key == "satisfy" || key.ends_with("-source-range") || key.starts_with("limit-");
    (blanket || spares_acme).then_some(!blanket)
}

/// What says the same in a ProxyPolicy.
fn policy_field(key: &str) -> Option<&'static str> {
    Some(match key {
        "whitelist-source-range" => "access.allow of a ProxyPolicy",
        "denylist-source-range" => "access.deny of a ProxyPolicy",
        "limit-rps" | "limit-rpm" | "limit-burst-multiplier" => "rateLimit of a ProxyPolicy",
        "limit-connections" => "connectionLimit of a ProxyPolicy",
        "load-balance" | "upstream-hash-by" => "loadBalancer of a ProxyPolicy on the Service",
        "canary" | "canary-weight" => "trafficSplit of a ProxyPolicy on the Service",
        "proxy-next-upstream" | "proxy-next-upstream-tries" => "retry of a ProxyPolicy on the Service",
        "backend-protocol" => "protocol of a ProxyPolicy on the Service",
        "proxy-ssl-secret" | "proxy-ssl-verify" | "proxy-ssl-name" => "backendTLS of a ProxyPolicy on the Service",
        _ => return None,
    })
}

fn field(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}
