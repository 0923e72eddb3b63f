//! Requests that are tried again at another endpoint, and those that must not be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::json;

use crate::support::objects::{policy, site};
use crate::support::ports::{BlackHole, ClosedPort};
use crate::support::wait::timed;
use crate::support::{Backend, Headgate, Response, Then, get, request};

/// Serves these endpoints; none is ever ejected.
fn serve(addresses: &[SocketAddr], spec: &str) -> Headgate {
    let policy = format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {{name: p}}\nspec:\n  \
         targetRefs: [{{group: \"\", kind: Service, name: a}}]\n  outlier: {{disabled: true}}\n  {spec}\n"
    );
    Headgate::with(&site("a.example", addresses)).file("p.yaml", &policy).start()
}

fn post(proxy: &Headgate, body: &str) -> Response {
    let length = body.len();
    request(proxy.http, format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}"))
}

/// Is never able to serve.
fn unavailable() -> Backend {
    Backend::sending("HTTP/1.1 503 Not Now\r\nContent-Length: 0\r\n\r\n")
}

fn resetting() -> Backend {
    Backend::scripted(|exchange| exchange.body().map(|_| Then::Reset))
}

#[test]
fn an_answer_of_a_listed_status_is_tried_again_elsewhere() {
    let backends = [unavailable(), Backend::answering("ok")];
    let proxy =
        serve(&backends.each_ref().map(|backend| backend.address), "retry: {\"on\": [\"503\"], budgetPercent: 100}");
    for _ in 0..6 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "ok");
    }
    assert_eq!(backends[1].seen().len(), 6);
    let failed = backends[0].seen().len() as f64;
    assert!(failed >= 3.0);
    assert_eq!(proxy.counted("proxy_backend_errors_total", &[("reason", "5xx")], failed), failed);
    assert_eq!(proxy.metrics().value("proxy_retries_total", &[]), failed);
}

#[test]
fn without_a_policy_an_answer_is_an_answer() {
    let backends = [unavailable(), Backend::answering("ok")];
    let proxy = serve(&backends.each_ref().map(|backend| backend.address), "retry: {attempts: 2}");
    assert_eq!((0..10).filter(|_| get(proxy.http, "a.example", "/").status == 503).count(), 5);
}

#[test]
fn the_last_answer_reaches_the_client_when_nobody_else_is_left() {
    let backends = [unavailable(), unavailable()];
    let proxy = serve(&backends.each_ref().map(|backend| backend.address), "retry: {attempts: 10, \"on\": [\"503\"]}");
    assert_eq!(get(proxy.http, "a.example", "/").status, 503);
    assert_eq!(tried(&backends), 2);
}

#[test]
fn a_reset_is_tried_again_for_idempotent_methods_only() {
    let backends = [resetting(), Backend::answering("ok")];
    let addresses = backends.each_ref().map(|backend| backend.address);
    let proxy = serve(&addresses, "retry: {\"on\": [Reset], budgetPercent: 100}");
    for _ in 0..6 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "ok");
    }
    assert_eq!((0..6).filter(|_| post(&proxy, "").status == 502).count(), 3);
    let proxy = serve(&addresses, "retry: {\"on\": [Reset], nonIdempotent: true, budgetPercent: 100}");
    assert_eq!((0..6).filter(|_| post(&proxy, "").status == 200).count(), 6);
}

#[test]
fn a_body_that_went_out_is_never_sent_again() {
    let backends = [resetting(), resetting()];
    let proxy =
        serve(&backends.each_ref().map(|backend| backend.address), "retry: {\"on\": [Reset], nonIdempotent: true}");
    assert_eq!(post(&proxy, "once").status, 502);
    assert_eq!(tried(&backends), 1);
}

#[test]
fn the_budget_is_a_share_of_the_requests_but_at_least_three() {
    let seen = Arc::new(AtomicUsize::new(0));
    let backends = [0, 1].map(|_| {
        let seen = seen.clone();
        Backend::scripted(move |exchange| {
            seen.fetch_add(1, SeqCst);
            exchange.reply("503 Not Now", "")
        })
    });
    let addresses = backends.each_ref().map(|backend| backend.address);
    for (percent, requests, retries) in
        [("budgetPercent: 0", 10, 3), ("budgetPercent: 50", 20, 10), ("budgetPercent: 100", 20, 20), ("", 30, 6)]
    {
        seen.store(0, SeqCst);
        let spec = format!("retry: {{\"on\": [\"503\"], {percent}}}");
        let proxy = serve(&addresses, &spec);
        for _ in 0..requests {
            assert_eq!(get(proxy.http, "a.example", "/").status, 503);
        }
        assert_eq!(seen.load(SeqCst), requests + retries, "{percent}");
    }
}

#[test]
fn there_are_as_many_further_tries_as_attempts() {
    let closed = [(); 5].map(|()| ClosedPort::new());
    let addresses = closed.each_ref().map(|closed| closed.address);
    for (retry, tries) in
        [("attempts: 0", 1.0), ("attempts: 1", 2.0), ("", 3.0), ("attempts: 3", 4.0), ("attempts: 10", 5.0)]
    {
        let proxy = serve(&addresses, &format!("retry: {{{retry}}}"));
        assert_eq!(get(proxy.http, "a.example", "/").status, 502);
        assert_eq!(proxy.counted("proxy_backend_errors_total", &[("reason", "connect")], tries), tries, "{retry}");
    }
}

fn tried(backends: &[Backend]) -> usize {
    backends.iter().map(|backend| backend.seen().len()).sum()
}

#[test]
fn only_what_is_listed_is_tried_again() {
    let answering = |status: &str| Backend::sending(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"));
    let (closed, resetting) = (ClosedPort::new(), resetting());
    let [lowest, bad_gateway, highest] = ["400", "502", "599"].map(answering);
    let failing = [
        ("ConnectFailure", closed.address, 502),
        ("Reset", resetting.address, 502),
        ("400", lowest.address, 400),
        ("502", bad_gateway.address, 502),
        ("599", highest.address, 599),
    ];
    let good = Backend::answering("ok");
    let pairs: Vec<_> = failing.iter().flat_map(|(listed, ..)| failing.map(|failure| (*listed, failure))).collect();
    let named = |number| format!("s{number}");
    let of_pair = |(number, (listed, (_, address, _))): (usize, &(&str, (&str, SocketAddr, u16)))| {
        let retry = json!({ "on": [listed], "budgetPercent": 100 });
        let fields = json!({ "retry": retry, "outlier": { "disabled": true } });
        let mut objects = site(&format!("{}.example", named(number)), &[*address, good.address]);
        objects.push(policy(&named(number), "Service", &named(number), fields));
        objects
    };
    let proxy = Headgate::serve(&pairs.iter().enumerate().flat_map(of_pair).collect::<Vec<_>>());
    for (number, (listed, (happens, _, status))) in pairs.iter().enumerate() {
        let mut statuses = [(); 4].map(|()| get(proxy.http, &format!("{}.example", named(number)), "/").status);
        statuses.sort();
        let expected = if listed == happens { [200; 4] } else { [200, 200, *status, *status] };
        assert_eq!(statuses, expected, "{happens} where {listed} is listed");
    }
}

#[test]
fn no_attempts_mean_that_a_failed_connection_is_the_end() {
    let (closed, backend) = (ClosedPort::new(), Backend::answering("ok"));
    let proxy = serve(&[closed.address, backend.address], "retry: {attempts: 0}");
    assert_eq!((0..10).filter(|_| get(proxy.http, "a.example", "/").status == 502).count(), 5);
}

#[test]
fn failed_connections_take_nothing_from_the_budget() {
    let (closed, backend) = (ClosedPort::new(), Backend::answering("ok"));
    let proxy = serve(&[closed.address, backend.address], "retry: {\"on\": [ConnectFailure, Reset], budgetPercent: 0}");
    assert_eq!((0..20).filter(|_| get(proxy.http, "a.example", "/").status == 200).count(), 20);
}

#[test]
fn a_policy_says_how_long_connecting_may_take() {
    let hole = BlackHole::new();
    let proxy = serve(&[hole.address], "connectTimeout: 100ms");
    let (response, time) = timed(|| get(proxy.http, "a.example", "/"));
    assert_eq!(response.status, 504);
    assert!(time.as_millis() < 900, "{time:?}");
}
