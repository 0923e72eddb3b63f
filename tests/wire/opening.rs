//! First requests to a backend that is spoken to in HTTP/2: one opens the connection, the others wait for it.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use serde_json::json;

use crate::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS};
use crate::support::h2_backend::H2Backend;
use crate::support::h2_client::{H2Client, finish};
use crate::support::objects::{config_map, ingress, rule, service_speaking};
use crate::support::ports::BlackHole;
use crate::support::wait::{timed, until};
use crate::support::{Client, Headgate, get};

/// A proxy with one worker before this address, with so many seconds to connect.
fn before(address: SocketAddr, seconds: &str) -> Headgate {
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[address], Some("kubernetes.io/h2c")));
    site.push(config_map("settings", json!({ "proxy-connect-timeout": seconds, "proxy-read-timeout": "3" })));
    Headgate::with(&site).flag("--workers", "1").flag("--configmap", "default/settings").start()
}

fn answering(listener: std::net::TcpListener) -> H2Backend {
    H2Backend::on(listener, 100, async |mut exchange| exchange.reply(Response::new(()), "ok"))
}

/// Waits until so many requests are in flight.
fn in_flight(proxy: &Headgate, count: f64) {
    until("the requests in flight", || {
        (proxy.metrics().value("proxy_requests_in_flight", &[("service", "a")]) == count).then_some(())
    });
}

/// So many requests at the same time; their statuses.
async fn ask(proxy: &Headgate, requests: usize) -> Vec<u16> {
    let client = H2Client::plain(proxy.http).await;
    let asked = (0..requests).map(|_| client.get("http://a.example/"));
    join_all(asked).await.into_iter().map(|response| response.status).collect()
}

fn connections(backend: &H2Backend) -> usize {
    backend.seen().iter().map(|seen| seen.connection).collect::<std::collections::BTreeSet<_>>().len()
}

#[tokio::test]
async fn simultaneous_first_requests_share_one_connection() {
    let backend = H2Backend::answering("ok");
    let proxy = before(backend.address, "5");
    assert_eq!(ask(&proxy, 50).await, [200; 50]);
    assert_eq!((connections(&backend), backend.accepted()), (1, 1));
}

#[test]
fn requests_of_many_clients_wait_for_a_slow_connection_and_share_it() {
    let hole = BlackHole::new();
    let proxy = before(hole.address, "5");
    let backend = std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(get(proxy.http, "a.example", "/").status, 200));
        }
        in_flight(&proxy, 50.0);
        answering(hole.open())
    });
    assert_eq!(connections(&backend), 1);
}

#[test]
fn a_request_whose_client_leaves_hands_the_opening_over() {
    let hole = BlackHole::new();
    let proxy = before(hole.address, "5");
    let mut opener = Client::connect(proxy.http);
    opener.send("GET /opener HTTP/1.1\r\nHost: a.example\r\n\r\n");
    in_flight(&proxy, 1.0);
    let backend = std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(get(proxy.http, "a.example", "/").status, 200));
        }
        in_flight(&proxy, 11.0);
        opener.reset();
        assert_eq!(proxy.log_of("/opener")["status"], 499);
        answering(hole.open())
    });
    assert_eq!(connections(&backend), 1);
    assert_eq!(backend.seen().len(), 10);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_is_missed_by_nobody() {
    let hole = BlackHole::new();
    let proxy = before(hole.address, "5");
    let client = H2Client::plain(proxy.http).await;
    let (first, _) = client.open(Request::get("http://a.example/").body(()).unwrap(), true).await.unwrap();
    let (waiting, mut send) = client.open(Request::post("http://a.example/w").body(()).unwrap(), false).await.unwrap();
    let proxy = tokio::task::spawn_blocking(move || {
        in_flight(&proxy, 2.0);
        send.send_reset(h2::Reason::CANCEL);
        assert_eq!(proxy.log_of("/w")["status"], 499);
        proxy
    })
    .await
    .unwrap();
    drop(waiting);
    let backend = answering(hole.open());
    assert_eq!(finish(first).await.unwrap().status, 200);
    assert_eq!(backend.seen().len(), 1);
    drop(proxy);
}

#[test]
fn each_that_waits_has_its_own_time() {
    let hole = BlackHole::new();
    let proxy = before(hole.address, "2");
    let ask = || timed(|| get(proxy.http, "a.example", "/").status);
    std::thread::scope(|scope| {
        let first = scope.spawn(ask);
        in_flight(&proxy, 1.0);
        std::thread::sleep(Duration::from_millis(1000));
        let second = scope.spawn(ask);
        for (status, took) in [first, second].map(|asked| asked.join().unwrap()) {
            assert_eq!(status, 504);
            assert!(took > Duration::from_millis(1900) && took < Duration::from_millis(2900), "{took:?}");
        }
    });
    assert_eq!(proxy.counted("proxy_backend_errors_total", &[("reason", "timeout")], 2.0), 2.0);
}

#[test]
fn a_failed_opening_is_a_failed_try_of_each_that_waited() {
    let hole = BlackHole::new();
    let proxy = before(hole.address, "5");
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert_eq!(get(proxy.http, "a.example", "/").status, 502));
        }
        in_flight(&proxy, 5.0);
        // The next attempt finds nobody who listens.
        drop(hole);
    });
    assert_eq!(proxy.counted("proxy_backend_errors_total", &[("reason", "connect")], 5.0), 5.0);
}

/// A listener with a backend that answers one request and then lets its connection carry nothing. It goes on, answering
/// what comes, once it is told to.
fn asking_for_patience(listener: &TcpListener) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let listener = listener.try_clone().unwrap();
    let (go_on, told) = mpsc::channel::<()>();
    let backend = std::thread::spawn(move || {
        let mut frames = Frames::accept(&listener);
        let stream = frames.until(HEADERS, |_| true).unwrap().stream;
        frames.send(SETTINGS, 0, 0, &streams(0));
        frames.send(HEADERS, END_STREAM | END_HEADERS, stream, &[0x88]);
        if told.recv().is_ok() {
            frames.send(SETTINGS, 0, 0, &streams(100));
        }
        while let Some(head) = frames.until(HEADERS, |_| true) {
            frames.send(HEADERS, END_STREAM | END_HEADERS, head.stream, &[0x88]);
        }
    });
    (go_on, backend)
}

/// SETTINGS_MAX_CONCURRENT_STREAMS.
fn streams(count: u32) -> Vec<u8> {
    [&3u16.to_be_bytes()[..], &count.to_be_bytes()].concat()
}

#[track_caller]
fn assert_no_other(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn requests_wait_for_a_backend_that_takes_none_for_a_while() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let proxy = before(listener.local_addr().unwrap(), "15");
    let (go_on, backend) = asking_for_patience(&listener);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(get(proxy.http, "a.example", "/").status, 200));
        }
        in_flight(&proxy, 10.0);
        go_on.send(()).unwrap();
    });
    assert_no_other(&listener);
    drop(proxy);
    backend.join().unwrap();
}

#[test]
fn requests_give_up_on_a_backend_that_takes_none() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let proxy = before(listener.local_addr().unwrap(), "1");
    let (_go_on, _backend) = asking_for_patience(&listener);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    // The first may meet the connection before we know; then its time is that of an answer.
    assert_eq!(get(proxy.http, "a.example", "/").status, 504);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(get(proxy.http, "a.example", "/").status, 504));
        }
    });
    assert_no_other(&listener);
}
