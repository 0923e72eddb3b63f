//! Answers that are given before the request's body has come: the client must be able to read them.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Then, objects};

const UPLOAD: usize = 32 << 20;

/// Sends the head and then all of the body without looking at what comes back, as most clients do.
fn upload(client: &mut Client<impl std::io::Read + Write>, host: &str, framing: &str) {
    client.send(format!("POST /upload HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n"));
    let piece = vec![b'0'; 64 << 10];
    for _ in 0..UPLOAD / piece.len() {
        client.send(&piece);
    }
}

#[test]
fn an_answer_to_an_upload_that_nobody_reads_arrives() {
    let proxy = Headgate::before(&Backend::answering("ok"));
    for host in ["unknown.example", "bad host"] {
        let mut client = Client::connect(proxy.http);
        upload(&mut client, host, &format!("Content-Length: {UPLOAD}\r\n"));
        let response = client.response();
        assert_eq!(response.status, if host == "bad host" { 400 } else { 404 });
        client.expect_close();
    }
}

#[test]
fn it_arrives_over_tls_too() {
    let proxy = Headgate::before(&Backend::answering("ok"));
    let mut client = Tls::to("a.example").connect(proxy.https);
    upload(&mut client, "unknown.example", &format!("Content-Length: {UPLOAD}\r\n"));
    assert_eq!(client.response().status, 404);
}

#[test]
fn a_body_over_the_limit_is_refused_while_it_comes_and_the_answer_arrives() {
    let backend = Backend::answering("ok");
    let mut objects = objects::site("a.example", &[backend.address]);
    objects.push(objects::config_map("settings", json!({ "proxy-body-size": "1k" })));
    let proxy = Headgate::with(&objects).flag("--configmap", "default/settings").start();
    let mut client = Client::connect(proxy.http);
    upload(&mut client, "a.example", &format!("Transfer-Encoding: chunked\r\n\r\n{UPLOAD:x}"));
    assert_eq!(client.response().status, 413);
}

/// A backend that answers whatever the head says and then reads on, and one proxy before it.
fn hasty() -> (Backend, Headgate) {
    let backend = Backend::scripted(|exchange| exchange.reply("401 Unauthorized", "no"));
    let proxy = Headgate::before(&backend);
    (backend, proxy)
}

#[test]
fn a_backend_that_answers_before_the_body_has_come_ends_the_connection_with_an_announcement() {
    let (_backend, proxy) = hasty();
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut client = Client::connect(proxy.http);
        client.send(format!(
            "POST / {version}\r\nHost: a.example\r\nConnection: keep-alive\r\nContent-Length: 10\r\n\r\nhalf."
        ));
        let response = client.response();
        assert_eq!((response.status, response.header("connection")), (401, Some("close")), "{version}");
        client.expect_close();
    }
}

#[test]
fn a_backend_that_answers_after_the_body_has_come_ends_no_connection() {
    let (_backend, proxy) = hasty();
    let mut client = Client::connect(proxy.http);
    for body in ["Content-Length: 4\r\n\r\nbody", "Content-Length: 0\r\n\r\n", "\r\n"] {
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{body}"));
        let response = client.response();
        assert_eq!((response.status, response.header("connection")), (401, None), "{body:?}");
    }
}

#[test]
fn a_client_that_neither_sends_nor_closes_after_such_an_answer_is_left_within_seconds() {
    let proxy = Headgate::before(&Backend::answering("ok"));
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: unknown.example\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(client.response().status, 404);
    let start = Instant::now();
    until("the end", || (proxy.metrics().value("proxy_connections", &[]) == 0.0).then_some(()));
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(8), "{waited:?}");
}

#[test]
fn an_answer_of_a_backend_that_closes_while_the_body_comes_arrives() {
    for then in [Then::Close, Then::Reset] {
        let backend = Backend::scripted(move |exchange| {
            exchange.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")?;
            Ok(then)
        });
        let proxy = Headgate::before(&backend);
        for _ in 0..3 {
            let mut client = Client::connect(proxy.http);
            upload(&mut client, "a.example", &format!("Content-Length: {UPLOAD}\r\n"));
            let response = client.response();
            assert_eq!((response.status, response.text()), (413, "big".into()), "{then:?}");
            client.expect_close();
        }
        proxy.counted("proxy_requests_total", &[("status", "413")], 3.0);
        assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[]), 0.0);
    }
}

#[test]
fn a_backend_that_closes_while_the_body_comes_without_an_answer_has_failed() {
    let backend = Backend::scripted(|_| Ok(Then::Reset));
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    upload(&mut client, "a.example", &format!("Content-Length: {UPLOAD}\r\n"));
    assert_eq!(client.response().status, 502);
    assert_eq!(proxy.counted("proxy_backend_errors_total", &[("reason", "reset")], 1.0), 1.0);
}
