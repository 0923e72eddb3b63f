//! Requests that ask to switch protocols, oddly.

use std::io::{Read, Write};

use crate::support::wait::until;
use crate::support::{Backend, Client, Exchange, Headgate, Then};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
/// What answers [`KEY`].
const PROOF: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// Switches where it is asked to, else answers plainly.
fn willing(exchange: &mut Exchange<'_>) -> std::io::Result<Then> {
    if exchange.seen.header("upgrade").is_none() {
        exchange.body()?;
        return exchange.reply("200 OK", "plain");
    }
    exchange.send(format!("{SWITCH}{PROOF}\r\n"))?;
    let mut buffer = [0; 64 << 10];
    loop {
        match exchange.stream().read(&mut buffer)? {
            0 => return Ok(Then::Close),
            read => exchange.send(&buffer[..read])?,
        }
    }
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The status of the answer to a request with these lines.
#[track_caller]
fn asked(proxy: &Headgate, line: &str, lines: &str, body: &str) -> u16 {
    let mut client = Client::connect(proxy.http);
    client.send(format!("{line}\r\nHost: a.example\r\n{lines}\r\n{body}"));
    client.head().status
}

#[test]
fn a_switch_that_was_not_asked_for_correctly_never_happens() {
    let backend = Backend::scripted(willing);
    let proxy = Headgate::before(&backend);
    let right = format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{KEY}");
    let get = "GET / HTTP/1.1";
    assert_eq!(asked(&proxy, get, &right, ""), 101);
    let before = backend.seen().len();
    let without = |part: &str| right.replace(part, "");
    for (line, lines, body) in [
        (get, without("Connection: Upgrade\r\n"), ""),
        (get, without("Upgrade: websocket\r\n"), ""),
        (get, without(KEY), ""),
        (get, without("Sec-WebSocket-Version: 13\r\n"), ""),
        (get, right.replace("13", "99"), ""),
        (get, right.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), ""),
        (get, right.clone() + KEY, ""),
        (get, right.replace("websocket", "websocket, h2c"), ""),
        (get, right.replace("websocket", "h2c"), ""),
        (get, right.replace("websocket", "HTTP/2.0"), ""),
        (get, right.replace("websocket", "TLS/1.2"), ""),
        (get, right.replace("websocket", "web socket"), ""),
        (get, format!("{right}Content-Length: 4\r\n"), "body"),
        (get, format!("{right}Transfer-Encoding: chunked\r\n"), "0\r\n\r\n"),
        ("POST / HTTP/1.1", right.clone(), ""),
        ("GET / HTTP/1.0", right.clone(), ""),
    ] {
        let status = asked(&proxy, line, &lines, body);
        assert!([200, 400].contains(&status), "{line}\n{lines}: {status}");
    }
    let seen = backend.seen();
    assert!(seen[before..].iter().all(|seen| seen.header("upgrade").is_none()), "{seen:#?}");
}

#[test]
fn a_switch_to_a_websocket_that_is_not_proven_opens_no_tunnel() {
    let wrong = PROOF.replace("s3p", "S3P");
    for proof in ["", "Sec-WebSocket-Accept:\r\n", &wrong, &PROOF.repeat(2), &KEY.replace("Key", "Accept")] {
        let answer = format!("{SWITCH}{proof}\r\n");
        let backend = Backend::scripted(move |exchange| exchange.send(&answer).map(|()| Then::KeepAlive));
        let proxy = Headgate::before(&backend);
        let lines = format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{KEY}");
        assert_eq!(asked(&proxy, "GET / HTTP/1.1", &lines, ""), 502, "{proof}");
        assert_eq!(proxy.counted("proxy_backend_errors_total", &[("reason", "protocol")], 1.0), 1.0, "{proof}");
        until("the end of the backend's connection", || (backend.open() == 0).then_some(()));
    }
}

#[test]
fn connection_may_be_said_in_several_ways() {
    let backend = Backend::scripted(willing);
    let proxy = Headgate::before(&backend);
    let right = format!("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{KEY}");
    for connection in ["upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade\r\nConnection: Upgrade", ",, upgrade ,"] {
        let lines = format!("Connection: {connection}\r\n{right}");
        assert_eq!(asked(&proxy, "GET / HTTP/1.1", &lines, ""), 101, "{connection}");
    }
    for connection in ["close, upgrade", "upgrade, close", "upgrade\r\nConnection: close"] {
        let lines = format!("Connection: {connection}\r\n{right}");
        assert_eq!(asked(&proxy, "GET / HTTP/1.1", &lines, ""), 200, "{connection}");
    }
}

#[test]
fn a_million_tiny_frames_pass_and_take_no_memory() {
    const FRAMES: usize = 1_000_000;
    let backend = Backend::scripted(willing);
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{KEY}\r\n"
    ));
    assert_eq!(client.head().status, 101);
    let before = proxy.resident();
    let mut sender = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        // A masked text of nothing (RFC 6455 §5.2).
        let frames = [0x81, 0x80, 0, 0, 0, 0].repeat(1000);
        for _ in 0..FRAMES / 1000 {
            sender.write_all(&frames).unwrap();
        }
    });
    let mut left = 6 * FRAMES;
    let mut buffer = [0; 64 << 10];
    while left > 0 {
        left -= client.stream.read(&mut buffer).unwrap();
    }
    sender.join().unwrap();
    assert!(proxy.resident() < before + (8 << 20), "{} KiB more", (proxy.resident() - before) >> 10);
}
