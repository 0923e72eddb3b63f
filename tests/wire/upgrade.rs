//! Upgrades and websockets: bytes both ways, untouched, until one side ends.

use base64::Engine;
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};
use sha1::{Digest, Sha1};

use crate::support::exchange::Exchange;
use crate::support::h2_client::{H2Client, soon};
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, TestCertificate, Then, objects, request};

pub(crate) const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// The answer to a websocket's handshake (RFC 6455 §4.2.2).
pub(crate) fn switch(exchange: &Exchange<'_>) -> String {
    let key = exchange.seen.header("sec-websocket-key").unwrap_or_default();
    let digest = Sha1::digest(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Asks for a protocol over HTTP/2 (RFC 8441), once the peer's SETTINGS have come.
pub(crate) fn extended_connect(protocol: &'static str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri("http://a.example/ws");
    request.extension(Protocol::from_static(protocol)).body(()).unwrap()
}

/// Switches, then sends back what comes until the other side ends.
pub(crate) fn echo(exchange: &mut Exchange<'_>) -> std::io::Result<Then> {
    let answer = switch(exchange);
    exchange.send(answer)?;
    let ahead = exchange.read_ahead();
    exchange.send(&ahead)?;
    let mut buffer = [0; 64 << 10];
    loop {
        match exchange.stream().read(&mut buffer)? {
            0 => return Ok(Then::Close),
            read => exchange.send(&buffer[..read])?,
        }
    }
}

#[test]
fn a_websocket_is_tunnelled() {
    let backend = Backend::scripted(echo);
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    let response = client.response();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(response.header("sec-websocket-protocol"), Some("chat"));
    for number in 0..100 {
        let message = format!("message {number}");
        client.send(&message);
        assert_eq!(client.exactly(message.len()), message.as_bytes());
    }
    let seen = backend.only();
    assert_eq!(seen.header("upgrade").as_deref(), Some("websocket"));
    assert_eq!(seen.header("connection").map(|value| value.to_lowercase()).as_deref(), Some("upgrade"));
    assert_eq!(seen.header("sec-websocket-key").as_deref(), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
}

#[test]
fn large_messages_pass_both_ways_unchanged() {
    let backend = Backend::scripted(echo);
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    let mut reader = Client::over(client.stream.try_clone().unwrap());
    let message: Vec<u8> = (0..16u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| client.send(&message));
        assert!(reader.exactly(message.len()) == message);
    });
}

#[test]
fn a_websocket_over_tls_is_tunnelled() {
    let backend = Backend::scripted(echo);
    let certificate = TestCertificate::for_names(&["a.example"]);
    let proxy = Headgate::serve(&objects::tls_site("a.example", &[backend.address], &certificate));
    let mut client = Tls::to("a.example").connect(proxy.https);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn a_websocket_to_an_https_backend_is_tunnelled() {
    let backend = Backend::tls(TestCertificate::for_names(&["b"]), echo);
    let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
    site.extend(objects::service_speaking("a", &[backend.address], Some("https")));
    let proxy = Headgate::serve(&site);
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn any_other_protocol_is_tunnelled_too() {
    let backend = Backend::scripted(|exchange| {
        let named = exchange.seen.header("upgrade").unwrap();
        exchange.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {named}\r\nConnection: upgrade\r\n\r\n{named} hello"
        ))?;
        assert_eq!(exchange.exactly(2)?, b"hi");
        Ok(Then::Close)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: raw-stream/2\r\n\r\n");
    assert_eq!(client.response().status, 101);
    assert_eq!(client.exactly(18), b"raw-stream/2 hello", "bytes behind the 101 come through");
    client.send("hi");
    client.expect_close();
}

#[test]
fn bytes_behind_the_request_reach_the_backend_after_the_switch() {
    let backend = Backend::scripted(echo);
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!("{WEBSOCKET}eager"));
    assert_eq!(client.response().status, 101);
    assert_eq!(client.exactly(5), b"eager");
}

#[test]
fn an_upgrade_that_the_backend_declines_is_an_ordinary_answer() {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/ws" => exchange.reply("403 Forbidden", "no"),
        _ => exchange.reply("200 OK", "still here"),
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str(), response.header("upgrade")), (403, "no", None));
    assert_eq!(client.get("a.example", "/next").text(), "still here");
}

#[test]
fn an_upgrade_that_nobody_could_ask_for_is_no_upgrade() {
    let backend = Backend::answering("plain");
    let proxy = Headgate::before(&backend);
    for head in [
        "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let response = request(proxy.http, head);
        assert!([200, 400].contains(&response.status), "{head}: {}", response.raw_head);
        assert_eq!(backend.last().header("upgrade"), None, "{head}");
    }
}

#[test]
fn a_101_that_nobody_asked_for_is_502() {
    let backend = Backend::scripted(|exchange| exchange.send(switch(exchange)).map(|()| Then::Close));
    let proxy = Headgate::before(&backend);
    assert_eq!(crate::support::get(proxy.http, "a.example", "/").status, 502);
}

#[tokio::test]
async fn a_websocket_over_http_2_reaches_an_http_1_backend() {
    let backend = Backend::scripted(echo);
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    // The peer's SETTINGS must have told that extended CONNECT is there.
    assert_eq!(client.get("http://b.example/").await.status, 404);
    assert!(client.send.is_extended_connect_protocol_enabled());
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.example/ws?q")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (response, mut send) = client.open(request, false).await.unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let mut body = response.into_body();
    send.send_data(Bytes::from_static(b"hello"), false).unwrap();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "hello");
    let seen = backend.only();
    assert_eq!(seen.line(), "GET /ws?q HTTP/1.1");
    assert_eq!(seen.header("upgrade").as_deref(), Some("websocket"));
    assert_eq!(seen.header("sec-websocket-key").map(|key| key.len()), Some(24), "a key is made");
    send.send_data(Bytes::new(), true).unwrap();
    tokio::task::spawn_blocking(move || until("the backend's end", || (backend.open() == 0).then_some(())))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_websocket_over_http_2_that_the_backend_declines_is_an_ordinary_answer() {
    let backend = Backend::scripted(|exchange| exchange.reply("403 Forbidden", "no"));
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://b.example/").await.status, 404);
    let (response, _send) = client.open(extended_connect("websocket"), false).await.unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(soon(response.into_body().data()).await.unwrap().unwrap(), "no");
}

#[tokio::test]
async fn a_protocol_over_http_2_that_we_do_not_translate_is_501() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://b.example/").await.status, 404);
    let (response, _send) = client.open(extended_connect("connect-udp"), false).await.unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 501);
}

#[tokio::test]
async fn a_websocket_over_http_2_to_an_h2c_backend_is_501() {
    let backend = Backend::answering("ok");
    let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
    site.extend(objects::service_speaking("a", &[backend.address], Some("kubernetes.io/h2c")));
    let proxy = Headgate::serve(&site);
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://b.example/").await.status, 404);
    let (response, _send) = client.open(extended_connect("websocket"), false).await.unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 501);
    assert_eq!(backend.accepted(), 0);
}
