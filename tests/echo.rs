//! `headgate echo` as a user starts it: a process, an address on its first line, and real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal, kill_process};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};

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

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends `request` and reads to the end of the connection: the head and the body.
    fn exchange(&self, request: &str) -> (String, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        let end = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(response[..end].to_vec()).unwrap(), response[end..].to_vec())
    }

    fn get(&self, target: &str) -> (String, Vec<u8>) {
        self.exchange(&format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}

#[test]
fn it_answers_with_what_it_saw() {
    let echo = Echo::start(&["--pod", "p", "--namespace", "n", "--ingress", "i", "--service", "s"], 1);
    let (head, body) = echo.exchange(
        "POST /a%20b?c=d HTTP/1.1\r\nHost: A.example:80\r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 5\r\n\
         Connection: close\r\n\r\nhello",
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let expected = json!({
        "path": "/a%20b?c=d", "host": "A.example:80", "method": "POST", "proto": "HTTP/1.1",
        "headers": {"host": ["A.example:80"], "x-twice": ["1", "2"], "content-length": ["5"], "connection": ["close"]},
        "namespace": "n", "ingress": "i", "service": "s", "pod": "p", "bodyBytes": 5, "tls": null,
    });
    assert_eq!(json_of(&body), expected);
}

#[test]
fn each_port_is_a_pod_of_its_own() {
    let echo = Echo::start(&[], 2);
    assert_eq!(echo.addresses.len(), 2);
    let (_, body) = echo.get("/");
    assert_eq!(json_of(&body)["pod"], format!("echo-{}", echo.addresses[0].port()));
}

#[test]
fn the_query_sets_status_size_and_delay() {
    let echo = Echo::start(&[], 1);
    let asked = Instant::now();
    let (head, body) = echo.get("/?status=503&size=1Mi&delay=100ms");
    assert!(asked.elapsed() >= Duration::from_millis(100));
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("content-length: 1048576\r\n"), "{head}");
    assert_eq!(body.len(), 1 << 20);
    assert!(echo.get("/?status=abc").0.starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_body_of_a_gibibyte_is_announced_at_once() {
    let echo = Echo::start(&[], 1);
    let mut stream = echo.connect();
    stream.write_all(b"GET /?size=1Gi HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut head = [0; 100];
    stream.read_exact(&mut head).unwrap();
    assert!(String::from_utf8_lossy(&head).contains("content-length: 1073741824"));
}

#[test]
fn a_websocket_gets_its_frames_back() {
    let echo = Echo::start(&[], 1);
    let mut stream = echo.connect();
    let handshake = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    stream.write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").unwrap();
    let mut frame = [0; 7];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x81\x05Hello");
}

#[test]
fn a_signal_ends_it_at_once_also_with_an_exchange_in_flight() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut echo = Echo::start(&[], 1);
        let mut stream = echo.connect();
        stream.write_all(b"GET /?delay=1h HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        kill_process(Pid::from_child(&echo.process), signal).unwrap();
        assert!(echo.process.wait().unwrap().success());
    }
}

#[tokio::test]
async fn it_speaks_http2_with_prior_knowledge() {
    let echo = Echo::start(&[], 1);
    let stream = tokio::net::TcpStream::connect(echo.addresses[0]).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://b.example/x").body(Full::new(Bytes::from_static(b"abc"))).unwrap();
    let seen = collect(sender.send_request(request).await.unwrap()).await;
    assert_eq!(seen["proto"], "HTTP/2.0");
    assert_eq!(seen["host"], "b.example");
    assert_eq!(seen["path"], "/x");
    assert_eq!(seen["bodyBytes"], 3);
}

#[tokio::test]
async fn it_speaks_tls_with_a_self_made_certificate() {
    let echo = Echo::start(&["--tls"], 1);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(echo.addresses[0]).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("c.example".try_into().unwrap(), stream).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://c.example/").body(Empty::<Bytes>::new()).unwrap();
    let seen = collect(sender.send_request(request).await.unwrap()).await;
    assert_eq!(seen["tls"], json!({"version": "TLSv1.3", "serverName": "c.example", "alpn": "h2"}));
}

async fn collect(response: Response<Incoming>) -> Value {
    assert_eq!(response.status(), 200);
    json_of(&response.into_body().collect().await.unwrap().to_bytes())
}

/// The certificate is made anew by every start, so there is nothing to compare it with.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
