//! How tunnels live and end, and what is then said of them. How they begin is in `upgrade`.

use std::time::Duration;

use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Then, objects};
use crate::upgrade::{WEBSOCKET, echo, switch};

#[test]
fn either_side_may_end_a_tunnel() {
    let backend = Backend::scripted(echo);
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    drop(client);
    until("the backend's end", || (backend.open() == 0).then_some(()));
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    backend.close_connections();
    client.expect_close();
}

#[test]
fn a_half_closed_tunnel_still_carries_the_other_direction() {
    let backend = Backend::scripted(|exchange| {
        exchange.send(switch(exchange))?;
        let mut all = Vec::new();
        exchange.stream().read_to_end(&mut all)?;
        exchange.send(format!("got {}", all.len()))?;
        Ok(Then::Close)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    client.send(vec![b'x'; 100_000]);
    client.shutdown_write();
    assert_eq!(client.rest(), b"got 100000");
}

#[test]
fn a_tunnel_is_logged_when_it_ends_and_counts_its_bytes() {
    let backend = Backend::scripted(echo);
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    client.send([b'x'; 1000]);
    client.exactly(1000);
    assert_eq!(proxy.counted("proxy_requests_in_flight", &[("service", "a")], 1.0), 1.0);
    drop(client);
    let line = proxy.log_of("/ws");
    assert_eq!((&line["status"], &line["bytes_sent"]), (&101.into(), &1000.into()));
    until("nothing in flight", || {
        (proxy.metrics().value("proxy_requests_in_flight", &[("service", "a")]) == 0.0).then_some(())
    });
}

#[test]
fn the_log_tells_who_broke_a_tunnel() {
    let backend = Backend::scripted(|exchange| {
        exchange.send(switch(exchange))?;
        exchange.exactly(1)?;
        Ok(Then::Reset)
    });
    let proxy = Headgate::before(&backend);
    let tunnel = || {
        let mut client = Client::connect(proxy.http);
        client.send(WEBSOCKET);
        assert_eq!(client.response().status, 101);
        client
    };
    let flag = |lines: usize| {
        until("the tunnel's line", || proxy.log().get(lines - 1).map(|line| line["flag"].as_str().unwrap().to_owned()))
    };
    tunnel().reset();
    assert_eq!(flag(1), "DC");
    let mut broken = tunnel();
    broken.send("x");
    broken.rest();
    assert_eq!(flag(2), "UC");
    proxy.counted("proxy_backend_errors_total", &[("reason", "reset")], 1.0);
}

#[test]
fn an_idle_tunnel_outlives_every_timeout_of_requests() {
    let backend = Backend::scripted(echo);
    let mut builder = Headgate::with(&objects::site("a.example", &[backend.address]));
    for flag in [
        "--header-timeout",
        "--keep-alive-timeout",
        "--body-idle-timeout",
        "--write-timeout",
        "--backend-idle-timeout",
        "--max-connection-age",
    ] {
        builder = builder.flag(flag, "1s");
    }
    let proxy = builder.start();
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    std::thread::sleep(Duration::from_millis(2500));
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
}

#[test]
fn a_connection_that_is_to_end_still_becomes_a_tunnel() {
    let (go, may_go) = std::sync::mpsc::channel();
    let may_go = std::sync::Mutex::new(may_go);
    let backend = Backend::scripted(move |exchange| {
        let _ = may_go.lock().unwrap().recv();
        echo(exchange)
    });
    let site = objects::site("a.example", &[backend.address]);
    let flags = Headgate::with(&site).flag("--workers", "1").flag("--shutdown-grace-period", "0s");
    let proxy = flags.flag("--drain-timeout", "20s").start();
    let [mut waiting, mut crossing, mut other, mut idle] = [(); 4].map(|()| Client::connect(proxy.http));
    for client in [&mut crossing, &mut other, &mut idle] {
        assert_eq!(client.get("unknown.example", "/").status, 404);
    }
    waiting.send(WEBSOCKET);
    backend.only();
    proxy.signal(rustix::process::Signal::TERM);
    until("the end's beginning", || (other.get("unknown.example", "/").header("connection").is_some()).then_some(()));
    crossing.send(WEBSOCKET);
    backend.wait_for(2);
    idle.expect_close();
    for client in [&mut waiting, &mut crossing] {
        go.send(()).unwrap();
        go.send(()).unwrap();
        let response = client.response();
        assert_eq!((response.status, response.header("connection")), (101, Some("upgrade")));
        client.send("hello");
        assert_eq!(client.exactly(5), b"hello");
    }
}
