//! `/debug/explain` and `headgate explain` say what requests get.

use std::process::Command;

use serde_json::{Value, json};

use crate::connect::{HOST, Raw, tunnels};
use crate::support::objects::{self, Objects, ingress, rule, service, with_annotation, with_tls};
use crate::support::tls::Tls;
use crate::support::{Backend, Headgate, TestAuthority, TestCertificate, client, get};

/// `a.example`: what is served and what is not; `shop.example` has a certificate; `guarded.example` has a policy.
fn objects(backend: &Backend) -> Objects {
    let certificate = TestCertificate::for_names(&["shop.example"]);
    let a = |path: &str, kind: &str, service: &str| rule("a.example", path, kind, service);
    let mut objects = vec![
        ingress(
            "a",
            &[
                a("/", "Prefix", "ok"),
                a("/only", "Exact", "ok"),
                a("/none", "Prefix", "empty"),
                a("/gone", "Prefix", "missing"),
            ],
        ),
        ingress("wild", &[rule("*.wild.example", "/deep", "Prefix", "ok")]),
        with_tls(ingress("shop", &[rule("shop.example", "/", "Prefix", "ok")]), &["shop.example"], "shop"),
        ingress("guarded", &[rule("guarded.example", "/", "Prefix", "ok")]),
        ingress("closed", &[rule("closed.example", "/", "Prefix", "ok")]),
        policy(
            "guarded",
            json!({ "methods": ["GET", "HEAD"], "requiredHeaders": ["X-Key"], "maxBodySize": "10" }),
            None,
        ),
        policy("closed", Value::Null, Some(json!({ "deny": ["127.0.0.0/8"] }))),
        crate::support::objects::tls_secret("shop", &certificate),
    ];
    objects.extend(service("ok", &[backend.address]));
    objects.extend(service("empty", &[]));
    objects
}

fn policy(ingress: &str, request: Value, access: Option<Value>) -> Value {
    let mut spec = json!({ "targetRefs": [{ "group": "networking.k8s.io", "kind": "Ingress", "name": ingress }] });
    match access {
        Some(access) => spec["access"] = access,
        None => spec["request"] = request,
    }
    json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "ProxyPolicy",
        "metadata": { "name": ingress, "namespace": "default" },
        "spec": spec,
    })
}

/// Method, URL, fields and the status that all of it gets.
const REQUESTS: [(&str, &str, &[&str], u16); 30] = [
    ("GET", "http://a.example/", &[], 200),
    ("GET", "http://a.example/only", &[], 200),
    ("GET", "http://a.example/only/more?q", &[], 200),
    ("GET", "http://A.example.:80//x", &[], 200),
    ("OPTIONS", "http://a.example/", &[], 200),
    ("PURGE", "http://a.example/", &[], 200),
    ("GET", "http://a.example/none", &[], 503),
    ("GET", "http://a.example/none/x", &[], 503),
    ("GET", "http://a.example/%6eone", &[], 503),
    ("GET", "http://a.example/nones", &[], 200),
    ("GET", "http://a.example/gone", &[], 503),
    ("GET", "http://a.example/none%2fx", &[], 400),
    ("GET", "http://a.example/x%2fy", &[], 200),
    ("GET", "http://a.example/x/../y", &[], 400),
    ("GET", "http://a.example/%zz", &[], 400),
    ("GET", "http://a.example/<", &[], 400),
    ("TRACE", "http://a.example/", &[], 405),
    ("GET", "http://a.example/", &["Expect: wonders"], 417),
    ("GET", "http://a.example/", &["Host: a.example", "Host: b.example"], 400),
    ("GET", "http://a.example/", &["Host: shop.example"], 308),
    ("GET", "http://b.example/", &[], 404),
    ("GET", "http://x.wild.example/deep/er", &[], 200),
    ("GET", "http://x.wild.example/", &[], 404),
    ("GET", "http://y.x.wild.example/deep", &[], 404),
    ("GET", "http://shop.example/a?b=c", &[], 308),
    ("GET", "http://guarded.example/", &["X-Key: k"], 200),
    ("GET", "http://guarded.example/", &[], 400),
    ("DELETE", "http://guarded.example/", &["X-Key: k"], 405),
    ("GET", "http://guarded.example/", &["X-Key: k", "Content-Length: 11"], 413),
    ("GET", "http://closed.example/", &[], 403),
];

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

pub(super) fn explained(proxy: &Headgate, method: &str, url: &str, fields: &[&str]) -> Value {
    let mut path = format!("/debug/explain?method={method}&url={}", escaped(url));
    fields.iter().for_each(|field| path += &format!("&header={}", escaped(field)));
    get(proxy.admin, "admin", &path).json()
}

fn head(method: &str, url: &str, fields: &[&str]) -> String {
    let rest = url.split_once("://").unwrap().1;
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let own = fields.iter().any(|field| field.starts_with("Host:"));
    let host = if own { String::new() } else { format!("Host: {host}\r\n") };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{host}{fields}\r\n")
}

#[test]
fn what_is_told_is_what_requests_get() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&objects(&backend));
    for (method, url, fields, status) in REQUESTS {
        let got = client::request(proxy.http, head(method, url, fields));
        assert_eq!(got.status, status, "{method} {url} {fields:?}");
        let answer = explained(&proxy, method, url, fields)["answer"].clone();
        assert_eq!(answer["status"].as_u64().unwrap_or(200), u64::from(status), "{method} {url} {fields:?}: {answer}");
        assert_eq!(answer["location"].as_str(), got.header("location"), "{url}");
        assert_eq!(answer["cause"].is_string(), status >= 400, "{answer}");
    }
}

#[test]
fn what_is_told_of_https_is_what_requests_get() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&objects(&backend));
    let mut client = Tls::to("shop.example").connect(proxy.https);
    client.send("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let told = explained(&proxy, "GET", "https://shop.example/a", &[]);
    assert_eq!((&told["listener"], &told["answer"]["status"]), (&json!("https"), &Value::Null));
    assert_eq!(told["rule"], json!({ "path": "/", "kind": "Prefix", "ingress": "default/shop" }));
    assert_eq!(told["backends"][0]["endpoints"][0]["address"], json!(backend.address));
    assert_eq!(get(proxy.admin, "admin", "/debug/explain").status, 400);
}

#[test]
fn the_command_tells_the_same_and_its_exit_code_whether_it_is_served() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&objects(&backend));
    let mut told = Vec::new();
    for (method, url, fields, status) in REQUESTS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
        command.args(["explain", "-o", "json", "--method", method, url, "--dir"]).arg(proxy.folder.objects());
        command.args(fields.iter().flat_map(|field| ["--header", field]));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(status >= 400)), "{method} {url}: {output:?}");
        let answer = serde_json::from_slice::<Value>(&output.stdout).unwrap();
        assert_eq!(answer["answer"], explained(&proxy, method, url, fields)["answer"], "{method} {url}");
        told.push(answer);
    }
    let client = told.iter().find(|told| told["url"] == "http://closed.example/").unwrap();
    assert_eq!(client["rules"]["access"][0]["permits"], json!(false));
}

#[test]
fn a_tunnel_is_told_as_what_it_is() {
    let echo = Raw::echo();
    let mut objects = tunnels(&[echo.address], json!({}));
    objects
        .push(ingress("plain", &[rule("plain.example", "/", "Prefix", "a"), rule("sub.example", "/x", "Prefix", "a")]));
    let proxy = Headgate::serve(&objects);
    for (url, authority, status) in [
        ("http://a.example/", "a.example:80", 200),
        ("a.example", "a.example:80", 200),
        ("a.example:5432", "a.example:5432", 200),
        ("http://plain.example:443/", "plain.example:443", 405),
        ("http://sub.example", "sub.example:80", 404),
        ("http://127.0.0.1:22", "127.0.0.1:22", 404),
        ("http://[::1]", "[::1]:80", 404),
    ] {
        let mut client = client::Client::connect(proxy.http);
        client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        assert_eq!(client.head().status, status, "{url}");
        let told = explained(&proxy, "CONNECT", url, &[]);
        let answer = &told["answer"];
        assert_eq!(answer["status"].as_u64().unwrap_or(200), u64::from(status), "{url}: {answer}");
        assert_eq!(answer["reason"].as_str().unwrap().contains("tunnel to an endpoint"), status == 200, "{answer}");
    }
    let told = explained(&proxy, "CONNECT", "https://a.example", &[]);
    assert_eq!((&told["path"], &told["rules"]["connect"]), (&json!("/"), &json!(true)));
    let with_a_path = format!("/debug/explain?method=CONNECT&url={}", escaped("http://a.example/x"));
    assert_eq!(get(proxy.admin, "admin", &with_a_path).status, 400);
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    command.args(["explain", "--method", "CONNECT", HOST, "--dir"]).arg(proxy.folder.objects());
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("answer     a tunnel to an endpoint, if limits let the request pass"), "{text}");
}

#[test]
fn who_lost_a_conflict_is_told() {
    let backend = Backend::answering("ok");
    let mut objects = objects(&backend);
    objects.push(ingress("late", &[rule("a.example", "/only", "Exact", "ok")]));
    objects.push(ingress("later", &[rule("a.example", "/none/", "Prefix", "ok")]));
    objects.push(ingress("twin", &[rule("shop.example", "/", "Prefix", "ok")]));
    let proxy = Headgate::serve(&objects);
    for (url, losers) in [
        ("http://a.example/only", &["late"][..]),
        ("http://a.example/only/x", &[]),
        ("http://a.example/none", &["later"]),
        ("https://shop.example/", &["twin"]),
    ] {
        let told = explained(&proxy, "GET", url, &[]);
        let conflicts = told["conflicts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        let owners: Vec<&str> = conflicts.map(|text| text.split(": ").next().unwrap()).collect();
        assert_eq!(owners, losers.iter().map(|name| format!("Ingress default/{name}")).collect::<Vec<_>>(), "{url}");
    }
    assert_eq!(explained(&proxy, "GET", "http://a.example/only", &[])["lost"][0]["why"], "Prefix comes after Exact");
}

/// Two policies on Ingress `a`, one of which says the same timeouts; one on Service `a` and one on its port; all splits.
fn governed() -> Objects {
    let address = "127.0.0.1:9".parse().unwrap();
    let mut objects = vec![
        with_annotation(
            ingress("a", &[rule("a.example", "/", "Prefix", "a")]),
            "nginx.ingress.kubernetes.io/proxy-send-timeout",
            "7",
        ),
        objects::policy(
            "p1",
            "Ingress",
            "a",
            json!({
                "access": { "allow": ["127.0.0.0/8"] },
                "request": { "methods": ["GET"], "maxBodySize": "2k" },
                "timeouts": { "request": "9s" },
            }),
        ),
        objects::policy(
            "p2",
            "Ingress",
            "a",
            json!({
                "access": { "deny": ["192.0.2.0/24"] },
                "request": { "methods": ["GET", "PUT"], "maxBodySize": "3k", "requiredHeaders": ["X-Key"] },
                "timeouts": { "idle": "8s" },
                "rateLimit": { "requests": 5, "per": "1s" },
                "connectionLimit": { "perClient": 3 },
            }),
        ),
        objects::policy(
            "split",
            "Service",
            "a",
            json!({ "trafficSplit": [
            { "service": "a", "port": 80, "weight": 2 }, { "service": "b", "port": 80, "weight": 1 },
        ] }),
        ),
        objects::policy(
            "whole",
            "Service",
            "b",
            json!({
                "loadBalancer": { "algorithm": "LeastConnections" }, "maxConnections": 4, "protocol": "HTTPS",
                "retry": { "attempts": 1, "on": ["Reset", "503"] }, "outlier": { "disabled": true },
                "healthCheck": { "path": "/up" }, "connectTimeout": "3s",
            }),
        ),
        objects::policy(
            "port",
            "Service",
            "b",
            json!({
                "maxConnections": 5, "backendTLS": { "caSecret": { "name": "ca" }, "serverName": "b.example" },
            }),
        ),
        objects::authority_secret("ca", &TestAuthority::named("us")),
    ];
    let port = objects.iter_mut().find(|object| object["metadata"]["name"] == "port").unwrap();
    port["spec"]["targetRefs"][0]["sectionName"] = json!("http");
    objects.extend(["a", "b"].iter().flat_map(|name| service(name, &[address])));
    objects
}

#[test]
fn the_policy_behind_each_value_is_told() {
    let proxy = Headgate::serve(&governed());
    let told = explained(&proxy, "GET", "http://a.example/", &["X-Key: k"]);
    let (p1, p2) = ("default/p1", "default/p2");
    let rules = &told["rules"];
    let expected = json!({
        "access": [p1, p2], "methods": [p1, p2], "max_body_size": [p1], "required_headers": [p2],
        "request_timeout": [p1],
    });
    assert_eq!(rules["set_by"], expected);
    assert_eq!(
        (&rules["rate_limits"][0]["policy"], &rules["connection_limits"][0]["policy"]),
        (&json!(p2), &json!(p2))
    );
    let [a, b] = &told["backends"].as_array().unwrap()[..] else { panic!("{told:#}") };
    assert_eq!((&a["set_by"], &a["split_by"], &a["verified"]), (&json!({}), &json!("default/split"), &Value::Null));
    let (whole, port) = ("default/whole", "default/port");
    let expected = json!({
        "algorithm": [whole], "retry": [whole], "outlier": [whole], "health_check": [whole], "connect_timeout": [whole],
        "protocol": [whole], "max_connections": [port], "tls": [port],
    });
    assert_eq!((&b["set_by"], &b["split_by"]), (&expected, &json!("default/split")));
    assert_eq!((&b["verified"], &b["max_connections"]), (&json!(true), &json!(5)));
    for explained in [rules, b] {
        for value in explained["set_by"].as_object().unwrap().keys() {
            assert!(explained.get(value).is_some(), "{value} of set_by stands beside it");
        }
    }
}

#[test]
fn the_policy_behind_each_value_is_told_as_text() {
    let proxy = Headgate::serve(&governed());
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    command.args(["explain", "http://a.example/", "--header", "X-Key: k", "--dir"]).arg(proxy.folder.objects());
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for line in [
        "access     the client is let in; allow 127.0.0.0/8; deny none (ProxyPolicy default/p1)",
        "access     the client is let in; allow all; deny 192.0.2.0/24 (ProxyPolicy default/p2)",
        "methods    GET (ProxyPolicy default/p1 and default/p2)",
        "required   x-key (ProxyPolicy default/p2)",
        "body       up to 2000 bytes (ProxyPolicy default/p1)",
        "timeouts   idle 60s, send 7s, whole request 9s (ProxyPolicy default/p1)",
        "backend    default-a-80 over Http1, to connect within 1s, weight 2 of the split (ProxyPolicy default/split)",
        "backend    default-b-80 over Https (ProxyPolicy default/whole), to connect within 3s (ProxyPolicy default/whole), \
         weight 1 of the split (ProxyPolicy default/split)",
        "verified   to be b.example, by CN=us (ProxyPolicy default/port)",
        "balancer   LeastConnections (ProxyPolicy default/whole)",
        "in flight  5 at each endpoint (ProxyPolicy default/port)",
        "retry      1 times on Reset, Status(503), methods: idempotent, budget 20 % (ProxyPolicy default/whole)",
        "health     GET /up every 5s (ProxyPolicy default/whole)",
        "outlier    never ejected (ProxyPolicy default/whole)",
    ] {
        assert!(text.lines().any(|told| told == format!("  {line}")), "no {line:?} in\n{text}");
    }
    assert_eq!(text.matches("  retry ").count(), 1, "of `a` no policy says anything:\n{text}");
}

#[test]
fn a_default_of_the_class_is_told_by_its_policy() {
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "headgate" },
        "spec": { "controller": "headgate.dev/ingress-controller", "parameters": {
            "apiGroup": "headgate.dev", "kind": "ProxyPolicy", "name": "defaults", "namespace": "default",
            "scope": "Namespace",
        } },
    });
    let fields = json!({ "timeouts": { "idle": "8s", "request": "9s" }, "request": { "methods": ["GET"] } });
    let own = json!({ "request": { "methods": ["GET", "PUT"] } });
    let mut objects = objects::site_with_policy("a.example", &["127.0.0.1:9".parse().unwrap()], own);
    objects[0] = with_annotation(objects[0].take(), "nginx.ingress.kubernetes.io/proxy-read-timeout", "7");
    objects.extend([class, objects::policy("defaults", "IngressClass", "headgate", fields)]);
    let proxy = Headgate::serve(&objects);
    let rules = &explained(&proxy, "GET", "http://a.example/", &[])["rules"];
    assert_eq!(rules["set_by"], json!({ "methods": ["default/policy"], "request_timeout": ["default/defaults"] }));
    assert_eq!((&rules["idle_timeout"], &rules["request_timeout"]), (&json!("7s"), &json!("9s")));
}

#[test]
fn an_encrypted_backend_that_nobody_vouches_for_is_told_so() {
    let proxy = Headgate::serve(&objects::site_with_backend_policy(
        "a.example",
        &["127.0.0.1:9".parse().unwrap()],
        json!({ "protocol": "HTTPS", "backendTLS": {} }),
    ));
    assert_eq!(explained(&proxy, "GET", "http://a.example/", &[])["backends"][0]["verified"], json!(false));
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    command.args(["explain", "http://a.example/", "--dir"]).arg(proxy.folder.objects());
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("  verified   no: encrypted, whoever it is (ProxyPolicy default/policy)\n"), "{text}");
}
