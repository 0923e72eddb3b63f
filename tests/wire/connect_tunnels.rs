//! Tunnels by CONNECT over HTTP/1: what passes, how they end, and what is then said of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::connect::{CONNECT, HOST, Raw, open, refused, tunnels};
use crate::support::objects::{ingress, policy, rule, service_speaking, tls_site};
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, TestCertificate};

#[test]
fn a_half_closed_tunnel_still_carries_the_other_direction() {
    let backend = Raw::serving(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(format!("got {}", all.len()).as_bytes())
    });
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    let mut client = open(&proxy);
    client.send(vec![b'x'; 100_000]);
    client.shutdown_write();
    assert_eq!(client.rest(), b"got 100000");
    let line = proxy.log_of("/");
    assert_eq!((&line["method"], &line["status"], &line["flag"]), (&"CONNECT".into(), &200.into(), &"".into()));
    assert_eq!((&line["bytes_sent"], &line["bytes_received"]), (&10.into(), &100_000.into()));
    assert_eq!((&line["host"], &line["endpoint"]), (&"a.example:443".into(), &backend.address.to_string().into()));
}

#[test]
fn the_log_and_the_metrics_tell_how_a_tunnel_ended() {
    let backend = Raw::serving(|mut stream| {
        stream.read_exact(&mut [0])?;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    });
    let proxy = Headgate::serve(&tunnels(&[backend.address], json!({})));
    let flag = |lines: usize| {
        until("the tunnel's line", || proxy.log().get(lines - 1).map(|line| line["flag"].as_str().unwrap().to_owned()))
    };
    let first = open(&proxy);
    assert_eq!(proxy.counted("proxy_requests_in_flight", &[("service", "a")], 1.0), 1.0);
    first.reset();
    assert_eq!(flag(1), "DC");
    let mut second = open(&proxy);
    second.send("x");
    second.rest();
    assert_eq!(flag(2), "UC");
    proxy.counted("proxy_backend_errors_total", &[("reason", "reset")], 1.0);
    proxy.counted("proxy_requests_total", &[("method", "CONNECT"), ("status", "200")], 2.0);
    assert_eq!(proxy.metrics().value("proxy_requests_in_flight", &[("service", "a")]), 0.0);
}

#[test]
fn only_the_idle_limit_of_tunnels_ends_a_silent_one() {
    let echo = Raw::echo();
    let objects = tunnels(&[echo.address], json!({ "timeouts": { "request": "1s", "idle": "1s" } }));
    let proxy = Headgate::with(&objects).flag("--tunnel-idle-timeout", "3s").start();
    let mut client = open(&proxy);
    std::thread::sleep(Duration::from_millis(2200));
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
    client.expect_close();
    assert_eq!(proxy.log_of("/")["flag"], "UT");
}

#[test]
fn a_drain_waits_for_tunnels() {
    let echo = Raw::echo();
    let flags = Headgate::with(&tunnels(&[echo.address], json!({}))).flag("--shutdown-grace-period", "0s");
    let mut proxy = flags.flag("--drain-timeout", "3s").start();
    let mut client = open(&proxy);
    proxy.signal(Signal::TERM);
    until("the listener's end", || TcpStream::connect(proxy.http).err());
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
    client.expect_close();
    assert!(proxy.exit_status().success());
    assert_eq!(proxy.log_of("/")["flag"], "SD");
}

#[test]
fn tls_is_spoken_through_a_tunnel_whatever_the_backends_protocol() {
    let backend = Backend::tls(TestCertificate::for_names(&["b"]), |exchange| exchange.reply("200 OK", "safe"));
    for protocol in [None, Some("https"), Some("kubernetes.io/h2c")] {
        let mut objects = vec![ingress("a", &[rule(HOST, "/", "Prefix", "a")])];
        objects.push(policy("a", "Ingress", "a", json!({ "request": { "methods": ["CONNECT"] } })));
        objects.extend(service_speaking("a", &[backend.address], protocol));
        let proxy = Headgate::serve(&objects);
        let mut client = Client::over(Tls::to("b").handshake(open(&proxy).stream).unwrap());
        assert_eq!(client.get("b", "/").text(), "safe", "{protocol:?}");
    }
}

#[test]
fn a_tunnel_may_come_over_tls_and_not_where_plain_http_is_redirected() {
    let echo = Raw::echo();
    let certificate = TestCertificate::for_names(&[HOST]);
    let mut objects = tls_site(HOST, &[echo.address], &certificate);
    objects.push(policy("a", "Ingress", "a", json!({ "request": { "methods": ["CONNECT"] } })));
    let proxy = Headgate::serve(&objects);
    let mut client = Tls::to(HOST).connect(proxy.https);
    client.send(format!("{CONNECT}eager"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(5), b"eager");
    assert_eq!(refused(&proxy, CONNECT).status, 308);
}

#[test]
fn megabytes_pass_both_ways_without_leaving_the_kernel() {
    let echo = Raw::echo();
    let proxy = Headgate::with(&tunnels(&[echo.address], json!({}))).flag("--workers", "1").start();
    let is_pipe = |to: &PathBuf| to.to_string_lossy().starts_with("pipe:");
    let pipes = || {
        let links = std::fs::read_dir(proxy.proc("fd")).unwrap().flatten();
        links.filter_map(|link| std::fs::read_link(link.path()).ok()).filter(is_pipe).count()
    };
    let before = pipes();
    let mut client = open(&proxy);
    assert_eq!(pipes(), before, "a silent tunnel holds no pipe");
    let mut reader = Client::over(client.stream.try_clone().unwrap());
    let message: Vec<u8> = (0..10u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| client.send(&message));
        assert!(reader.exactly(message.len()) == message);
    });
    assert!(pipes() >= before + 2, "splice(2) needs a pipe");
}
