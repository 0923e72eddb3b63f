use super::*;
use crate::tables::{LiveAction, NoRoute};

/// The Service that answers, `404`, `400` or `503`.
fn answer(tables: &Tables, host: &str, path: &str) -> String {
    match tables.routes.find(host, path) {
        Err(NoRoute::NotFound) => "404".to_owned(),
        Err(NoRoute::Ambiguous) => "400".to_owned(),
        Ok(route) => match route.action {
            LiveAction::Deny => "503".to_owned(),
            LiveAction::Forward(slot) => {
                let name = &tables.backends[slot].name;
                name.trim_start_matches("ns-").trim_end_matches("-80").to_owned()
            }
        },
    }
}

fn assert_answers(tables: &Tables, rows: &[(&str, &str, &str)]) {
    for &(host, path, service) in rows {
        assert_eq!(answer(tables, host, path), service, "{host}{path}");
    }
}

#[test]
fn exact_host_beats_wildcard_beats_none() {
    let tables = build(
        snapshot(&[
            ("a.x.com", PREFIX, "/", "exact"),
            ("*.x.com", PREFIX, "/", "wildcard"),
            ("*.y.x.com", PREFIX, "/", "deeper"),
            ("", PREFIX, "/", "any"),
        ]),
        None,
    );
    assert_answers(
        &tables,
        &[
            ("a.x.com", "/", "exact"),
            ("b.x.com", "/", "wildcard"),
            ("y.x.com", "/", "wildcard"),
            ("a.y.x.com", "/", "deeper"),
            ("x.com", "/", "any"),
            ("b.a.x.com", "/", "any"),
            ("com", "/", "any"),
            ("a.x.org", "/", "any"),
            ("[::1]", "/", "any"),
        ],
    );
}

#[test]
fn a_chosen_host_hides_the_routes_of_broader_ones() {
    let rows: &[Row] =
        &[("a.x.com", PREFIX, "/a", "exact"), ("*.x.com", PREFIX, "/b", "wildcard"), ("", PREFIX, "/", "any")];
    let mut wanted = snapshot(rows);
    let tables = build(wanted.clone(), None);
    let misses = [("a.x.com", "/b"), ("a.x.com", "/"), ("b.x.com", "/a")];
    misses.iter().for_each(|(host, path)| assert_eq!(answer(&tables, host, path), "404", "{host}{path}"));
    assert_answers(&tables, &[("a.x.com", "/a", "exact"), ("b.x.com", "/b", "wildcard"), ("c.com", "/b", "any")]);

    wanted.default_backend = Some(backend_id("default"));
    wanted.backends.insert(backend_id("default"), backend(&[]));
    let tables = build(wanted, Some(&tables));
    misses.iter().for_each(|(host, path)| assert_eq!(answer(&tables, host, path), "default", "{host}{path}"));
    assert_answers(&tables, &[("a.x.com", "/a", "exact"), ("c.com", "/b", "any")]);
}

#[test]
fn paths_are_compared_as_kubernetes_documents_it() {
    // kind, rule, request, does it match
    let rows = [
        (PREFIX, "/", "/", true),
        (PREFIX, "/", "/any/path//", true),
        (EXACT, "/", "/", true),
        (EXACT, "/", "/a", false),
        (EXACT, "/foo", "/foo", true),
        (EXACT, "/foo", "/bar", false),
        (EXACT, "/foo", "/foo/", false),
        (EXACT, "/foo/", "/foo", false),
        (EXACT, "/foo/", "/foo/", true),
        (EXACT, "/foo", "/Foo", false),
        (PREFIX, "/foo", "/foo", true),
        (PREFIX, "/foo", "/foo/", true),
        (PREFIX, "/foo/", "/foo", true),
        (PREFIX, "/foo/", "/foo/", true),
        (PREFIX, "/aaa/bb", "/aaa/bbb", false),
        (PREFIX, "/aaa/bbb", "/aaa/bbb", true),
        (PREFIX, "/aaa/bbb/", "/aaa/bbb", true),
        (PREFIX, "/aaa/bbb", "/aaa/bbb/", true),
        (PREFIX, "/aaa/bbb", "/aaa/bbb/ccc", true),
        (PREFIX, "/aaa/bbb", "/aaa/bbbxyz", false),
        (PREFIX, "/aaa/bbb", "/aaa", false),
        (PREFIX, "/foo", "/Foo", false),
        (PREFIX, "/foo", "//foo", false),
        (PREFIX, "/a/b", "/a//b", false),
        (PREFIX, "/a//b", "/a//b/c", true),
        (PREFIX, "/a//", "/a", false),
        (PREFIX, "/a//", "/a/", true),
        (PREFIX, "/a//", "/a//b", true),
        (PREFIX, "/a;b", "/a", false),
        (PREFIX, "/a", "/a;b", false),
        (SPECIFIC, "/foo", "/foo/bar", true),
        (SPECIFIC, "/foo", "/foobar", false),
        (SPECIFIC, "/foo/", "/foo", true),
    ];
    for host in ["a.x.com", "*.x.com", ""] {
        for (kind, rule, request, taken) in rows {
            let tables = build(snapshot(&[(host, kind, rule, "s")]), None);
            let expected = if taken { "s" } else { "404" };
            assert_eq!(answer(&tables, "a.x.com", request), expected, "{host} {kind:?} {rule}: {request}");
        }
    }
}

#[test]
fn exact_then_the_longest_path_then_prefix_wins() {
    let tables = build(
        snapshot(&[
            ("h", PREFIX, "/", "root"),
            ("h", PREFIX, "/a", "a"),
            ("h", EXACT, "/a/b", "exact"),
            ("h", PREFIX, "/a/b", "prefix"),
            ("h", SPECIFIC, "/a/b", "specific"),
            ("h", SPECIFIC, "/a/b/c/d", "deep"),
            ("h", SPECIFIC, "/s", "short"),
            ("h", PREFIX, "/s/", "longer"),
            ("h", SPECIFIC, "/t/", "longer-specific"),
            ("h", PREFIX, "/t", "shorter-prefix"),
        ]),
        None,
    );
    assert_answers(
        &tables,
        &[
            ("h", "/x", "root"),
            ("h", "/ab", "root"),
            ("h", "/a/x", "a"),
            ("h", "/a/b", "exact"),
            ("h", "/a/b/", "prefix"),
            ("h", "/a/b/c", "prefix"),
            ("h", "/a/b/c/d", "deep"),
            ("h", "/a/b/c/d/e/f", "deep"),
            ("h", "/a/b/c/x", "prefix"),
            ("h", "/s", "longer"),
            ("h", "/t/u", "longer-specific"),
        ],
    );
}

#[test]
fn an_escape_is_refused_only_where_decoding_selects_another_rule() {
    let rules: &[Row] = &[
        ("h", PREFIX, "/", "root"),
        ("h", PREFIX, "/admin", "admin"),
        ("h", PREFIX, "/api", "api"),
        ("h", EXACT, "/api/v1/all", "all"),
        ("h", PREFIX, "/m;n", "matrix"),
        ("h", PREFIX, "/100%25", "percent"),
        ("h", EXACT, "/a%2Fb", "literal"),
        ("h", EXACT, "/empty//", "empty"),
        ("only.app", PREFIX, "/app", "app"),
    ];
    let tables = build(snapshot(rules), None);
    assert_answers(
        &tables,
        &[
            ("h", "/admin%2Fx", "400"),
            ("h", "/admin%5Cx", "400"),
            ("h", "/x/..%2Fadmin", "400"),
            ("h", "/x%2F..%2Fadmin", "400"),
            ("h", "/x%5C..%5Cadmin", "400"),
            ("h", "/x/..%3By/admin", "400"),
            ("h", "/x/%252E%252E/admin", "400"),
            ("h", "/%2561dmin", "400"),
            ("h", "/m%3Bn", "400"),
            ("h", "/api/v1%2Fall", "400"),
            ("h", "/api//..%2Fadmin", "400"),
            ("h", "/api/x/..%2F..%2Fadmin", "400"),
            ("h", "/api/..%2F", "400"),
            ("h", "/empty/.%2F/x/..%3B", "400"),
            ("h", "/api/projects/group%2Fname", "api"),
            ("h", "/api/x%2F..%2Fy", "api"),
            ("h", "/api/%252e%252e%252fx", "api"),
            ("h", "/x/%252e%252e%252fadmin", "root"),
            ("h", "/x%2Fy", "root"),
            ("h", "/Admin%2Fx", "root"),
            ("h", "/x%3By", "root"),
            ("h", "/50%25", "root"),
            ("h", "/50%25zz%2F", "root"),
            ("h", "/100%25", "percent"),
            ("h", "/100%25/x%2Fy", "percent"),
            ("h", "/a%2Fb", "literal"),
            ("h", "/x%2Cy%20z", "root"),
            ("only.app", "/app/a%2Fb", "app"),
            ("only.app", "/app/..%2F..%2Fetc", "400"),
            ("only.app", "/app/..%2F%252E/app/x", "400"),
            ("h", "/api/..%2F%252E%252E/api", "400"),
            ("only.app", "/app%2Fx", "400"),
            ("only.app", "/x%2Fy", "404"),
            ("only.app", "/x%2F..%2Fy", "404"),
            ("unknown", "/x%2F..%2Fadmin", "404"),
        ],
    );
}

#[test]
fn a_denied_route_keeps_its_place_and_answers_for_nobody() {
    let mut wanted = snapshot(&[("h", PREFIX, "/", "root")]);
    let mut host = Host::clone(&wanted.hosts[&HostPattern::parse("h").unwrap()]);
    host.routes.insert(0, Route { action: Action::Deny("reason".into()), ..route(PREFIX, "/a", "denied") });
    wanted.hosts = Arc::new(BTreeMap::from([(HostPattern::parse("h").unwrap(), Arc::new(host))]));
    let tables = build(wanted, None);
    assert_answers(&tables, &[("h", "/a/b", "503"), ("h", "/", "root")]);
    let labels = tables.routes.find("h", "/a").unwrap().metrics.labels().clone();
    assert_eq!((&*labels.namespace, &*labels.ingress, &*labels.service), ("ns", "denied", ""));
}

#[test]
fn a_route_knows_what_is_said_of_it() {
    let mut wanted = snapshot(&[("*.x.com", PREFIX, "/a/", "s")]);
    wanted.default_backend = Some(backend_id("fallback"));
    wanted.backends.insert(backend_id("fallback"), backend(&[]));
    let tables = build(wanted, None);
    let route = tables.routes.find("h.x.com", "/a").unwrap();
    assert_eq!(route.label, "ns/s *.x.com /a/");
    assert_eq!((&*route.namespace, &*route.ingress, &*route.metrics.labels().service), ("ns", "s", "s"));
    let default = tables.routes.find("other", "/").unwrap();
    assert_eq!(default.label, "default-backend");
    assert_eq!((&*default.namespace, &*default.ingress, &*default.metrics.labels().service), ("ns", "", "fallback"));
}

#[test]
fn tls_is_told_by_host_even_where_the_default_backend_serves() {
    let mut wanted = snapshot(&[("plain", PREFIX, "/a", "s"), ("secure", PREFIX, "/a", "s")]);
    let mut hosts = BTreeMap::clone(&wanted.hosts);
    hosts.entry(HostPattern::parse("secure").unwrap()).and_modify(|host| Arc::make_mut(host).tls = true);
    wanted.hosts = Arc::new(hosts);
    wanted.default_backend = Some(backend_id("s"));
    let tables = build(wanted, None);
    for (host, tls) in [("plain", false), ("secure", true), ("unknown", false)] {
        assert_eq!(tables.routes.has_tls(host), tls, "{host}");
        assert_eq!(tables.routes.find(host, "/a").unwrap().tls, tls, "{host}/a");
        assert_eq!(tables.routes.find(host, "/other").unwrap().tls, tls, "{host}/other");
    }
}

#[test]
fn routes_are_listed_in_order_of_precedence() {
    let tables = build(
        snapshot(&[
            ("", PREFIX, "/", "any"),
            ("*.b", PREFIX, "/", "wildcard"),
            ("b", PREFIX, "/", "root"),
            ("b", PREFIX, "/long", "long"),
            ("b", EXACT, "/x", "exact"),
            ("a", PREFIX, "/", "first"),
        ]),
        None,
    );
    let listed: Vec<_> = tables.routes.iter().map(|listed| listed.live.ingress.as_str()).collect();
    assert_eq!(listed, ["first", "exact", "long", "root", "wildcard", "any"]);
    assert!(tables.routes.iter().all(|listed| listed.route.owner.name == listed.live.ingress));
    let pattern = |host| tables.routes.pattern(host).map(ToString::to_string);
    assert_eq!(pattern("c.b").as_deref(), Some("*.b"));
    assert_eq!(pattern("nowhere").as_deref(), Some("*"));
}
