//! CONNECT over HTTP/2 (RFC 9113 §8.5): a tunnel is one stream, and what ends one does not end the connection.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, SendStream};
use http::{Method, Request, Response};
use serde_json::json;

use crate::connect::{HOST, Raw, tunnels};
use crate::support::frames::{END_HEADERS, Frames, HEADERS, encode};
use crate::support::h2_client::{H2Client, body, finish, soon};
use crate::support::objects::{self, site_with_policy};
use crate::support::ports::ClosedPort;
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Headgate, TestCertificate};
use crate::upgrade::{echo, extended_connect};

async fn ask(client: &H2Client, authority: &str, fields: &[(&str, &str)]) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = Request::builder().method(Method::CONNECT).uri(authority);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.open(request.body(()).unwrap(), false).await.unwrap()
}

async fn open(client: &H2Client) -> (Response<h2::RecvStream>, SendStream<Bytes>) {
    let (response, send) = ask(client, "a.example:443", &[]).await;
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    (response, send)
}

/// Waits elsewhere, so that the client's connection goes on meanwhile.
async fn elsewhere<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(wait).await.unwrap()
}

#[tokio::test]
async fn a_tunnel_is_a_stream_that_each_side_may_end_for_itself() {
    let backend = Raw::serving(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(format!("got {}", String::from_utf8_lossy(&all)).as_bytes())
    });
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    let client = H2Client::plain(proxy.http).await;
    let (response, mut send) = open(&client).await;
    for field in ["content-length", "connection", "transfer-encoding"] {
        assert!(!response.headers().contains_key(field), "{field}");
    }
    send.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(body(&mut response.into_body()).await.unwrap(), b"got hello");
    assert_eq!(client.get("http://b.example/").await.status, 404, "the connection goes on");
    let line = elsewhere(move || proxy.log_of("/")).await;
    assert_eq!((&line["method"], &line["status"], &line["flag"]), (&"CONNECT".into(), &200.into(), &"".into()));
    assert_eq!((&line["bytes_sent"], &line["bytes_received"]), (&9.into(), &5.into()));
}

#[tokio::test]
async fn what_is_refused_ends_its_stream_alone() {
    let echo = Raw::echo();
    let proxy = Headgate::serve(&tunnels(&[echo.address], json!({})));
    let client = H2Client::plain(proxy.http).await;
    for (authority, fields, status) in [
        ("b.example:443", &[][..], 404),
        ("127.0.0.1:22", &[], 404),
        ("[::1]:22", &[], 404),
        ("a.example", &[], 400),
        ("a.example:0", &[], 400),
        ("a.example:443", &[("host", "b.example")], 400),
        ("a.example:443", &[("content-length", "0")], 400),
        ("a.example:443", &[("expect", "100-continue")], 417),
    ] {
        let (response, _send) = ask(&client, authority, fields).await;
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), status, "{authority} {fields:?}");
        assert!(!response.headers().contains_key("connection"));
    }
    let (response, mut send) = open(&client).await;
    send.send_data(Bytes::from_static(b"x"), true).unwrap();
    assert_eq!(body(&mut response.into_body()).await.unwrap(), b"x");
    assert_eq!(echo.accepted(), 1);
    let closed = ClosedPort::new();
    proxy.change(&tunnels(&[closed.address], json!({})));
    let (response, _send) = ask(&client, "a.example:443", &[]).await;
    assert_eq!(finish(response).await.unwrap().status, 502);
    proxy.change(&objects::site(HOST, &[echo.address]));
    let (response, _send) = ask(&client, "a.example:443", &[]).await;
    let response = finish(response).await.unwrap();
    assert_eq!(response.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    assert_eq!((response.status, echo.accepted()), (405, 1));
}

#[test]
fn a_connect_with_a_path_is_malformed() {
    let echo = Raw::echo();
    let proxy = Headgate::serve(&tunnels(&[echo.address], json!({})));
    let mut frames = Frames::connect(proxy.http);
    for (stream, more) in [(1, (":path", "/")), (3, (":scheme", "http"))] {
        let block = encode(&[(":method", "CONNECT"), (":authority", "a.example:443"), more]);
        frames.send(HEADERS, END_HEADERS, stream, &block);
        assert_eq!(frames.reset_code(stream), Some(1), "{more:?}");
    }
    frames.send(HEADERS, END_HEADERS, 5, &encode(&[(":method", "CONNECT"), (":authority", "a.example:443")]));
    assert_eq!(frames.status(5), 200);
}

#[tokio::test]
async fn a_reset_by_the_client_ends_the_tunnel_though_the_endpoint_is_silent() {
    let backend = Raw::serving(|mut stream| {
        stream.read_to_end(&mut Vec::new())?;
        // Neither says anything nor closes.
        std::thread::sleep(Duration::from_secs(3600));
        Ok(())
    });
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    let client = H2Client::plain(proxy.http).await;
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let (_response, mut send) = open(&client).await;
        send.send_reset(reason);
    }
    let flags = elsewhere(move || {
        until("the log of three tunnels", || Some(proxy.log()).filter(|lines| lines.len() == 3))
            .into_iter()
            .map(|line| line["flag"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(flags.await, ["DC"; 3]);
    drop(client);
}

#[tokio::test]
async fn a_reset_by_the_endpoint_is_no_end_to_the_client() {
    let backend = Raw::serving(|mut stream| {
        let mut asked = [0];
        stream.read_exact(&mut asked)?;
        match asked {
            [b'r'] => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
            _ => Ok(()),
        }
    });
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    let client = H2Client::plain(proxy.http).await;
    let (response, mut send) = open(&client).await;
    send.send_data(Bytes::from_static(b"r"), false).unwrap();
    let error = body(&mut response.into_body()).await.unwrap_err();
    assert!(error.is_reset(), "{error}");
    let (response, mut send) = open(&client).await;
    send.send_data(Bytes::from_static(b"e"), false).unwrap();
    assert_eq!(body(&mut response.into_body()).await.unwrap(), b"");
    let line = elsewhere(move || proxy.log_line("the reset tunnel's line", |line| line["flag"] == "UC"));
    assert_eq!(line.await["status"], 200);
}

#[tokio::test]
async fn an_idle_tunnel_is_reset() {
    let echo = Raw::echo();
    let proxy = Headgate::with(&tunnels(&[echo.address], json!({}))).flag("--tunnel-idle-timeout", "1s").start();
    let client = H2Client::plain(proxy.http).await;
    let (response, _send) = open(&client).await;
    assert!(body(&mut response.into_body()).await.unwrap_err().is_reset());
}

#[tokio::test]
async fn megabytes_pass_both_ways_through_small_windows() {
    let echo = Raw::echo();
    let proxy = Headgate::serve(&tunnels(&[echo.address], json!({})));
    let stream = tokio::net::TcpStream::connect(proxy.http).await.unwrap();
    let client = H2Client::with(h2::client::Builder::new().initial_window_size(20_000), stream).await;
    let (response, mut send) = open(&client).await;
    let message: Bytes =
        (0..10u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let mut rest = message.clone();
    let sending = async move {
        while !rest.is_empty() {
            send.reserve_capacity(rest.len());
            let room = soon(poll_fn(|cx| send.poll_capacity(cx))).await.unwrap().unwrap();
            send.send_data(rest.split_to(room.min(rest.len())), rest.is_empty()).unwrap();
        }
    };
    let mut received = response.into_body();
    let ((), got) = tokio::join!(sending, body(&mut received));
    assert!(got.unwrap() == message);
}

#[tokio::test]
async fn tls_is_spoken_through_a_tunnel() {
    let backend = Backend::tls(TestCertificate::for_names(&["b"]), |exchange| exchange.reply("200 OK", "safe"));
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    // What TLS says, carried between a socket and the stream by hand.
    let client = H2Client::plain(proxy.http).await;
    let (response, mut send) = open(&client).await;
    let inner = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inner.local_addr().unwrap();
    let asking = elsewhere(move || Tls::to("b").connect(address).get("b", "/").text());
    let carrying = async {
        let (mut read, mut write) = inner.accept().await.unwrap().0.into_split();
        let mut received = response.into_body();
        let up = async {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = tokio::io::AsyncReadExt::read(&mut read, &mut buffer).await {
                send.send_data(Bytes::copy_from_slice(&buffer[..length]), false).unwrap();
            }
            let _ = send.send_data(Bytes::new(), true);
        };
        let down = async {
            while let Some(Ok(data)) = received.data().await {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut write, &data).await;
            }
        };
        tokio::join!(up, down);
    };
    let (text, ()) = tokio::join!(asking, soon(carrying));
    assert_eq!(text, "safe");
}

#[tokio::test]
async fn a_websocket_is_listed_as_the_get_that_it_is_to_the_backend() {
    let backend = Backend::scripted(echo);
    for (methods, expected) in [(["GET", "PUT"], 200), (["PUT", "CONNECT"], 405)] {
        let fields = json!({ "request": { "methods": methods } });
        let proxy = Headgate::serve(&site_with_policy(HOST, &[backend.address], fields));
        let client = H2Client::plain(proxy.http).await;
        assert_eq!(client.get("http://b.example/").await.status, 404);
        let (response, _send) = client.open(extended_connect("websocket"), false).await.unwrap();
        assert_eq!(soon(response).await.unwrap().status(), expected, "{methods:?}");
    }
}
