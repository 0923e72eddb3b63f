//! `timeouts` of a policy.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::wait::timed;
use crate::support::{Backend, Client, Headgate, get, objects};

const HOST: &str = "a.example";
const LATE: Duration = Duration::from_millis(1500);
const SECOND: Duration = Duration::from_secs(1);

fn timed_out(backend: &Backend, timeouts: Value) -> Headgate {
    Headgate::serve(&objects::site_with_policy(HOST, &[backend.address], json!({ "timeouts": timeouts })))
}

/// Panics unless `work` takes at least `limit` and at most [`LATE`] more.
#[track_caller]
fn at<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let (value, took) = timed(work);
    assert!(took >= limit.mul_f32(0.85) && took <= limit + LATE, "after {took:?} in place of {limit:?}");
    value
}

/// A head, and then a chunk every 300 ms for ever.
fn dripping() -> Backend {
    Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            exchange.send("1\r\nx\r\n")?;
            std::thread::sleep(Duration::from_millis(300));
        }
    })
}

#[test]
fn a_request_that_is_not_answered_in_its_time_is_504() {
    for field in ["request", "idle"] {
        let backend = Backend::scripted(|exchange| exchange.until_abandoned());
        let proxy = timed_out(&backend, json!({ field: "1s" }));
        assert_eq!(at(SECOND, || get(proxy.http, HOST, "/")).status, 504, "{field}");
        assert_eq!(proxy.log_of("/")["flag"], "UT", "{field}");
        proxy.counted("proxy_backend_errors_total", &[("reason", "timeout")], 1.0);
    }
}

#[test]
fn an_answer_that_goes_on_beyond_the_time_of_the_request_breaks_off() {
    let backend = dripping();
    let proxy = timed_out(&backend, json!({ "request": "1s" }));
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    at(SECOND, || {
        let mut response = client.head();
        assert_eq!(response.status, 200);
        assert!(client.try_body(&mut response).is_err());
    });
    assert_eq!(proxy.log_of("/x")["flag"], "UT");
}

#[test]
fn an_answer_that_goes_on_is_not_idle() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")?;
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(300));
            exchange.send("x")?;
        }
        Ok(crate::support::Then::KeepAlive)
    });
    let proxy = timed_out(&backend, json!({ "idle": "1s" }));
    assert_eq!(get(proxy.http, HOST, "/").text(), "xxxxxxxx");
}

#[test]
fn an_answer_that_falls_silent_breaks_off() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nx")?;
        exchange.until_abandoned()
    });
    let proxy = timed_out(&backend, json!({ "idle": "1s" }));
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let mut response = client.head();
    at(SECOND, || assert!(client.try_body(&mut response).is_err()));
    assert_eq!(proxy.log_of("/x")["flag"], "UT");
}

#[test]
fn what_is_just_fast_enough_is_served() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(Duration::from_millis(1400));
        exchange.reply("200 OK", "ok")
    });
    for timeouts in [json!({ "request": "2s" }), json!({ "idle": "2s" }), json!({ "request": "2s", "idle": "2s" })] {
        let proxy = timed_out(&backend, timeouts);
        assert_eq!(get(proxy.http, HOST, "/").status, 200);
    }
}
