//! Routes as objects say them, and the rule that takes a request by the words of the Ingress specification: one after the
//! other, without tables.

use std::cmp::Reverse;
use std::sync::Arc;

use headgate::proxy::self_made_certificate;
use headgate::snapshot::Reference;
use headgate::tables::{NoRoute, Tables};
use headgate::telemetry::Metrics;
use headgate::translate::{Objects, Options, Translator};
use serde_json::json;

#[derive(Clone, Debug)]
pub struct Rule {
    pub host: String,
    /// `Exact` or `Prefix`.
    pub kind: &'static str,
    pub path: String,
}

impl Rule {
    pub fn new(host: &str, kind: &'static str, path: &str) -> Self {
        Rule { host: host.into(), kind, path: path.into() }
    }
}

/// Live tables of `rules`, each an Ingress of its own that has the rule's number as its name; the first is the oldest.
pub fn tables(rules: &[Rule]) -> Tables {
    let mut objects = Objects::default();
    for (number, Rule { host, kind, path }) in rules.iter().enumerate() {
        let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
        let object = json!({
            "metadata": {"creationTimestamp": format!("2024-01-01T00:{:02}:{:02}Z", number / 60, number % 60)},
            "spec": {"rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}]},
        });
        let object = serde_json::from_value(object).expect("an Ingress");
        objects.ingresses.insert(Reference::new("default", number.to_string()), Arc::new(object));
    }
    let translation = Translator::default().translate(&objects, &Options::default());
    live(translation.snapshot, None)
}

pub fn live(snapshot: headgate::snapshot::Snapshot, previous: Option<&Tables>) -> Tables {
    use std::sync::OnceLock;
    static FALLBACK: OnceLock<Arc<rustls::sign::CertifiedKey>> = OnceLock::new();
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    let metrics = METRICS.get_or_init(|| Metrics::new(1));
    Tables::build(Arc::new(snapshot), previous, FALLBACK.get_or_init(self_made_certificate), metrics)
}

/// The number of the rule that the tables find.
pub fn found(tables: &Tables, host: &str, path: &str) -> Result<usize, NoRoute> {
    tables.routes.find(host, path).map(|route| route.ingress.parse().expect("the name is a number"))
}

/// The number of the rule that takes a request: of the host that fits best, the exact path, else the one of most elements;
/// of two that are the same, the oldest.
pub fn first(rules: &[Rule], host: &str, path: &str) -> Option<usize> {
    let best = rules.iter().filter_map(|rule| fits(&rule.host, host)).min()?;
    let taking = (0..rules.len()).filter(|&number| {
        let rule = &rules[number];
        fits(&rule.host, host) == Some(best) && takes(rule, path)
    });
    taking.min_by_key(|&number| {
        let rule = &rules[number];
        (rule.kind != "Exact", Reverse(elements(&rule.path).len()), number)
    })
}

/// 0: the name itself, 1: the wildcard with one label in its place, 2: any host.
fn fits(pattern: &str, host: &str) -> Option<u8> {
    match pattern.strip_prefix("*.") {
        _ if pattern.is_empty() => Some(2),
        None => (pattern == host).then_some(0),
        Some(suffix) => host.split_once('.').is_some_and(|(_, rest)| rest == suffix).then_some(1),
    }
}

fn takes(rule: &Rule, path: &str) -> bool {
    match rule.kind {
        "Exact" => rule.path == path,
        _ => path.split('/').skip(1).collect::<Vec<_>>().starts_with(&elements(&rule.path)),
    }
}

/// Without the nothing behind a last slash.
fn elements(path: &str) -> Vec<&str> {
    path.strip_suffix('/').unwrap_or(path).split('/').skip(1).collect()
}

/// A backend that decodes all of `path` finds dot segments in it.
pub fn climbs(path: &str) -> bool {
    decoded(path).split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

fn decoded(path: &str) -> String {
    path.replace("%2F", "/").replace("%5C", "/").replace("%3B", ";")
}

/// What a backend makes of a path in normal form that decodes all of it and then resolves dot segments.
pub fn resolved(path: &str) -> String {
    let decoded = decoded(path);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment.split(';').next() {
            Some(".") => {}
            Some("..") => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}
