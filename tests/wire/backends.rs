//! Which endpoint gets a request and how it is spoken to.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;

use http::{HeaderMap, Request, Response};
use serde_json::json;

use crate::support::frames::{END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, SETTINGS};
use crate::support::h2_backend::H2Backend;
use crate::support::h2_client::{H2Client, soon};
use crate::support::objects::{self, ingress, rule, rule_to, service, service_speaking};
use crate::support::{Backend, Client, Headgate, TestCertificate, get, request};

/// How often each body was answered to this many requests.
#[track_caller]
fn count(proxy: &Headgate, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let response = get(proxy.http, "a.example", "/");
        assert_eq!(response.status, 200);
        *counts.entry(response.text()).or_default() += 1;
    }
    counts
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn round_robin_is_exact_over_all_workers() {
    let backends = ["one", "two"].map(Backend::answering);
    let site = objects::site("a.example", &[backends[0].address, backends[1].address]);
    let proxy = Headgate::with(&site).flag("--workers", "4").start();
    assert_eq!(count(&proxy, 100), counts(&[("one", 50), ("two", 50)]));
}

#[test]
fn an_endpoint_named_by_two_slices_counts_once() {
    let backends = ["one", "two"].map(Backend::answering);
    let mut site = objects::site("a.example", &[backends[0].address, backends[1].address]);
    let mut again = objects::slices("a", &[backends[0].address]).remove(0);
    again["metadata"]["name"] = "again".into();
    site.push(again);
    assert_eq!(count(&Headgate::serve(&site), 10), counts(&[("one", 5), ("two", 5)]));
}

#[test]
fn unready_endpoints_get_nothing_and_terminating_ones_only_when_nothing_is_ready() {
    let backends = ["ready", "unready", "terminating"].map(Backend::answering);
    let conditions = [
        json!({ "ready": true }),
        json!({ "ready": false }),
        json!({ "ready": false, "serving": true, "terminating": true }),
    ];
    let mut site = objects::site("a.example", &[]);
    for (backend, conditions) in backends.iter().zip(conditions) {
        let mut slice = objects::slices("a", &[backend.address]).remove(0);
        slice["endpoints"][0]["conditions"] = conditions;
        site.push(slice);
    }
    let proxy = Headgate::serve(&site);
    assert_eq!(count(&proxy, 4), counts(&[("ready", 4)]));
    site.retain(|object| object["endpoints"][0]["conditions"]["ready"] != true);
    proxy.change(&site);
    assert_eq!(count(&proxy, 4), counts(&[("terminating", 4)]));
}

#[test]
fn missing_conditions_mean_ready() {
    let backend = Backend::answering("one");
    let mut site = objects::site("a.example", &[backend.address]);
    site[2]["endpoints"][0].as_object_mut().unwrap().remove("conditions");
    assert_eq!(count(&Headgate::serve(&site), 2), counts(&[("one", 2)]));
}

#[test]
fn a_port_is_found_by_number_and_by_name() {
    let backends = ["first", "second"].map(Backend::answering);
    let to = |port: serde_json::Value| json!({ "service": { "name": "a", "port": port } });
    let rules = [
        rule_to("a.example", "/1", "Prefix", to(json!({ "number": 80 }))),
        rule_to("a.example", "/2", "Prefix", to(json!({ "name": "admin" }))),
        rule_to("a.example", "/3", "Prefix", to(json!({ "number": 9000 }))),
        rule_to("a.example", "/4", "Prefix", to(json!({ "name": "http" }))),
    ];
    let mut service = service("a", &[backends[0].address]);
    service[0]["spec"]["ports"] =
        json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 9000, "targetPort": "admin" }]);
    let port =
        |name: &str, backend: &Backend| json!({ "name": name, "port": backend.address.port(), "protocol": "TCP" });
    service[1]["ports"] = json!([port("http", &backends[0]), port("admin", &backends[1])]);
    service.push(ingress("a", &rules));
    let proxy = Headgate::serve(&service);
    for (path, expected) in [("/1", "first"), ("/2", "second"), ("/3", "second"), ("/4", "first")] {
        assert_eq!(get(proxy.http, "a.example", path).text(), expected, "{path}");
    }
}

#[test]
fn an_external_name_is_served_only_where_the_flag_allows_it() {
    let backend = Backend::answering("outside");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
        "spec": { "type": "ExternalName", "externalName": "localhost", "ports": [{ "name": "http", "port": 80, "targetPort": backend.address.port() }] },
    });
    let site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")]), service];
    assert_eq!(get(Headgate::serve(&site).http, "a.example", "/").status, 503);
    let proxy = Headgate::with(&site).flag("--enable-svc-external-name", "true").start();
    crate::support::wait::until("the name to be resolved", || {
        (get(proxy.http, "a.example", "/").text() == "outside").then_some(())
    });
}

#[test]
fn an_https_backend_is_spoken_to_over_tls() {
    let backend = Backend::tls(TestCertificate::for_names(&["whatever"]), |exchange| {
        let body = exchange.body()?;
        exchange.reply("200 OK", &String::from_utf8(body).unwrap())
    });
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[backend.address], Some("https")));
    let proxy = Headgate::serve(&site);
    let mut client = Client::connect(proxy.http);
    for body in ["one", "two"] {
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n{body}"));
        assert_eq!(client.response().text(), body);
    }
    assert_eq!(backend.accepted(), 1, "kept alive");
    assert_eq!(backend.last().header("x-forwarded-proto").as_deref(), Some("http"));
}

#[test]
fn an_https_backend_without_tls_is_502() {
    let backend = Backend::sending("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[backend.address], Some("https")));
    // The plain backend waits for the end of a head that the handshake never holds, so it must go away by itself.
    let proxy = Headgate::serve(&site);
    let asking = std::thread::spawn(move || get(proxy.http, "a.example", "/").status);
    crate::support::wait::until("the handshake", || (backend.open() > 0).then_some(()));
    backend.stop();
    assert_eq!(asking.join().unwrap(), 502);
}

#[test]
fn h2c_backends_are_spoken_to_in_http_2() {
    for protocol in ["kubernetes.io/h2c", "grpc"] {
        let backend = H2Backend::answering("two");
        let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
        site.extend(service_speaking("a", &[backend.address], Some(protocol)));
        let proxy = Headgate::serve(&site);
        let response = request(
            proxy.http,
            "POST /p?q HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nConnection: x\r\nX: 1\r\n\r\nabc",
        );
        assert_eq!((response.status, response.text().as_str()), (200, "two"), "{protocol}");
        let seen = backend.only();
        assert_eq!(
            (seen.method.as_str(), seen.uri.as_str(), seen.body.as_slice()),
            ("POST", "http://a.example/p?q", &b"abc"[..])
        );
        assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
        assert!(
            !seen.headers.contains_key("host")
                && !seen.headers.contains_key("connection")
                && !seen.headers.contains_key("x")
        );
    }
}

#[tokio::test]
async fn requests_to_an_h2c_backend_share_connections() {
    let backend = H2Backend::answering("two");
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[backend.address], Some("kubernetes.io/h2c")));
    let proxy = Headgate::with(&site).flag("--workers", "1").start();
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://a.example/").await.status, 200);
    let requests = (0..50).map(|number| {
        let client = &client;
        async move { client.get(&format!("http://a.example/{number}")).await.status }
    });
    let statuses = futures_util::future::join_all(requests).await;
    assert_eq!(statuses, [200; 50]);
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn trailers_pass_both_ways_between_http_2_sides() {
    let backend = H2Backend::scripted(async |mut exchange| {
        exchange.body().await?;
        let mut send = exchange.respond.send_response(Response::new(()), false)?;
        send.send_data("data".into(), false)?;
        send.send_trailers(map(&[("grpc-status", "0"), ("x-last", "1")]))?;
        Ok(())
    });
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[backend.address], Some("grpc")));
    let proxy = Headgate::serve(&site);
    let client = H2Client::plain(proxy.http).await;
    let request = Request::post("http://a.example/s/m")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, mut send) = client.open(request, false).await.unwrap();
    send.send_data("abc".into(), false).unwrap();
    send.send_trailers(map(&[
        ("x-sum", "6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("cookie", "c"),
        ("authorization", "x"),
        ("host", "h"),
    ]))
    .unwrap();
    let response = crate::support::h2_client::finish(response).await.unwrap();
    let trailers = response.trailers.unwrap();
    assert_eq!((trailers["grpc-status"].as_bytes(), trailers["x-last"].as_bytes()), (&b"0"[..], &b"1"[..]));
    let seen = backend.only();
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.trailers.unwrap(), map(&[("x-sum", "6")]), "what frames, routes or identifies is dropped");
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
        .collect()
}

#[tokio::test]
async fn an_answer_with_trailers_of_an_http_1_backend_is_complete_and_keeps_the_connection() {
    let backend = Backend::sending(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
    );
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    for path in ["/1", "/2", "/3"] {
        let response = client.get(&format!("http://a.example{path}")).await;
        assert_eq!((response.text().as_str(), &response.trailers.unwrap()["x"]), ("ok", &"y".parse().unwrap()));
        assert_eq!(proxy.log_of(path)["flag"], "");
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn trailers_reach_an_http_1_client_that_asks_for_them() {
    let backend = Backend::sending(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n1\r\nx\r\n0\r\nx-sum: 7\r\nset-cookie: c\r\n\r\n",
    );
    let h2 = H2Backend::scripted(async |mut exchange| {
        exchange.body().await?;
        let mut send =
            exchange.respond.send_response(Response::builder().header("trailer", "x-sum").body(()).unwrap(), false)?;
        send.send_data("x".into(), false)?;
        send.send_trailers(map(&[("x-sum", "7")]))
    });
    let mut site = objects::site("one.example", &[backend.address]);
    site.push(ingress("two", &[rule("two.example", "/", "Prefix", "two")]));
    site.extend(service_speaking("two", &[h2.address], Some("kubernetes.io/h2c")));
    let proxy = Headgate::serve(&site);
    let ask = |lines: &str| request(proxy.http, format!("GET / HTTP/1.1\r\nHost: two.example\r\n{lines}\r\n"));
    let asked = ask("TE: trailers\r\nConnection: TE\r\n");
    assert_eq!((asked.text().as_str(), asked.trailers), ("x", vec![("x-sum".to_owned(), "7".to_owned())]));
    assert_eq!(ask("").trailers, []);
    assert_eq!(get(proxy.http, "one.example", "/").text(), "x");
}

/// A proxy with one worker before this backend, which is spoken to in HTTP/2.
fn before_h2(backend: &H2Backend) -> Headgate {
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[backend.address], Some("kubernetes.io/h2c")));
    Headgate::with(&site).flag("--workers", "1").start()
}

#[tokio::test]
async fn an_h2c_backend_gets_no_more_requests_on_a_connection_than_it_takes() {
    let backend = H2Backend::taking(2, async |mut exchange| {
        if exchange.request.uri().path() == "/held" {
            std::future::pending::<()>().await;
        }
        exchange.reply(Response::new(()), "two")
    });
    let proxy = before_h2(&backend);
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://a.example/").await.status, 200);
    let held = Request::get("http://a.example/held").body(()).unwrap();
    let _first = client.open(held.clone(), true).await.unwrap();
    let _second = client.open(held, true).await.unwrap();
    while backend.seen().len() < 3 {
        soon(tokio::time::sleep(std::time::Duration::from_millis(5))).await;
    }
    assert_eq!(client.get("http://a.example/").await.status, 200, "not behind those that are held");
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn an_h2c_backend_may_end_a_bodyless_answer_late() {
    let backend = H2Backend::scripted(async |mut exchange| {
        let mut send = exchange.respond.send_response(Response::new(()), false)?;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        send.send_data(bytes::Bytes::new(), true)
    });
    let proxy = before_h2(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("HEAD /head HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.response_to("HEAD").status, 200);
    let line = proxy.log_of("/head");
    assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"".into()), "{line}");
}

/// Answers the first request of its first connection, tells the second that it goes, and answers all of its next one.
fn leaving(listener: &TcpListener) {
    for only_first in [true, false] {
        let mut client = Client::over(listener.accept().unwrap().0);
        client.stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).unwrap();
        let mut frames = Frames { client };
        frames.send(SETTINGS, 0, 0, &[]);
        while let Some(head) = frames.until(HEADERS, |_| true) {
            if only_first && head.stream > 1 {
                frames.send(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
                break;
            }
            // `:status: 200`.
            frames.send(HEADERS, END_STREAM | END_HEADERS, head.stream, &[0x88]);
        }
    }
}

#[test]
fn a_request_that_a_goaway_leaves_out_is_sent_again_whatever_its_method() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[listener.local_addr().unwrap()], Some("kubernetes.io/h2c")));
    let proxy = Headgate::with(&site).flag("--workers", "1").start();
    std::thread::spawn(move || leaving(&listener));
    for number in 0..2 {
        let text = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(request(proxy.http, text).status, 200, "{number}");
    }
}
