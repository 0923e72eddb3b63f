//! A change is never felt: one generation per request, no connection closed, what stays keeps its state.

use std::time::Duration;

use crate::support::h2_client::{H2Client, finish, soon};
use crate::support::objects::{ingress, rule, service, site, tls_site};
use crate::support::tls::{Tls, certificate};
use crate::support::wait::{PATIENCE, until};
use crate::support::{Backend, Client, Headgate, TestCertificate, Then, get};
use crate::upgrade::{WEBSOCKET, echo};

/// A backend that answers `/held` when it is told to, all else at once.
fn held(body: &'static str) -> (Backend, std::sync::mpsc::Sender<()>) {
    let (go, may_go) = std::sync::mpsc::channel();
    let may_go = std::sync::Mutex::new(may_go);
    let backend = Backend::scripted(move |exchange| {
        if exchange.seen.target() == "/held" {
            let _ = may_go.lock().unwrap().recv_timeout(PATIENCE);
        }
        exchange.reply("200 OK", body)
    });
    (backend, go)
}

#[test]
fn connections_live_through_every_kind_of_change() {
    let backend = Backend::answering("ok");
    let names = ["a.example"];
    let proxy = Headgate::serve(&tls_site("a.example", &[backend.address], &TestCertificate::for_names(&names)));
    let mut plain = Client::connect(proxy.http);
    let mut tls = Tls::to("a.example").connect(proxy.https);
    for number in 0..10 {
        assert_eq!(plain.get("a.example", "/").status, 308);
        assert_eq!(tls.get("a.example", "/").status, 200);
        let mut objects = tls_site("a.example", &[backend.address], &TestCertificate::for_names(&names));
        objects.extend(site(&format!("h{number}.example"), &[backend.address]));
        proxy.change(&objects);
    }
    assert_eq!(proxy.generation(), 11);
    assert_eq!(proxy.counted("proxy_connections_total", &[], 2.0), 2.0);
}

#[test]
fn the_next_request_on_a_connection_sees_the_change() {
    let backends = ["first", "second"].map(Backend::answering);
    let proxy = Headgate::before(&backends[0]);
    let mut client = Client::connect(proxy.http);
    assert_eq!(client.get("a.example", "/").text(), "first");
    proxy.change(&site("a.example", &[backends[1].address]));
    assert_eq!(client.get("a.example", "/").text(), "second");
    proxy.change(&site("b.example", &[backends[1].address]));
    assert_eq!(client.get("a.example", "/").status, 404);
}

#[test]
fn a_request_in_flight_is_finished_by_the_backend_it_went_to() {
    let (backend, go) = held("old");
    let new = Backend::answering("new");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET /held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.only();
    proxy.change(&site("a.example", &[new.address]));
    assert_eq!(get(proxy.http, "a.example", "/").text(), "new");
    proxy.change(&Vec::new());
    assert_eq!(get(proxy.http, "a.example", "/").status, 404);
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "old");
}

#[tokio::test]
async fn http_2_streams_live_through_a_change() {
    let (backend, go) = held("old");
    let new = Backend::answering("new");
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let (response, _) = client.open(http::Request::get("http://a.example/held").body(()).unwrap(), true).await.unwrap();
    while backend.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.change(&site("a.example", &[new.address]));
    assert_eq!(client.get("http://a.example/").await.text(), "new", "on the same connection");
    go.send(()).unwrap();
    assert_eq!(soon(finish(response)).await.unwrap().text(), "old");
}

#[test]
fn a_tunnel_lives_through_changes_that_remove_its_backend() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")?;
        loop {
            let line = exchange.read_line()?;
            exchange.send(line)?;
        }
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(client.response().status, 101);
    proxy.change(&Vec::new());
    std::thread::sleep(Duration::from_millis(1500));
    client.send("still here\r\n");
    assert_eq!(client.exactly(12), b"still here\r\n");
}

#[test]
fn neither_tunnels_nor_streams_keep_the_generation_that_they_began_in() {
    let backend = Backend::scripted(|exchange| {
        if exchange.seen.target() == "/ws" {
            return echo(exchange);
        }
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")?;
        exchange.read_line().map(|_| Then::Close)
    });
    let proxy = Headgate::before(&backend);
    let change = |number: usize| {
        let mut objects = site("a.example", &[backend.address]);
        objects.extend(site(&format!("h{number}.example"), &[backend.address]));
        proxy.change(&objects);
    };
    let open = |request: &str, status| {
        let mut client = Client::connect(proxy.http);
        client.send(request);
        assert_eq!(client.head().status, status);
        client
    };
    let begin = |number| {
        let both = [(WEBSOCKET, 101), ("GET /stream HTTP/1.1\r\nHost: a.example\r\n\r\n", 200)];
        let both = both.map(|(request, status)| open(request, status));
        change(number);
        both
    };
    let opened: Vec<_> = (0..20).map(begin).collect();
    let mut numbers = 20..;
    until("older generations to be let go of", || {
        change(numbers.next()?);
        (proxy.metrics().value("headgate_generations_held", &[]) <= 3.0).then_some(())
    });
    for [mut tunnel, mut stream] in opened {
        tunnel.send("still here");
        assert_eq!(tunnel.exactly(10), b"still here");
        assert_eq!(stream.exactly(6), b"1\r\nx\r\n");
    }
    for path in ["/ws", "/stream"] {
        let line = proxy.log_of(path);
        assert_eq!((&line["backend"], &line["route"]), (&"default-a-80".into(), &"default/a a.example /".into()));
    }
}

#[test]
fn new_handshakes_get_the_new_certificate_and_old_connections_live() {
    let backend = Backend::answering("ok");
    let certificates = [TestCertificate::for_names(&["a.example"]), TestCertificate::for_names(&["a.example"])];
    let proxy = Headgate::serve(&tls_site("a.example", &[backend.address], &certificates[0]));
    let mut old = Tls::to("a.example").connect(proxy.https);
    assert_eq!(certificate(&old), certificates[0].der);
    assert_eq!(old.get("a.example", "/").status, 200);
    proxy.change(&tls_site("a.example", &[backend.address], &certificates[1]));
    assert_eq!(certificate(&Tls::to("a.example").connect(proxy.https)), certificates[1].der);
    assert_eq!(old.get("a.example", "/").status, 200);
}

#[test]
fn a_certificate_that_breaks_on_update_keeps_the_host_alive() {
    let backend = Backend::answering("ok");
    let good = TestCertificate::for_names(&["a.example"]);
    let mut objects = tls_site("a.example", &[backend.address], &good);
    let proxy = Headgate::serve(&objects);
    objects.last_mut().unwrap()["stringData"]["tls.crt"] = "garbage".into();
    proxy.folder.write("objects.yaml", &objects);
    until("the report", || proxy.stderr().contains("InvalidCertificate").then_some(()));
    assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").status, 200);
}

#[test]
fn endpoints_that_stay_keep_their_pooled_connections() {
    let backends = ["one", "two"].map(Backend::answering);
    let both = [backends[0].address, backends[1].address];
    let proxy = Headgate::with(&site("a.example", &both)).flag("--workers", "1").start();
    for _ in 0..4 {
        get(proxy.http, "a.example", "/");
    }
    assert_eq!((backends[0].accepted(), backends[1].accepted()), (1, 1));
    let mut objects = site("a.example", &[backends[0].address]);
    objects.extend(site("b.example", &[backends[0].address]));
    proxy.change(&objects);
    for _ in 0..4 {
        get(proxy.http, "a.example", "/");
    }
    assert_eq!(backends[0].accepted(), 1, "the one that stays");
}

#[test]
fn connections_to_an_endpoint_that_is_gone_are_closed_within_a_second() {
    let backends = ["one", "two"].map(Backend::answering);
    let proxy = Headgate::before(&backends[0]);
    let mut client = Client::connect(proxy.http);
    client.get("a.example", "/");
    proxy.change(&site("a.example", &[backends[1].address]));
    let start = std::time::Instant::now();
    until("the close", || (backends[0].open() == 0).then_some(()));
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[test]
fn an_address_that_another_service_takes_over_is_spoken_to_afresh() {
    let backend = Backend::answering("ok");
    let two = |first: &[std::net::SocketAddr], second: &[std::net::SocketAddr]| {
        let rules = [rule("one.example", "/", "Prefix", "one"), rule("two.example", "/", "Prefix", "two")];
        let mut objects = vec![ingress("both", &rules)];
        objects.extend(service("one", first));
        objects.extend(service("two", second));
        objects
    };
    let proxy = Headgate::with(&two(&[backend.address], &[])).flag("--workers", "1").start();
    assert_eq!(get(proxy.http, "one.example", "/").status, 200);
    proxy.change(&two(&[], &[backend.address]));
    assert_eq!(get(proxy.http, "two.example", "/").status, 200);
    assert_eq!(get(proxy.http, "one.example", "/").status, 503);
    assert_eq!(backend.accepted(), 2, "a connection made for another Service is not used");
}

#[test]
fn counters_live_through_a_change_and_its_undoing() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    get(proxy.http, "a.example", "/");
    proxy.change(&site("b.example", &[backend.address]));
    proxy.change(&site("a.example", &[backend.address]));
    get(proxy.http, "a.example", "/");
    until("both", || {
        (proxy.metrics().value("proxy_requests_total", &[("ingress", "a"), ("status", "200")]) == 2.0).then_some(())
    });
}

#[test]
fn scaling_to_nothing_and_back_is_503_and_200() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    proxy.change(&site("a.example", &[]));
    assert_eq!(get(proxy.http, "a.example", "/").status, 503);
    proxy.change(&site("a.example", &[backend.address]));
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}
