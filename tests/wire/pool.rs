//! Connections to backends: kept, reused, given up in time, and never the reason why a client's request fails.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::h2_client::{H2Client, finish};
use crate::support::wait::{until, within};
use crate::support::{Backend, Client, Headgate, TestCertificate, Then, get, objects, request};

/// One worker, so that there is one pool.
fn one_worker(backends: &[&Backend]) -> Headgate {
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    Headgate::with(&objects::site("a.example", &addresses)).flag("--workers", "1").start()
}

#[test]
fn requests_of_many_clients_share_one_backend_connection() {
    let backend = Backend::answering("ok");
    let proxy = one_worker(&[&backend]);
    for _ in 0..20 {
        assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn concurrent_requests_use_connections_of_their_own() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(Duration::from_millis(200));
        exchange.reply("200 OK", "ok")
    });
    let proxy = one_worker(&[&backend]);
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert_eq!(get(proxy.http, "a.example", "/").status, 200));
        }
    });
    assert_eq!(backend.accepted(), 5);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert_eq!(backend.accepted(), 5);
}

#[test]
fn an_idle_backend_connection_is_closed_by_us_first() {
    let backend = Backend::answering("ok");
    let site = objects::site("a.example", &[backend.address]);
    let proxy = Headgate::with(&site).flag("--workers", "1").flag("--backend-idle-timeout", "1s").start();
    get(proxy.http, "a.example", "/");
    assert!(within(Duration::from_millis(600), || (backend.open() == 0).then_some(())).is_none(), "closed too early");
    until("the close", || (backend.open() == 0).then_some(()));
    get(proxy.http, "a.example", "/");
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn four_seconds_are_the_default() {
    let backend = Backend::answering("ok");
    let proxy = one_worker(&[&backend]);
    get(proxy.http, "a.example", "/");
    assert!(within(Duration::from_millis(3000), || (backend.open() == 0).then_some(())).is_none(), "closed too early");
    assert!(within(Duration::from_millis(2500), || (backend.open() == 0).then_some(())).is_some(), "still open");
}

#[test]
fn a_backend_that_closes_silently_after_each_answer_costs_nobody_a_request() {
    let backend = Backend::scripted(|exchange| {
        exchange.body()?;
        exchange.reply("200 OK", "ok")?;
        Ok(Then::Close)
    });
    let proxy = one_worker(&[&backend]);
    let mut client = Client::connect(proxy.http);
    for number in 0..300 {
        match number % 3 {
            0 => client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            1 => client.send("DELETE / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            _ => client.send("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"),
        }
        assert_eq!(client.response().status, 200, "{number}");
    }
}

#[tokio::test]
async fn a_body_whose_length_came_is_complete_before_http_2_says_so() {
    let backend = Backend::answering("ok");
    let proxy = one_worker(&[&backend]);
    let client = H2Client::plain(proxy.http).await;
    for _ in 0..5 {
        let post = http::Request::post("http://a.example/").header("content-length", "3").body(()).unwrap();
        let (response, mut send) = client.open(post, false).await.unwrap();
        send.send_data("abc".into(), false).unwrap();
        assert_eq!(finish(response).await.unwrap().text(), "ok");
        // The stream may be reset by now, as nobody waits for this.
        drop(send.send_data("".into(), true));
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_backend_that_resets_a_reused_connection_costs_no_get() {
    let backend = Backend::scripted(|exchange| match exchange.on_connection {
        0 => exchange.reply("200 OK", "first"),
        _ => Ok(Then::Reset),
    });
    let proxy = one_worker(&[&backend]);
    for _ in 0..10 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "first");
    }
}

#[test]
fn a_request_that_is_sent_again_is_a_retry_in_the_log_and_in_the_metric() {
    let backend = Backend::scripted(|exchange| match exchange.on_connection {
        0 => exchange.reply("200 OK", "first"),
        _ => Ok(Then::Reset),
    });
    let proxy = one_worker(&[&backend]);
    get(proxy.http, "a.example", "/first");
    get(proxy.http, "a.example", "/second");
    assert_eq!(proxy.log_of("/first")["retries"], 0);
    let line = proxy.log_of("/second");
    assert_eq!((&line["retries"], &line["failed_tries"][0]["endpoint"]), (&1.into(), &line["endpoint"]), "{line}");
    assert_eq!(proxy.metrics().value("proxy_retries_total", &[]), 1.0);
    assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "reset")]), 1.0);
}

#[test]
fn a_try_that_follows_another_has_the_whole_time_to_answer() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(match exchange.number {
            0 => Duration::ZERO,
            _ => Duration::from_millis(1400),
        });
        match exchange.on_connection {
            0 => exchange.reply("200 OK", "late"),
            _ => Ok(Then::Reset),
        }
    });
    let mut site = objects::site("a.example", &[backend.address]);
    site.push(objects::config_map("settings", serde_json::json!({ "proxy-read-timeout": "2" })));
    let proxy = Headgate::with(&site).flag("--workers", "1").flag("--configmap", "default/settings").start();
    get(proxy.http, "a.example", "/");
    // The connection that is there is reset after 1.4 s, and a new one answers after as long again.
    assert_eq!(get(proxy.http, "a.example", "/").text(), "late");
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn a_backend_that_closes_a_reused_connection_without_an_answer_costs_no_get() {
    let backend = Backend::scripted(|exchange| match exchange.on_connection {
        0 => exchange.reply("200 OK", "first"),
        _ => Ok(Then::Close),
    });
    let proxy = one_worker(&[&backend]);
    for _ in 0..10 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "first");
    }
}

#[test]
fn a_post_that_may_have_been_seen_is_never_sent_twice() {
    let backend = Backend::scripted(|exchange| match exchange.on_connection {
        0 => exchange.reply("200 OK", "first"),
        _ => Ok(Then::Reset),
    });
    let proxy = one_worker(&[&backend]);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    let response = request(proxy.http, "POST /once HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(response.status, 502);
    assert_eq!(backend.seen().iter().filter(|seen| seen.target() == "/once").count(), 1);
}

#[test]
fn a_fresh_connection_that_is_reset_is_502_and_tried_once() {
    let backend = Backend::scripted(|_| Ok(Then::Reset));
    let proxy = one_worker(&[&backend]);
    assert_eq!(get(proxy.http, "a.example", "/").status, 502);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_backend_restart_between_requests_costs_nobody_a_request() {
    let backend = Backend::answering("ok");
    let proxy = one_worker(&[&backend]);
    for number in 0..20 {
        let text = match number % 2 {
            0 => "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
            _ => "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc",
        };
        assert_eq!(request(proxy.http, text).status, 200, "{number}");
        let before = backend.open();
        backend.close_connections();
        until("the connections' end", || (backend.open() < before).then_some(()));
    }
}

#[test]
fn bytes_behind_a_response_reach_nobody() {
    let backend = Backend::scripted(|exchange| {
        exchange
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")?;
        Ok(Then::KeepAlive)
    });
    let proxy = one_worker(&[&backend]);
    for _ in 0..20 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "ok");
    }
}

#[test]
fn a_body_behind_an_answer_that_has_none_reaches_nobody() {
    let backend = Backend::scripted(|exchange| {
        let status = if exchange.seen.method() == "HEAD" { "200 OK" } else { "304 Not Modified" };
        exchange.send(format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\npoison"))?;
        Ok(Then::KeepAlive)
    });
    let proxy = one_worker(&[&backend]);
    let mut client = Client::connect(proxy.http);
    for _ in 0..10 {
        client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status, 200);
        assert_eq!(client.get("a.example", "/").status, 304);
    }
}

#[test]
fn bytes_that_come_while_a_connection_is_idle_are_nobodys_answer() {
    let late = AtomicUsize::new(0);
    let backend = Backend::scripted(move |exchange| {
        exchange.reply("200 OK", "mine")?;
        if late.fetch_add(1, SeqCst).is_multiple_of(2) {
            std::thread::sleep(Duration::from_millis(30));
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")?;
        }
        Ok(Then::KeepAlive)
    });
    let proxy = one_worker(&[&backend]);
    for _ in 0..10 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "mine");
        std::thread::sleep(Duration::from_millis(60));
    }
}

#[test]
fn a_response_that_was_not_read_to_its_end_is_not_left_on_the_connection() {
    let backend = Backend::scripted(|exchange| {
        if exchange.seen.target() == "/big" {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
            let block = vec![b'x'; 64 << 10];
            for _ in 0..100_000_000 / block.len() {
                exchange.send(&block)?;
            }
        }
        exchange.reply("200 OK", "small")
    });
    let proxy = one_worker(&[&backend]);
    for _ in 0..5 {
        let mut client = Client::connect(proxy.http);
        client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.head().status, 200);
        client.exactly(100_000);
        client.reset();
        assert_eq!(get(proxy.http, "a.example", "/small").text(), "small");
    }
}

#[test]
fn an_idle_tls_connection_is_closed_in_due_form() {
    let (ended, end) = std::sync::mpsc::channel();
    let ended = std::sync::Mutex::new(ended);
    let backend = Backend::tls(TestCertificate::for_names(&["a.example"]), move |exchange| {
        exchange.reply("200 OK", "ok")?;
        // Without a close_notify this is an error.
        ended.lock().unwrap().send(exchange.stream().read(&mut [0; 16])).unwrap();
        Ok(Then::Close)
    });
    let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
    site.extend(objects::service_speaking("a", &[backend.address], Some("https")));
    let proxy = Headgate::with(&site).flag("--backend-idle-timeout", "1s").start();
    assert_eq!(get(proxy.http, "a.example", "/").text(), "ok");
    assert_eq!(end.recv().unwrap().unwrap(), 0);
}
