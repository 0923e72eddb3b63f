//! Which rule takes a request, seen from outside. The matching itself has tables of its own beside its code.

use serde_json::json;

use crate::support::objects::{self, ingress, rule, rule_to, service, with_annotation, with_tls};
use crate::support::tls::Tls;
use crate::support::{Backend, Client, Headgate, Objects, TestCertificate, get, request};

/// Three backends that answer with their names.
struct World {
    backends: Vec<Backend>,
}

impl World {
    fn new() -> Self {
        World { backends: ["one", "two", "three"].map(Backend::answering).into() }
    }

    /// These Ingresses with the Services `one`, `two` and `three`.
    fn serve(&self, ingresses: &[serde_json::Value]) -> Headgate {
        Headgate::serve(&self.objects(ingresses))
    }

    fn objects(&self, ingresses: &[serde_json::Value]) -> Objects {
        let names = ["one", "two", "three"].iter().zip(&self.backends);
        let services = names.flat_map(|(name, backend)| service(name, &[backend.address]));
        ingresses.iter().cloned().chain(services).collect()
    }
}

/// Status and first line of the answer.
#[track_caller]
fn answer(proxy: &Headgate, host: &str, path: &str) -> String {
    let response = get(proxy.http, host, path);
    let text = response.text();
    if response.status == 200 { text } else { response.status.to_string() }
}

#[test]
fn an_unknown_host_and_an_unmatched_path_get_the_same_404() {
    let world = World::new();
    let proxy = world.serve(&[ingress("a", &[rule("a.example", "/x", "Prefix", "one")])]);
    let strip = |response: crate::support::Response| {
        (response.headers.into_iter().filter(|(n, _)| n != "date").collect::<Vec<_>>(), response.body)
    };
    let unknown = strip(get(proxy.http, "b.example", "/x"));
    let unmatched = strip(get(proxy.http, "a.example", "/y"));
    assert_eq!(unknown, unmatched);
    assert_eq!(unknown.1, b"404 Not Found\n");
}

#[test]
fn an_exact_host_beats_a_wildcard_beats_none() {
    let world = World::new();
    let rules = [
        rule("a.b.example", "/", "Prefix", "one"),
        rule("*.b.example", "/", "Prefix", "two"),
        rule("", "/", "Prefix", "three"),
    ];
    let proxy = world.serve(&[ingress("a", &rules)]);
    for (host, expected) in [
        ("a.b.example", "one"),
        ("A.B.Example", "one"),
        ("x.b.example", "two"),
        ("y.x.b.example", "three"),
        ("b.example", "three"),
        ("127.0.0.1", "three"),
        ("[::1]:80", "three"),
    ] {
        assert_eq!(answer(&proxy, host, "/"), expected, "{host}");
    }
}

#[test]
fn exact_beats_prefix_and_the_longest_prefix_wins() {
    let world = World::new();
    let rules = [
        rule("a.example", "/", "Prefix", "one"),
        rule("a.example", "/x", "Prefix", "two"),
        rule("a.example", "/x", "Exact", "three"),
    ];
    let proxy = world.serve(&[ingress("a", &rules)]);
    for (path, expected) in [
        ("/", "one"),
        ("/xy", "one"),
        ("/x", "three"),
        ("/x/", "two"),
        ("/x/y", "two"),
        ("/x?q=/", "three"),
        ("/X", "one"),
    ] {
        assert_eq!(answer(&proxy, "a.example", path), expected, "{path}");
    }
}

#[test]
fn implementation_specific_matches_by_element() {
    let world = World::new();
    let proxy = world.serve(&[ingress("a", &[rule("a.example", "/x", "ImplementationSpecific", "one")])]);
    for (path, expected) in [("/x", "one"), ("/x/y", "one"), ("/xy", "404")] {
        assert_eq!(answer(&proxy, "a.example", path), expected, "{path}");
    }
}

#[test]
fn the_path_is_forwarded_as_it_was_matched() {
    let world = World::new();
    let proxy = world.serve(&[ingress("a", &[rule("a.example", "/", "Prefix", "one")])]);
    for (sent, forwarded) in [
        ("/a//b", "/a//b"),
        ("//evil.example/x", "//evil.example/x"),
        ("/%61%2d%5f", "/a-_"),
        ("/%e2%82%ac", "/%E2%82%AC"),
        ("/a%2fb", "/a%2Fb"),
        ("/a?x=%61%2f&y=//..", "/a?x=%61%2f&y=//.."),
        ("/a?", "/a?"),
        ("/%252e%252e%252f", "/%252e%252e%252f"),
        ("/a;b=c", "/a;b=c"),
        ("/~u/(x)'*!$&+,=:@", "/~u/(x)'*!$&+,=:@"),
    ] {
        assert_eq!(answer(&proxy, "a.example", sent), "one", "{sent}");
        assert_eq!(world.backends[0].last().target(), forwarded, "{sent}");
    }
}

#[test]
fn paths_without_one_meaning_are_refused() {
    let world = World::new();
    let proxy = world.serve(&[ingress("a", &[rule("a.example", "/", "Prefix", "one")])]);
    for path in [
        "/a/../admin",
        "/./admin",
        "/a/..",
        "/.",
        "/%2e%2e/x",
        "/%2E./x",
        "/.%2e",
        "/a/%2e",
        "/%00",
        "/%0d",
        "/%0A",
        "/a\\b",
        "/%zz",
        "/%",
        "/%4",
    ] {
        assert_eq!(answer(&proxy, "a.example", path), "400", "{path}");
    }
    assert!(world.backends[0].seen().is_empty());
}

#[test]
fn escapes_that_would_select_another_rule_once_decoded_are_refused() {
    let world = World::new();
    let rules = [rule("a.example", "/", "Prefix", "one"), rule("a.example", "/admin", "Prefix", "two")];
    let proxy = world.serve(&[ingress("a", &rules)]);
    assert_eq!(answer(&proxy, "a.example", "/x%2fy"), "one");
    assert_eq!(answer(&proxy, "a.example", "/admin%2fx"), "400");
    assert_eq!(answer(&proxy, "a.example", "/admin/a%2fb"), "two");
    assert_eq!(answer(&proxy, "a.example", "/%2561dmin"), "400");
}

#[test]
fn an_ingress_default_backend_serves_the_rest_of_its_own_hosts() {
    let world = World::new();
    let mut own = ingress("own", &[rule("a.example", "/x", "Prefix", "one")]);
    own["spec"]["defaultBackend"] = json!({ "service": { "name": "two", "port": { "number": 80 } } });
    let proxy = world.serve(&[own, ingress("other", &[rule("b.example", "/x", "Prefix", "one")])]);
    assert_eq!(answer(&proxy, "a.example", "/x"), "one");
    assert_eq!(answer(&proxy, "a.example", "/y"), "two");
    assert_eq!(answer(&proxy, "b.example", "/y"), "404");
    assert_eq!(answer(&proxy, "c.example", "/"), "404");
}

#[test]
fn a_host_less_default_backend_serves_unknown_hosts() {
    let world = World::new();
    let bare = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "bare" },
        "spec": { "defaultBackend": { "service": { "name": "three", "port": { "name": "http" } } } },
    });
    let proxy = world.serve(&[bare, ingress("a", &[rule("a.example", "/x", "Prefix", "one")])]);
    assert_eq!(answer(&proxy, "unknown.example", "/any"), "three");
    assert_eq!(answer(&proxy, "a.example", "/x"), "one");
}

#[test]
fn the_default_backend_service_is_treated_as_the_process_says() {
    let silent = Backend::scripted(|exchange| exchange.until_abandoned());
    let objects = service("two", &[silent.address]);
    let proxy = Headgate::with(&objects)
        .flag("--default-backend-service", "default/two")
        .flag("--request-timeout", "300ms")
        .start();
    assert_eq!(get(proxy.http, "unknown.example", "/").status, 504);
}

#[test]
fn the_default_backend_service_takes_what_no_rule_matches() {
    let world = World::new();
    let objects = world.objects(&[ingress("a", &[rule("a.example", "/x", "Prefix", "one")])]);
    let proxy = Headgate::with(&objects).flag("--default-backend-service", "default/two").start();
    assert_eq!(answer(&proxy, "unknown.example", "/"), "two");
    assert_eq!(answer(&proxy, "a.example", "/y"), "two");
}

#[test]
fn what_cannot_be_resolved_keeps_its_route_and_answers_503() {
    let world = World::new();
    let empty = service("empty", &[]);
    let resource = json!({ "resource": { "apiGroup": "x.example", "kind": "Bucket", "name": "b" } });
    let port = json!({ "service": { "name": "one", "port": { "number": 81 } } });
    let rules = [
        rule("a.example", "/", "Prefix", "one"),
        rule("a.example", "/missing", "Prefix", "missing"),
        rule("a.example", "/empty", "Prefix", "empty"),
        rule_to("a.example", "/resource", "Prefix", resource),
        rule_to("a.example", "/port", "Prefix", port),
    ];
    let mut objects = world.objects(&[ingress("a", &rules)]);
    objects.extend(empty);
    let proxy = Headgate::serve(&objects);
    for path in ["/missing", "/empty", "/resource/x", "/port"] {
        assert_eq!(answer(&proxy, "a.example", path), "503", "{path}");
    }
    assert_eq!(answer(&proxy, "a.example", "/"), "one");
}

#[test]
fn a_guarding_annotation_that_is_not_honoured_denies_the_routes() {
    let world = World::new();
    let guarded = with_annotation(
        ingress("g", &[rule("g.example", "/", "Prefix", "one")]),
        "nginx.ingress.kubernetes.io/auth-url",
        "http://auth/",
    );
    let accepted = with_annotation(guarded.clone(), "headgate.dev/accept-unsupported", "auth-url");
    let harmless = with_annotation(
        ingress("h", &[rule("h.example", "/", "Prefix", "one")]),
        "nginx.ingress.kubernetes.io/proxy-buffering",
        "on",
    );
    let proxy = world.serve(&[guarded, harmless]);
    assert_eq!(answer(&proxy, "g.example", "/"), "503");
    assert_eq!(answer(&proxy, "h.example", "/"), "one");
    proxy.change(&world.objects(&[accepted]));
    assert_eq!(answer(&proxy, "g.example", "/"), "one");
}

#[test]
fn of_two_equal_rules_the_oldest_wins() {
    let world = World::new();
    let dated = |name: &str, date: &str, service: &str| {
        let mut object = ingress(name, &[rule("a.example", "/", "Prefix", service)]);
        object["metadata"]["creationTimestamp"] = date.into();
        object
    };
    let (young, old) = (dated("a", "2026-02-01T00:00:00Z", "one"), dated("b", "2026-01-01T00:00:00Z", "two"));
    let proxy = world.serve(&[young.clone(), old]);
    assert_eq!(answer(&proxy, "a.example", "/"), "two");
    proxy.change(&world.objects(&[young]));
    assert_eq!(answer(&proxy, "a.example", "/"), "one", "the loser takes over");
}

#[test]
fn http_is_redirected_to_https_where_the_host_stands_in_tls() {
    let backend = Backend::answering("safe");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let mut site = objects::tls_site("a.example", &[backend.address], &certificate);
    site.extend(objects::site("b.example", &[backend.address]));
    let proxy = Headgate::serve(&site);
    let mut client = Client::connect(proxy.http);
    for (host, target, location) in [
        ("a.example", "/", "https://a.example/"),
        ("A.Example:8080", "/x//%7e/?a=%2f&b=c%20d", "https://a.example/x//%7e/?a=%2f&b=c%20d"),
        ("a.example.", "/x/?", "https://a.example/x/?"),
    ] {
        let response = client.get(host, target);
        assert_eq!((response.status, response.header("location")), (308, Some(location)), "{target}");
        assert_eq!(response.text(), "308 Permanent Redirect\n");
    }
    assert_eq!(client.get("b.example", "/").text(), "safe");
    assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").text(), "safe");
}

#[test]
fn the_redirect_names_a_port_where_one_is_set_and_can_be_switched_off() {
    let backend = Backend::answering("plain");
    let certificate = TestCertificate::for_names(&["a.example", "b.example"]);
    let mut site = objects::tls_site("a.example", &[backend.address], &certificate);
    let off = with_tls(ingress("b", &[rule("b.example", "/", "Prefix", "a")]), &["b.example"], "a");
    site.push(with_annotation(off, "nginx.ingress.kubernetes.io/ssl-redirect", "false"));
    let proxy = Headgate::with(&site).flag("--https-redirect-port", "8443").start();
    assert_eq!(get(proxy.http, "a.example", "/x").header("location"), Some("https://a.example:8443/x"));
    assert_eq!(answer(&proxy, "b.example", "/"), "plain");
    let proxy = Headgate::with(&site).flag("--ssl-redirect", "false").start();
    assert_eq!(answer(&proxy, "a.example", "/"), "plain");
}

#[test]
fn a_missing_secret_still_redirects() {
    let world = World::new();
    let proxy =
        world.serve(&[with_tls(ingress("a", &[rule("a.example", "/", "Prefix", "one")]), &["a.example"], "missing")]);
    assert_eq!(answer(&proxy, "a.example", "/"), "308");
    assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").text(), "one");
}

#[test]
fn acme_challenges_are_not_redirected_where_a_rule_of_their_own_serves_them() {
    let backends = [Backend::answering("site"), Backend::answering("solver")];
    let certificate = TestCertificate::for_names(&["a.example"]);
    let mut site = objects::tls_site("a.example", &[backends[0].address], &certificate);
    let path = "/.well-known/acme-challenge/token";
    let proxy = Headgate::serve(&site);
    assert_eq!(answer(&proxy, "a.example", path), "308", "a broader rule treats it as any other path");
    site.extend(service("solver", &[backends[1].address]));
    site.push(ingress("solver", &[rule("a.example", path, "Exact", "solver")]));
    proxy.change(&site);
    assert_eq!(answer(&proxy, "a.example", path), "solver");
    assert_eq!(answer(&proxy, "a.example", "/"), "308");
}

#[test]
fn a_trusted_proxy_that_spoke_https_is_not_redirected() {
    let backend = Backend::answering("safe");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let site = objects::tls_site("a.example", &[backend.address], &certificate);
    let proxy = Headgate::with(&site).flag("--trusted-proxies", "127.0.0.0/8").start();
    let ask = |proto: &str| {
        request(proxy.http, format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: {proto}\r\n\r\n"))
    };
    assert_eq!(ask("https").status, 200);
    assert_eq!(ask("http").status, 308);
}
