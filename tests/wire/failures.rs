//! Backends that are away, silent, broken or die half-way: what the client is told, and what goes elsewhere.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::h2_client::{H2Client, finish};
use crate::support::ports::{BlackHole, ClosedPort};
use crate::support::wait::{timed, until};
use crate::support::{Backend, Client, Headgate, Then, client, get, objects, request};

const POST: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody";

/// A proxy whose backends may be silent for one second.
fn impatient(backend: &Backend) -> Headgate {
    let mut site = objects::site("a.example", &[backend.address]);
    site.push(objects::config_map("settings", json!({ "proxy-read-timeout": "1", "proxy-send-timeout": "1" })));
    Headgate::with(&site).flag("--configmap", "default/settings").start()
}

/// How many backend errors are counted for this reason, once there are that many.
#[track_caller]
fn backend_errors(proxy: &Headgate, reason: &str, least: f64) -> f64 {
    proxy.counted("proxy_backend_errors_total", &[("reason", reason), ("service", "a")], least)
}

#[test]
fn a_refused_connection_is_502() {
    let closed = ClosedPort::new();
    let proxy = Headgate::serve(&objects::site("a.example", &[closed.address]));
    let mut client = Client::connect(proxy.http);
    for _ in 0..2 {
        let response = client.get("a.example", "/x");
        assert_eq!((response.status, response.text().as_str()), (502, "502 Bad Gateway\n"));
        assert_eq!(response.header("connection"), None, "the client's connection is not to blame");
        assert_eq!((response.header("server"), response.header("date").is_some()), (Some("headgate"), true));
    }
    assert_eq!(proxy.log_of("/x")["status"], 502);
    assert_eq!(backend_errors(&proxy, "connect", 2.0), 2.0);
}

#[test]
fn a_connect_failure_goes_to_the_next_endpoint_for_every_method() {
    let closed = [ClosedPort::new(), ClosedPort::new()];
    let backend = Backend::answering("alive");
    let site = objects::site("a.example", &[closed[0].address, closed[1].address, backend.address]);
    let proxy = Headgate::serve(&site);
    for _ in 0..9 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "alive");
        assert_eq!(request(proxy.http, POST).text(), "alive");
        let chunked = "PATCH / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        assert_eq!(request(proxy.http, chunked).text(), "alive");
        assert_eq!(backend.last().body, b"body");
    }
    proxy.counted("proxy_retries_total", &[], 1.0);
}

#[test]
fn an_endpoint_that_does_not_answer_the_connect_is_left_within_a_second() {
    let hole = BlackHole::new();
    let backend = Backend::answering("alive");
    let proxy = Headgate::serve(&objects::site("a.example", &[hole.address, backend.address]));
    for _ in 0..2 {
        let (response, took) = timed(|| get(proxy.http, "a.example", "/"));
        assert_eq!(response.text(), "alive");
        assert!(took < Duration::from_millis(1900), "{took:?}");
    }
}

#[test]
fn no_endpoint_that_answers_the_connect_is_504() {
    let holes = [BlackHole::new()];
    let proxy = Headgate::serve(&objects::site("a.example", &[holes[0].address]));
    let (response, took) = timed(|| get(proxy.http, "a.example", "/"));
    assert_eq!((response.status, response.text().as_str()), (504, "504 Gateway Timeout\n"));
    assert!(took > Duration::from_millis(900) && took < Duration::from_millis(2500), "{took:?}");
    assert_eq!(backend_errors(&proxy, "timeout", 1.0), 1.0);
}

#[test]
fn at_most_three_endpoints_are_tried() {
    let closed: Vec<_> = (0..5).map(|_| ClosedPort::new()).collect();
    let addresses: Vec<_> = closed.iter().map(|port| port.address).collect();
    let proxy = Headgate::serve(&objects::site("a.example", &addresses));
    assert_eq!(get(proxy.http, "a.example", "/").status, 502);
    assert_eq!(backend_errors(&proxy, "connect", 3.0), 3.0);
}

#[test]
fn a_silent_backend_is_504_and_let_go() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = impatient(&backend);
    let (response, took) = timed(|| get(proxy.http, "a.example", "/"));
    assert_eq!((response.status, response.text().as_str()), (504, "504 Gateway Timeout\n"));
    assert!(took > Duration::from_millis(900) && took < Duration::from_millis(2500), "{took:?}");
    until("the end of the backend's connection", || backend.only().abandoned.then_some(()));
    assert_eq!(backend.seen().len(), 1, "tried once");
    assert_eq!(backend_errors(&proxy, "timeout", 1.0), 1.0);
}

#[test]
fn a_post_to_a_silent_backend_is_504_too() {
    let backend = Backend::scripted(|exchange| {
        exchange.body()?;
        exchange.until_abandoned()
    });
    assert_eq!(request(impatient(&backend).http, POST).status, 504);
}

#[test]
fn a_backend_is_not_silent_while_the_client_keeps_its_body_back() {
    let backend = Backend::answering("ok");
    let proxy = impatient(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(POST.strip_suffix("dy").unwrap());
    // Longer than the backend may be silent.
    std::thread::sleep(Duration::from_millis(1800));
    client.send("dy");
    assert_eq!(client.response().status, 200);
    assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "timeout")]), 0.0);
}

#[tokio::test]
async fn over_http_2_a_client_that_keeps_its_body_back_is_408() {
    let backend = Backend::answering("ok");
    let proxy = impatient(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (response, _send) =
        client.open(http::Request::post("http://a.example/").body(()).unwrap(), false).await.unwrap();
    assert_eq!(finish(response).await.unwrap().status, 408);
    assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "timeout")]), 0.0);
}

#[test]
fn a_client_cannot_make_a_backend_wait_by_calling_its_request_grpc() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let text = "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/grpc\r\n\r\n";
    assert_eq!(request(impatient(&backend).http, text).status, 504);
}

#[test]
fn a_backend_that_falls_silent_within_its_body_breaks_the_response_off() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")?;
        exchange.until_abandoned()
    });
    let proxy = impatient(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET /half HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut head = client.head();
    assert_eq!(head.status, 200);
    assert!(client::closed(&client.try_body(&mut head).unwrap_err()));
    let line = proxy.log_of("/half");
    assert_eq!((&line["status"], &line["flag"]), (&json!(200), &json!("UT")));
}

#[test]
fn a_backend_that_speaks_now_and_then_is_not_silent() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")?;
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(400));
            exchange.send("x")?;
        }
        Ok(Then::KeepAlive)
    });
    assert_eq!(get(impatient(&backend).http, "a.example", "/").text(), "xxxxxx");
}

#[test]
fn a_backend_that_closes_before_its_head_is_502() {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/reset" => Ok(Then::Reset),
        "/interim" => exchange.send("HTTP/1.1 100 Continue\r\n\r\n").map(|()| Then::Close),
        "/hints" => exchange.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").map(|()| Then::Close),
        "/half" => exchange.send("HTTP/1.1 200 OK\r\nContent-").map(|()| Then::Close),
        _ => Ok(Then::Close),
    });
    let proxy = Headgate::before(&backend);
    for path in ["/close", "/reset", "/interim", "/hints", "/half"] {
        let response = get(proxy.http, "a.example", path);
        assert_eq!((response.status, response.text().as_str()), (502, "502 Bad Gateway\n"), "{path}");
    }
    backend_errors(&proxy, "reset", 4.0);
}

#[test]
fn a_response_that_dies_half_way_is_never_complete() {
    let backend = Backend::scripted(|exchange| {
        match exchange.seen.target() {
            "/length" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")?,
            "/chunk" => exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\n")?,
            "/bad-chunk" => {
                exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\nxyz\r\n")?
            }
            _ => exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\n0\r\nx: ")?,
        }
        if exchange.number % 2 == 0 { Ok(Then::Close) } else { Ok(Then::Reset) }
    });
    let proxy = Headgate::before(&backend);
    for path in
        ["/length", "/chunk", "/bad-chunk", "/trailer", "/length", "/chunk", "/bad-chunk", "/trailer", "/trailer"]
    {
        let mut client = Client::connect(proxy.http);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        let outcome = client.try_response();
        assert!(
            outcome.as_ref().is_err_and(client::closed) || outcome.as_ref().is_ok_and(|r| r.status == 502),
            "{path}: {outcome:?}"
        );
    }
    assert!(proxy.log().iter().all(|line| line["flag"] != ""));
}

#[tokio::test]
async fn over_http_2_a_response_that_dies_half_way_is_reset() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")?;
        Ok(Then::Close)
    });
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (response, _) = client.open(http::Request::get("http://a.example/").body(()).unwrap(), true).await.unwrap();
    let error = finish(response).await.unwrap_err();
    assert!(error.is_reset(), "{error:?}");
    assert_eq!(client.get("http://b.example/").await.status, 404, "the connection lives");
}

#[test]
fn what_is_no_valid_response_is_502() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "hello\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbroken\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    ];
    let backend = Backend::scripted(move |exchange| {
        exchange.send(heads[exchange.seen.target()[1..].parse::<usize>().unwrap()])?;
        Ok(Then::Close)
    });
    let proxy = Headgate::before(&backend);
    for (number, head) in heads.iter().enumerate() {
        let response = get(proxy.http, "a.example", &format!("/{number}"));
        assert_eq!(response.status, 502, "{head:?}: {}", response.raw_head);
    }
    backend_errors(&proxy, "protocol", 5.0);
}

#[test]
fn a_response_head_without_end_is_502() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n")?;
        let field = format!("x-{}: {}\r\n", exchange.number, "v".repeat(1000));
        for _ in 0..1100 {
            exchange.send(&field)?;
        }
        exchange.send("\r\n")?;
        Ok(Then::Close)
    });
    assert_eq!(get(Headgate::before(&backend).http, "a.example", "/").status, 502);
}

#[test]
fn a_thousand_interim_answers_hurt_nobody() {
    let backend = Backend::scripted(|exchange| {
        for _ in 0..1000 {
            exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")?;
        }
        exchange.reply("200 OK", "at last")
    });
    let proxy = Headgate::before(&backend);
    let response = get(proxy.http, "a.example", "/");
    assert_eq!((response.status, response.text().as_str()), (200, "at last"), "{}", response.raw_head);
    assert_eq!(response.header("link"), None);
}

#[test]
fn a_client_that_goes_away_cancels_the_backend_request() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = Headgate::before(&backend);
    for reset in [false, true] {
        let before = backend.seen().len();
        let mut client = Client::connect(proxy.http);
        client.send(format!("GET /{reset} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        backend.wait_for(before + 1);
        let gone = Instant::now();
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        until("the backend's connection to end", || backend.seen()[before].abandoned.then_some(()));
        assert!(gone.elapsed() < Duration::from_secs(1), "{:?}", gone.elapsed());
        assert_eq!(proxy.log_of(&format!("/{reset}"))["status"], 499);
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_cancels_the_backend_request() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (response, mut send) =
        client.open(http::Request::post("http://a.example/").body(()).unwrap(), false).await.unwrap();
    tokio::task::spawn_blocking(move || {
        backend.only();
        let gone = Instant::now();
        send.send_reset(h2::Reason::CANCEL);
        drop(response);
        until("the backend's connection to end", || backend.only().abandoned.then_some(()));
        assert!(gone.elapsed() < Duration::from_secs(1), "{:?}", gone.elapsed());
    })
    .await
    .unwrap();
}

#[test]
fn two_framings_of_a_backend_are_502_or_rebuilt() {
    let backend = Backend::scripted(|exchange| {
        let value = if exchange.seen.target() == "/double" { "chunked, chunked" } else { "chunked" };
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: {value}\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        ))?;
        Ok(Then::KeepAlive)
    });
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--workers", "1").start();
    for path in ["/both", "/double", "/both"] {
        let response = get(proxy.http, "a.example", path);
        assert!(response.status == 502 || response.text() == "ok", "{path}: {} {}", response.raw_head, response.text());
    }
    assert_eq!(backend.accepted(), 3, "such a connection is not used again");
}
