//! Endpoints that fail get no requests for a while, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;

use crate::support::objects::site;
use crate::support::ports::ClosedPort;
use crate::support::wait::{timed, until};
use crate::support::{Backend, Headgate, get};

const SERVICE: [(&str, &str); 3] = [("namespace", "default"), ("ingress", ""), ("service", "a")];

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {{name: p}}\nspec:\n  \
         targetRefs: [{{group: \"\", kind: Service, name: a}}]\n  {spec}\n"
    )
}

/// What `/debug/backends` tells of the endpoint.
fn shown(proxy: &Headgate, address: std::net::SocketAddr) -> Value {
    let view = get(proxy.admin, "admin", "/debug/backends").json();
    let endpoints = view["backends"][0]["endpoints"].as_array().unwrap().clone();
    endpoints.into_iter().find(|endpoint| endpoint["address"] == address.to_string()).unwrap()
}

fn healthy(proxy: &Headgate) -> f64 {
    proxy.metrics().value("proxy_endpoint_healthy", &SERVICE)
}

/// Answers 200, or 500 while told to.
fn moody(broken: &Arc<AtomicBool>, name: &'static str) -> Backend {
    let broken = broken.clone();
    Backend::scripted(move |exchange| {
        exchange.body()?;
        match broken.load(SeqCst) {
            true => exchange.reply("500 Internal Server Error", ""),
            false => exchange.reply("200 OK", name),
        }
    })
}

#[test]
fn five_refused_connections_in_a_row_eject_an_endpoint_and_no_request_fails() {
    let closed = ClosedPort::new();
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&site("a.example", &[closed.address, backend.address]));
    assert_eq!(healthy(&proxy), 2.0);
    for _ in 0..20 {
        assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    }
    proxy.counted("proxy_ejections_total", &SERVICE, 1.0);
    until("the metric", || (healthy(&proxy) == 1.0).then_some(()));
    assert_eq!(proxy.metrics().value("proxy_retries_total", &[]), 5.0);
    assert_eq!(shown(&proxy, closed.address)["ejected"], true);
    assert_eq!(shown(&proxy, backend.address)["ejected"], false);
    let told = until("the log line", || {
        let line = |line: &&str| line.contains("ejected") && line.contains(&closed.address.to_string());
        Some(proxy.stderr()).filter(|text| text.lines().filter(line).count() > 0)
    });
    assert_eq!(told.lines().filter(|line| line.contains("ejected") && line.contains("default-a-80")).count(), 1);
}

#[test]
fn one_that_answers_500_is_used_again_after_its_time() {
    let broken = Arc::new(AtomicBool::new(true));
    let backends = [moody(&broken, "one"), Backend::answering("two")];
    let proxy = Headgate::with(&site("a.example", &[backends[0].address, backends[1].address]))
        .file("p.yaml", &policy("outlier: {consecutiveErrors: 2, ejectionTime: 500ms}"))
        .start();
    let failed = (0..10).filter(|_| get(proxy.http, "a.example", "/").status == 500).count();
    assert_eq!(failed, 2);
    broken.store(false, SeqCst);
    until("its first answer", || (get(proxy.http, "a.example", "/").text() == "one").then_some(()));
    until("the log line", || proxy.stderr().contains("used again").then_some(()));
    assert_eq!(healthy(&proxy), 2.0);
}

#[test]
fn errors_that_are_not_in_a_row_eject_nobody() {
    let every_third_is_fine = Backend::scripted(|exchange| match exchange.number % 3 {
        2 => exchange.reply("200 OK", ""),
        _ => exchange.reply("500 Internal Server Error", ""),
    });
    let other = Backend::answering("other");
    let proxy = Headgate::with(&site("a.example", &[every_third_is_fine.address, other.address]))
        .file("p.yaml", &policy("outlier: {consecutiveErrors: 3, ejectionTime: 1h}"))
        .start();
    assert_eq!((0..60).filter(|_| get(proxy.http, "a.example", "/").status == 500).count(), 20);
    assert_eq!(every_third_is_fine.seen().len(), 30);
}

#[test]
fn an_ejection_lasts_as_long_as_the_policy_says() {
    let broken = Arc::new(AtomicBool::new(true));
    let backends = [moody(&broken, "one"), Backend::answering("two")];
    let proxy = Headgate::with(&site("a.example", &[backends[0].address, backends[1].address]))
        .file("p.yaml", &policy("outlier: {consecutiveErrors: 1, ejectionTime: 2s}"))
        .start();
    let ((), took) = timed(|| {
        until("the failure", || (get(proxy.http, "a.example", "/").status == 500).then_some(()));
        broken.store(false, SeqCst);
        until("its return", || (get(proxy.http, "a.example", "/").text() == "one").then_some(()));
    });
    assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&took), "after {took:?}");
}

#[test]
fn half_of_the_endpoints_are_never_ejected() {
    let broken = Arc::new(AtomicBool::new(true));
    let backends = ["one", "two", "three"].map(|name| moody(&broken, name));
    let proxy = Headgate::with(&site("a.example", &backends.each_ref().map(|backend| backend.address)))
        .file("p.yaml", &policy("outlier: {consecutiveErrors: 1, ejectionTime: 1h}"))
        .start();
    for _ in 0..20 {
        assert_eq!(get(proxy.http, "a.example", "/").status, 500);
    }
    until("the metric", || (healthy(&proxy) == 2.0).then_some(()));
    assert_eq!(proxy.counted("proxy_ejections_total", &SERVICE, 1.0), 1.0);
}

#[test]
fn nobody_is_ejected_where_a_policy_says_so() {
    let backends = [Backend::sending("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), Backend::answering("two")];
    let proxy = Headgate::with(&site("a.example", &[backends[0].address, backends[1].address]))
        .file("p.yaml", &policy("outlier: {disabled: true}"))
        .start();
    assert_eq!((0..40).filter(|_| get(proxy.http, "a.example", "/").status == 500).count(), 20);
}
