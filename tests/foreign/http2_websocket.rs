//! Websockets over HTTP/2 (RFC 8441) by Python's `h2`, to an HTTP/1.1 backend, over plain TCP and TLS.

use super::tools::{PythonServer, python};
use crate::support::objects::{ingress, rule, service, tls_secret, with_tls};
use crate::support::{Headgate, TestCertificate};

/// Runs a case of `http2_websocket.py` with prior knowledge and over TLS.
#[track_caller]
fn holds(case: &str) {
    let server = PythonServer::start("websocket_server.py");
    let certificate = TestCertificate::for_names(&["safe.example"]);
    let rules = |host| ["/echo", "/close"].map(|path| rule(host, path, "Prefix", "sockets"));
    let mut objects = vec![
        ingress("plain", &rules("plain.example")),
        with_tls(ingress("safe", &rules("safe.example")), &["safe.example"], "safe"),
        tls_secret("safe", &certificate),
    ];
    objects.extend(service("sockets", &[server.address]));
    let headgate = Headgate::serve(&objects);
    let authority = headgate.folder.beside("authority.pem").display().to_string();
    std::fs::write(&authority, &certificate.pem).unwrap();
    python("http2_websocket.py", &[case, "plain.example", &headgate.http.port().to_string()]);
    python("http2_websocket.py", &[case, "safe.example", &headgate.https.port().to_string(), &authority]);
}

#[test]
fn messages_come_back() {
    holds("echo");
}

#[test]
fn a_message_of_a_megabyte_comes_back() {
    holds("megabyte");
}

#[test]
fn a_subprotocol_is_negotiated_end_to_end() {
    holds("subprotocols");
}

#[test]
fn websockets_and_requests_share_a_connection() {
    holds("beside_requests");
}

#[test]
fn the_client_closes_its_websocket_and_keeps_the_connection() {
    holds("client_closes");
}

#[test]
fn the_server_closes_with_its_code() {
    holds("server_closes");
}

#[test]
fn a_handshake_without_a_rule_is_not_found() {
    holds("refused");
}
