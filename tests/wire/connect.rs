//! CONNECT over HTTP/1: who may open a tunnel, where it leads, and what becomes of those who may not. HTTP/2 is in
//! `connect_http2`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::objects::{ingress, policy, rule, service, service_speaking, site_with_policy, tls_site};
use crate::support::ports::{BlackHole, ClosedPort, listener};
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Response, TestCertificate};

pub(crate) const HOST: &str = "a.example";
const CONNECT: &str = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
const ALL: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A TCP server that knows nothing of HTTP.
pub(crate) struct Raw {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Raw {
    pub(crate) fn serving(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = listener();
        let raw = Raw { address: listener.local_addr().unwrap(), accepted: Arc::default() };
        let (accepted, serve) = (raw.accepted.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepted.fetch_add(1, SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(stream));
            }
        });
        raw
    }

    /// Sends everything back.
    pub(crate) fn echo() -> Self {
        Self::serving(|stream| std::io::copy(&mut &stream, &mut &stream).map(drop))
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

/// The site whose policy lets clients open tunnels, with more that the policy says.
pub(crate) fn tunnels(addresses: &[SocketAddr], more: Value) -> Vec<Value> {
    let mut fields = json!({ "request": { "methods": ["GET", "CONNECT"] } });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site_with_policy(HOST, addresses, fields)
}

fn open(proxy: &Headgate) -> Client {
    let mut client = Client::connect(proxy.http);
    client.send(CONNECT);
    assert_eq!(client.head().status, 200);
    client
}

/// The answer to a CONNECT that is refused, which is the last one on its connection whatever follows.
#[track_caller]
fn refused(proxy: &Headgate, connect: &str) -> Response {
    let mut client = Client::connect(proxy.http);
    client.send(format!("{connect}GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let response = client.response();
    assert_eq!(response.header("connection"), Some("close"), "{connect}: {}", response.raw_head);
    client.shutdown_write();
    client.expect_close();
    response
}

#[test]
fn a_tunnel_leads_to_an_endpoint_of_the_authoritys_route() {
    let echo = Raw::echo();
    let proxy = Headgate::serve(&tunnels(&[echo.address], json!({})));
    for head in [
        CONNECT,
        "CONNECT a.example:5432 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT A.Example.:80 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nProxy-Connection: keep-alive\r\n\r\n",
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "CONNECT a.example:443 HTTP/1.0\r\n\r\n",
    ] {
        let mut client = Client::connect(proxy.http);
        client.send(format!("{head}eager"));
        let response = client.head();
        assert_eq!(response.status, 200, "{head}");
        for field in ["content-length", "transfer-encoding", "upgrade", "content-type"] {
            assert_eq!(response.header(field), None, "{head}");
        }
        assert_eq!(client.exactly(5), b"eager", "the endpoint's first bytes are the client's");
        client.send("GET / HTTP/1.1\r\n\r\n");
        assert_eq!(client.exactly(18), b"GET / HTTP/1.1\r\n\r\n");
        client.shutdown_write();
        client.expect_close();
    }
    assert_eq!(echo.accepted(), 5);
    assert_eq!(Client::connect(proxy.http).get("b.example", "/").status, 404);
}

#[test]
fn what_is_not_listed_is_405_with_what_is_and_the_connection_ends() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let response = refused(&proxy, CONNECT);
    assert_eq!((response.status, response.header("allow")), (405, Some(ALL)));
    assert_eq!(proxy.log_line("the refusal", |line| line["method"] == "CONNECT")["flag"], "CR");
    let fields = json!({ "request": { "methods": ["GET", "PUT", "TRACE"] } });
    proxy.change(&site_with_policy(HOST, &[backend.address], fields));
    let response = refused(&proxy, CONNECT);
    assert_eq!((response.status, response.header("allow")), (405, Some("GET, PUT")));
    proxy.change(&tunnels(&[backend.address], json!({})));
    for method in ["POST", "TRACE"] {
        let response = crate::support::request(proxy.http, format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        assert_eq!((response.status, response.header("allow")), (405, Some("CONNECT, GET")), "{method}");
    }
    assert!(backend.seen().is_empty() && backend.accepted() == 0);
}

#[test]
fn nothing_that_a_client_names_is_dialled() {
    let (echo, victim) = (Raw::echo(), Raw::echo());
    let proxy = Headgate::serve(&tunnels(&[echo.address], json!({})));
    let port = victim.address.port();
    for target in ["127.0.0.1", "localhost", "[::1]", "b.example", "a.example.b.example"] {
        let response = refused(&proxy, &format!("CONNECT {target}:{port} HTTP/1.1\r\nHost: {target}:{port}\r\n\r\n"));
        assert_eq!((response.status, response.header("allow")), (404, None), "{target}");
    }
    for host in [format!("127.0.0.1:{port}"), format!("a.example@127.0.0.1:{port}")] {
        let response = refused(&proxy, &format!("CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(response.status, 400, "{host}");
    }
    let mut client = Client::connect(proxy.http);
    client.send(format!("CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Host: 127.0.0.1\r\n\r\nhere"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(4), b"here");
    assert_eq!((echo.accepted(), victim.accepted()), (1, 0));
}

#[test]
fn a_tunnel_is_routed_by_the_path_slash() {
    let echo = Raw::echo();
    let mut objects = vec![
        ingress("sub", &[rule("sub.example", "/db", "Prefix", "db")]),
        ingress("root", &[rule("root.example", "/", "Exact", "db")]),
        policy("sub", "Ingress", "sub", json!({ "request": { "methods": ["CONNECT"] } })),
        policy("root", "Ingress", "root", json!({ "request": { "methods": ["CONNECT"] } })),
    ];
    objects.extend(service("db", &[echo.address]));
    let proxy = Headgate::serve(&objects);
    assert_eq!(refused(&proxy, "CONNECT sub.example:80 HTTP/1.1\r\nHost: sub.example\r\n\r\n").status, 404);
    let mut client = Client::connect(proxy.http);
    client.send("CONNECT root.example:80 HTTP/1.1\r\nHost: root.example\r\n\r\nx");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(1), b"x");
}

#[test]
fn a_head_that_is_no_connect_is_refused() {
    let echo = Raw::echo();
    let proxy = Headgate::serve(&tunnels(&[echo.address], json!({})));
    for (target, fields, status) in [
        ("a.example", "", 400),
        ("a.example:", "", 400),
        ("a.example:0", "", 400),
        ("a.example:65536", "", 400),
        ("a.example:80/", "", 400),
        ("user@a.example:80", "", 400),
        ("/", "", 400),
        ("*", "", 400),
        ("http://a.example/", "", 400),
        ("a.example:80", "Host: b.example\r\n", 400),
        ("a.example:80", "Content-Length: 0\r\n", 400),
        ("a.example:80", "Content-Length: 42\r\n", 400),
        ("a.example:80", "Transfer-Encoding: chunked\r\n", 400),
        ("a.example:80", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
        ("a.example:80", "Expect: 100-continue\r\n", 417),
    ] {
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        assert_eq!(refused(&proxy, &head).status, status, "{head}");
    }
    assert_eq!(echo.accepted(), 0);
}

#[test]
fn rules_and_limits_hold_for_tunnels_too() {
    let echo = Raw::echo();
    let more = json!({
        "access": { "deny": ["127.0.0.9"] },
        "request": { "methods": ["CONNECT"], "requiredHeaders": ["x-key"] },
        "connectionLimit": { "perClient": 1 },
    });
    let proxy = Headgate::serve(&tunnels(&[echo.address], more));
    let ask = |from: u8, fields: &str| {
        let mut client = Client::connect_from([127, 0, 0, from].into(), proxy.http);
        client.send(format!("CONNECT {HOST}:80 HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n"));
        let response = client.head();
        (client, response.status, response.header("connection").map(str::to_owned))
    };
    let close = || Some("close".to_owned());
    let (_, status, connection) = ask(9, "X-Key: k\r\n");
    assert_eq!((status, connection), (403, close()));
    let (_, status, connection) = ask(1, "");
    assert_eq!((status, connection), (400, close()));
    let (first, status, _) = ask(1, "X-Key: k\r\n");
    assert_eq!(status, 200);
    let (_, status, connection) = ask(1, "X-Key: k\r\n");
    assert_eq!((status, connection), (429, close()));
    drop(first);
    until("the first tunnel's end", || (ask(1, "X-Key: k\r\n").1 == 200).then_some(()));
}

#[test]
fn a_tunnel_counts_at_its_endpoint_until_it_ends() {
    let echo = Raw::echo();
    let mut objects = tunnels(&[echo.address], json!({}));
    objects.push(policy("backend", "Service", "a", json!({ "maxConnections": 1 })));
    let proxy = Headgate::serve(&objects);
    let mut first = open(&proxy);
    assert_eq!(refused(&proxy, CONNECT).status, 503);
    first.send("still");
    assert_eq!(first.exactly(5), b"still");
    drop(first);
    until("room at the endpoint", || {
        let mut client = Client::connect(proxy.http);
        client.send(CONNECT);
        (client.head().status == 200).then_some(())
    });
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_passed_over() {
    let (closed, echo) = (ClosedPort::new(), Raw::echo());
    let proxy = Headgate::serve(&tunnels(&[closed.address, echo.address], json!({})));
    for _ in 0..4 {
        let mut client = open(&proxy);
        client.send("x");
        assert_eq!(client.exactly(1), b"x");
    }
    proxy.counted("proxy_backend_errors_total", &[("reason", "connect")], 1.0);
    proxy.counted("proxy_retries_total", &[], 1.0);
    proxy.change(&tunnels(&[closed.address], json!({})));
    assert_eq!(refused(&proxy, CONNECT).status, 502);
    proxy.change(&tunnels(&[], json!({})));
    assert_eq!(refused(&proxy, CONNECT).status, 503);
    let hole = BlackHole::new();
    let mut objects = tunnels(&[hole.address], json!({}));
    objects.push(policy("backend", "Service", "a", json!({ "connectTimeout": "100ms" })));
    proxy.change(&objects);
    assert_eq!(refused(&proxy, CONNECT).status, 504);
    proxy.counted("proxy_backend_errors_total", &[("reason", "timeout")], 1.0);
}

#[test]
fn a_half_closed_tunnel_still_carries_the_other_direction() {
    let backend = Raw::serving(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(format!("got {}", all.len()).as_bytes())
    });
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    let mut client = open(&proxy);
    client.send(vec![b'x'; 100_000]);
    client.shutdown_write();
    assert_eq!(client.rest(), b"got 100000");
    let line = proxy.log_of("/");
    assert_eq!((&line["method"], &line["status"], &line["flag"]), (&"CONNECT".into(), &200.into(), &"".into()));
    assert_eq!((&line["bytes_sent"], &line["bytes_received"]), (&10.into(), &100_000.into()));
    assert_eq!((&line["host"], &line["endpoint"]), (&"a.example:443".into(), &backend.address.to_string().into()));
}

#[test]
fn the_log_and_the_metrics_tell_how_a_tunnel_ended() {
    let backend = Raw::serving(|mut stream| {
        stream.read_exact(&mut [0])?;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    });
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    let flag = |lines: usize| {
        until("the tunnel's line", || proxy.log().get(lines - 1).map(|line| line["flag"].as_str().unwrap().to_owned()))
    };
    let first = open(&proxy);
    assert_eq!(proxy.counted("proxy_requests_in_flight", &[("service", "a")], 1.0), 1.0);
    first.reset();
    assert_eq!(flag(1), "DC");
    let mut second = open(&proxy);
    second.send("x");
    second.rest();
    assert_eq!(flag(2), "UC");
    proxy.counted("proxy_backend_errors_total", &[("reason", "reset")], 1.0);
    proxy.counted("proxy_requests_total", &[("method", "CONNECT"), ("status", "200")], 2.0);
    assert_eq!(proxy.metrics().value("proxy_requests_in_flight", &[("service", "a")]), 0.0);
}

#[test]
fn only_the_idle_limit_of_tunnels_ends_a_silent_one() {
    let echo = Raw::echo();
    let objects = tunnels(&[echo.address], json!({ "timeouts": { "request": "1s", "idle": "1s" } }));
    let proxy = Headgate::with(&objects).flag("--tunnel-idle-timeout", "3s").start();
    let mut client = open(&proxy);
    std::thread::sleep(Duration::from_millis(2200));
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
    client.expect_close();
    assert_eq!(proxy.log_of("/")["flag"], "UT");
}

#[test]
fn a_drain_waits_for_tunnels() {
    let echo = Raw::echo();
    let flags = Headgate::with(&tunnels(&[echo.address], json!({}))).flag("--shutdown-grace-period", "0s");
    let mut proxy = flags.flag("--drain-timeout", "3s").start();
    let mut client = open(&proxy);
    proxy.signal(Signal::TERM);
    until("the listener's end", || TcpStream::connect(proxy.http).err());
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
    client.expect_close();
    assert!(proxy.exit_status().success());
    assert_eq!(proxy.log_of("/")["flag"], "SD");
}

#[test]
fn tls_is_spoken_through_a_tunnel_whatever_the_backends_protocol() {
    let backend = Backend::tls(TestCertificate::for_names(&["b"]), |exchange| exchange.reply("200 OK", "safe"));
    for protocol in [None, Some("https"), Some("kubernetes.io/h2c")] {
        let mut objects = vec![ingress("a", &[rule(HOST, "/", "Prefix", "a")])];
        objects.push(policy("a", "Ingress", "a", json!({ "request": { "methods": ["CONNECT"] } })));
        objects.extend(service_speaking("a", &[backend.address], protocol));
        let proxy = Headgate::serve(&objects);
        let mut client = Client::over(Tls::to("b").handshake(open(&proxy).stream).unwrap());
        assert_eq!(client.get("b", "/").text(), "safe", "{protocol:?}");
    }
}

#[test]
fn a_tunnel_may_come_over_tls_and_not_where_plain_http_is_redirected() {
    let echo = Raw::echo();
    let certificate = TestCertificate::for_names(&[HOST]);
    let mut objects = tls_site(HOST, &[echo.address], &certificate);
    objects.push(policy("a", "Ingress", "a", json!({ "request": { "methods": ["CONNECT"] } })));
    let proxy = Headgate::serve(&objects);
    let mut client = Tls::to(HOST).connect(proxy.https);
    client.send(format!("{CONNECT}eager"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(5), b"eager");
    assert_eq!(refused(&proxy, CONNECT).status, 308);
}

#[test]
fn megabytes_pass_both_ways_without_leaving_the_kernel() {
    let echo = Raw::echo();
    let proxy = Headgate::with(&tunnels(&[echo.address], json!({}))).flag("--workers", "1").start();
    let is_pipe = |to: &std::path::PathBuf| to.to_string_lossy().starts_with("pipe:");
    let pipes = || {
        let links = std::fs::read_dir(proxy.proc("fd")).unwrap().flatten();
        links.filter_map(|link| std::fs::read_link(link.path()).ok()).filter(is_pipe).count()
    };
    let before = pipes();
    let mut client = open(&proxy);
    assert_eq!(pipes(), before, "a silent tunnel holds no pipe");
    let mut reader = Client::over(client.stream.try_clone().unwrap());
    let message: Vec<u8> = (0..10u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| client.send(&message));
        assert!(reader.exactly(message.len()) == message);
    });
    assert!(pipes() >= before + 2, "splice(2) needs a pipe");
}
