//! Backends that break the rules of HTTP: what the client is told, what the log and the counters call it, and that the
//! next request on the route does not notice.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::support::h2_backend::{H2Backend, H2Exchange};
use crate::support::wait::{timed, until};
use crate::support::{Backend, Client, Exchange, Headgate, Then, client, get, objects};

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// This status and a whole answer.
    Whole(u16),
    /// This status, then an answer that breaks off.
    Broken(u16),
}

use Gets::{Broken, Whole};

/// What the backend sends, what becomes of it, the flag in the log, the reason that is counted.
type Row = (String, Gets, &'static str, &'static str);

const OK: &str = "HTTP/1.1 200 OK\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn fields(count: usize) -> String {
    format!("{OK}Content-Length: 0\r\n{}\r\n", "x: y\r\n".repeat(count - 1))
}

/// Answers `/0`, `/1`, … with the rows in order and then closes; all else with `fine`.
fn proxy_before(rows: &[Row]) -> (Headgate, Backend) {
    let sent: Vec<String> = rows.iter().map(|row| row.0.clone()).collect();
    let backend = Backend::scripted(move |exchange| match exchange.seen.target()[1..].parse::<usize>() {
        Ok(number) => exchange.send(&sent[number]).map(|()| Then::Close),
        Err(_) => exchange.reply("200 OK", "fine"),
    });
    (one_worker(&backend), backend)
}

/// One worker, so that there is one pool.
fn one_worker(backend: &Backend) -> Headgate {
    Headgate::with(&objects::site("a.example", &[backend.address])).flag("--workers", "1").start()
}

#[track_caller]
fn hold(rows: &[Row]) {
    let (proxy, backend) = proxy_before(rows);
    let mut counted = 0.0;
    for (number, (sent, gets, flag, reason)) in rows.iter().enumerate() {
        let what: String = sent.chars().take(100).collect();
        assert_eq!(asked(&proxy, &format!("/{number}")), *gets, "{what:?}");
        let line = proxy.log_of(&format!("/{number}"));
        let (Whole(status) | Broken(status)) = *gets;
        assert_eq!((&line["status"], &line["flag"]), (&json!(status), &json!(flag)), "{what:?}");
        let of_all = |reason: &str| proxy.metrics().value("proxy_backend_errors_total", &[("reason", reason)]);
        let before = counted;
        counted = ["connect", "timeout", "reset", "protocol", "5xx"].map(of_all).iter().sum();
        assert_eq!(counted - before, f64::from(u8::from(!reason.is_empty())), "{what:?}");
        let with_reason = rows[..=number].iter().filter(|row| !reason.is_empty() && row.3 == *reason).count();
        assert!(reason.is_empty() || of_all(reason) == with_reason as f64, "{what:?} is not {reason}");
        // Else the next request may be what meets the close, and counts.
        until("the close of the connection", || (backend.open() == 0).then_some(()));
        assert_eq!(get(proxy.http, "a.example", "/next").text(), "fine", "after {what:?}");
    }
}

fn asked(proxy: &Headgate, path: &str) -> Gets {
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    let mut response = client.head();
    match client.try_body(&mut response) {
        Ok(()) => Whole(response.status),
        Err(error) if client::closed(&error) => Broken(response.status),
        Err(error) => panic!("{path}: {error}"),
    }
}

#[test]
fn a_head_that_is_none_is_502() {
    let refused = |sent: &str| (sent.to_owned(), Whole(502), "UPE", "protocol");
    hold(&[
        refused("<html>an answer of HTTP/0.9</html>\r\n\r\n"),
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        refused("\0\0\u{12}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{64}\0\u{4}\0\0\u{40}\0\0\u{5}\0\0\u{40}\0"),
        refused("HTTP/2.0 200 OK\r\n\r\n"),
        refused("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"),
        refused("HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n"),
        refused("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"),
        refused("HTTP/1.1 200 OK\r\nno field\r\n\r\n"),
        refused("HTTP/1.1 200 OK\r\nX : blank\r\nContent-Length: 0\r\n\r\n"),
        refused("HTTP/1.1 200 OK\r\nX: folded\r\n line\r\nContent-Length: 0\r\n\r\n"),
        refused("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        refused("HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
        refused("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n".into(), Whole(200), "", ""),
    ]);
}

#[test]
fn a_head_may_have_100_fields_and_64_kib() {
    let sized = |length: usize| {
        let frame = format!("{OK}Content-Length: 0\r\nX: \r\n\r\n").len();
        format!("{OK}Content-Length: 0\r\nX: {}\r\n\r\n", "v".repeat(length - frame))
    };
    hold(&[
        (fields(99), Whole(200), "", ""),
        (fields(100), Whole(200), "", ""),
        (fields(101), Whole(502), "UPE", "protocol"),
        (fields(3000), Whole(502), "UPE", "protocol"),
        (sized(65_536), Whole(200), "", ""),
        (sized(65_537), Whole(502), "UPE", "protocol"),
        (sized(66_000), Whole(502), "UPE", "protocol"),
        (sized(80_000), Whole(502), "UPE", "protocol"),
        (sized(100_000), Whole(502), "UPE", "protocol"),
        (sized(140_000), Whole(502), "UPE", "protocol"),
        (sized(2_000_000), Whole(502), "UPE", "protocol"),
    ]);
}

#[test]
fn a_body_with_two_ends_is_502() {
    let refused = |fields: &str| (format!("{OK}{fields}\r\n2\r\nok\r\n0\r\n\r\n"), Whole(502), "UPE", "protocol");
    hold(&[
        refused("Content-Length: 12\r\nTransfer-Encoding: chunked\r\n"),
        refused("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n"),
        refused("Content-Length: 12\r\nContent-Length: 13\r\n"),
        refused("Content-Length: +12\r\n"),
        refused("Content-Length: 0x12\r\n"),
        refused("Content-Length: 18446744073709551616\r\n"),
        refused("Transfer-Encoding: gzip\r\n"),
        refused("Transfer-Encoding: chunked, chunked\r\n"),
        refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ]);
}

#[test]
fn a_body_that_is_broken_from_its_start_is_502() {
    let chunk = |sent: &str| (format!("{CHUNKED}{sent}"), Whole(502), "UPE", "protocol");
    hold(&[chunk("xyz\r\n"), chunk("-1\r\n"), chunk("\r\n"), chunk("fffffffffffffffff\r\n"), chunk("2;\n\r\nok\r\n")]);
}

#[test]
fn a_body_that_never_begins_is_never_complete() {
    for sent in [CHUNKED.to_owned(), format!("{OK}Content-Length: 2\r\n\r\n")] {
        let row = (sent, Whole(502), "UC", "reset");
        let (proxy, _backend) = proxy_before(std::slice::from_ref(&row));
        // The end may come with the head or after it.
        assert!(matches!(asked(&proxy, "/0"), Whole(502) | Broken(200)), "{:?}", row.0);
        assert_eq!(proxy.log_of("/0")["flag"], "UC", "{:?}", row.0);
        assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "reset")]), 1.0, "{:?}", row.0);
    }
}

#[test]
fn a_body_that_breaks_later_is_never_complete() {
    let chunk = |sent: &str| (format!("{CHUNKED}5\r\nhalf.{sent}"), Broken(200), "UPE", "protocol");
    hold(&[
        chunk("xyz\r\n"),
        chunk("\r\nxyz\r\n"),
        chunk("\r\n-1\r\n"),
        (format!("{CHUNKED}5\r\nhalf."), Broken(200), "UC", "reset"),
        (format!("{CHUNKED}5\r\nhalf.\r\n0\r\nx: "), Broken(200), "UC", "reset"),
        (format!("{OK}Content-Length: 10\r\n\r\nhalf."), Broken(200), "UC", "reset"),
    ]);
}

/// Asks for `method /`, then a GET of `/next`, from a backend that answers the first with `sent` and stays connected.
#[track_caller]
fn stays_alone(method: &str, sent: &'static str, status: u16, text: &str) {
    let backend = Backend::scripted(move |exchange: &mut Exchange<'_>| match exchange.seen.target() {
        "/next" => exchange.reply("200 OK", "fine"),
        _ => exchange.send(sent).map(|()| Then::KeepAlive),
    });
    let proxy = one_worker(&backend);
    for _ in 0..5 {
        let mut client = Client::connect(proxy.http);
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        let response = client.response_to(method);
        assert_eq!((response.status, response.text().as_str()), (status, text), "{sent:?}");
        assert_eq!(client.get("a.example", "/next").text(), "fine", "after {sent:?}");
    }
    // The connection of each answer with something behind it was dropped; the next one's may serve again.
    assert!(backend.accepted() >= 5, "{sent:?}: {} connections", backend.accepted());
}

#[test]
fn what_comes_behind_an_answer_is_nobodys() {
    stays_alone(
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        200,
        "ok",
    );
    stays_alone("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\npoison", 200, "ok");
    stays_alone("GET", "HTTP/1.1 204 No Content\r\n\r\npoison", 204, "");
    stays_alone("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison", 304, "");
    stays_alone("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", 200, "");
}

#[test]
fn an_answer_before_its_request_is_complete_serves_that_request_alone() {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/early" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").map(|()| Then::KeepAlive),
        _ => exchange.reply("200 OK", "fine"),
    });
    let proxy = one_worker(&backend);
    for _ in 0..3 {
        let mut client = Client::connect(proxy.http);
        client.send("POST /early HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhalf.");
        assert_eq!(client.response().text(), "early");
        assert_eq!(get(proxy.http, "a.example", "/next").text(), "fine");
        drop(client);
    }
}

#[test]
fn a_backend_that_takes_no_body_is_504_and_let_go() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let backend = Backend::scripted(move |exchange| {
        if exchange.seen.target() == "/next" {
            return exchange.reply("200 OK", "fine");
        }
        let _ = ended.lock().unwrap().recv();
        Ok(Then::Close)
    });
    let mut site = objects::site("a.example", &[backend.address]);
    site.push(objects::config_map("settings", json!({ "proxy-send-timeout": "1" })));
    let settled = [("--configmap", "default/settings"), ("--workers", "1"), ("--backend-idle-timeout", "1s")];
    let proxy = settled.iter().fold(Headgate::with(&site), |proxy, (flag, value)| proxy.flag(flag, value)).start();
    // A worker may open its descriptors after the process is ready, so one request first.
    assert_eq!(get(proxy.http, "a.example", "/next").text(), "fine");
    until("the end of the idle connection", || (backend.open() == 0).then_some(()));
    let before = proxy.descriptors();
    let mut client = Client::connect(proxy.http);
    client.send("POST /deaf HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || while sender.write_all(&[b'x'; 64 << 10]).is_ok() {});
    let response = client.response();
    assert_eq!((response.status, response.header("connection")), (504, Some("close")));
    let line = proxy.log_of("/deaf");
    assert_eq!((&line["status"], &line["flag"]), (&json!(504), &json!("UT")));
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    sender.join().unwrap();
    until("the end of both connections", || (proxy.descriptors() <= before).then_some(()));
    assert_eq!(get(proxy.http, "a.example", "/next").text(), "fine");
    drop(end);
}

#[test]
fn endless_interim_answers_are_502_before_long() {
    let backend = Backend::scripted(|exchange| {
        if exchange.seen.target() == "/next" {
            return exchange.reply("200 OK", "fine");
        }
        let some = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100);
        loop {
            exchange.send(&some)?;
        }
    });
    let proxy = one_worker(&backend);
    let (response, took) = timed(|| get(proxy.http, "a.example", "/storm"));
    assert_eq!(response.status, 502);
    assert!(took < Duration::from_secs(2), "{took:?}: a worker is kept from everything else meanwhile");
    let line = proxy.log_of("/storm");
    assert_eq!((&line["status"], &line["flag"]), (&json!(502), &json!("UPE")));
    assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "protocol")]), 1.0);
    assert_eq!(get(proxy.http, "a.example", "/next").text(), "fine");
    until("the end of the storm", || backend.request_to("/storm").abandoned.then_some(()));
}

/// An endless body whose chunks are these; `/plain` has 50,000 of one byte, as wordy as sizes are written.
fn chunks_without_end(chunks: &'static str) -> Backend {
    Backend::scripted(move |exchange| {
        exchange.send(CHUNKED)?;
        if exchange.seen.target() == "/plain" {
            let pieces = "00000001\r\nx\r\n".repeat(50_000);
            return exchange.send(format!("{pieces}0\r\n\r\n")).map(|()| Then::KeepAlive);
        }
        let some = chunks.repeat(100_000 / chunks.len());
        loop {
            exchange.send(&some)?;
        }
    })
}

#[test]
fn chunk_sizes_without_end_are_cut_before_long() {
    let long_sizes: &str = Box::leak(format!("{}1\r\nx\r\n", "0".repeat(1000)).into_boxed_str());
    for chunks in ["0", long_sizes] {
        let backend = chunks_without_end(chunks);
        let proxy = one_worker(&backend);
        assert!(matches!(asked(&proxy, "/zeros"), Broken(200) | Whole(502)), "{chunks}");
        assert_eq!(proxy.log_of("/zeros")["flag"], "UPE", "{chunks}");
        assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "protocol")]), 1.0, "{chunks}");
        until("the end of the zeros", || backend.request_to("/zeros").abandoned.then_some(()));
        assert_eq!(get(proxy.http, "a.example", "/plain").body.len(), 50_000, "{chunks}");
    }
}

#[test]
fn a_head_over_http_2_may_have_100_fields_and_64_kib() {
    let backend = H2Backend::scripted(async |mut exchange: H2Exchange| {
        let (fields, length) = exchange.request.uri().path()[1..].split_once('/').unwrap();
        let (fields, value) = (fields.parse::<usize>().unwrap(), "v".repeat(length.parse().unwrap()));
        let builder = (0..fields).fold(http::Response::builder(), |builder, _| builder.header("x", &value));
        exchange.reply(builder.body(()).unwrap(), "ok")
    });
    let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
    site.extend(objects::service_speaking("a", &[backend.address], Some("kubernetes.io/h2c")));
    let proxy = Headgate::with(&site).flag("--workers", "1").start();
    let ok = (200, "");
    let refused = (502, "UPE");
    let heads = [
        ("/1/20000", ok),
        ("/1/60000", ok),
        ("/1/66000", refused),
        ("/99/1", ok),
        ("/100/1", ok),
        ("/101/1", refused),
        ("/300/1", refused),
        ("/1/1000", ok),
    ];
    for (path, (status, flag)) in heads {
        assert_eq!(get(proxy.http, "a.example", path).status, status, "{path}");
        assert_eq!(proxy.log_of(path)["flag"], flag, "{path}");
    }
    assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "protocol")]), 3.0);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_timeout_behind_a_client_that_reads_nothing_is_counted_once() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        let block = vec![b'x'; 64 << 10];
        loop {
            exchange.send(&block)?;
        }
    });
    let mut site = objects::site("a.example", &[backend.address]);
    site.push(objects::config_map("settings", json!({ "proxy-send-timeout": "1" })));
    let proxy = Headgate::with(&site).flag("--configmap", "default/settings").start();
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || while sender.write_all(&[b'x'; 64 << 10]).is_ok() {});
    proxy.counted("proxy_backend_errors_total", &[("reason", "timeout")], 1.0);
    // The exchange is looked at ten times meanwhile.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "timeout")]), 1.0);
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    sender.join().unwrap();
}

#[test]
fn a_status_without_a_reason_has_none() {
    let rows = [("HTTP/1.1 600 Odd", 600), ("HTTP/1.1 999 Odder", 999), ("HTTP/1.1 299 Fine", 299)];
    let backend = Backend::scripted(move |exchange| {
        let (line, _) = rows[exchange.seen.target()[1..].parse::<usize>().unwrap()];
        exchange.send(format!("{line}\r\nContent-Length: 2\r\n\r\nok")).map(|()| Then::KeepAlive)
    });
    let proxy = one_worker(&backend);
    for (number, (_, status)) in rows.iter().enumerate() {
        let response = get(proxy.http, "a.example", &format!("/{number}"));
        assert_eq!((response.status, response.reason.as_str(), response.text().as_str()), (*status, "", "ok"));
    }
}

#[test]
fn no_length_is_said_beside_204() {
    let backend = Backend::sending("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n");
    let proxy = one_worker(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.response_to("HEAD").header("content-length"), None);
}
