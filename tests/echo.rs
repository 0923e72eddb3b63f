//! `headgate echo` as a user starts it: a process, an address on its first line, and real sockets.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::h2_client::H2Client;
use support::{Client, Response};

/// A running echo backend; ended when dropped.
struct Echo {
    process: Child,
    /// As printed, one per `--port`.
    addresses: Vec<SocketAddr>,
}

impl Echo {
    fn start(flags: &[&str], ports: usize) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_headgate"))
            .arg("echo")
            .args(flags)
            .args(["--port", "0"].repeat(ports))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().take(ports);
        let addresses = lines.map(|line| line.unwrap().split_once('=').unwrap().1.parse().unwrap()).collect();
        Echo { process, addresses }
    }

    fn connect(&self) -> Client {
        Client::connect(self.addresses[0])
    }

    fn get(&self, target: &str) -> Response {
        support::get(self.addresses[0], "a.example", target)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_answers_with_what_it_saw() {
    let echo = Echo::start(&["--pod", "p", "--namespace", "n", "--ingress", "i", "--service", "s"], 1);
    let mut client = echo.connect();
    client.send(
        "POST /a%20b?c=d HTTP/1.1\r\nHost: A.example:80\r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 5\r\n\r\nhello",
    );
    let response = client.response();
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let expected = json!({
        "path": "/a%20b?c=d", "host": "A.example:80", "method": "POST", "proto": "HTTP/1.1",
        "headers": {"host": ["A.example:80"], "x-twice": ["1", "2"], "content-length": ["5"]},
        "namespace": "n", "ingress": "i", "service": "s", "pod": "p", "bodyBytes": 5, "tls": null,
    });
    assert_eq!(response.json(), expected);
}

#[test]
fn each_port_is_a_pod_of_its_own() {
    let echo = Echo::start(&[], 2);
    for address in &echo.addresses {
        assert_eq!(support::get(*address, "a", "/").json()["pod"], format!("echo-{}", address.port()));
    }
}

#[test]
fn the_query_sets_status_size_and_delay() {
    let echo = Echo::start(&[], 1);
    let asked = Instant::now();
    let response = echo.get("/?status=503&size=1Mi&delay=100ms");
    assert!(asked.elapsed() >= Duration::from_millis(100));
    assert_eq!((response.status, response.header("content-length")), (503, Some("1048576")));
    assert_eq!(response.body.len(), 1 << 20);
    assert_eq!(echo.get("/?status=abc").status, 400);
}

#[test]
fn a_body_of_a_gibibyte_is_announced_at_once() {
    let echo = Echo::start(&[], 1);
    let mut client = echo.connect();
    client.send("GET /?size=1Gi HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut head = [0; 100];
    client.stream.read_exact(&mut head).unwrap();
    assert!(String::from_utf8_lossy(&head).contains("content-length: 1073741824"));
}

#[test]
fn a_websocket_gets_its_frames_back() {
    let echo = Echo::start(&[], 1);
    let mut client = echo.connect();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let expected = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let mut head = vec![0; expected.len()];
    client.stream.read_exact(&mut head).unwrap();
    assert_eq!(String::from_utf8(head).unwrap(), expected);
    client.send(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    let mut rest = Vec::new();
    while !rest.ends_with(b"\x81\x05Hello") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).unwrap();
        rest.push(byte[0]);
    }
}

#[test]
fn a_signal_ends_it_at_once_also_with_an_exchange_in_flight() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut echo = Echo::start(&[], 1);
        let mut client = echo.connect();
        client.send("GET /?delay=1h HTTP/1.1\r\nHost: a\r\n\r\n");
        kill_process(Pid::from_child(&echo.process), signal).unwrap();
        assert!(echo.process.wait().unwrap().success());
    }
}

#[tokio::test]
async fn it_speaks_http2_with_prior_knowledge() {
    let echo = Echo::start(&[], 1);
    let client = H2Client::plain(echo.addresses[0]).await;
    let request = Request::post("http://b.example/x").body(()).unwrap();
    let seen = json_of(&client.request(request, b"abc").await.body);
    assert_eq!(seen["proto"], "HTTP/2.0");
    assert_eq!((&seen["host"], &seen["path"], &seen["bodyBytes"]), (&json!("b.example"), &json!("/x"), &json!(3)));
}

#[tokio::test]
async fn it_speaks_tls_with_a_self_made_certificate() {
    let echo = Echo::start(&["--tls"], 1);
    let client = H2Client::tls(echo.addresses[0], "c.example").await;
    let seen = json_of(&client.get("https://c.example/").await.body);
    assert_eq!(seen["tls"], json!({"version": "TLSv1.3", "serverName": "c.example", "alpn": "h2"}));
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}
