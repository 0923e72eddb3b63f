//! In which order a request is treated: of two reasons to refuse it, the earlier one is the answer.

use serde_json::json;

use crate::support::h2_client::H2Client;
use crate::support::objects::{config_map, ingress, rule, service, tls_site, with_annotation};
use crate::support::{Backend, Headgate, TestCertificate, request};

/// `safe.example` (has a certificate, bodies of 10 bytes), `empty.example` (no endpoint), `denied.example`.
fn world() -> (Headgate, Backend) {
    let backend = Backend::answering("ok");
    let mut objects = tls_site("safe.example", &[backend.address], &TestCertificate::for_names(&["safe.example"]));
    objects.push(config_map("settings", json!({ "proxy-body-size": "10" })));
    objects.push(ingress("empty", &[rule("empty.example", "/", "Prefix", "empty")]));
    objects.extend(service("empty", &[]));
    let denied = ingress("denied", &[rule("denied.example", "/", "Prefix", "safe")]);
    objects.push(with_annotation(denied, "nginx.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8"));
    (Headgate::with(&objects).flag("--configmap", "default/settings").start(), backend)
}

fn ask(proxy: &Headgate, line: &str, host: &str, more: &str) -> u16 {
    request(proxy.http, format!("{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).status
}

const LARGE: &str = "Content-Length: 100\r\n";

#[test]
fn the_head_is_checked_before_a_route_is_looked_for() {
    let (proxy, _backend) = world();
    assert_eq!(ask(&proxy, "GET /../x", "unknown.example", ""), 400);
    assert_eq!(ask(&proxy, "GET /../x", "safe.example", ""), 400);
    assert_eq!(ask(&proxy, "GET /%2e%2e", "empty.example", ""), 400);
}

#[test]
fn a_route_is_looked_for_before_anything_of_it_counts() {
    let (proxy, _backend) = world();
    assert_eq!(ask(&proxy, "POST /", "unknown.example", LARGE), 404);
}

#[test]
fn the_redirect_comes_before_the_size_of_the_body() {
    let (proxy, backend) = world();
    assert_eq!(ask(&proxy, "POST /", "safe.example", LARGE), 308);
    assert!(backend.seen().is_empty());
}

#[test]
fn the_size_of_the_body_comes_before_the_endpoint() {
    let (proxy, _backend) = world();
    assert_eq!(ask(&proxy, "POST /", "empty.example", LARGE), 413);
    assert_eq!(ask(&proxy, "POST /", "empty.example", "Content-Length: 0\r\n"), 503);
}

#[test]
fn what_is_denied_reaches_no_backend() {
    let (proxy, backend) = world();
    assert_eq!(ask(&proxy, "GET /", "denied.example", ""), 503);
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn a_grpc_caller_is_told_in_its_own_way() {
    let (proxy, _backend) = world();
    let client = H2Client::plain(proxy.http).await;
    for (host, status) in [("unknown.example", "12"), ("empty.example", "14"), ("denied.example", "14")] {
        let call = http::Request::post(format!("http://{host}/s/m"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let response = client.request(call.body(()).unwrap(), b"").await;
        assert_eq!(response.header("grpc-status"), Some(status), "{host}: {response:?}");
    }
}

#[test]
fn a_redirect_needs_a_host_that_was_named() {
    let backend = Backend::answering("ok");
    let everything = ingress("all", &[rule("", "/", "Prefix", "all")]);
    let mut objects = vec![with_annotation(everything, "nginx.ingress.kubernetes.io/force-ssl-redirect", "true")];
    objects.extend(service("all", &[backend.address]));
    let proxy = Headgate::serve(&objects);
    let response = request(proxy.http, "GET /x HTTP/1.0\r\nHost: any.example\r\n\r\n");
    assert_eq!((response.status, response.header("location")), (308, Some("https://any.example/x")));
    let response = request(proxy.http, "GET /y HTTP/1.0\r\n\r\n");
    assert_eq!((response.status, response.header("location")), (400, None));
    let line = proxy.log_of("/y");
    assert_eq!((&line["status"], &line["flag"]), (&json!(400), &json!("DPE")));
}
