//! HTTP/1.1 and 1.0 in front: connections, pipelining, interim answers, framing. Hostile framing is in `smuggling`.

use std::time::Duration;

use crate::support::wait::{stays, until};
use crate::support::{Backend, Client, Headgate, Then, request};

const POST: &str = "POST / HTTP/1.1\r\nHost: a.example\r\n";

#[test]
fn a_connection_serves_many_requests() {
    let backend = Backend::answering("hello");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    for number in 0..20 {
        let response = client.get("a.example", &format!("/{number}"));
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
        assert_eq!(response.header("connection"), None);
    }
    assert_eq!(backend.seen().len(), 20);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::scripted(|exchange| {
        if exchange.seen.target() == "/0" {
            std::thread::sleep(Duration::from_millis(200));
        }
        let target = exchange.seen.target().to_owned();
        exchange.reply("200 OK", &target)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    let get = |n| format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.send((0..10).map(get).collect::<String>());
    for number in 0..10 {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
}

#[test]
fn a_post_is_separate_from_what_is_pipelined_behind_it() {
    let backend = Backend::scripted(|exchange| {
        let body = String::from_utf8(exchange.body()?).unwrap();
        exchange.reply("200 OK", &body)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!(
        "{POST}Content-Length: 0\r\n\r\n{POST}Content-Length: 5\r\n\r\nfirst{POST}Content-Length: 6\r\n\r\nsecond"
    ));
    assert_eq!(client.response().text(), "");
    assert_eq!(client.response().text(), "first");
    assert_eq!(client.response().text(), "second");
}

#[test]
fn connection_close_is_answered_and_done() {
    let backend = Backend::answering("hello");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().header("connection"), Some("close"));
    client.expect_close();
}

#[test]
fn http_1_0_is_not_told_to_keep_a_connection_whose_end_is_the_answers() {
    let backend = Backend::sending("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.header("connection")), (200, Some("close")));
    assert_eq!(client.rest(), b"abc");
}

#[test]
fn http_1_0_closes_after_one_answer() {
    let backend = Backend::sending("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(response.header("transfer-encoding"), None, "1.0 knows no chunks");
    client.expect_close();
    assert!(backend.only().line().ends_with("HTTP/1.1"), "the backend is spoken to in our version");
}

#[test]
fn a_request_may_come_in_single_bytes() {
    let backend = Backend::answering("hello");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    for byte in format!("{POST}Content-Length: 3\r\n\r\nabc").bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(backend.only().body, b"abc");
}

#[test]
fn a_hundred_continue_is_sent_once_the_body_is_wanted() {
    let backend = Backend::answering("thanks");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!("{POST}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert_eq!(client.response().text(), "thanks");
    let seen = backend.only();
    assert_eq!((seen.header("expect"), seen.body.as_slice()), (None, &b"body"[..]));
}

#[test]
fn no_hundred_continue_is_sent_for_a_body_nobody_wants() {
    let backend = Backend::answering("thanks");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: unknown.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().status, 404);
}

#[test]
fn a_body_sent_without_waiting_for_the_hundred_is_taken() {
    let backend = Backend::answering("thanks");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    let get = "GET /next HTTP/1.1\r\nHost: a.example\r\n\r\n";
    client.send(format!("{POST}Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody{get}"));
    let mut first = client.head();
    if first.status == 100 {
        first = client.head();
    }
    client.body(&mut first, "POST");
    assert_eq!(first.text(), "thanks");
    assert_eq!(client.response().text(), "thanks");
    let seen = backend.wait_for(2);
    assert_eq!((seen[0].body.as_slice(), seen[1].target()), (&b"body"[..], "/next"));
}

#[test]
fn an_expectation_we_do_not_know_is_417() {
    let backend = Backend::answering("thanks");
    let proxy = Headgate::before(&backend);
    for expect in ["x", "x 100-continue", "200-ok"] {
        let response = request(proxy.http, format!("{POST}Expect: {expect}\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(response.status, 417, "{expect}");
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn a_chunked_request_reaches_the_backend_in_our_own_chunks() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let body = "3;ext=1\r\nabc\r\n004;\"q\"\r\ndefg\r\n0;last\r\n\r\n";
    assert_eq!(request(proxy.http, format!("{POST}Transfer-Encoding: Chunked\r\n\r\n{body}")).status, 200);
    let seen = backend.only();
    assert_eq!(seen.header("transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!(seen.header("content-length"), None);
    assert_eq!(seen.body, b"abcdefg");
}

#[test]
fn a_content_length_reaches_the_backend_in_its_canonical_form() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    assert_eq!(request(proxy.http, format!("{POST}Content-Length: 0003\r\n\r\nabc")).status, 200);
    let seen = backend.only();
    assert_eq!((seen.header("content-length").as_deref(), seen.body.as_slice()), (Some("3"), &b"abc"[..]));
}

#[test]
fn a_post_without_a_body_says_so_to_the_backend() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    assert_eq!(request(proxy.http, format!("{POST}Content-Length: 0\r\n\r\n")).status, 200);
    assert_eq!(request(proxy.http, format!("{POST}\r\n")).status, 200);
    assert_eq!(request(proxy.http, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 200);
    let lengths: Vec<_> = backend.seen().iter().map(|seen| seen.header("content-length")).collect();
    assert_eq!(lengths, [Some("0".to_owned()), Some("0".to_owned()), None]);
}

#[test]
fn a_get_may_have_a_body() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET /1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().status, 200);
    client.send("GET /2 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.get("a.example", "/3").status, 200);
    let seen = backend.wait_for(3);
    assert_eq!((seen[0].body.as_slice(), seen[1].body.as_slice(), seen[2].target()), (&b"abc"[..], &b"def"[..], "/3"));
}

#[test]
fn a_head_is_answered_without_a_body_and_with_its_length() {
    let backend = Backend::sending("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let response = client.response_to("HEAD");
        assert_eq!((response.status, response.header("content-length")), (200, Some("1234")));
    }
    client.send("HEAD / HTTP/1.1\r\nHost: unknown.example\r\n\r\n");
    let ours = client.response_to("HEAD");
    assert_eq!((ours.status, ours.header("content-length")), (404, Some("14")));
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.response_to("HEAD").status, 200, "no byte of a body came in between");
}

#[test]
fn answers_without_a_body_have_none_on_the_wire() {
    let backend = Backend::scripted(|exchange| {
        let status = exchange.seen.target()[1..].to_owned();
        exchange.send(format!("HTTP/1.1 {status} X\r\nETag: \"e\"\r\n\r\n"))?;
        Ok(Then::KeepAlive)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    for status in [204, 304, 204] {
        let response = client.get("a.example", &format!("/{status}"));
        assert_eq!((response.status, response.header("etag")), (status, Some("\"e\"")));
        assert_eq!(response.header("transfer-encoding"), None);
        assert!([None, Some("0")].contains(&response.header("content-length")));
    }
    assert_eq!(backend.accepted(), 1, "no body is left on the connection");
}

#[test]
fn a_body_ended_by_close_reaches_the_client_whole() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\nuntil the end")?;
        Ok(Then::Close)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    for _ in 0..2 {
        let response = client.get("a.example", "/");
        assert_eq!(response.text(), "until the end");
        assert_eq!(response.header("transfer-encoding"), Some("chunked"), "our connection stays");
    }
}

#[test]
fn interim_answers_of_the_backend_stay_with_us() {
    let backend = Backend::sending(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    let response = client.get("a.example", "/");
    assert_eq!((response.status, response.text().as_str(), response.header("link")), (200, "ok", None));
    assert_eq!(client.get("a.example", "/").status, 200);
}

#[test]
fn the_reason_phrase_and_status_of_the_backend_are_kept() {
    let backend = Backend::sending("HTTP/1.1 299 Fine By Me\r\nContent-Length: 0\r\n\r\n");
    let proxy = Headgate::before(&backend);
    let response = request(proxy.http, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(response.status, 299);
}

#[test]
fn an_absolute_target_routes_by_its_own_authority() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let response = request(proxy.http, "GET http://A.example/x?y=1 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(response.status, 200);
    let seen = backend.only();
    assert_eq!((seen.target(), seen.header("host").as_deref()), ("/x?y=1", Some("a.example")));
}

#[test]
fn methods_pass_as_they_are() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for method in ["OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND", "BREW"] {
        assert_eq!(request(proxy.http, format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n")).status, 200);
        assert_eq!(backend.last().method(), method);
    }
}

#[test]
fn trace_is_refused() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    assert_eq!(request(proxy.http, "TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 405);
    assert!(backend.seen().is_empty());
}

#[test]
fn a_client_that_closes_its_side_before_the_answer_gets_none() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET /half HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.only();
    client.shutdown_write();
    client.expect_close();
    let line = proxy.log_of("/half");
    assert_eq!((&line["status"], &line["flag"]), (&499.into(), &"DC".into()));
    until("the end of the backend's request", || backend.only().abandoned.then_some(()));
}

#[test]
fn a_final_answer_before_the_body_was_sent_reaches_the_client() {
    let backend = Backend::scripted(|exchange| {
        exchange.reply("413 Content Too Large", "no")?;
        Ok(Then::Close)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!("{POST}Content-Length: 1000\r\n\r\nfirst"));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "no"));
}

#[test]
fn an_idle_client_connection_stays_open() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.get("a.example", "/");
    client.stream.set_nonblocking(true).unwrap();
    stays("the open connection", Duration::from_millis(500), || {
        client.stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    client.stream.set_nonblocking(false).unwrap();
    assert_eq!(client.get("a.example", "/").status, 200);
}

#[test]
fn http_1_0_keeps_the_connection_where_it_asks() {
    let backend = Backend::answering("hello");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(response.header("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
        assert_eq!(response.text(), "hello");
    }
}
