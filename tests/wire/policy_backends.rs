//! Fields of a policy that are about backends: who is asked, how often, and in which protocol.

use std::net::SocketAddr;
use std::time::Duration;

use http::Response;
use serde_json::{Value, json};

use crate::support::h2_backend::H2Backend;
use crate::support::ports::BlackHole;
use crate::support::wait::{stays, timed, until};
use crate::support::{Backend, Client, Headgate, TestCertificate, get, objects};

const HOST: &str = "a.example";

fn governed(addresses: &[SocketAddr], fields: Value, flags: &[(&str, &str)]) -> Headgate {
    let builder = Headgate::with(&objects::site_with_backend_policy(HOST, addresses, fields));
    flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, value)).start()
}

fn answering(names: &[&str]) -> Vec<Backend> {
    names.iter().map(|name| Backend::answering(name)).collect()
}

fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.address).collect()
}

fn shares(backends: &[Backend]) -> Vec<usize> {
    backends.iter().map(|backend| backend.seen().len()).collect()
}

#[test]
fn round_robin_is_exact_at_four_workers() {
    // The second is a policy that leaves it out.
    for fields in [json!({ "loadBalancer": { "algorithm": "RoundRobin" } }), json!({ "protocol": "HTTP1" })] {
        let backends = answering(&["a", "b"]);
        let proxy = governed(&addresses(&backends), fields, &[("--workers", "4")]);
        for _ in 0..100 {
            assert_eq!(get(proxy.http, HOST, "/").status, 200);
        }
        assert_eq!(shares(&backends), [50, 50]);
    }
}

#[test]
fn least_connections_passes_over_the_one_that_is_busy() {
    let busy = Backend::scripted(|exchange| exchange.until_abandoned());
    let free = Backend::answering("free");
    let fields = json!({ "loadBalancer": { "algorithm": "LeastConnections" } });
    let proxy = governed(&[busy.address, free.address], fields, &[("--workers", "4")]);
    let mut held = Vec::new();
    while busy.seen().is_empty() {
        let mut client = Client::connect(proxy.http);
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        held.push(client);
        assert!(held.len() < 1000, "nobody asks the second endpoint");
        until("a request that has come", || (busy.seen().len() + free.seen().len() >= held.len()).then_some(()));
    }
    for _ in 0..20 {
        assert_eq!(get(proxy.http, HOST, "/").text(), "free");
    }
    assert_eq!(busy.seen().len(), 1);
}

#[test]
fn ip_hash_sends_a_client_to_the_same_endpoint() {
    let backends = answering(&["a", "b", "c"]);
    let fields = json!({ "loadBalancer": { "algorithm": "IPHash" } });
    let proxy = governed(&addresses(&backends), fields, &[("--workers", "4")]);
    for last in 1..=40 {
        let answers = [(); 4].map(|()| {
            let mut client = Client::connect_from([127, 0, 0, last].into(), proxy.http);
            client.get(HOST, "/").text()
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{last}: {answers:?}");
    }
    assert!(shares(&backends).iter().all(|share| *share > 0), "{:?}", shares(&backends));
}

#[test]
fn a_split_is_exact_over_a_cycle() {
    let backends = answering(&["stable", "canary"]);
    let mut objects = objects::site(HOST, &[]);
    for (name, backend) in ["stable", "canary"].iter().zip(&backends) {
        objects.extend(objects::service(name, &[backend.address]));
    }
    let split = json!([
        { "service": "stable", "port": 80, "weight": 90 }, { "service": "canary", "port": 80, "weight": 10 },
    ]);
    objects.push(objects::policy("split", "Service", "a", json!({ "trafficSplit": split })));
    let proxy = Headgate::with(&objects).flag("--workers", "4").start();
    for _ in 0..100 {
        assert_eq!(get(proxy.http, HOST, "/").status, 200);
    }
    assert_eq!(shares(&backends), [90, 10]);
    let line = proxy.log_line("one to the canary", |line| line["endpoint"] == backends[1].address.to_string());
    assert_eq!(line["backend"], "default-canary-80");
}

#[test]
fn a_member_without_endpoints_gives_its_share_to_the_others() {
    let canary = Backend::answering("canary");
    let mut objects = objects::site(HOST, &[]);
    objects.extend(objects::service("stable", &[]));
    objects.extend(objects::service("canary", &[canary.address]));
    let split = json!([
        { "service": "stable", "port": 80, "weight": 90 }, { "service": "canary", "port": 80, "weight": 10 },
    ]);
    objects.push(objects::policy("split", "Service", "a", json!({ "trafficSplit": split })));
    let proxy = Headgate::serve(&objects);
    for _ in 0..20 {
        assert_eq!(get(proxy.http, HOST, "/").text(), "canary");
    }
}

#[test]
fn a_member_is_a_port_of_its_service_and_without_weight_gets_nothing() {
    let backends = answering(&["http", "other port", "without weight"]);
    let mut objects = objects::site(HOST, &[]);
    objects.extend(objects::service("v2", &[backends[0].address]));
    let service = objects.iter_mut().find(|object| object["metadata"]["name"] == "v2").unwrap();
    service["spec"]["ports"].as_array_mut().unwrap().push(json!({ "name": "other", "port": 81 }));
    let mut slice = objects::slices("v2", &[backends[1].address]).remove(0);
    slice["ports"][0]["name"] = "other".into();
    objects.push(slice);
    objects.extend(objects::service("v3", &[backends[2].address]));
    let member = |service: &str, port: u16, weight: u16| json!({ "service": service, "port": port, "weight": weight });
    let split = json!([member("v2", 80, 2), member("v2", 81, 1), member("v3", 80, 0)]);
    objects.push(objects::policy("split", "Service", "a", json!({ "trafficSplit": split })));
    let proxy = Headgate::serve(&objects);
    for _ in 0..30 {
        assert_eq!(get(proxy.http, HOST, "/").status, 200);
    }
    assert_eq!(shares(&backends), [20, 10, 0]);
}

/// Sends a request that its backend holds.
fn hold(proxy: &Headgate) -> Client {
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET /hold HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    client
}

fn holding() -> Backend {
    Backend::scripted(|exchange| match exchange.seen.target() {
        "/hold" => exchange.until_abandoned(),
        _ => exchange.reply("200 OK", "ok"),
    })
}

#[test]
fn endpoints_that_are_full_answer_503_at_once_and_the_next_one_is_asked_first() {
    let backends = [holding(), holding()];
    let proxy = governed(&addresses(&backends), json!({ "maxConnections": 1 }), &[("--workers", "4")]);
    let first = hold(&proxy);
    until("the first", || (shares(&backends).iter().sum::<usize>() == 1).then_some(()));
    for _ in 0..6 {
        assert_eq!(get(proxy.http, HOST, "/").status, 200, "the other endpoint has room");
    }
    let second = hold(&proxy);
    let held = || backends.iter().filter(|b| b.seen().iter().any(|seen| seen.target() == "/hold")).count();
    until("the second", || (held() == 2).then_some(()));
    // The machine may be busy, but not each time.
    let refusals = (0..50).map(|_| timed(|| assert_eq!(get(proxy.http, HOST, "/full").status, 503)).1);
    let soonest = refusals.min().unwrap();
    assert!(soonest < Duration::from_millis(5), "after {soonest:?}");
    let line = proxy.log_of("/full");
    assert_eq!((&line["flag"], &line["endpoint"]), (&json!("UO"), &json!("")));
    drop(first);
    until("room", || (get(proxy.http, HOST, "/").status == 200).then_some(()));
    drop(second);
}

#[test]
fn the_last_place_at_an_endpoint_is_given_and_the_next_request_refused() {
    let backend = holding();
    let proxy = governed(&[backend.address], json!({ "maxConnections": 3 }), &[("--workers", "4")]);
    let _held = [(); 2].map(|()| hold(&proxy));
    backend.wait_for(2);
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    let _last = hold(&proxy);
    backend.wait_for(4);
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
}

#[test]
fn the_protocol_may_be_http_2() {
    let backend = H2Backend::answering("over http/2");
    let proxy = governed(&[backend.address], json!({ "protocol": "H2C" }), &[]);
    assert_eq!(get(proxy.http, HOST, "/").text(), "over http/2");
}

#[test]
fn the_protocol_may_be_https_and_is_then_told_to_be_unverified() {
    let certificate = TestCertificate::for_names(&["other.example"]);
    let backend = Backend::tls(certificate, |exchange| exchange.reply("200 OK", "encrypted"));
    let proxy = governed(&[backend.address], json!({ "protocol": "HTTPS" }), &[]);
    assert_eq!(get(proxy.http, HOST, "/").text(), "encrypted");
    assert!(proxy.stderr().contains("not verified"), "{}", proxy.stderr());
}

#[test]
fn the_protocol_of_a_policy_counts_before_the_service_s() {
    let backend = Backend::answering("plain");
    let mut objects = vec![objects::ingress("a", &[objects::rule(HOST, "/", "Prefix", "a")])];
    objects.extend(objects::service_speaking("a", &[backend.address], Some("https")));
    objects.push(objects::policy("policy", "Service", "a", json!({ "protocol": "HTTP1" })));
    let proxy = Headgate::serve(&objects);
    assert_eq!(get(proxy.http, HOST, "/").text(), "plain");
}

/// A listener whose queue is full answers no SYN.
#[test]
fn a_connection_must_be_open_within_the_connect_timeout() {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    let fields = json!({ "connectTimeout": "300ms" });
    let proxy = governed(&[address], fields, &[]);
    let (answer, took) = timed(|| get(proxy.http, HOST, "/"));
    assert_eq!(answer.status, 504);
    assert!((Duration::from_millis(250)..Duration::from_millis(900)).contains(&took), "after {took:?}");
}

/// Without a policy the end would come after a second.
#[test]
fn a_connection_may_take_as_long_as_the_connect_timeout() {
    let hole = BlackHole::new();
    let proxy = governed(&[hole.address], json!({ "connectTimeout": "15s", "protocol": "H2C" }), &[]);
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let waits = || proxy.metrics().value("proxy_requests_in_flight", &[("service", "a")]) == 1.0;
    until("its first attempt", || waits().then_some(()));
    stays("its waiting", Duration::from_millis(1100), waits);
    let _backend = H2Backend::on(hole.open(), 100, async |mut exchange| exchange.reply(Response::new(()), "ok"));
    assert_eq!(client.response().status, 200);
}
