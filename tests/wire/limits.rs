//! Bounds on heads and connections, each below, at and above its edge.

use std::net::{IpAddr, Ipv4Addr};

use rustix::process::Signal;

use crate::support::frames::{Frames, RST_STREAM};
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Response, Then, get, in_full, objects};

/// A proxy with this flag and its backend.
fn limited(flag: &str, value: &str) -> (Headgate, Backend) {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag(flag, value).start();
    (proxy, backend)
}

/// The answer to one request, or `None` where the connection was closed without one.
#[track_caller]
fn ask(proxy: &Headgate, text: &str) -> Option<Response> {
    let mut client = Client::connect(proxy.http);
    // The peer may close before all is written.
    let _ = std::io::Write::write_all(&mut client.stream, text.as_bytes());
    client.try_response().ok()
}

/// A GET whose head is exactly this long.
fn head_of(length: usize) -> String {
    let frame = "GET / HTTP/1.1\r\nHost: a.example\r\nX: \r\n\r\n".len();
    format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: {}\r\n\r\n", "v".repeat(length - frame))
}

#[test]
fn a_head_may_have_64_kib() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for (length, status) in [(65_535, 200), (65_536, 200), (65_537, 431), (200_000, 431)] {
        assert_eq!(ask(&proxy, &head_of(length)).map(|response| response.status), Some(status), "{length}");
    }
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn the_size_of_a_head_is_set_by_flag() {
    let (proxy, _backend) = limited("--max-header-size", "8Ki");
    for (length, status) in [(8191, 200), (8192, 200), (8193, 431)] {
        assert_eq!(ask(&proxy, &head_of(length)).map(|response| response.status), Some(status), "{length}");
    }
}

#[test]
fn as_many_fields_as_the_flag_can_allow_are_served() {
    let backend = Backend::answering("ok");
    let builder = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--max-header-size", "1Mi");
    let proxy = builder.flag("--max-header-fields", "10000").start();
    let with = |fields: usize| {
        let more: String = (1..fields).map(|number| format!("x{number}: y\r\n")).collect();
        ask(&proxy, &format!("GET / HTTP/1.1\r\nHost: a.example\r\n{more}\r\n")).map(|response| response.status)
    };
    assert_eq!((with(10_000), with(10_001)), (Some(200), Some(431)));
    assert_eq!(backend.only().header("x9999").as_deref(), Some("y"));
}

#[test]
fn a_head_may_have_100_fields() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let with = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", "x: y\r\n".repeat(fields - 1));
    for (fields, status) in [(99, 200), (100, 200), (101, 431), (3000, 431)] {
        let response = ask(&proxy, &with(fields)).unwrap_or_else(|| panic!("{fields}: no answer"));
        assert_eq!(response.status, status, "{fields}");
        assert_eq!(response.header("connection"), (status != 200).then_some("close"), "{fields}");
    }
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn connection_may_name_100_options() {
    let options = |count: usize| vec!["a"; count].join(",");
    let backend = Backend::scripted(move |exchange| {
        let count = exchange.seen.target()[1..].parse().unwrap();
        exchange.send(format!("HTTP/1.1 200 OK\r\nConnection: {}\r\nContent-Length: 0\r\n\r\n", options(count)))?;
        Ok(Then::KeepAlive)
    });
    let proxy = Headgate::before(&backend);
    let ask = |asked: &str, answered: usize| {
        let head = format!("GET /{answered} HTTP/1.1\r\nHost: a.example\r\n{asked}\r\n");
        ask(&proxy, &head).map(|response| response.status)
    };
    let field = |count: usize| format!("Connection: {}\r\n", options(count));
    assert_eq!((ask(&field(100), 1), ask(&field(101), 1)), (Some(200), Some(400)));
    assert_eq!(ask(&[field(50), field(51)].concat(), 1), Some(400), "on several lines");
    assert_eq!((ask("", 100), ask("", 101)), (Some(200), Some(502)));
}

#[test]
fn a_target_beyond_the_head_is_414() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let with = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "p".repeat(length - 1));
    assert_eq!(ask(&proxy, &with(8000)).unwrap().status, 200);
    for length in [65_535, 100_000] {
        assert_eq!(ask(&proxy, &with(length)).unwrap().status, 414, "{length}");
    }
}

#[test]
fn an_address_holds_no_more_connections_than_the_flag_says() {
    let (proxy, _backend) = limited("--max-connections-per-address", "3");
    let from = |last: u8| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let connect = |last: u8| {
        let mut client = Client::connect_from(from(last), proxy.http);
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        client.try_response().ok().map(|_| client)
    };
    let mut held: Vec<_> = (0..3).map(|_| connect(9).expect("below and at the limit")).collect();
    assert!(connect(9).is_none(), "over the limit");
    assert!(connect(8).is_some(), "another address");
    assert_eq!(proxy.counted("proxy_connections_refused_total", &[("reason", "address")], 1.0), 1.0);
    for client in &mut held {
        assert_eq!(client.get("a.example", "/").status, 200, "those that are in stay");
    }
    held.pop();
    until("a place", || connect(9));
}

/// A backend that keeps requests for `/held` until their client is gone.
fn holding() -> Backend {
    Backend::scripted(|exchange| match exchange.seen.target() {
        "/held" => exchange.until_abandoned(),
        _ => exchange.reply("200 OK", "ok"),
    })
}

#[test]
fn an_address_has_no_more_requests_in_flight_than_the_flag_says() {
    let backend = holding();
    let site = objects::site("a.example", &[backend.address]);
    let proxy = Headgate::with(&site).flag("--max-connections-per-address", "3").flag("--workers", "2").start();
    let mut streams = [Frames::connect(proxy.http), Frames::connect(proxy.http)];
    for (connection, stream) in [(0, 1), (0, 3), (1, 1)] {
        streams[connection].get(stream, "a.example", "/held");
    }
    backend.wait_for(3);
    let mut http1 = Client::connect(proxy.http);
    let refused = http1.get("a.example", "/over");
    assert_eq!((refused.status, refused.text().as_str()), (429, "429 Too Many Requests\n"));
    let line = proxy.log_of("/over");
    assert_eq!((&line["flag"], &line["ingress"]), (&"AL".into(), &"a".into()));
    streams[1].get(3, "a.example", "/over");
    assert_eq!(streams[1].status(3), 429);
    assert_eq!(proxy.counted("proxy_requests_total", &[("status", "429")], 2.0), 2.0);
    let warnings = proxy.stderr().lines().filter(|line| line.contains("request refused")).count();
    assert_eq!(warnings, 1, "{}", proxy.stderr());
    let other = Client::connect_from(IpAddr::from([127, 0, 0, 9]), proxy.http).get("a.example", "/");
    assert_eq!(other.status, 200, "another address");
    streams[0].send(RST_STREAM, 0, 3, &8u32.to_be_bytes());
    until("the place of the one that was reset", || (http1.get("a.example", "/").status == 200).then_some(()));
    streams[1].get(5, "a.example", "/");
    assert_eq!(streams[1].status(5), 200);
}

#[test]
fn addresses_that_are_not_counted_and_trusted_ones_have_any_number_of_requests_in_flight() {
    for (flag, value, most) in [("--max-connections-per-address", "0", "0"), ("--trusted-proxies", "127.0.0.1", "3")] {
        let backend = holding();
        let site = objects::site("a.example", &[backend.address]);
        let proxy = Headgate::with(&site).flag("--max-connections-per-address", most).flag(flag, value).start();
        let mut streams = Frames::connect(proxy.http);
        for number in 0..4 {
            streams.get(2 * number + 1, "a.example", "/held");
        }
        backend.wait_for(4);
        streams.get(9, "a.example", "/");
        assert_eq!(streams.status(9), 200, "{flag}");
    }
}

#[test]
fn the_process_holds_no_more_connections_than_the_flag_says() {
    let backend = holding();
    let site = objects::site("a.example", &[backend.address]);
    let proxy = Headgate::with(&site).flag("--max-connections", "4").start();
    let connect = |path: &str| {
        let mut client = Client::connect(proxy.http);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        client
    };
    let held: Vec<_> = (0..4).map(|_| connect("/held")).collect();
    backend.wait_for(4);
    assert!(connect("/").try_response().is_err());
    assert_eq!(proxy.counted("proxy_connections_refused_total", &[("reason", "process")], 1.0), 1.0);
    assert_eq!(proxy.metrics().value("proxy_connections_refused_total", &[("reason", "idle")]), 0.0);
    drop(held);
    until("a place", || connect("/").try_response().ok());
}

#[test]
fn the_admin_port_does_not_count_against_connections() {
    let (proxy, _backend) = limited("--max-connections", "1");
    let mut only = Client::connect(proxy.http);
    assert_eq!(only.get("a.example", "/").status, 200);
    assert_eq!(get(proxy.admin, "admin", "/healthz").status, 200);
}

#[test]
fn connections_that_are_reset_at_once_hurt_nobody() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for _ in 0..if in_full() { 50_000 } else { 2000 } {
        Client::connect(proxy.http).reset();
        Client::connect(proxy.https).reset();
    }
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    until("no connection", || (proxy.metrics().value("proxy_connections", &[]) == 0.0).then_some(()));
}

/// They are accepted no faster than they are seen to be gone.
#[test]
fn connections_that_were_reset_before_keep_few_files_open() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--workers", "1").start();
    let before = proxy.descriptors();
    proxy.signal(Signal::STOP);
    for _ in 0..500 {
        let mut client = Client::connect(proxy.http);
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        client.reset();
    }
    let most = std::thread::scope(|scope| {
        let last = scope.spawn(|| get(proxy.http, "a.example", "/").status);
        proxy.signal(Signal::CONT);
        let mut most = 0;
        while !last.is_finished() {
            most = most.max(proxy.descriptors());
        }
        assert_eq!(last.join().unwrap(), 200);
        most - before
    });
    assert!(most < 150, "{most} files more");
}

#[test]
fn a_declared_body_is_not_room_made() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = Headgate::before(&backend);
    let before = proxy.resident();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = Client::connect(proxy.http);
            client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 999999999\r\n\r\n");
            client
        })
        .collect();
    backend.wait_for(50);
    assert!(proxy.resident() < before + (32 << 20));
    drop(clients);
}

#[test]
fn unfinished_heads_take_little_memory() {
    let (proxy, _backend) = limited("--header-timeout", "60s");
    for _ in 0..20 {
        get(proxy.http, "a.example", "/");
    }
    let before = proxy.resident();
    let head = head_of(60_000);
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let mut client = Client::connect(proxy.http);
            client.send(&head[..59_000]);
            client
        })
        .collect();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    let growth = proxy.resident().saturating_sub(before);
    assert!(growth < 200 * (128 << 10), "{} KiB a connection", growth / 200 / 1024);
    drop(clients);
}
