//! Bounds on time: each is on, cuts what is slower, and leaves alone what is just fast enough. The checks tick, so a
//! limit may take up to [`LATE`] longer.

use std::io::Write;
use std::time::Duration;

use crate::support::tls::Tls;
use crate::support::wait::timed;
use crate::support::{Backend, Client, Headgate, Then, client, objects};

/// How much later than at its limit a connection may be cut.
const LATE: Duration = Duration::from_millis(1500);
const SECOND: Duration = Duration::from_secs(1);

/// A proxy with these flags and a backend that reads bodies and answers `ok`.
fn limited(flags: &[(&str, &str)]) -> (Headgate, Backend) {
    let backend = Backend::answering("ok");
    (in_front_of(&backend, flags), backend)
}

fn in_front_of(backend: &Backend, flags: &[(&str, &str)]) -> Headgate {
    let builder = Headgate::with(&objects::site("a.example", &[backend.address]));
    flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, value)).start()
}

/// Panics unless `work` takes at least `limit` and at most [`LATE`] more.
#[track_caller]
fn at<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let (value, took) = timed(work);
    assert!(took >= limit.mul_f32(0.85) && took <= limit + LATE, "after {took:?} in place of {limit:?}");
    value
}

#[test]
fn a_head_must_end_in_time() {
    let (proxy, _backend) = limited(&[("--header-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.exam");
    let rest = at(SECOND, || client.rest());
    assert!(rest.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_head_that_drips_must_end_in_time_too() {
    let (proxy, _backend) = limited(&[("--header-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    at(SECOND, || {
        for byte in b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ".iter().chain(std::iter::repeat_n(&b'v', 1000)) {
            if client.stream.write_all(&[*byte]).is_err() || client.stream.peek(&mut [0]).is_ok() {
                return;
            }
            client.patience(Duration::from_millis(20));
        }
    });
}

#[test]
fn the_head_of_a_later_request_must_end_in_time_too() {
    let (proxy, _backend) = limited(&[("--header-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    assert_eq!(client.get("a.example", "/").status, 200);
    std::thread::sleep(SECOND.mul_f32(1.5));
    client.send("GET / HTTP/1.1\r\n");
    at(SECOND, || client.rest());
}

#[test]
fn a_head_just_in_time_is_served() {
    let (proxy, _backend) = limited(&[("--header-timeout", "2s")]);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.exam");
    std::thread::sleep(SECOND.mul_f32(1.2));
    client.send("ple\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_connection_that_never_speaks_is_closed() {
    let (proxy, _backend) = limited(&[("--keep-alive-timeout", "1s"), ("--tls-handshake-timeout", "3s")]);
    let mut plain = Client::connect(proxy.http);
    at(SECOND, || plain.expect_close());
    let mut tls = Tls::to("a.example").connect(proxy.https);
    at(SECOND, || tls.expect_close());
    let mut silent = Client::connect(proxy.https);
    at(SECOND * 3, || silent.expect_close());
}

#[test]
fn a_tls_handshake_must_end_in_time() {
    let (proxy, _backend) = limited(&[("--tls-handshake-timeout", "1s")]);
    let mut client = Client::connect(proxy.https);
    client.send([0x16, 3, 1, 0, 200, 1]);
    at(SECOND, || client.rest());
    proxy.counted("proxy_connections_refused_total", &[("reason", "tls_handshake")], 1.0);
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let (proxy, _backend) = limited(&[("--keep-alive-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    for _ in 0..3 {
        assert_eq!(client.get("a.example", "/").status, 200);
        std::thread::sleep(SECOND.mul_f32(0.6));
    }
    assert_eq!(client.get("a.example", "/").status, 200);
    at(SECOND, || client.expect_close());
    let mut tls = Tls::to("a.example").connect(proxy.https);
    assert_eq!(tls.get("a.example", "/").status, 200);
    at(SECOND, || tls.expect_close());
}

#[test]
fn a_long_answer_is_not_idleness() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(SECOND.mul_f32(2.5));
        exchange.reply("200 OK", "late")
    });
    let proxy = in_front_of(
        &backend,
        &[
            ("--keep-alive-timeout", "1s"),
            ("--header-timeout", "1s"),
            ("--body-idle-timeout", "1s"),
            ("--write-timeout", "1s"),
        ],
    );
    assert_eq!(Client::connect(proxy.http).get("a.example", "/").text(), "late");
}

#[test]
fn a_body_that_stops_is_408() {
    let (proxy, backend) = limited(&[("--body-idle-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    client.send("POST /stops HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhalf.");
    let response = at(SECOND, || client.response());
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
    client.expect_close();
    crate::support::wait::until("the end of the backend's request", || backend.only().abandoned.then_some(()));
    assert_eq!(proxy.log_of("/stops")["status"], 408);
}

#[test]
fn a_body_that_moves_is_not_idle() {
    let (proxy, backend) = limited(&[("--body-idle-timeout", "3s")]);
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\n\r\n");
    // Longer than the limit in all, and each pause far shorter, also where the machine is busy.
    for byte in b"a body" {
        std::thread::sleep(SECOND.mul_f32(0.6));
        client.send([*byte]);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(backend.only().body, b"a body");
}

#[test]
fn a_body_that_came_fast_at_first_may_not_drip_for_ever() {
    let (proxy, _backend) = limited(&[("--body-idle-timeout", "5s")]);
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n");
    // Enough for five minutes at the minimum rate, if it counted for all of the body.
    client.send("x".repeat(72_000));
    at(SECOND * 20, || {
        client.patience(SECOND / 2);
        for _ in 0..100 {
            if client.stream.peek(&mut [0]).is_ok() {
                return;
            }
            client.send("x");
        }
    });
    client.patience(SECOND * 5);
    assert_eq!(client.response().status, 408);
}

#[test]
fn a_body_slower_than_the_minimum_rate_is_408_after_ten_seconds() {
    let (proxy, _backend) = limited(&[]);
    let slow = Drip { per_second: 100, proxy: &proxy };
    let fast = Drip { per_second: 400, proxy: &proxy };
    std::thread::scope(|scope| {
        let fast = scope.spawn(|| fast.until_answered(Duration::from_secs(13)));
        let (status, took) = timed(|| slow.until_answered(Duration::from_secs(13)));
        assert_eq!(status, 408);
        assert!(took >= Duration::from_secs(9) && took <= Duration::from_secs(12), "{took:?}");
        assert_eq!(fast.join().unwrap(), 200);
    });
}

/// A body that comes in equal small parts.
struct Drip<'a> {
    per_second: usize,
    proxy: &'a Headgate,
}

impl Drip<'_> {
    /// Sends a chunked body at this rate, for that long unless an answer comes before; then the status.
    fn until_answered(&self, time: Duration) -> u16 {
        let mut client = Client::connect(self.proxy.http);
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.patience(Duration::from_millis(200));
        let part = self.per_second / 5;
        let end = std::time::Instant::now() + time;
        while std::time::Instant::now() < end && client.stream.peek(&mut [0]).is_err() {
            client.send(format!("{part:x}\r\n{}\r\n", "x".repeat(part)));
        }
        let _ = client.stream.write_all(b"0\r\n\r\n");
        client.patience(Duration::from_secs(5));
        client.response().status
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        let block = vec![b'x'; 64 << 10];
        loop {
            exchange.send(&block)?;
        }
    });
    let proxy = in_front_of(&backend, &[("--write-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    client.send("GET /stalled HTTP/1.1\r\nHost: a.example\r\n\r\n");
    at(SECOND, || {
        crate::support::wait::until("the backend's end", || {
            (backend.seen().len() == 1 && backend.open() == 0).then_some(())
        })
    });
    proxy.log_of("/stalled");
    drop(client);
}

#[test]
fn a_client_that_takes_a_little_now_and_then_is_not_cut() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")?;
        exchange.send(vec![b'x'; 20_000_000])?;
        Ok(Then::KeepAlive)
    });
    let proxy = in_front_of(&backend, &[("--write-timeout", "2s")]);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut head = client.head();
    for _ in 0..8 {
        std::thread::sleep(SECOND.mul_f32(0.4));
        client.exactly(1_000_000);
    }
    head.headers = vec![("content-length".into(), "12000000".into())];
    client.body(&mut head, "GET");
}

#[test]
fn an_old_connection_is_closed_after_a_response() {
    let (proxy, _backend) = limited(&[("--max-connection-age", "1s")]);
    for (host, status) in [("a.example", 200), ("unknown.example", 404)] {
        let mut client = Client::connect(proxy.http);
        crate::support::wait::until("a closing answer", || {
            let response = client.get(host, "/");
            assert_eq!(response.status, status);
            std::thread::sleep(Duration::from_millis(50));
            (response.header("connection") == Some("close")).then_some(())
        });
        client.expect_close();
    }
}

#[test]
fn the_age_of_a_connection_cuts_no_response() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")?;
        std::thread::sleep(SECOND * 2);
        exchange.send("lf")?;
        Ok(Then::KeepAlive)
    });
    let proxy = in_front_of(&backend, &[("--max-connection-age", "1s")]);
    let mut client = Client::connect(proxy.http);
    assert_eq!(client.get("a.example", "/").text(), "half");
    // It may close now, by itself or with the next answer.
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(client.try_response().map_or_else(|error| client::closed(&error), |response| response.text() == "half"));
}

#[test]
fn a_tunnel_idle_both_ways_is_closed_in_time() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")?;
        for _ in 0..4 {
            std::thread::sleep(SECOND.mul_f32(0.6));
            exchange.send("tick")?;
        }
        exchange.until_abandoned()
    });
    let proxy = in_front_of(
        &backend,
        &[
            ("--tunnel-idle-timeout", "1s"),
            ("--keep-alive-timeout", "1s"),
            ("--body-idle-timeout", "1s"),
            ("--write-timeout", "1s"),
        ],
    );
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(client.response().status, 101);
    assert_eq!(client.exactly(16), b"ticktickticktick", "traffic one way keeps it");
    at(SECOND, || client.expect_close());
    let line = proxy.log_of("/");
    assert_eq!((&line["status"], &line["flag"]), (&101.into(), &"UT".into()));
}
