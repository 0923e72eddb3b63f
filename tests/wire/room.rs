//! Who makes room at `--max-connections`. One worker, which knows all connections.

use std::time::Duration;

use crate::support::frames::Frames;
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, objects};

/// Keeps requests for `/held` until their client is gone.
fn proxy(connections: &str) -> (Headgate, Backend) {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/held" => exchange.until_abandoned(),
        _ => exchange.reply("200 OK", "ok"),
    });
    let site = objects::site("a.example", &[backend.address]);
    let builder = Headgate::with(&site).flag("--max-connections", connections).flag("--workers", "1");
    (builder.start(), backend)
}

fn open(proxy: &Headgate) -> f64 {
    proxy.metrics().value("proxy_connections", &[])
}

fn refused(proxy: &Headgate, reason: &str) -> f64 {
    proxy.metrics().value("proxy_connections_refused_total", &[("reason", reason)])
}

/// A new connection that is served.
#[track_caller]
fn served(proxy: &Headgate) -> Client {
    let mut client = Client::connect(proxy.http);
    assert_eq!(client.get("a.example", "/").status, 200);
    client
}

#[test]
fn who_never_asked_goes_first_then_who_is_idle_longest_and_nobody_in_flight() {
    let (proxy, backend) = proxy("4");
    let mut held = Client::connect(proxy.http);
    held.send("GET /held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.wait_for(1);
    let mut kept = served(&proxy);
    let mut silent = Client::connect(proxy.http);
    until("the silent one", || (open(&proxy) == 3.0).then_some(()));
    let mut silent_in_tls = Tls::to("a.example").connect(proxy.https);

    let mut first = served(&proxy);
    silent.expect_close();
    // What comes next is later, as the worker's clock counts milliseconds.
    std::thread::sleep(Duration::from_millis(5));
    let mut second = served(&proxy);
    silent_in_tls.expect_close();
    assert_eq!(kept.get("a.example", "/").status, 200, "who has asked stays");
    assert_eq!(second.get("a.example", "/").status, 200);
    let mut third = served(&proxy);
    first.expect_close();
    assert_eq!((refused(&proxy, "idle"), refused(&proxy, "process")), (3.0, 0.0));

    for client in [&mut kept, &mut second, &mut third] {
        client.send("GET /held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
    until("all to be in flight", || {
        (backend.seen().iter().filter(|seen| seen.target() == "/held").count() == 4).then_some(())
    });
    Client::connect(proxy.http).expect_close();
    assert_eq!(proxy.counted("proxy_connections_refused_total", &[("reason", "process")], 1.0), 1.0);
    assert_eq!(refused(&proxy, "idle"), 3.0);
    drop(held);
    until("the place of the one that went", || (open(&proxy) == 3.0).then_some(()));
    served(&proxy);
}

#[test]
fn an_http_2_connection_makes_room_once_it_is_idle() {
    let (proxy, backend) = proxy("2");
    let mut busy = Frames::connect(proxy.http);
    busy.get(1, "a.example", "/held");
    backend.wait_for(1);
    let mut idle = Frames::connect(proxy.http);
    idle.get(1, "a.example", "/");
    assert_eq!(idle.status(1), 200);
    served(&proxy);
    until("the end of the idle one", || idle.next().is_none().then_some(()));
    busy.get(3, "a.example", "/");
    assert_eq!(busy.status(3), 200);
}

#[test]
fn a_flood_of_silent_connections_keeps_nobody_out() {
    let (proxy, _backend) = proxy("20");
    let mut kept = served(&proxy);
    let mut flood = Vec::new();
    for _ in 0..10 {
        flood.extend((0..30).map(|_| Client::connect(proxy.http)));
        served(&proxy);
        assert_eq!(kept.get("a.example", "/").status, 200);
    }
    assert_eq!(refused(&proxy, "process"), 0.0);
    until("those that made room to be gone", || (open(&proxy) <= 20.0).then_some(()));
}
