//! Answers of our own to requests whose body nobody reads: the end of the connection is announced where it must end, and
//! only there.

use serde_json::json;

use crate::support::ports::{BlackHole, ClosedPort};
use crate::support::{Backend, Client, Headgate, TestCertificate, client, objects};

/// Hosts that are answered by us, each with its status.
const ANSWERED: [(&str, u16); 6] = [
    ("unknown.example", 404),
    ("refused.example", 502),
    ("empty.example", 503),
    ("hole.example", 504),
    ("silent.example", 504),
    ("secure.example", 308),
];

struct Site {
    proxy: Headgate,
    _held: (ClosedPort, BlackHole, Backend),
}

fn site() -> Site {
    let (closed, hole) = (ClosedPort::new(), BlackHole::new());
    let silent = Backend::scripted(|exchange| exchange.until_abandoned());
    let certificate = TestCertificate::for_names(&["secure.example"]);
    let site = [
        objects::site("refused.example", &[closed.address]),
        objects::site("empty.example", &[]),
        objects::site("hole.example", &[hole.address]),
        objects::site("silent.example", &[silent.address]),
        objects::tls_site("secure.example", &[silent.address], &certificate),
        vec![objects::config_map("settings", json!({ "proxy-read-timeout": "1", "proxy-connect-timeout": "1" }))],
    ];
    let proxy = Headgate::with(&site.concat()).flag("--configmap", "default/settings").start();
    Site { proxy, _held: (closed, hole, silent) }
}

/// Sends a POST with these fields and this body; whether the answer announced the end, which must then be one.
#[track_caller]
fn ends(site: &Site, host: &str, status: u16, rest: &str) -> bool {
    let mut client = Client::connect(site.proxy.http);
    client.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{rest}"));
    let response = client.response();
    assert_eq!(response.status, status, "{host} {rest:?}");
    match response.header("connection") {
        Some("close") => {
            client.shutdown_write();
            client.expect_close();
            true
        }
        None => {
            assert_eq!(client.get("unknown.example", "/next").status, 404, "{host} {rest:?}");
            false
        }
        other => panic!("{host} {rest:?}: Connection: {other:?}"),
    }
}

#[test]
fn a_request_without_a_body_ends_no_connection() {
    let site = site();
    for (host, status) in ANSWERED {
        assert!(!ends(&site, host, status, "\r\n"), "{host}");
        assert!(!ends(&site, host, status, "Content-Length: 0\r\n\r\n"), "{host}");
    }
}

#[test]
fn a_body_that_is_there_ends_no_connection() {
    let site = site();
    for (host, status) in ANSWERED {
        assert!(!ends(&site, host, status, "Content-Length: 4\r\n\r\nbody"), "{host}");
    }
}

#[test]
fn a_body_that_is_not_there_ends_the_connection() {
    let site = site();
    // A backend that is connected to waits for the body, so that the client is the one who is late.
    for (host, status) in ANSWERED.into_iter().filter(|(host, _)| *host != "silent.example") {
        for rest in [
            "Content-Length: 10\r\n\r\nhalf.",
            "Content-Length: 10\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\n",
            "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        ] {
            assert!(ends(&site, host, status, rest), "{host} {rest:?}");
        }
    }
}

#[test]
fn chunks_that_are_there_end_the_connection_only_if_that_is_announced() {
    let site = site();
    for (host, status) in ANSWERED {
        ends(&site, host, status, "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    }
}

#[test]
fn http_1_0_is_told_too() {
    let site = site();
    let mut client = Client::connect(site.proxy.http);
    client.send("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 10\r\n\r\nhalf.");
    let response = client.response();
    assert_eq!((response.status, response.header("connection")), (404, Some("close")));
    client.shutdown_write();
    client.expect_close();
    assert!(client::get(site.proxy.http, "unknown.example", "/").status == 404);
}
