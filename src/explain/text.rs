//! An explanation for people: a line for each thing, its name in front.

use super::request::{Answer, Explanation, Rule};
use super::rules::{Choice, Rules};
use crate::snapshot::{BackendTls, Reference, Retry};

/// Lines of the text so far.
struct Lines(String);

impl Explanation {
    pub fn to_text(&self) -> String {
        let mut lines = Lines(format!("{} {}\n", self.method, self.url));
        lines.add("listener", self.listener.unwrap_or("none"));
        lines.add("client", &self.client.to_string());
        if let (Some(host), Some(path)) = (&self.host, &self.path) {
            lines.add(
                "host",
                &match &self.host_pattern {
                    Some(pattern) => format!("{host}, which the rules of {pattern} serve"),
                    None => format!("{host}, which no rule is for"),
                },
            );
            lines.add("path", path);
        }
        if self.listener.is_some() {
            self.rule(&mut lines);
        }
        if let Some(rules) = &self.rules {
            if !self.is_plain() {
                tls_of(rules, self.tls, &mut lines);
            }
            rules_of(rules, &mut lines);
        }
        self.backends.iter().for_each(|backend| backend_of(backend, &mut lines));
        lines.add("answer", &answer(&self.answer));
        lines.0
    }

    /// No Ingress stands behind it.
    fn is_plain(&self) -> bool {
        matches!(&self.rule, Some(Rule::Path { ingress, .. }) if ingress.name.is_empty())
    }

    fn rule(&self, lines: &mut Lines) {
        match &self.rule {
            Some(Rule::Path { path, kind, ingress }) => {
                let of_ingress = if self.is_plain() { String::new() } else { format!(" of Ingress {ingress}") };
                lines.add("rule", &format!("{path} ({kind:?}){of_ingress}"));
            }
            Some(Rule::DefaultBackend { .. }) => lines.add("rule", "none, so the default backend"),
            None => lines.add("rule", "none"),
        }
        for lost in &self.lost {
            let (host, path, kind, ingress, why) = (&lost.host, &lost.path, lost.kind, &lost.ingress, &lost.why);
            lines.add("lost", &format!("{host} {path} ({kind:?}) of Ingress {ingress}: {why}"));
        }
        self.conflicts.iter().for_each(|told| lines.add("conflict", told));
    }
}

impl Lines {
    fn add(&mut self, name: &str, text: &str) {
        self.0 += &format!("  {name:<10} {text}\n");
    }
}

fn tls_of(rules: &Rules, tls: bool, lines: &mut Lines) {
    lines.add(
        "tls",
        match (tls, rules.https_redirect) {
            (_, true) => "http is redirected to https",
            (true, false) => "the host has a certificate; http is served as well",
            (false, false) => "the host is in no tls:",
        },
    );
}

fn rules_of(rules: &Rules, lines: &mut Lines) {
    let by = |value| by(rules.set_by.of(value));
    for (place, verdict) in rules.access.iter().enumerate() {
        let policy = self::by(rules.set_by.of("access").get(place..=place).unwrap_or_default());
        let allow = verdict.list.allow.as_ref().map_or("all".to_owned(), |allow| shown(allow, "none"));
        let deny = shown(&verdict.list.deny, "none");
        let let_in = if verdict.permits { "let in" } else { "not let in" };
        lines.add("access", &format!("the client is {let_in}; allow {allow}; deny {deny}{policy}"));
    }
    match &rules.methods {
        Some(methods) => lines.add("methods", &(shown(methods, "none") + &by("methods"))),
        None if rules.connect => lines.add("methods", "all but TRACE"),
        None => {}
    }
    if !rules.required_headers.is_empty() {
        lines.add("required", &(shown(&rules.required_headers, "") + &by("required_headers")));
    }
    for limit in &rules.rate_limits {
        let (requests, per, burst, key, status) = (limit.requests, &limit.per, limit.burst, &limit.key, limit.status);
        let scope = match limit.ingress.as_str() {
            "" => format!("[{}] of the configuration file", limit.policy),
            ingress => format!("ProxyPolicy {} for Ingress {ingress}", limit.policy),
        };
        lines.add("rate", &format!("{requests} per {per}, burst {burst}, by {key}, else {status}: {scope}"));
    }
    for limit in &rules.connection_limits {
        let scope = format!("ProxyPolicy {} for Ingress {}", limit.policy, limit.ingress);
        lines.add("in flight", &format!("{} for each client: {scope}", limit.per_client));
    }
    let body = rules.max_body_size.map_or("of any size".to_owned(), |most| format!("up to {most} bytes"));
    lines.add("body", &(body + &by("max_body_size")));
    let request = rules.request_timeout.as_deref().unwrap_or("any time").to_owned() + &by("request_timeout");
    let (idle, send) = (rules.idle_timeout.clone() + &by("idle_timeout"), &rules.send_timeout);
    lines.add("timeouts", &format!("idle {idle}, send {send}, whole request {request}"));
}

fn backend_of(backend: &Choice, lines: &mut Lines) {
    let by = |value| by(backend.set_by.of(value));
    let protocol = format!("{:?}{}", backend.protocol, by("protocol"));
    let connect = format!("{}{}", backend.connect_timeout, by("connect_timeout"));
    let mut line = format!("{} over {protocol}, to connect within {connect}", backend.name);
    if let Some(policy) = &backend.split_by {
        line += &format!(", weight {} of the split{}", backend.weight, self::by(std::slice::from_ref(policy)));
    }
    if let Some(reason) = &backend.unresolved {
        line += &format!(": {reason}");
    }
    lines.add("backend", &line);
    treatment_of(backend, lines);
    for endpoint in &backend.endpoints {
        let most = endpoint.max_connections.map_or(String::new(), |most| format!(" of {most}"));
        let weight = if endpoint.weight == 1 { String::new() } else { format!(", weight {}", endpoint.weight) };
        let (address, state, in_flight) = (endpoint.address, endpoint.state, endpoint.in_flight);
        let name = endpoint.name.as_ref().map_or(String::new(), |name| format!("{name} at "));
        lines.add("endpoint", &format!("{name}{address} {state}{weight}, {in_flight}{most} in flight"));
    }
}

/// Whether the backend is known to be who it should be, and what else its policies say.
fn treatment_of(backend: &Choice, lines: &mut Lines) {
    if let Some(is_verified) = backend.verified {
        let verified = backend.tls.as_ref().filter(|_| is_verified).map(verified);
        let verified = verified.unwrap_or_else(|| "no: encrypted, whoever it is".to_owned());
        lines.add("verified", &(verified + &by(backend.set_by.of("tls"))));
    }
    let mut add = |name: &str, value: &str, text: String| {
        let policies = backend.set_by.of(value);
        if !policies.is_empty() {
            lines.add(name, &(text + &by(policies)));
        }
    };
    add("balancer", "algorithm", format!("{:?}", backend.algorithm));
    if let Some(most) = backend.max_connections {
        add("in flight", "max_connections", format!("{most} at each endpoint"));
    }
    add("retry", "retry", retry(&backend.retry));
    if let Some(check) = &backend.health_check {
        add("health", "health_check", format!("GET {} every {:?}", check.path, check.interval));
    }
    let outlier = backend.outlier.as_ref().map_or("never ejected".to_owned(), |outlier| {
        format!("ejected for {:?} after {} errors in a row", outlier.ejection_time, outlier.consecutive_errors)
    });
    add("outlier", "outlier", outlier);
}

fn verified(tls: &BackendTls) -> String {
    let authorities: Vec<_> = tls.authorities.iter().map(|authority| &authority.subject).collect();
    format!("to be {}, by {}", tls.server_name.to_str(), shown(&authorities, ""))
}

fn retry(retry: &Retry) -> String {
    let on: Vec<_> = retry.on.iter().map(|on| format!("{on:?}")).collect();
    let methods = if retry.non_idempotent { "any" } else { "idempotent" };
    let (attempts, budget) = (retry.attempts, retry.budget_percent);
    format!("{attempts} times on {}, methods: {methods}, budget {budget} %", shown(&on, "nothing"))
}

fn answer(answer: &Answer) -> String {
    let Some(status) = answer.status else {
        return answer.reason.clone().unwrap_or_else(|| "the backend's, if limits let the request pass".to_owned());
    };
    let mut text = status.to_string();
    answer.cause.iter().for_each(|cause| text += &format!(" {cause}"));
    answer.location.iter().for_each(|location| text += &format!(" to {location}"));
    answer.reason.iter().for_each(|reason| text += &format!(": {reason}"));
    text
}

/// The policies that a value is of, behind it.
fn by(policies: &[Reference]) -> String {
    let names: Vec<_> = policies.iter().map(Reference::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" (ProxyPolicy {})", names.join(" and ")) }
}

/// The first of them, and how many more there are.
fn shown(items: &[impl ToString], none: &str) -> String {
    const MOST: usize = 8;
    let mut text = items.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if items.len() > MOST {
        text += &format!(" and {} more", items.len() - MOST);
    }
    if text.is_empty() { none.to_owned() } else { text }
}
