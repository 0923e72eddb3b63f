//! How long the proxy waits for a backend.

use std::io::Write;

use serde_json::json;

use crate::at;
use crate::site::{LONG, Site};
use crate::support::{client, wait};

pub(crate) fn idle_connection(site: &Site) {
    assert_eq!(site.client().get("idle.example", "/").status, 200);
    at(4, || wait::until("the end of the idle connection", || site.idle.only().abandoned.then_some(())));
}

pub(crate) fn connect(site: &Site) {
    assert_eq!(at(1, || site.client().get("hole.example", "/")).status, 504);
}

pub(crate) fn connect_thrice(site: &Site) {
    assert_eq!(at(3, || site.client().get("holes.example", "/")).status, 504);
}

pub(crate) fn no_head(site: &Site) {
    assert_eq!(at(60, || site.client().get("a.example", "/silent")).status, 504);
}

pub(crate) fn half_a_body(site: &Site) {
    let mut client = site.client();
    client.send("GET /half HTTP/1.1\r\nHost: a.example\r\nX-Request-ID: half-a-body\r\n\r\n");
    let mut head = client.head();
    assert_eq!(head.status, 200);
    assert!(client::closed(&at(60, || client.try_body(&mut head)).unwrap_err()));
    let line = site.proxy.log_line("its log line", |line| line["request_id"] == "half-a-body");
    assert_eq!((&line["status"], &line["flag"]), (&json!(200), &json!("UT")));
}

pub(crate) fn takes_nothing(site: &Site) {
    let mut client = site.client();
    client.send("POST /takes-nothing HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    sender.set_write_timeout(Some(LONG)).unwrap();
    let sender = std::thread::spawn(move || while sender.write_all(&[b'x'; 64 << 10]).is_ok() {});
    assert_eq!(at(60, || client.response()).status, 504);
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    sender.join().unwrap();
}
