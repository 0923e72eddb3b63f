//! Python's `websockets` at both ends, over HTTP and HTTPS.

use super::tools::{PythonServer, python};
use crate::support::objects::tls_site;
use crate::support::{Headgate, TestCertificate, site};

/// Runs a case of `websocket_client.py` over ws and wss.
#[track_caller]
fn holds(case: &str) {
    let server = PythonServer::start("websocket_server.py");
    let certificate = TestCertificate::for_names(&["safe.example"]);
    let mut objects = tls_site("safe.example", &[server.address], &certificate);
    objects.extend(site("plain.example", &[server.address]));
    let headgate = Headgate::serve(&objects);
    let authority = headgate.folder.beside("authority.pem").display().to_string();
    std::fs::write(&authority, &certificate.pem).unwrap();
    python("websocket_client.py", &[case, "plain.example", &headgate.http.port().to_string()]);
    python("websocket_client.py", &[case, "safe.example", &headgate.https.port().to_string(), &authority]);
}

#[test]
fn text_and_binary_messages_come_back_compressed() {
    holds("echo");
}

#[test]
fn messages_come_back_without_compression() {
    holds("uncompressed");
}

#[test]
fn messages_of_a_megabyte_come_back() {
    holds("megabyte");
}

#[test]
fn pings_are_answered_by_the_backend() {
    holds("pings");
}

#[test]
fn fragments_stay_fragments() {
    holds("fragments");
}

#[test]
fn the_client_closes_with_its_code() {
    holds("client_closes");
}

#[test]
fn the_server_closes_with_its_code() {
    holds("server_closes");
}

#[test]
fn a_subprotocol_is_negotiated_end_to_end() {
    holds("subprotocols");
}

#[test]
fn the_backend_learns_who_asks() {
    holds("headers");
}

#[test]
fn a_handshake_for_an_unknown_host_is_not_found() {
    holds("refused");
}
