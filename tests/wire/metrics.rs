//! The admin port: probes, metrics and the read-only views.

use crate::support::objects::{self, site, tls_site};
use crate::support::ports::ClosedPort;
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, TestCertificate, Then, get, in_full, request};

const ROUTE: [(&str, &str); 3] = [("namespace", "default"), ("ingress", "a"), ("service", "a")];

/// These labels with those of the route.
fn route_and<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    ROUTE.iter().chain(more).copied().collect()
}

#[test]
fn requests_and_bytes_are_counted_by_route_method_and_status() {
    let backend = Backend::scripted(|exchange| {
        exchange.body()?;
        let status = if exchange.seen.target() == "/teapot" { "418 Teapot" } else { "200 OK" };
        exchange.reply(status, "12345")
    });
    let proxy = Headgate::before(&backend);
    for _ in 0..3 {
        get(proxy.http, "a.example", "/");
    }
    request(proxy.http, "POST /teapot HTTP/1.1\r\nHost: a.example\r\nContent-Length: 7\r\n\r\n1234567");
    get(proxy.http, "unknown.example", "/");
    let metrics =
        until("five requests", || Some(proxy.metrics()).filter(|m| m.value("proxy_requests_total", &[]) == 5.0));
    assert_eq!(metrics.value("proxy_requests_total", &route_and(&[("method", "GET"), ("status", "200")])), 3.0);
    assert_eq!(metrics.value("proxy_requests_total", &route_and(&[("method", "POST"), ("status", "418")])), 1.0);
    let unrouted = [("namespace", ""), ("ingress", ""), ("service", ""), ("status", "404")];
    assert_eq!(metrics.value("proxy_requests_total", &unrouted), 1.0);
    assert_eq!(metrics.value("proxy_response_bytes_total", &ROUTE), 20.0);
    assert_eq!(metrics.value("proxy_request_bytes_total", &ROUTE), 7.0);
    assert_eq!(metrics.value("proxy_request_duration_seconds_count", &ROUTE), 4.0);
    assert!(metrics.value("proxy_request_duration_seconds_sum", &ROUTE) > 0.0);
    assert_eq!(metrics.value("proxy_requests_in_flight", &ROUTE), 0.0);
    assert_eq!(metrics.value("proxy_requests_in_flight", &[]), 0.0);
}

#[test]
fn backend_errors_are_counted_by_reason_once_a_try() {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        // Each request has a connection of its own, since a reused one that is reset is another try.
        "/5xx" => exchange
            .send("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .map(|()| Then::Close),
        "/reset" => Ok(Then::Reset),
        _ => exchange.send("nonsense\r\n\r\n").map(|()| Then::Close),
    });
    let proxy = Headgate::before(&backend);
    // In an order that leaves no connection which the next could try first.
    for path in ["/reset", "/protocol", "/5xx"] {
        get(proxy.http, "a.example", path);
    }
    for reason in ["5xx", "reset", "protocol"] {
        assert_eq!(
            proxy.metrics().value("proxy_backend_errors_total", &route_and(&[("reason", reason)])),
            1.0,
            "{reason}"
        );
    }
    assert_eq!(proxy.counted("proxy_backend_errors_total", &[], 3.0), 3.0);
}

#[test]
fn retries_are_counted() {
    let closed = ClosedPort::new();
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&site("a.example", &[closed.address, backend.address]));
    for _ in 0..10 {
        get(proxy.http, "a.example", "/");
    }
    let metrics = proxy.metrics();
    assert!(metrics.value("proxy_retries_total", &ROUTE) >= 1.0);
    assert_eq!(
        metrics.value("proxy_retries_total", &ROUTE),
        metrics.value("proxy_backend_errors_total", &route_and(&[("reason", "connect")]))
    );
}

#[test]
fn open_connections_are_counted_by_listener() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let open = |listener: &str| proxy.metrics().value("proxy_connections", &[("listener", listener)]);
    let mut plain: Vec<_> = (0..3).map(|_| Client::connect(proxy.http)).collect();
    plain.iter_mut().for_each(|client| drop(client.get("a.example", "/")));
    let mut tls = Tls::to("a.example").connect(proxy.https);
    tls.get("a.example", "/");
    assert_eq!((open("http"), open("https")), (3.0, 1.0));
    drop((plain, tls));
    until("no connection", || (open("http") + open("https") == 0.0).then_some(()));
    assert_eq!(proxy.counted("proxy_connections_total", &[], 4.0), 4.0);
}

#[test]
fn series_do_not_grow_with_what_clients_send() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--access-log", "off").start();
    let mut client = Client::connect(proxy.http);
    let ask = |client: &mut Client, number: usize| {
        client.get("a.example", &format!("/{number}"));
        client.get(&format!("h{number}.example"), "/");
        client.send(format!("M{number} / HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        client.response();
    };
    ask(&mut client, 0);
    let before = proxy.metrics().len();
    for number in 1..200 {
        ask(&mut client, number);
    }
    assert_eq!(proxy.metrics().len(), before);
    if in_full() {
        for batch in 0..10_000 {
            let one =
                |number: usize| format!("GET /{batch}/{number} HTTP/1.1\r\nHost: h{batch}x{number}.example\r\n\r\n");
            client.send((0..100).map(one).collect::<String>());
            (0..100).for_each(|_| assert_eq!(client.response().status, 404));
        }
        assert_eq!(proxy.metrics().len(), before);
    }
}

#[test]
fn the_metrics_are_prometheus_text() {
    let proxy = Headgate::serve(&[]);
    let response = get(proxy.admin, "admin", "/metrics");
    assert!(response.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text();
    for line in [
        "# HELP headgate_generation ",
        "# TYPE headgate_generation gauge",
        "process_cpu_seconds_total",
        "headgate_build_info",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn certificates_and_problems_are_counted() {
    let backend = Backend::answering("ok");
    let mut objects = tls_site("a.example", &[backend.address], &TestCertificate::for_names(&["a.example"]));
    objects.push(objects::ingress("b", &[objects::rule("b.example", "/", "Prefix", "missing")]));
    let metrics = Headgate::serve(&objects).metrics();
    assert!(metrics.value("headgate_certificate_not_after_timestamp_seconds", &[]) > 1e9);
    assert!(metrics.value("headgate_problems", &[("reason", "ServiceNotFound")]) >= 1.0);
}

#[test]
fn the_debug_views_show_what_is_served() {
    let backend = Backend::answering("ok");
    let proxy =
        Headgate::serve(&tls_site("a.example", &[backend.address], &TestCertificate::for_names(&["a.example"])));
    let view = |name: &str| get(proxy.admin, "admin", &format!("/debug/{name}")).json();
    assert_eq!(view("snapshot")["generation"], 1);
    assert!(view("routes").to_string().contains("a.example"));
    assert!(view("backends").to_string().contains(&backend.address.to_string()));
    assert!(!view("snapshot").to_string().contains("PRIVATE"));
}

#[test]
fn debug_answers_loopback_only_unless_the_flag_says_otherwise() {
    let backend = Backend::answering("ok");
    // An address of this machine that is not loopback; without one there is nobody remote to be.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    probe
        .connect("192.0.2.1:9")
        .expect("this machine has a route, so that it can be asked from an address other than loopback");
    let own = probe.local_addr().unwrap().ip();
    for (remote, status) in [("false", 403), ("true", 200)] {
        let proxy = Headgate::with(&site("a.example", &[backend.address]))
            .flag("--bind-address", "0.0.0.0")
            .flag("--debug-remote", remote)
            .start();
        let outside = (own, proxy.admin.port()).into();
        let ask = |path: &str| {
            let mut client = Client::connect_from(own, outside);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n"));
            client.response().status
        };
        assert_eq!(ask("/debug/routes"), status);
        assert_eq!(ask("/metrics"), 200);
        assert_eq!(ask("/readyz"), 200);
        assert_eq!(
            get((std::net::Ipv4Addr::LOCALHOST, proxy.admin.port()).into(), "admin", "/debug/routes").status,
            200
        );
    }
}

#[test]
fn the_admin_port_serves_no_traffic_and_traffic_ports_no_admin() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&site("", &[backend.address]));
    assert_ne!(get(proxy.admin, "a.example", "/").text(), "ok");
    assert_eq!(get(proxy.http, "a.example", "/metrics").text(), "ok", "a path as any other");
    assert_eq!(get(proxy.admin, "admin", "/nothing").status, 404);
}
