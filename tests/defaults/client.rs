//! What a client of HTTP/1.1 may take its time for, and how much it may send.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::at;
use crate::site::{LONG, Site};
use crate::support::{Client, wait};

const HALF: &str = "GET / HTTP/1.1\r\nHost: a.exam";

/// The connection is closed, at most with a 408 before.
#[track_caller]
fn cut(client: &mut Client) {
    let rest = client.rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&rest));
}

pub(crate) fn first_head(site: &Site) {
    let mut client = site.client();
    client.send(HALF);
    at(10, || cut(&mut client));
}

pub(crate) fn first_head_like_http_2(site: &Site) {
    let mut client = site.client();
    client.send("PRI * HT");
    at(10, || cut(&mut client));
}

pub(crate) fn later_head(site: &Site) {
    let mut client = site.client();
    assert_eq!(client.get("a.example", "/").status, 200);
    client.send(HALF);
    at(10, || cut(&mut client));
}

pub(crate) fn head_over_tls(site: &Site) {
    let mut client = site.tls();
    client.send(HALF);
    let rest = at(10, || client.rest());
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "));
}

pub(crate) fn header_size(site: &Site) {
    let frame = "GET / HTTP/1.1\r\nHost: a.example\r\nX: \r\n\r\n".len();
    for (length, status) in [(65_535, 200), (65_536, 200), (65_537, 431)] {
        let value = "v".repeat(length - frame);
        assert_eq!(status_of(site, &format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: {value}\r\n\r\n")), status);
    }
}

pub(crate) fn header_fields(site: &Site) {
    for (fields, status) in [(99, 200), (100, 200), (101, 431)] {
        let more = "x: y\r\n".repeat(fields - 1);
        assert_eq!(status_of(site, &format!("GET / HTTP/1.1\r\nHost: a.example\r\n{more}\r\n")), status);
    }
}

fn status_of(site: &Site, text: &str) -> u16 {
    let mut client = site.client();
    client.send(text);
    client.response().status
}

pub(crate) fn body_idle(site: &Site) {
    let mut client = site.client();
    // So much that the rate is no reason before the silence is one.
    let sent = "x".repeat(10_000);
    client.send(format!("POST /stops HTTP/1.1\r\nHost: a.example\r\nContent-Length: 20000\r\n\r\n{sent}"));
    assert_eq!(at(30, || client.response()).status, 408);
}

pub(crate) fn body_below_rate(site: &Site) {
    assert_eq!(at(10, || drip(site, 192, Duration::from_secs(20))), 408);
}

pub(crate) fn body_above_rate(site: &Site) {
    assert_eq!(at(20, || drip(site, 288, Duration::from_secs(20))), 200);
}

/// Sends a body at this rate for that long, unless an answer comes before; then the status.
fn drip(site: &Site, per_second: usize, time: Duration) -> u16 {
    const PARTS: usize = 8;
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    let part = format!("{:x}\r\n{}\r\n", per_second / PARTS, "x".repeat(per_second / PARTS));
    let start = Instant::now();
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / PARTS as u32;
        client.patience(due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        if start.elapsed() > time || client.stream.peek(&mut [0]).is_ok() {
            break;
        }
        client.send(&part);
    }
    let _ = client.stream.write_all(b"0\r\n\r\n");
    client.patience(LONG);
    client.response().status
}

pub(crate) fn write_stall(site: &Site) {
    let mut client = site.client();
    client.send("GET /endless HTTP/1.1\r\nHost: a.example\r\n\r\n");
    at(30, || wait::within(LONG, || site.abandoned("/endless").then_some(())).expect("the end of the answer"));
}

pub(crate) fn idle_before_first(site: &Site) {
    let mut client = site.client();
    at(60, || client.expect_close());
}

pub(crate) fn idle_after_one(site: &Site) {
    let mut client = site.client();
    assert_eq!(client.get("a.example", "/").status, 200);
    at(60, || client.expect_close());
}

pub(crate) fn idle_over_tls(site: &Site) {
    let mut client = site.tls();
    assert_eq!(client.get("a.example", "/").status, 200);
    at(60, || client.expect_close());
}

pub(crate) fn not_idle_yet(site: &Site) {
    let mut client = site.client();
    assert_eq!(client.get("a.example", "/").status, 200);
    // A second less than it may be idle. Not a read with this patience: the kernel takes long timeouts of sockets lightly.
    std::thread::sleep(Duration::from_secs(59));
    assert_eq!(client.get("a.example", "/").status, 200);
}

pub(crate) fn half_a_hello(site: &Site) {
    let mut client = Client::connect(site.proxy.https);
    client.patience(LONG);
    client.send([0x16, 3, 1, 0, 200, 1]);
    at(10, || client.rest());
}

pub(crate) fn no_hello(site: &Site) {
    let mut client = Client::connect(site.proxy.https);
    client.patience(LONG);
    at(10, || client.expect_close());
}
