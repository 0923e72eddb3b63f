//! HTTP/2 in front: by ALPN and with prior knowledge, to HTTP/1.1 backends.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};

use crate::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, encode};
use crate::support::h2_client::{H2Client, finish, silent, soon};
use crate::support::{Backend, Client, Headgate, TestCertificate, objects};

fn echo() -> Backend {
    Backend::scripted(|exchange| {
        let body = String::from_utf8(exchange.body()?).unwrap();
        exchange.reply("200 OK", &body)
    })
}

#[tokio::test]
async fn http_2_is_agreed_on_by_alpn() {
    let backend = echo();
    let certificate = TestCertificate::for_names(&["a.example"]);
    let proxy = Headgate::serve(&objects::tls_site("a.example", &[backend.address], &certificate));
    let client = H2Client::tls(proxy.https, "a.example").await;
    let response = client.request(Request::post("https://a.example/x?y").body(()).unwrap(), b"hello").await;
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(response.header("server"), Some("headgate"));
    assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
    assert!(response.header("date").is_some());
    let seen = backend.only();
    assert_eq!(seen.line(), "POST /x?y HTTP/1.1");
    assert_eq!(seen.header("host").as_deref(), Some("a.example"));
    assert_eq!(seen.header("content-length").as_deref(), None, "no length was stated");
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
}

#[tokio::test]
async fn http_2_is_spoken_on_the_plain_port_with_prior_knowledge() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let request = Request::post("http://A.Example:80/x").header("content-length", "5").body(()).unwrap();
    assert_eq!(client.request(request, b"hello").await.text(), "hello");
    let seen = backend.only();
    assert_eq!(seen.header("host").as_deref(), Some("a.example"));
    assert_eq!((seen.header("content-length").as_deref(), seen.header("transfer-encoding")), (Some("5"), None));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(proxy.log_of("/x")["protocol"], "HTTP/2.0");
}

#[tokio::test]
async fn a_hundred_requests_share_a_connection() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let bodies: Vec<&'static [u8]> =
        (0..100).map(|n| &*Box::leak(format!("body {n}").into_bytes().into_boxed_slice())).collect();
    let answers = bodies.iter().map(|body| client.request(Request::put("http://a.example/").body(()).unwrap(), body));
    let answers = futures_util::future::join_all(answers).await;
    for (answer, body) in answers.iter().zip(bodies) {
        assert_eq!(answer.body, body);
    }
}

#[tokio::test]
async fn one_stalled_stream_does_not_hold_the_others() {
    let backend = Backend::scripted(|exchange| {
        if exchange.seen.target() == "/big" {
            let block = vec![b'x'; 10 << 20];
            exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", block.len()))?;
            exchange.send(&block)?;
        }
        exchange.reply("200 OK", "small")
    });
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (stalled, _) = client.open(Request::get("http://a.example/big").body(()).unwrap(), true).await.unwrap();
    let stalled = soon(stalled).await.unwrap();
    for _ in 0..99 {
        assert_eq!(client.get("http://a.example/small").await.text(), "small");
    }
    let mut body = stalled.into_body();
    assert_eq!(crate::support::h2_client::body(&mut body).await.unwrap().len(), 10 << 20, "it goes on once it is read");
}

#[tokio::test]
async fn a_head_request_has_a_length_and_no_body() {
    let backend = Backend::sending("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let response = client.request(Request::head("http://a.example/").body(()).unwrap(), b"").await;
    assert_eq!((response.status, response.header("content-length"), response.body.len()), (200, Some("1234"), 0));
    let unknown = client.request(Request::head("http://b.example/").body(()).unwrap(), b"").await;
    assert_eq!((unknown.status, unknown.body.len()), (404, 0));
}

#[tokio::test]
async fn chunks_of_a_backend_become_frames() {
    let backend = Backend::sending(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX: y\r\nKeep-Alive: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let proxy = Headgate::before(&backend);
    let response = H2Client::plain(proxy.http).await.get("http://a.example/").await;
    assert_eq!(response.text(), "abc");
    for name in ["transfer-encoding", "connection", "keep-alive", "x"] {
        assert_eq!(response.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn cookie_crumbs_reach_the_backend_as_one_field() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let request =
        Request::get("http://a.example/").header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
    client.request(request.body(()).unwrap(), b"").await;
    assert_eq!(backend.only().all("cookie"), ["a=1; b=2; c=3"]);
}

#[tokio::test]
async fn a_get_without_a_body_has_no_framing_at_the_backend() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    H2Client::plain(proxy.http).await.get("http://a.example/").await;
    let seen = backend.only();
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (None, None));
}

#[tokio::test]
async fn a_body_is_streamed_before_it_ends() {
    let backend = Backend::scripted(|exchange| {
        let first = exchange.exactly(b"3\r\none\r\n".len())?;
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")?;
        assert_eq!(first, b"3\r\none\r\n");
        assert_eq!(exchange.exactly(8)?, b"3\r\ntwo\r\n");
        exchange.send("3\r\nbye\r\n0\r\n\r\n")?;
        Ok(crate::support::Then::Close)
    });
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (response, mut send) = client.open(Request::post("http://a.example/").body(()).unwrap(), false).await.unwrap();
    send.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "hi");
    send.send_data(Bytes::from_static(b"two"), false).unwrap();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "bye");
}

#[tokio::test]
async fn an_early_answer_leaves_the_connection_usable() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (response, _send) =
        client.open(Request::post("http://unknown.example/").body(()).unwrap(), false).await.unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 404);
    assert_eq!(client.get("http://a.example/").await.status, 200);
}

#[test]
fn authority_and_host_must_agree() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let ask = |fields: &[(&str, &str)]| {
        let mut frames = Frames::connect(proxy.http);
        let mut all = vec![(":method", "GET"), (":scheme", "http"), (":path", "/")];
        all.extend(fields.iter().filter(|(name, _)| name.starts_with(':')));
        all.extend(fields.iter().filter(|(name, _)| !name.starts_with(':')));
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&all));
        answer(&mut frames, 1)
    };
    assert_eq!(ask(&[(":authority", "a.example"), ("host", "a.example")]), 200);
    assert_eq!(ask(&[("host", "a.example")]), 200);
    let before = backend.seen().len();
    for fields in [
        &[(":authority", "a.example"), ("host", "b.example")][..],
        &[(":authority", "b.example"), ("host", "a.example")],
        &[(":authority", "a.example"), ("host", "a.example"), ("host", "b.example")],
        &[(":authority", "u@a.example")],
        &[(":authority", "a.example"), (":authority", "b.example")],
        &[(":authority", "")],
        &[],
    ] {
        let status = ask(fields);
        assert!([0, 400].contains(&status), "{fields:?}: {status}");
    }
    assert_eq!(backend.seen().len(), before);
}

#[test]
fn targets_that_are_no_path_are_refused() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    for path in ["", "x", "*", "http://a.example/", "/a/../b", "/\\", "/%2e%2e", "/a b", "/\u{e9}"] {
        let mut frames = Frames::connect(proxy.http);
        frames.get(1, "a.example", path);
        let status = answer(&mut frames, 1);
        assert!([0, 400].contains(&status), "{path:?}: {status}");
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn malformed_fields_are_refused() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let bad = [
        ("Upper", "x"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("x", "a\r\nb"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        ("x", " a"),
        ("x", "a\t"),
        ("x", " "),
        ("x y", "z"),
        ("x:y", "z"),
        ("x\r\ny", "z"),
        ("", "z"),
        (":late", "x"),
        (":path", "/2"),
        (":status", "200"),
        ("content-length", "+1"),
        ("content-length", "1"),
        ("content-length", "-1"),
    ];
    for field in bad {
        let mut frames = Frames::connect(proxy.http);
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/"), field];
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&fields));
        let status = answer(&mut frames, 1);
        assert!([0, 400].contains(&status), "{field:?}: {status}");
    }
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
}

#[tokio::test]
async fn a_body_of_another_length_than_stated_is_refused() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    for (stated, sent) in [("3", "abcd"), ("5", "abcd")] {
        let request = Request::post("http://a.example/").header("content-length", stated).body(()).unwrap();
        let (response, mut send) = client.open(request, false).await.unwrap();
        let _ = send.send_data(Bytes::from_static(sent.as_bytes()), true);
        let outcome = finish(response).await;
        assert!(outcome.as_ref().map_or(true, |response| response.status == 400), "{stated}: {outcome:?}");
    }
    assert!(backend.seen().iter().all(|seen| seen.body.is_empty()), "never a whole body");
    assert_eq!(client.get("http://a.example/").await.status, 200);
}

#[test]
fn names_with_underscores_are_dropped_here_too() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let mut frames = Frames::connect(proxy.http);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", "/"),
        ("x_user", "root"),
        ("x-user", "me"),
    ];
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&fields));
    assert_eq!(frames.status(1), 200);
    assert_eq!((backend.only().header("x-user").as_deref(), backend.only().header("x_user")), (Some("me"), None));
}

#[test]
fn an_upgrade_to_h2c_is_answered_in_http_1() {
    let backend = echo();
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let seen = backend.only();
    assert_eq!((seen.header("upgrade"), seen.header("http2-settings"), seen.header("connection")), (None, None, None));
    assert_eq!(client.get("a.example", "/").status, 200);
}

#[tokio::test]
async fn an_idle_stream_of_the_backend_is_not_cut_short() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        exchange.until_abandoned()
    });
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (response, _) =
        client.open(Request::get("http://a.example/").version(Version::HTTP_2).body(()).unwrap(), true).await.unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    assert!(silent(Duration::from_millis(700), body.data()).await);
}

/// The status on this stream; 0 if it was reset or the connection ended.
#[track_caller]
fn answer(frames: &mut Frames, stream: u32) -> u16 {
    use crate::support::frames::RST_STREAM;
    while let Some(frame) = frames.next() {
        match frame.kind {
            HEADERS if frame.stream == stream => return crate::support::frames::status(&frame.payload),
            RST_STREAM if frame.stream == stream => return 0,
            _ => {}
        }
    }
    0
}
