//! Backends whose certificate is verified, or that verify ours: `backendTLS` of a ProxyPolicy.

use std::io::{Read, Write};
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::upgrade::{WEBSOCKET, echo};
use crate::support::objects::{self, authority_secret, tls_secret};
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Objects, TestAuthority, TestCertificate, get, ports};

const HOST: &str = "a.example";
/// What a backend is called whose policy names no other.
const OWN: &str = "a.default.svc";

fn behind(certificate: TestCertificate) -> Backend {
    Backend::tls(certificate, |exchange| exchange.reply("200 OK", "encrypted"))
}

/// Service `a` under these fields of backendTLS, and Secret `ca`.
fn site(address: SocketAddr, tls: Value, authority: &TestAuthority) -> Objects {
    let fields = json!({ "protocol": "HTTPS", "backendTLS": tls });
    let mut objects = objects::site_with_backend_policy(HOST, &[address], fields);
    objects.push(authority_secret("ca", authority));
    objects
}

fn verified() -> Value {
    json!({ "caSecret": { "name": "ca" } })
}

fn called(name: &str) -> Value {
    json!({ "caSecret": { "name": "ca" }, "serverName": name })
}

#[track_caller]
fn served(certificate: TestCertificate, tls: Value, authority: &TestAuthority) {
    let backend = behind(certificate);
    let proxy = Headgate::serve(&site(backend.address, tls, authority));
    assert_eq!(get(proxy.http, HOST, "/").text(), "encrypted");
    assert!(!proxy.stderr().contains("is not verified"), "{}", proxy.stderr());
}

fn reasons(proxy: &Headgate) -> Vec<String> {
    proxy.stderr().lines().filter(|line| line.contains("no TLS with the endpoint")).map(str::to_owned).collect()
}

/// The reason is in one line, however many requests there are.
#[track_caller]
fn refused(certificate: TestCertificate, tls: Value, authority: &TestAuthority, reason: &str) {
    let backend = behind(certificate);
    let proxy = Headgate::serve(&site(backend.address, tls, authority));
    for _ in 0..5 {
        assert_eq!(get(proxy.http, HOST, "/").status, 502);
    }
    assert!(backend.seen().is_empty());
    assert_eq!(proxy.log_line("the first", |_| true)["flag"], "UF");
    let told = until("the reason", || Some(reasons(&proxy)).filter(|lines| !lines.is_empty()));
    let [line] = &*told else { panic!("{told:?}") };
    for part in [reason, "default-a-80", &backend.address.to_string()] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn a_certificate_of_the_authority_for_the_service_is_accepted() {
    let authority = TestAuthority::named("ours");
    served(authority.sign(&["other.internal", OWN]), verified(), &authority);
}

#[test]
fn a_server_name_is_what_the_certificate_has_to_be_for() {
    let authority = TestAuthority::named("ours");
    served(authority.sign(&["shop.internal"]), called("shop.internal"), &authority);
    served(authority.sign(&["127.0.0.1"]), called("127.0.0.1"), &authority);
    refused(authority.sign(&[OWN, HOST]), called("shop.internal"), &authority, "not valid for name");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (ours, other) = (TestAuthority::named("ours"), TestAuthority::named("other"));
    refused(other.sign(&[OWN]), verified(), &ours, "UnknownIssuer");
}

#[test]
fn a_certificate_for_what_the_request_asks_for_is_refused() {
    let authority = TestAuthority::named("ours");
    refused(authority.sign(&[HOST, "127.0.0.1"]), verified(), &authority, "not valid for name");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = TestAuthority::named("ours");
    refused(authority.sign_expired(&[OWN]), verified(), &authority, "expired");
}

#[test]
fn a_backend_that_speaks_no_tls_is_told() {
    let listener = ports::listener();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let proxy = Headgate::serve(&site(address, verified(), &TestAuthority::named("ours")));
    assert_eq!(get(proxy.http, HOST, "/").status, 502);
    until("the reason", || (reasons(&proxy).len() == 1).then_some(()));
}

#[test]
fn a_backend_that_wants_a_certificate_of_ours_gets_it() {
    let (servers, clients) = (TestAuthority::named("servers"), TestAuthority::named("clients"));
    let backend = behind(servers.sign(&[OWN]).for_clients_of(&clients));
    let mut shown = verified();
    shown["clientCertSecret"] = json!({ "name": "client" });
    let with = |secret: &TestCertificate| {
        let mut objects = site(backend.address, shown.clone(), &servers);
        objects.push(tls_secret("client", secret));
        objects
    };
    let proxy = Headgate::serve(&with(&clients.sign(&["gate.internal"])));
    assert_eq!(get(proxy.http, HOST, "/").text(), "encrypted");

    proxy.change(&with(&servers.sign(&["gate.internal"])));
    assert_eq!(get(proxy.http, HOST, "/stranger").status, 502);
    until("the reason", || proxy.stderr().contains("UnknownCA").then_some(()));

    proxy.change(&site(backend.address, verified(), &servers));
    assert_eq!(get(proxy.http, HOST, "/none").status, 502);
    until("the reason", || proxy.stderr().contains("CertificateRequired").then_some(()));
    assert_eq!(proxy.log_of("/none")["flag"], "UC");
}

#[test]
fn a_new_authority_counts_at_once_and_connections_under_the_old_one_are_closed() {
    let (ours, other) = (TestAuthority::named("ours"), TestAuthority::named("other"));
    let backend = behind(ours.sign(&[OWN]));
    let proxy = Headgate::with(&site(backend.address, verified(), &ours)).flag("--workers", "1").start();
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    assert_eq!((backend.accepted(), backend.open()), (1, 1), "the connection is kept");
    proxy.change(&site(backend.address, verified(), &other));
    assert_eq!(get(proxy.http, HOST, "/").status, 502);
    until("the end of the old connection", || (backend.open() == 0).then_some(()));
    let connections = backend.accepted();
    proxy.change(&site(backend.address, verified(), &ours));
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    assert_eq!(backend.accepted(), connections + 1);
}

#[test]
fn a_change_elsewhere_keeps_verified_connections() {
    let ours = TestAuthority::named("ours");
    let backend = behind(ours.sign(&[OWN]));
    let mut objects = site(backend.address, verified(), &ours);
    let proxy = Headgate::with(&objects).flag("--workers", "1").start();
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    objects.push(authority_secret("other", &TestAuthority::named("other")));
    objects.extend(objects::site("b.example", &[]));
    proxy.change(&objects);
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_secret_that_is_missing_or_broken_answers_503_until_it_is_right() {
    let ours = TestAuthority::named("ours");
    let backend = behind(ours.sign(&[OWN]));
    let right = site(backend.address, verified(), &ours);
    let mut missing = right.clone();
    missing.pop();
    let mut broken = right.clone();
    broken.last_mut().unwrap()["stringData"]["ca.crt"] = "garbage".into();
    let proxy = Headgate::serve(&missing);
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
    assert!(proxy.stderr().contains("Secret default/ca does not exist"), "{}", proxy.stderr());
    proxy.change(&right);
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    proxy.change(&broken);
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
    until("the reason", || proxy.stderr().contains("Secret default/ca holds no certificate").then_some(()));
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn without_the_policy_the_backend_is_not_verified_any_more_and_that_is_told() {
    let (ours, other) = (TestAuthority::named("ours"), TestAuthority::named("other"));
    let backend = behind(other.sign(&["other.internal"]));
    let proxy = Headgate::serve(&site(backend.address, verified(), &ours));
    assert_eq!(get(proxy.http, HOST, "/").status, 502);
    assert!(!proxy.stderr().contains("is not verified"));
    proxy.change(&objects::site_with_backend_policy(HOST, &[backend.address], json!({ "protocol": "HTTPS" })));
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    until("the warning", || proxy.stderr().contains("is not verified").then_some(()));
}

#[test]
fn a_server_name_alone_verifies_nothing() {
    let ours = TestAuthority::named("ours");
    let backend = behind(ours.sign(&["other.internal"]));
    let proxy = Headgate::serve(&site(backend.address, json!({ "serverName": "shop.internal" }), &ours));
    assert_eq!(get(proxy.http, HOST, "/").status, 200);
    assert!(proxy.stderr().contains("is not verified"), "{}", proxy.stderr());
}

#[test]
fn services_at_one_address_share_no_connection() {
    let (ours, other) = (TestAuthority::named("ours"), TestAuthority::named("other"));
    let backend = behind(ours.sign(&["shop.internal"]));
    let mut all = site(backend.address, called("shop.internal"), &ours);
    for (host, authority) in [("b.example", &other), ("c.example", &ours)] {
        let name = &host[..1];
        let tls = json!({ "caSecret": { "name": format!("ca-{name}") }, "serverName": "shop.internal" });
        all.extend(objects::site(host, &[backend.address]));
        all.push(authority_secret(&format!("ca-{name}"), authority));
        all.push(objects::policy(name, "Service", name, json!({ "protocol": "HTTPS", "backendTLS": tls })));
    }
    let proxy = Headgate::with(&all).flag("--workers", "1").start();
    let statuses = [HOST, "b.example", "c.example", HOST].map(|host| get(proxy.http, host, "/").status);
    assert_eq!(statuses, [200, 502, 200, 200]);
    let connections: Vec<_> = backend.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 2, 0]);
}

#[test]
fn a_websocket_to_a_verified_backend_is_tunnelled() {
    let ours = TestAuthority::named("ours");
    let backend = Backend::tls(ours.sign(&[OWN]), echo);
    let proxy = Headgate::serve(&site(backend.address, verified(), &ours));
    let mut client = Client::connect(proxy.http);
    client.send(WEBSOCKET);
    assert_eq!(client.response().status, 101);
    client.send("through");
    assert_eq!(client.exactly(7), b"through");
}

#[test]
fn checks_verify_as_requests_do() {
    let (ours, other) = (TestAuthority::named("ours"), TestAuthority::named("other"));
    let backend = behind(ours.sign(&[OWN]).for_clients_of(&ours));
    let mut tls = verified();
    tls["clientCertSecret"] = json!({ "name": "client" });
    let under = |authority| {
        let mut objects = site(backend.address, tls.clone(), authority);
        objects.push(tls_secret("client", &ours.sign(&["gate.internal"])));
        let policy = objects.iter_mut().find(|object| object["kind"] == "ProxyPolicy").unwrap();
        policy["spec"]["healthCheck"] =
            json!({ "path": "/_health", "interval": "400ms", "unhealthyThreshold": 1, "healthyThreshold": 1 });
        objects
    };
    let proxy = Headgate::serve(&under(&ours));
    backend.request_to("/_health");
    proxy.change(&under(&other));
    until("the reason", || {
        proxy.stderr().lines().find(|line| line.contains("unhealthy") && line.contains("UnknownIssuer")).map(drop)
    });
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
    proxy.change(&under(&ours));
    // It stays out until a check has passed.
    until("a request that is answered", || (get(proxy.http, HOST, "/").status == 200).then_some(()));
}
