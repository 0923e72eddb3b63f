//! Python's `websockets` at both ends, over HTTP and HTTPS; then Autobahn's suite, by kosoku, in place of the client.

use super::tools::{PythonServer, python};
use crate::support::objects::tls_site;
use crate::support::{Headgate, TestCertificate, in_full, site};

/// What of Autobahn takes seconds, and what takes minutes: large and many messages, and the same compressed.
const SHORT: [&str; 8] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];
const LONG: [&str; 13] = [
    "9.*", "12.1.*", "12.2.*", "12.3.*", "12.4.*", "12.5.*", "13.1.*", "13.2.*", "13.3.*", "13.4.*", "13.5.*",
    "13.6.*", "13.7.*",
];

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

#[test]
fn a_protocol_suite_finds_of_a_server_what_it_finds_without_us() {
    let server = PythonServer::start("websocket_server.py");
    let headgate = Headgate::serve(&site("", &[server.address]));
    let ways = [("ws", server.address), ("ws", headgate.http), ("wss", headgate.https)];
    let ways = ways.map(|(scheme, address)| format!("{scheme}://{address}/echo"));
    assert!(same_verdicts(&ways, SHORT.map(str::to_owned).to_vec()) > 200);
    for group in LONG.into_iter().filter(|_| in_full()) {
        assert!(same_verdicts(&ways, vec![group.to_owned()]) > 10, "{group}");
    }
}

/// How many cases came to a verdict. Each must end in the same way; of some that hangs on time (what a server says and then fails
/// the connection may be lost with it), so those that differ have further tries.
#[track_caller]
fn same_verdicts(ways: &[String; 3], mut cases: Vec<String>) -> usize {
    let mut count = 0;
    for _ in 0..5 {
        let [direct, ours @ ..] = ways.each_ref().map(|url| verdicts(url, &cases));
        count = count.max(direct.iter().filter(|verdict| !verdict.contains("ERROR")).count());
        let differs = |verdict: &&String| ours.iter().any(|found| !found.contains(verdict));
        cases = direct.iter().filter(differs).map(|verdict| verdict.split(' ').next().unwrap().to_owned()).collect();
        if cases.is_empty() {
            return count;
        }
    }
    panic!("{cases:?} differ");
}

/// A line for each case.
#[track_caller]
fn verdicts(url: &str, cases: &[String]) -> Vec<String> {
    let told = python("websocket_suite.py", &[&[url.to_owned()], cases].concat()).text();
    told.lines().map(str::to_owned).collect()
}
