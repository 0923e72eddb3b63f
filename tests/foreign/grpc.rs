//! gRPC's own Python library at both ends: plain h2c and TLS in front, both `appProtocol`s behind.

use std::net::SocketAddr;

use super::tools::{PythonServer, python};
use crate::support::objects::{ingress, rule, service_speaking, tls_secret, with_annotation, with_tls};
use crate::support::{Backend, Headgate, Objects, TestCertificate, get, site};

/// Runs a case of `grpc_client.py` over h2c to an endpoint that speaks `grpc`, and over TLS to one of `kubernetes.io/h2c`.
#[track_caller]
fn holds(case: &str) {
    let server = PythonServer::start("grpc_server.py");
    runs(case, &[server.address], |ingress| ingress);
}

#[track_caller]
fn runs(case: &str, addresses: &[SocketAddr], change: impl Fn(serde_json::Value) -> serde_json::Value) {
    let certificate = TestCertificate::for_names(&["safe.example"]);
    let headgate = Headgate::serve(&objects(addresses, &certificate, change));
    let authority = headgate.folder.beside("authority.pem").display().to_string();
    std::fs::write(&authority, &certificate.pem).unwrap();
    python("grpc_client.py", &[case, "plain.example", &headgate.http.port().to_string()]);
    python("grpc_client.py", &[case, "safe.example", &headgate.https.port().to_string(), &authority]);
}

fn objects(
    addresses: &[SocketAddr],
    certificate: &TestCertificate,
    change: impl Fn(serde_json::Value) -> serde_json::Value,
) -> Objects {
    let plain = ingress("plain", &[rule("plain.example", "/test.Everything", "Prefix", "plain")]);
    let safe = ingress("safe", &[rule("safe.example", "/test.Everything", "Prefix", "safe")]);
    let safe = with_tls(safe, &["safe.example"], "safe");
    let mut objects = vec![change(plain), change(safe), tls_secret("safe", certificate)];
    objects.extend(service_speaking("plain", addresses, Some("grpc")));
    objects.extend(service_speaking("safe", addresses, Some("kubernetes.io/h2c")));
    objects
}

#[test]
fn a_unary_call_carries_metadata_both_ways() {
    holds("unary");
}

#[test]
fn a_server_streams() {
    holds("server_stream");
}

#[test]
fn a_client_streams() {
    holds("client_stream");
}

#[test]
fn both_stream_in_turns() {
    holds("bidirectional_stream");
}

#[test]
fn many_calls_share_a_connection() {
    holds("many_at_once");
}

#[test]
fn large_messages_pass() {
    holds("large_messages");
}

#[test]
fn compressed_messages_pass() {
    holds("compressed");
}

#[test]
fn status_and_details_reach_the_caller() {
    holds("statuses");
}

#[test]
fn what_came_before_a_failure_reaches_the_caller() {
    holds("partial_stream");
}

#[test]
fn a_deadline_ends_the_call_at_the_backend_too() {
    holds("deadlines");
}

#[test]
fn a_cancelled_call_is_cancelled_at_the_backend() {
    holds("cancel");
}

#[test]
fn a_call_may_be_silent_for_longer_than_the_idle_timeout() {
    let server = PythonServer::start("grpc_server.py");
    let impatient = |ingress| with_annotation(ingress, "nginx.ingress.kubernetes.io/proxy-read-timeout", "1");
    runs("held_idle", &[server.address], impatient);
}

#[test]
fn the_idle_timeout_of_that_test_is_in_force_for_others() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let mut objects = site("a.example", &[backend.address]);
    objects[0] = with_annotation(objects[0].take(), "nginx.ingress.kubernetes.io/proxy-read-timeout", "1");
    let headgate = Headgate::serve(&objects);
    assert_eq!(get(headgate.http, "a.example", "/").status, 504);
}

#[test]
fn a_call_without_an_endpoint_is_unavailable() {
    runs("no_endpoint", &[], |ingress| ingress);
}

#[test]
fn a_call_without_a_route_is_unimplemented() {
    runs("no_route", &[], |mut ingress| {
        ingress["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/other".into();
        ingress
    });
}
