//! `request` of a policy: what a request may and must have.

use serde_json::{Value, json};

use crate::support::{Backend, Client, Headgate, Response, objects, request};

const HOST: &str = "a.example";

fn ruled(rules: Value) -> (Headgate, Backend) {
    let backend = Backend::answering("ok");
    let objects = objects::site_with_policy(HOST, &[backend.address], json!({ "request": rules }));
    (Headgate::serve(&objects), backend)
}

#[track_caller]
fn ask(proxy: &Headgate, method: &str, lines: &str, body: &str) -> Response {
    let head = format!("{method} /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
    request(proxy.http, format!("{head}{lines}\r\n{body}"))
}

#[test]
fn a_method_that_is_not_listed_is_405_and_told_which_are() {
    let (proxy, backend) = ruled(json!({ "methods": ["GET", "PUT"] }));
    assert_eq!(ask(&proxy, "GET", "", "").status, 200);
    assert_eq!(ask(&proxy, "PUT", "Content-Length: 2\r\n", "ab").status, 200);
    for method in ["POST", "DELETE", "OPTIONS", "BREW"] {
        let response = ask(&proxy, method, "Content-Length: 0\r\n", "");
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, PUT")), "{method}");
    }
    assert_eq!(backend.seen().len(), 2);
    assert_eq!(proxy.log_line("POST", |line| line["method"] == "POST")["flag"], "MA");
}

#[test]
fn head_is_a_method_of_its_own() {
    let (proxy, _backend) = ruled(json!({ "methods": ["GET"] }));
    let mut client = Client::connect(proxy.http);
    client.send(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.header("allow")), (405, Some("GET")));
}

#[test]
fn a_request_without_a_required_field_is_400() {
    let (proxy, backend) = ruled(json!({ "requiredHeaders": ["X-Api-Key", "x-b"] }));
    for (lines, status) in [
        ("X-Api-Key: k\r\nX-B: 1\r\n", 200),
        ("x-api-key: k\r\nx-b:\r\n", 200),
        ("X-Api-Key: k\r\n", 400),
        ("X-B: k\r\n", 400),
        ("", 400),
    ] {
        assert_eq!(ask(&proxy, "GET", lines, "").status, status, "{lines:?}");
    }
    assert_eq!(backend.seen().len(), 2);
    assert_eq!(proxy.log_line("a refusal", |line| line["status"] == 400)["flag"], "FM");
}

#[test]
fn a_required_field_may_be_one_that_is_not_forwarded() {
    let (proxy, backend) = ruled(json!({ "requiredHeaders": ["te", "host"] }));
    assert_eq!(ask(&proxy, "GET", "TE: gzip\r\n", "").status, 200);
    assert_eq!(backend.only().header("te"), None);
}

#[test]
fn a_body_may_be_as_long_as_the_policy_says() {
    let (proxy, backend) = ruled(json!({ "maxBodySize": "1Ki" }));
    for (length, status) in [(1023, 200), (1024, 200), (1025, 413)] {
        let response = ask(&proxy, "POST", &format!("Content-Length: {length}\r\n"), &"b".repeat(length));
        assert_eq!(response.status, status, "{length}");
    }
    assert_eq!(backend.seen().len(), 2, "a declared size reaches no backend");
    assert_eq!(proxy.log_line("a refusal", |line| line["status"] == 413)["flag"], "BL");
}

#[test]
fn a_body_that_turns_out_too_long_is_413_too() {
    let (proxy, _backend) = ruled(json!({ "maxBodySize": "1Ki" }));
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body = |length: usize| {
        format!("200\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(512), length - 512, "b".repeat(length - 512))
    };
    for (length, status) in [(1023, 200), (1024, 200), (1025, 413)] {
        assert_eq!(ask(&proxy, "POST", chunked, &body(length)).status, status, "{length}");
    }
}

#[test]
fn what_is_refused_leaves_the_connection_usable() {
    let (proxy, _backend) = ruled(json!({ "methods": ["GET"], "requiredHeaders": ["x-a"] }));
    let mut client = Client::connect(proxy.http);
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc"));
    assert_eq!(client.response().status, 405);
    assert_eq!(client.get(HOST, "/").status, 400);
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\r\n\r\n"));
    assert_eq!(client.response().status, 200);
}

/// Each refusal is that of the first rule that is broken, in the order of the contract.
#[test]
fn the_first_rule_that_is_broken_answers() {
    let backend = Backend::answering("ok");
    let fields = json!({
        "access": { "deny": ["127.0.0.9"] },
        "request": { "methods": ["POST"], "requiredHeaders": ["x-a"], "maxBodySize": "4" },
        "rateLimit": { "requests": 1, "per": "1h" },
    });
    let proxy = Headgate::serve(&objects::site_with_policy(HOST, &[backend.address], fields));
    let ask = |from: u8, method: &str, lines: &str, length: usize| {
        let mut client = Client::connect_from([127, 0, 0, from].into(), proxy.http);
        let head = format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{lines}");
        client.send(format!("{head}Content-Length: {length}\r\n\r\n{}", "b".repeat(length)));
        client.response().status
    };
    for _ in 0..3 {
        assert_eq!(ask(9, "GET", "", 9), 403);
        assert_eq!(ask(1, "GET", "", 9), 405);
        assert_eq!(ask(1, "POST", "", 9), 400);
        assert_eq!(ask(1, "POST", "X-A: 1\r\n", 9), 413);
    }
    assert_eq!(ask(1, "POST", "X-A: 1\r\n", 4), 200, "none of these took a token");
    assert_eq!(ask(1, "POST", "X-A: 1\r\n", 4), 429);
    assert_eq!(ask(1, "POST", "X-A: 1\r\n", 9), 413);
    assert_eq!(backend.seen().len(), 1);
}
