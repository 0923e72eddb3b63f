//! CONNECT over HTTP/1: who may open a tunnel, where it leads, and what becomes of those who may not. What passes through
//! it is in `connect_tunnels`, HTTP/2 in `connect_http2`.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::objects::{ingress, policy, rule, service, site_with_policy};
use crate::support::ports::{BlackHole, ClosedPort, listener};
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Response, get};

pub(crate) const HOST: &str = "a.example";
pub(crate) const CONNECT: &str = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
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

pub(crate) fn open(proxy: &Headgate) -> Client {
    let mut client = Client::connect(proxy.http);
    client.send(CONNECT);
    assert_eq!(client.head().status, 200);
    client
}

/// The answer to a CONNECT that is refused, which is the last one on its connection whatever follows.
#[track_caller]
pub(crate) fn refused(proxy: &Headgate, connect: &str) -> Response {
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
fn tunnels_make_no_room_for_further_tries_of_requests() {
    let backends = [0, 1].map(|_| Backend::sending("HTTP/1.1 503 Not Now\r\nContent-Length: 0\r\n\r\n"));
    let mut objects = tunnels(&backends.each_ref().map(|backend| backend.address), json!({}));
    let retry = json!({ "retry": { "on": ["503"], "budgetPercent": 50 }, "outlier": { "disabled": true } });
    objects.push(policy("retry", "Service", "a", retry));
    let proxy = Headgate::serve(&objects);
    let _open: Vec<_> = (0..20).map(|_| open(&proxy)).collect();
    for _ in 0..6 {
        assert_eq!(get(proxy.http, HOST, "/").status, 503);
    }
    assert_eq!(backends.iter().map(|backend| backend.seen().len()).sum::<usize>(), 6 + 3);
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
