//! Faults of the machine and of those who change what is served.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::support::headgate::Builder;
use crate::support::objects::{self, tls_site};
use crate::support::wait::{stays, until};
use crate::support::{Backend, Client, Headgate, TestCertificate, get};

#[test]
fn ten_thousand_endpoints_are_served() {
    const SLICES: u8 = 100;
    let backend = Backend::answering_at("0.0.0.0:0".parse().unwrap(), "ok");
    let port = backend.address.port();
    let mut site = objects::site("a.example", &[]);
    site.extend((0..SLICES).map(|slice| {
        let endpoints: Vec<_> =
            (0..100).map(|last| json!({ "addresses": [format!("127.1.{slice}.{last}")] })).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": format!("a-{slice}"), "labels": { "kubernetes.io/service-name": "a" } },
            "ports": [{ "name": "http", "port": port }], "endpoints": endpoints,
        })
    }));
    let proxy = Headgate::serve(&site);
    for _ in 0..200 {
        assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    }
    let shown = get(proxy.admin, "admin", "/debug/backends").json();
    assert_eq!(shown["backends"][0]["endpoints"].as_array().map(Vec::len), Some(10_000));
}

#[test]
fn objects_that_come_and_go_leave_no_memory() {
    const SITES: usize = 100;
    let backend = Backend::answering("ok");
    let stays = objects::site("stays.example", &[backend.address]);
    let certificate = TestCertificate::for_names(&["*.example"]);
    let all: Vec<_> = (0..SITES)
        .flat_map(|number| tls_site(&format!("host{number}.example"), &[backend.address], &certificate))
        .chain(stays.clone())
        .collect();
    let proxy = Headgate::serve(&stays);
    let round = || {
        proxy.change(&all);
        assert_eq!(get(proxy.http, "host7.example", "/").status, 308);
        proxy.change(&stays);
        assert_eq!(get(proxy.http, "host7.example", "/").status, 404);
        proxy.resident()
    };
    // What allocators and caches keep, they keep after a few.
    let early = (0..5).map(|_| round()).max().unwrap();
    let all: Vec<_> = (0..20).map(|_| round()).collect();
    let late = *all[12..].iter().min().unwrap();
    // When an allocator gives pages back is its own affair: a megabyte of so few is noise, ten rounds of objects are not.
    let noise = (early / 20).max(1 << 20);
    assert!(late <= early + noise, "{} KiB, later {} KiB", early >> 10, late >> 10);
}

/// What moves the clock of a process.
#[track_caller]
fn libfaketime() -> String {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let mut files = folders.iter().map(|folder| format!("{folder}/faketime/libfaketime.so.1"));
    files.find(|file| Path::new(file).exists()).expect("libfaketime is missing; tests/tools.sh installs it")
}

/// The wall clock is the machine's to set: libfaketime gives the process one that this file moves.
pub(crate) fn with_clock(proxy: Builder, file: &Path) -> Builder {
    let proxy = proxy.environment("LD_PRELOAD", &libfaketime());
    let proxy = proxy.environment("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap());
    proxy.environment("FAKETIME_NO_CACHE", "1").environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

#[test]
fn a_clock_that_jumps_moves_no_timeout() {
    let backend = Backend::answering("ok");
    let limit = json!({ "rateLimit": { "requests": 5, "per": "1h", "key": { "type": "Header", "name": "X-Key" } } });
    let site = objects::site_with_policy("a.example", &[backend.address], limit);
    let clock = tempfile::NamedTempFile::new().unwrap();
    let set = |jump: &str| std::fs::write(clock.path(), jump).unwrap();
    set("+0");
    let proxy = with_clock(Headgate::with(&site), clock.path()).start();
    let ask = |key: &str| {
        let mut client = Client::connect(proxy.http);
        client.send(format!("GET /{key} HTTP/1.1\r\nHost: a.example\r\nX-Key: {key}\r\n\r\n"));
        client.response().status
    };
    assert_eq!([(); 6].map(|()| ask("one")), [200, 200, 200, 200, 200, 429]);
    let mut idle = Client::connect(proxy.http);
    assert_eq!(idle.get("a.example", "/idle").status, 200);
    for (jump, shown) in [("+3h", 3.0), ("-3h", -3.0), ("+10y", 10.0 * 365.0 * 24.0)] {
        set(jump);
        assert_eq!(ask(jump), 200);
        let line = proxy.log_of(&format!("/{jump}"));
        let logged: Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
        let hours = (logged.as_second() - Timestamp::now().as_second()) as f64 / 3600.0;
        assert!((hours - shown).abs() < shown.abs() / 100.0 + 0.1, "{jump}: the clock is {hours} hours off");
        assert_eq!(ask("one"), 429, "{jump}: an hour has not passed");
        idle.stream.set_nonblocking(true).unwrap();
        stays("the idle connection", Duration::from_millis(300), || {
            idle.stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        idle.stream.set_nonblocking(false).unwrap();
        let before = proxy.generation();
        proxy.change(&objects::site(&format!("h{before}.example"), &[backend.address]));
        proxy.change(&site);
    }
    assert_eq!(idle.get("a.example", "/idle").status, 200);
    until("no request left", || (proxy.metrics().value("proxy_connections", &[]) <= 1.0).then_some(()));
}
