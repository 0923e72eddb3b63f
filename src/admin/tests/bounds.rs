//! Over real sockets: what a connection of the admin port may take.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::admin::serve;
use crate::telemetry::RouteLabels;

const PATIENCE: Duration = Duration::from_secs(60);

/// The address of a running admin port.
async fn started(state: Arc<State>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, state));
    address
}

async fn asked(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// All that comes on a connection of its own.
async fn get(address: SocketAddr, method: &str, path: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    let mut stream = asked(address, &request).await;
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// A state whose metrics are more than two sockets can hold. What is returned beside it keeps them alive.
fn with_long_metrics() -> (Arc<State>, Vec<Arc<crate::telemetry::RouteMetrics>>) {
    let state = state(false);
    let filler = "x".repeat(250);
    let routes = (0..4_000).map(|number| {
        let labels =
            RouteLabels { namespace: filler.clone(), ingress: filler.clone(), service: format!("{number}-{filler}") };
        let route = state.metrics.route(&labels);
        route.shard(0).started();
        for status in [200, 404] {
            route.shard(0).finished(&http::Method::GET, status, Duration::ZERO, 0, 0);
        }
        route
    });
    let routes = routes.collect();
    (state, routes)
}

#[tokio::test]
async fn a_head_request_gets_the_length_without_the_body() {
    let address = started(state(false)).await;
    let head = get(address, "HEAD", "/debug/backends").await;
    let (fields, body) = head.split_once("\r\n\r\n").unwrap();
    let full = get(address, "GET", "/debug/backends").await;
    let length = full.split_once("\r\n\r\n").unwrap().1.len();
    assert!(fields.contains(&format!("content-length: {length}")), "{fields}");
    assert_eq!(body, "");
}

#[tokio::test]
async fn a_long_document_arrives_whole() {
    let (state, _routes) = with_long_metrics();
    let expected = state.metrics.encode().len();
    let full = get(started(state).await, "GET", "/metrics").await;
    let body = full.split_once("\r\n\r\n").unwrap().1;
    // Times of the process itself may have changed their length.
    assert!(body.len().abs_diff(expected) < 100 && body.ends_with('\n'));
}

/// A connection of 127.0.0.`last` that says nothing.
async fn silent(last: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test]
async fn who_has_asked_stays_whoever_else_comes() {
    let address = started(state(false)).await;
    let mut probe = silent(9, address).await;
    let mut flood = Vec::new();
    for round in 0..20 {
        probe.write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let read = timeout(PATIENCE, probe.read_buf(&mut answer)).await.unwrap().unwrap();
            assert!(read > 0, "closed in round {round}: {:?}", String::from_utf8_lossy(&answer));
        }
        for last in 10..20 {
            flood.push(silent(last, address).await);
        }
    }
}

#[tokio::test]
async fn one_address_has_half_of_the_connections_and_the_oldest_that_has_not_asked_goes() {
    let address = started(state(false)).await;
    let mut held = [silent(9, address).await, silent(9, address).await];
    held[0].write_all(b"GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap();
    held[0].read_exact(&mut [0; 15]).await.unwrap();
    let mut other = silent(8, address).await;
    let mut more = Vec::new();
    for _ in 0..31 {
        more.push(silent(9, address).await);
    }
    let mut rest = Vec::new();
    timeout(PATIENCE, held[1].read_to_end(&mut rest)).await.unwrap().unwrap();
    for kept in [&mut held[0], &mut other, &mut more[0]] {
        kept.write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        timeout(PATIENCE, kept.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.contains("HTTP/1.1 200 OK\r\n"), "one too many went: {text:?}");
    }
}

#[tokio::test]
async fn over_the_cap_the_oldest_connection_goes() {
    let address = started(state(false)).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        let mut stream = asked(address, "GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
        // Its answer tells that it has been accepted, so the order of age is known.
        stream.read_exact(&mut [0; 15]).await.unwrap();
        idle.push(stream);
    }
    assert!(get(address, "GET", "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let mut rest = Vec::new();
    timeout(PATIENCE, idle[0].read_to_end(&mut rest)).await.unwrap().unwrap();
    idle[1].write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut second = String::new();
    timeout(PATIENCE, idle[1].read_to_string(&mut second)).await.unwrap().unwrap();
    assert!(second.contains("HTTP/1.1 200 OK\r\n"), "one too many went: {second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_never_finished_ends_the_connection() {
    let address = started(state(false)).await;
    let mut stream = asked(address, "GET /healthz HTTP/1.1\r\nHost:").await;
    let started = Instant::now();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!((30..=31).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let (state, _routes) = with_long_metrics();
    let documents = state.documents.clone();
    let address = started(state).await;
    let mut stream = asked(address, "GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    stream.readable().await.unwrap();
    let started = Instant::now();
    let _all = documents.acquire_many(DOCUMENTS as u32).await.unwrap();
    assert!((140..=151).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).await.is_err() || !rest.ends_with(b"\n"));
}

#[tokio::test]
async fn documents_beyond_a_few_at_a_time_are_refused() {
    let (state, _routes) = with_long_metrics();
    let documents = state.documents.clone();
    let address = started(state).await;
    let spare = documents.clone().acquire_many_owned(DOCUMENTS as u32 - 1).await.unwrap();
    let slow = asked(address, "GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    slow.readable().await.unwrap();
    let refused = get(address, "GET", "/metrics").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("\r\n\r\ntoo many at a time\n"), "{refused}");
    assert!(get(address, "GET", "/readyz").await.starts_with("HTTP/1.1 200 "), "probes need no permit");
    drop(slow);
    let _one = timeout(PATIENCE, documents.acquire()).await.unwrap().unwrap();
    drop((_one, spare));
    assert!(get(address, "GET", "/debug/routes").await.starts_with("HTTP/1.1 200 "));
}
