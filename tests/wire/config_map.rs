//! `--configmap`: the keys that are honoured, which flags win over, and which change while it runs.

use serde_json::{Value, json};

use crate::support::headgate::Builder;
use crate::support::objects::{config_map, site, tls_site};
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Objects, TestCertificate, get, request};

fn with(mut objects: Objects, data: Value) -> Builder {
    objects.push(config_map("settings", data));
    Headgate::with(&objects).flag("--configmap", "default/settings")
}

#[test]
fn a_declared_body_beyond_the_limit_is_413() {
    let backend = Backend::answering("ok");
    let proxy = with(site("a.example", &[backend.address]), json!({ "proxy-body-size": "1k" })).start();
    for (length, status) in [(1023, 200), (1024, 200), (1025, 413)] {
        let body = "x".repeat(length);
        let text = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}");
        let response = request(proxy.http, text);
        assert_eq!(response.status, status, "{length}");
        assert_eq!(response.header("connection"), (status == 413).then_some("close"));
    }
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn a_body_of_unknown_length_is_413_where_it_crosses_the_limit() {
    let backend = Backend::answering("ok");
    let proxy = with(site("a.example", &[backend.address]), json!({ "proxy-body-size": "1k" })).start();
    for (length, status) in [(1024, 200), (1025, 413)] {
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        let mut client = Client::connect(proxy.http);
        client.send(format!("POST /{length} HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        assert_eq!(client.response().status, status, "{length}");
    }
    assert!(backend.seen().iter().all(|seen| seen.body.len() <= 1024));
}

#[test]
fn a_413_comes_before_the_hundred() {
    let backend = Backend::answering("ok");
    let proxy = with(site("a.example", &[backend.address]), json!({ "proxy-body-size": "1k" })).start();
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().status, 413);
}

#[test]
fn hsts_says_what_the_keys_say() {
    let backend = Backend::answering("ok");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let objects = || tls_site("a.example", &[backend.address], &certificate);
    let keys = json!({ "hsts-max-age": "60", "hsts-include-subdomains": "false", "hsts-preload": "true" });
    for (data, expected) in [(keys, Some("max-age=60; preload")), (json!({ "hsts": "false" }), None)] {
        let proxy = with(objects(), data).start();
        let response = Tls::to("a.example").connect(proxy.https).get("a.example", "/");
        assert_eq!(response.header("strict-transport-security"), expected);
    }
}

#[test]
fn ssl_redirect_can_be_off_and_a_flag_wins() {
    let backend = Backend::answering("ok");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let objects = || tls_site("a.example", &[backend.address], &certificate);
    let off = || json!({ "ssl-redirect": "false" });
    assert_eq!(get(with(objects(), off()).start().http, "a.example", "/").status, 200);
    assert_eq!(get(with(objects(), off()).flag("--ssl-redirect", "true").start().http, "a.example", "/").status, 308);
}

#[test]
fn forwarded_headers_are_believed_from_the_networks_it_names() {
    let backend = Backend::answering("ok");
    let ask = |proxy: &Headgate| {
        request(proxy.http, "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
        backend.last().header("x-real-ip").unwrap()
    };
    for (networks, expected) in [("127.0.0.0/8,::1/128", "9.9.9.9"), ("10.0.0.0/8", "127.0.0.1")] {
        let data = json!({ "use-forwarded-headers": "true", "proxy-real-ip-cidr": networks });
        assert_eq!(ask(&with(site("a.example", &[backend.address]), data).start()), expected, "{networks}");
    }
}

#[test]
fn a_key_that_is_not_honoured_is_reported() {
    let backend = Backend::answering("ok");
    let proxy = with(site("a.example", &[backend.address]), json!({ "enable-brotli": "true" })).start();
    assert!(get(proxy.admin, "admin", "/debug/problems").text().contains("enable-brotli"));
    assert!(proxy.stderr().contains("enable-brotli"));
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn a_change_of_a_key_is_live() {
    let backend = Backend::answering("ok");
    let objects = |limit: &str| {
        let mut objects = site("a.example", &[backend.address]);
        objects.push(config_map("settings", json!({ "proxy-body-size": limit })));
        objects
    };
    let proxy = Headgate::with(&objects("1k")).flag("--configmap", "default/settings").start();
    let mut client = Client::connect(proxy.http);
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
    client.send(post);
    assert_eq!(client.response().status, 200);
    proxy.change(&objects("2"));
    client.send(post);
    assert_eq!(client.response().status, 413);
    proxy.change(&objects("0"));
    until("no limit", || (request(proxy.http, post).status == 200).then_some(()));
}
