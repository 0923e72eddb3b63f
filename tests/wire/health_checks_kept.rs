//! Health checks and changes of what is served: what was found is kept, and ends with what it was found by.

use std::time::Duration;

use serde_json::json;

use crate::support::checks::{HOST, Moody, shown, site, until_unhealthy};
use crate::support::ports::ClosedPort;
use crate::support::wait::{stays, until};
use crate::support::{Backend, Headgate, get, objects};

#[test]
fn failures_are_counted_over_changes_of_other_objects_and_endpoints() {
    let moody = Moody::new("-");
    let other = Backend::answering("other");
    let check = json!({ "unhealthyThreshold": 3 });
    let proxy = moody.checked(check.clone());
    let mut changed = site(&[moody.backend.address], check.clone());
    changed.extend(objects::site("b.example", &[other.address]));
    moody.held(1);
    proxy.change(&changed);
    moody.held(2);
    proxy.change(&site(&[moody.backend.address, other.address], check));
    assert_eq!(moody.held(4), "+++-");
}

#[test]
fn an_unhealthy_endpoint_stays_so_over_a_change_without_a_check() {
    let closed = ClosedPort::new();
    let (one, two) = (Backend::answering("ok"), Backend::answering("ok"));
    // Its second check comes when this is over.
    let check = json!({ "interval": "1m", "timeout": "20s" });
    let proxy = Headgate::serve(&site(&[closed.address, one.address], check.clone()));
    until_unhealthy(&proxy, closed.address, true);
    proxy.change(&site(&[closed.address, one.address, two.address], check));
    assert_eq!(shown(proxy.admin, closed.address)["unhealthy"], true);
    for _ in 0..9 {
        assert_eq!(get(proxy.http, HOST, "/").status, 200);
    }
    assert_eq!(proxy.metrics().value("proxy_retries_total", &[]), 0.0, "nobody asked the closed port");
}

#[test]
fn an_endpoint_is_used_again_when_nobody_checks_it_any_more() {
    let moody = Moody::new("-");
    let proxy = moody.checked(json!({}));
    until_unhealthy(&proxy, moody.backend.address, true);
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
    proxy.change(&objects::site(HOST, &[moody.backend.address]));
    until("requests", || (get(proxy.http, HOST, "/").text() == "moody").then_some(()));
    until("the log line", || proxy.stderr().contains("not checked any more").then_some(()));
    let shown = shown(proxy.admin, moody.backend.address);
    assert_eq!((&shown["unhealthy"], &shown["failed_check"]), (&json!(false), &json!(null)));
    let seen = || moody.backend.seen().iter().filter(|seen| seen.target() == "/_health").count();
    let before = seen();
    stays("no check", Duration::from_millis(900), || seen() == before);
}

#[test]
fn another_check_takes_over_what_the_one_before_has_found() {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/old" => exchange.reply("500 Internal Server Error", ""),
        _ => exchange.reply("200 OK", "ok"),
    });
    let proxy = Headgate::serve(&site(&[backend.address], json!({ "path": "/old" })));
    until_unhealthy(&proxy, backend.address, true);
    proxy.change(&site(&[backend.address], json!({ "path": "/new", "healthyThreshold": 2 })));
    backend.request_to("/new");
    let told = || proxy.stderr().lines().filter(|line| line.contains("healthy again")).count();
    until("recovery", || (told() == 1).then_some(()));
    assert!(backend.seen().iter().filter(|seen| seen.target() == "/new").count() >= 2);
    let old = || backend.seen().iter().filter(|seen| seen.target() == "/old").count();
    let before = old();
    stays("no old check", Duration::from_millis(900), || old() == before);
    assert!(!proxy.stderr().contains("not checked any more"), "{}", proxy.stderr());
}

#[test]
fn an_endpoint_that_comes_back_is_a_new_one() {
    let closed = ClosedPort::new();
    let one = Backend::answering("ok");
    let check = json!({ "interval": "1m", "timeout": "20s" });
    let proxy = Headgate::serve(&site(&[closed.address, one.address], check.clone()));
    until_unhealthy(&proxy, closed.address, true);
    proxy.change(&site(&[one.address], check.clone()));
    proxy.change(&site(&[closed.address, one.address], check));
    assert_eq!(shown(proxy.admin, closed.address)["unhealthy"], false);
    until_unhealthy(&proxy, closed.address, true);
}
