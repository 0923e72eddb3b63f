//! What Kubernetes asks of a controller of Ingresses: every scenario of
//! <https://github.com/kubernetes-sigs/ingress-controller-conformance>, in our words, without the redirect to https.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::Controller;
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::{echo, of_class};
use crate::support::client::{get, request};
use crate::support::objects::{ingress, rule, rule_to, tls_secret, with_annotation, with_tls};
use crate::support::tls::{Tls, certificate};
use crate::support::wait::stays;
use crate::support::{Response, TestCertificate};

/// An Ingress that is served, with these Services.
fn served(namespace: &Namespace, ingress: Value, services: &[&str]) -> Controller {
    let ingress = of_class(&namespace.name, ingress);
    services.iter().for_each(|service| namespace.apply(&echo(service, 1)));
    namespace.apply(&[with_annotation(ingress, "nginx.ingress.kubernetes.io/ssl-redirect", "false")]);
    let controller = Controller::start(namespace);
    services.iter().for_each(|service| namespace.rolled_out(service));
    until("its address", || address(namespace, "tested").is_array().then_some(()));
    controller
}

fn address(namespace: &Namespace, ingress: &str) -> Value {
    namespace.object(&["ingress", ingress])["status"]["loadBalancer"]["ingress"].clone()
}

fn to_any(service: &str) -> Value {
    let mut ingress = ingress("tested", &[]);
    ingress["spec"] = json!({ "defaultBackend": { "service": { "name": service, "port": { "number": 80 } } } });
    ingress
}

/// Who answered, or with which status nobody did.
#[track_caller]
fn answered(controller: &Controller, host: &str, path: &str) -> String {
    let answer = get(controller.http, host, path);
    if answer.status == 200 { service(&answer) } else { answer.status.to_string() }
}

fn service(answer: &Response) -> String {
    answer.json()["service"].as_str().unwrap().to_owned()
}

#[test]
fn default_backend() {
    let namespace = Namespace::new();
    let controller = served(&namespace, to_any("echo-service"), &["echo-service"]);
    for (method, host, path) in [
        ("GET", "my-host", "/"),
        ("GET", "my-host", "/sub-path"),
        ("POST", "some-host", "/"),
        ("PUT", "", "/resource"),
        ("DELETE", "some-host", "/resource"),
        ("PATCH", "my-host", "/resource"),
    ] {
        // Without a name, clients ask for the address.
        let host = if host.is_empty() { controller.http.to_string() } else { host.to_owned() };
        let asked = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = until("an answer", || Some(request(controller.http, &asked)).filter(|one| one.status == 200));
        assert_eq!(answer.version, "HTTP/1.1");
        for field in ["content-length", "content-type", "date", "server"] {
            assert!(answer.header(field).is_some_and(|value| !value.is_empty()), "{field} in {}", answer.raw_head);
        }
        let seen = answer.json();
        let of = |field: &str| seen[field].as_str().unwrap().to_owned();
        let [service, way, place, proto] = ["service", "method", "path", "proto"].map(of);
        assert_eq!([&service, &way, &place, &proto], ["echo-service", method, path, "HTTP/1.1"]);
        assert_eq!(seen["headers"]["user-agent"], json!(["Go-http-client/1.1"]));
    }
}

#[test]
fn host_rules() {
    let namespace = Namespace::new();
    let named = json!({ "service": { "name": "foo-bar-com", "port": { "name": "http" } } });
    let rules = [rule("*.foo.com", "/", "Prefix", "wildcard-foo-com"), rule_to("foo.bar.com", "/", "Prefix", named)];
    let shown = TestCertificate::for_names(&["foo.bar.com"]);
    namespace.apply(&[tls_secret("conformance-tls", &shown)]);
    let ingress = with_tls(ingress("tested", &rules), &["foo.bar.com"], "conformance-tls");
    let controller = served(&namespace, ingress, &["wildcard-foo-com", "foo-bar-com"]);
    for (host, expected) in [
        ("foo.bar.com", "foo-bar-com"),
        ("subdomain.bar.com", "404"),
        ("bar.foo.com", "wildcard-foo-com"),
        ("baz.bar.foo.com", "404"),
        ("foo.com", "404"),
    ] {
        until(&format!("{expected} for {host}"), || (answered(&controller, host, "/") == expected).then_some(()));
    }
    for host in ["foo.bar.com", "bar.foo.com"] {
        assert_eq!(get(controller.http, host, "/").json()["host"], host);
    }
    let mut safe = Tls::to("foo.bar.com").connect(controller.https);
    assert_eq!(certificate(&safe), shown.der);
    let answer = safe.get("foo.bar.com", "/");
    assert_eq!((service(&answer).as_str(), &answer.json()["host"]), ("foo-bar-com", &json!("foo.bar.com")));
}

#[test]
fn path_rules() {
    let namespace = Namespace::new();
    let paths = [
        ("exact-path-rules", "/foo", "Exact", "foo-exact"),
        ("prefix-path-rules", "/foo", "Prefix", "foo-prefix"),
        ("prefix-path-rules", "/aaa/bbb", "Prefix", "aaa-slash-bbb-prefix"),
        ("prefix-path-rules", "/aaa", "Prefix", "aaa-prefix"),
        ("mixed-path-rules", "/foo", "Prefix", "foo-prefix"),
        ("mixed-path-rules", "/foo", "Exact", "foo-exact"),
        ("trailing-slash-path-rules", "/aaa/bbb/", "Prefix", "aaa-slash-bbb-slash-prefix"),
        ("trailing-slash-path-rules", "/foo/", "Exact", "foo-slash-exact"),
    ];
    let rules = paths.map(|(host, path, kind, service)| rule(host, path, kind, service));
    let services = BTreeSet::from(paths.map(|(.., service)| service));
    let controller = served(&namespace, ingress("tested", &rules), &Vec::from_iter(services));
    for (host, path, expected) in [
        ("exact-path-rules", "/foo", "foo-exact"),
        ("exact-path-rules", "/foo/", "404"),
        ("exact-path-rules", "/FOO", "404"),
        ("exact-path-rules", "/bar", "404"),
        ("prefix-path-rules", "/foo", "foo-prefix"),
        ("prefix-path-rules", "/foo/", "foo-prefix"),
        ("prefix-path-rules", "/FOO", "404"),
        ("prefix-path-rules", "/aaa/bbb", "aaa-slash-bbb-prefix"),
        ("prefix-path-rules", "/aaa/bbb/ccc", "aaa-slash-bbb-prefix"),
        ("prefix-path-rules", "/aaa/ccc", "aaa-prefix"),
        ("prefix-path-rules", "/aaaccc", "404"),
        ("mixed-path-rules", "/foo", "foo-exact"),
        ("trailing-slash-path-rules", "/aaa/bbb", "aaa-slash-bbb-slash-prefix"),
        ("trailing-slash-path-rules", "/aaa/bbb/", "aaa-slash-bbb-slash-prefix"),
        ("trailing-slash-path-rules", "/foo", "404"),
    ] {
        let what = format!("{expected} for {host}{path}");
        until(&what, || (answered(&controller, host, path) == expected).then_some(()));
    }
}

/// Beside one that is served, so that it is known to have been looked at.
#[test]
fn ingress_class() {
    let namespace = Namespace::new();
    let mut other = ingress("invalid", &[rule("ingress-class", "/", "Prefix", "echo-service")]);
    other["spec"]["ingressClassName"] = "some-invalid-class-name".into();
    namespace.apply(&[other]);
    let controller =
        served(&namespace, ingress("tested", &[rule("served", "/", "Prefix", "echo-service")]), &["echo-service"]);
    until("an answer", || (answered(&controller, "served", "/") == "echo-service").then_some(()));
    stays("no address, and no answer", Duration::from_secs(2), || {
        address(&namespace, "invalid").is_null() && answered(&controller, "ingress-class", "/") == "404"
    });
}

#[test]
fn load_balancing() {
    let namespace = Namespace::new();
    let controller = served(&namespace, to_any("echo-service"), &["echo-service"]);
    namespace.kubectl(&["scale", "deployment", "echo-service", "--replicas=10"]);
    namespace.rolled_out("echo-service");
    until("100 answers of 10 pods", || {
        let answers = (0..100).map(|_| get(controller.http, "load-balancing", "/"));
        let pods = answers.map(|answer| (answer.status == 200).then(|| answer.json()["pod"].to_string()));
        (pods.collect::<Option<BTreeSet<_>>>()?.len() == 10).then_some(())
    });
}
