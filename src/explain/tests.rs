//! What is told is what happens: the same rule and the same answer as requests get.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::proxy::self_made_certificate;
use crate::snapshot::{
    Access, Action, Backend, BackendId, Host, HostPattern, NormalPath, PathKind, PathMatch, Reference, Route,
    RoutePolicy, ServicePort, Snapshot,
};
use crate::tables::{LiveAction, NoRoute, Tables};
use crate::telemetry::Metrics;

/// Host, kind, path, and what the rule is like.
type Row = (&'static str, PathKind, String, u8);

fn id(name: &str) -> BackendId {
    BackendId { namespace: "ns".into(), service: name.into(), port: ServicePort::Number(80) }
}

/// The owner of a rule is named by its place. Of `like`: 0 serves, 1 has no endpoint, 2 is denied, 3 redirects, 4 lets
/// nobody in, 5 takes POST alone.
fn route(place: usize, (_, kind, path, like): &Row) -> Route {
    let nobody = Access { allow: Some(Vec::new()), deny: Vec::new() };
    Route {
        path: PathMatch { kind: *kind, path: NormalPath::parse(path).unwrap() },
        owner: Reference::new("ns", place.to_string()),
        action: if *like == 2 { Action::Deny("because".into()) } else { Action::Forward(id(&place.to_string())) },
        https_redirect: *like == 3,
        policy: Arc::new(RoutePolicy {
            access: if *like == 4 { vec![Arc::new(nobody)] } else { Vec::new() },
            methods: (*like == 5).then(|| vec!["POST".to_owned()]),
            ..RoutePolicy::default()
        }),
    }
}

fn tables(rows: &[Row]) -> Tables {
    let mut hosts: BTreeMap<HostPattern, Host> = BTreeMap::new();
    let mut backends = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        hosts.entry(HostPattern::parse(row.0).unwrap()).or_default().routes.push(route(place, row));
        let endpoints = if row.3 == 1 { Vec::new() } else { vec!["127.0.0.1:1".parse().unwrap()] };
        backends.insert(id(&place.to_string()), Arc::new(Backend { endpoints, ..Backend::default() }));
    }
    hosts.values_mut().for_each(|host| host.routes.sort_by_key(|route| route.path.precedence()));
    let hosts = Arc::new(hosts.into_iter().map(|(pattern, host)| (pattern, Arc::new(host))).collect());
    let snapshot = Snapshot { hosts, backends, ..Snapshot::default() };
    Tables::build(Arc::new(snapshot), None, &self_made_certificate(), &Metrics::new(1))
}

fn told(tables: &Tables, method: &str, url: &str) -> Explanation {
    let question = Question { url: url.into(), method: method.into(), ..Question::default() };
    explain(tables, &[], Site::default(), &question).unwrap()
}

fn expected(like: u8, method: &str, tls: bool) -> Option<u16> {
    match like {
        1 | 2 => Some(503),
        3 if !tls => Some(308),
        4 => Some(403),
        5 if method != "POST" => Some(405),
        _ => None,
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("a|b|ab|%2F|", 0..4).prop_map(|elements| format!("/{}", elements.join("/")))
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let hosts = select(vec!["a.x", "*.x", ""]);
    let kind = select(vec![PathKind::Exact, PathKind::Prefix, PathKind::ImplementationSpecific]);
    prop::collection::vec((hosts, kind, path(), 0..6u8), 1..12)
}

proptest! {
    #[test]
    fn what_is_told_is_the_rule_and_the_status_that_requests_get(
        rows in rows(), paths in prop::collection::vec(path(), 1..8),
    ) {
        let tables = tables(&rows);
        for (host, path, method, scheme) in ["a.x", "c.x", "x", "d.c.x"].iter().flat_map(|host| {
            paths.iter().flat_map(move |path| [(host, path, "GET", "http"), (host, path, "POST", "https")])
        }) {
            let told = told(&tables, method, &format!("{scheme}://{host}{path}?q"));
            let status = match tables.routes.find(host, path) {
                Err(NoRoute::NotFound) => Some(404),
                Err(NoRoute::Ambiguous) => Some(400),
                Ok(route) => {
                    let Some(Rule::Path { ingress, .. }) = &told.rule else { panic!("{told:?}") };
                    prop_assert_eq!(&ingress.name, &route.ingress);
                    let like = rows[ingress.name.parse::<usize>().unwrap()].3;
                    if let LiveAction::Forward(slot) = route.action {
                        let leased = tables
                            .choose(slot, 0)
                            .and_then(|slot| tables.backends[slot].pick([127, 0, 0, 1].into(), 0, &[]).map(drop));
                        prop_assert_eq!(tables.would_serve(slot), leased);
                    }
                    expected(like, method, scheme == "https")
                }
            };
            prop_assert_eq!(told.answer.status, status, "{} {}", host, path);
            prop_assert_eq!(told.is_served(), status.is_none_or(|status| status == 308));
            prop_assert_eq!(told.rule.is_some(), !matches!(status, Some(400 | 404)));
        }
    }
}

#[test]
fn each_loser_is_told_why() {
    let row = |host, kind, path: &str| (host, kind, path.to_owned(), 0);
    let tables = tables(&[
        row("a.x", PathKind::Prefix, "/a/b"),
        row("a.x", PathKind::Exact, "/a/b"),
        row("a.x", PathKind::Prefix, "/a"),
        row("a.x", PathKind::Prefix, "/other"),
        row("*.x", PathKind::Prefix, "/"),
        row("*.y", PathKind::Prefix, "/"),
    ]);
    let why = |url: &str| -> Vec<(String, String)> {
        told(&tables, "GET", url).lost.into_iter().map(|lost| (lost.ingress.name, lost.why)).collect()
    };
    let other_host = ("4".to_owned(), "the rules of a.x count for this host, no others".to_owned());
    let comes_after = |name: &str| (name.to_owned(), "Prefix comes after Exact".to_owned());
    assert_eq!(why("http://a.x/a/b"), [comes_after("0"), comes_after("2"), other_host.clone()]);
    assert_eq!(why("http://a.x/a/b/c"), [("2".to_owned(), "shorter".to_owned()), other_host.clone()]);
    assert_eq!(why("http://a.x/none"), [other_host]);
}

#[test]
fn a_head_that_cannot_be_read_is_refused_as_on_the_wire() {
    let tables = tables(&[("", PathKind::Prefix, "/".into(), 0)]);
    let cause = |method: &str, url: &str, fields: &[&str]| {
        let fields = fields.iter().map(|&line| line.to_owned()).collect();
        let question = Question { url: url.into(), method: method.into(), fields, ..Question::default() };
        explain(&tables, &[], Site::default(), &question).unwrap().answer.cause.unwrap_or_default()
    };
    assert_eq!(cause("GET", "a.x", &[]), "");
    assert_eq!(cause("GET", "http://a.x/a/../b", &[]), "bad_request");
    assert_eq!(cause("GET", "http://a_.x/<", &[]), "bad_request");
    assert_eq!(cause("GET", "http://a.x/", &["Host: a.x", "Host: b.x"]), "bad_request");
    assert_eq!(cause("TRACE", "http://a.x/", &[]), "method_not_allowed");
    assert_eq!(cause("G T", "http://a.x/", &[]), "bad_request");
    assert_eq!(cause("GET", "http://a.x/", &["Expect: wonders"]), "expectation_failed");
    assert_eq!(cause("GET", &format!("http://a.x/{}", "x".repeat(70_000)), &[]), "uri_too_long");
}

#[test]
fn a_query_is_read_as_forms_are_written() {
    let question = Question::of_query("url=http%3A%2F%2Fa.x%2Fb%3Fc&method=PUT&header=A:+b&header=C:d&client=%3A%3A1");
    let fields = vec!["A: b".to_owned(), "C:d".to_owned()];
    let client = "::1".parse().unwrap();
    assert_eq!(question, Ok(Question { url: "http://a.x/b?c".into(), method: "PUT".into(), fields, client }));
    for query in ["", "url=", "url=ftp://a", "url=http://", "url=a&client=me", "url=a&x=y", "url=%4", "url=a&header=x"]
    {
        assert!(Question::of_query(query).is_err(), "{query}");
    }
    for line in ["url=a&header=A:%0d%0aB:c", "url=a%0d%0aB:c", "url=a&method=A%0aB"] {
        assert!(Question::of_query(line).is_err(), "{line}");
    }
}
