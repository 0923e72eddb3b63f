//! Heads that no request can be made of: they are answered, logged and counted as all others are, in their turn.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Response, get, objects};

const HOST: &str = "Host: a.example\r\n";

#[track_caller]
fn is_ours(response: &Response, status: u16, text: &str) {
    assert_eq!((response.status, response.text().as_str()), (status, text));
    assert_eq!(response.header("server"), Some("headgate"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(response.header("date").is_some(), "{}", response.raw_head);
}

#[test]
fn a_refused_head_is_answered_logged_and_counted() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let long = |length: usize| "x".repeat(length);
    for (head, status, text, method, path) in [
        (format!("GET /name HTTP/1.1\r\n{HOST}a b: c\r\n\r\n"), 400, "400 Bad Request\n", "GET", "/name"),
        (format!("PUT /feed HTTP/1.1\n{HOST}\r\n"), 400, "400 Bad Request\n", "-", ""),
        (format!("GET /a#b HTTP/1.1\r\n{HOST}\r\n"), 400, "400 Bad Request\n", "-", ""),
        (
            format!("POST /both HTTP/1.1\r\n{HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400,
            "400 Bad Request\n",
            "POST",
            "/both",
        ),
        (format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", long(70_000)), 414, "414 URI Too Long\n", "-", ""),
        (
            format!("GET /large HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", long(70_000)),
            431,
            "431 Request Header Fields Too Large\n",
            "GET",
            "/large",
        ),
        (
            format!("GET /many HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)),
            431,
            "431 Request Header Fields Too Large\n",
            "GET",
            "/many",
        ),
        ("\x16\x03\x01".into(), 400, "400 Bad Request\n", "-", ""),
    ] {
        let logged = proxy.log().len();
        let mut client = Client::connect(proxy.http);
        client.send(&head);
        is_ours(&client.response(), status, text);
        client.shutdown_write();
        client.expect_close();
        let lines = until("a line", || Some(proxy.log()).filter(|lines| lines.len() > logged));
        let line = &lines[logged];
        let said =
            [&line["status"], &line["flag"], &line["method"], &line["path"], &line["backend"], &line["client_ip"]];
        assert_eq!(
            said,
            [&json!(status), &json!("DPE"), &json!(method), &json!(path), &json!(""), &json!("127.0.0.1")]
        );
    }
    proxy.counted("proxy_requests_total", &[("status", "400"), ("method", "GET")], 1.0);
    proxy.counted("proxy_requests_total", &[("status", "400"), ("method", "_OTHER")], 3.0);
    assert!(backend.seen().is_empty());
}

#[test]
fn a_head_that_answers_nobody_has_no_body_for_head() {
    let proxy = Headgate::before(&Backend::answering("ok"));
    let mut client = Client::connect(proxy.http);
    client.send(format!("HEAD / HTTP/1.1\r\n{HOST}a b: c\r\n\r\n"));
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.header("content-length"), response.body.len()), (400, Some("16"), 0));
    client.shutdown_write();
    client.expect_close();
}

#[test]
fn a_slow_head_is_answered_408_and_others_are_served_meanwhile() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--header-timeout", "1s").start();
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET /slow HTTP/1.1\r\n{HOST}X: "));
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    is_ours(&client.response(), 408, "408 Request Timeout\n");
    let line = proxy.log_of("/slow");
    assert_eq!((&line["status"], &line["flag"]), (&json!(408), &json!("DT")));
}

/// The header timeout counts from the end of the request before, not from the keep-alive's.
#[test]
fn half_a_head_behind_a_request_gets_the_header_timeout() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(Duration::from_millis(1500));
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").map(|()| crate::support::Then::KeepAlive)
    });
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--header-timeout", "1s").start();
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET /whole HTTP/1.1\r\n{HOST}\r\nGET /half HTTP/1.1\r\n"));
    assert_eq!(client.response().status, 200);
    let waited = Instant::now();
    is_ours(&client.response(), 408, "408 Request Timeout\n");
    let waited = waited.elapsed();
    assert!(waited > Duration::from_millis(800) && waited < Duration::from_millis(2500), "{waited:?}");
}

#[test]
fn a_head_in_single_bytes_is_one_request() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    let body = "7\r\nchunked\r\n0\r\n\r\n";
    for byte in format!("POST /drip HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{body}").bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().status, 200);
    let seen = backend.only();
    assert_eq!((seen.target(), seen.body.as_slice()), ("/drip", &b"chunked"[..]));
    assert_eq!(client.get("a.example", "/next").status, 200);
}

#[test]
fn what_follows_a_refused_upgrade_is_the_next_request() {
    let backend = Backend::answering("no upgrade");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    let upgrade = format!("GET /first HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: something\r\n\r\n");
    client.send(format!("{upgrade}{upgrade}GET /last HTTP/1.1\r\n{HOST}\r\n"));
    for _ in 0..3 {
        assert_eq!(client.response().text(), "no upgrade");
    }
    assert_eq!(
        backend.seen().iter().map(|seen| seen.target().to_owned()).collect::<Vec<_>>(),
        ["/first", "/first", "/last"]
    );
    assert_eq!(client.get("a.example", "/later").status, 200);
}
