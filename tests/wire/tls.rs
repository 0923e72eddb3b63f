//! Handshakes: which certificate, which protocol, which version; and what a certificate has to do with a host.

use rustls::SignatureScheme;
use rustls::version::{TLS12, TLS13};

use crate::support::objects::{self, ingress, rule, tls_secret, tls_site, with_tls};
use crate::support::tls::{Tls, certificate, protocol};
use crate::support::{Backend, Client, Headgate, Objects, TestCertificate, get};

fn names(names: &[&str]) -> TestCertificate {
    TestCertificate::for_names(names)
}

/// Sites of these hosts, each with a certificate of its own, all before one backend.
fn sites(backend: &Backend, hosts: &[&str]) -> (Objects, Vec<TestCertificate>) {
    let certificates: Vec<_> = hosts.iter().map(|host| names(&[host])).collect();
    let sites =
        hosts.iter().zip(&certificates).flat_map(|(host, certificate)| tls_site(host, &[backend.address], certificate));
    (sites.collect(), certificates)
}

#[test]
fn the_certificate_is_found_by_server_name() {
    let backend = Backend::answering("ok");
    let (sites, certificates) = sites(&backend, &["one.example", "two.example"]);
    let proxy = Headgate::serve(&sites);
    for (name, expected) in [("one.example", 0), ("two.example", 1), ("TWO.Example", 1)] {
        let mut client = Tls::to(name).connect(proxy.https);
        assert_eq!(certificate(&client), certificates[expected].der, "{name}");
        assert_eq!(client.get(name, "/").status, 200, "{name}");
    }
}

#[test]
fn an_exact_name_beats_a_wildcard_of_one_label() {
    let backend = Backend::answering("ok");
    let (wild, exact) = (names(&["*.b.example"]), names(&["a.b.example"]));
    let rules = [rule("*.b.example", "/", "Prefix", "w"), rule("a.b.example", "/", "Prefix", "w")];
    let ingress = with_tls(with_tls(ingress("w", &rules), &["*.b.example"], "wild"), &["a.b.example"], "exact");
    let mut objects = vec![ingress, tls_secret("wild", &wild), tls_secret("exact", &exact)];
    objects.extend(objects::service("w", &[backend.address]));
    let proxy = Headgate::serve(&objects);
    let shown = |name: &str| certificate(&Tls::to(name).connect(proxy.https));
    assert_eq!(shown("a.b.example"), exact.der);
    assert_eq!(shown("x.b.example"), wild.der);
    for other in ["y.x.b.example", "b.example", "c.example"] {
        assert!(shown(other) != exact.der && shown(other) != wild.der, "{other}");
    }
}

#[test]
fn without_any_certificate_a_self_made_one_is_shown() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Tls::to("a.example").connect(proxy.https);
    assert_eq!(client.get("a.example", "/").status, 200);
    assert_eq!(certificate(&client), certificate(&Tls::without_name().connect(proxy.https)), "one for all");
}

#[test]
fn the_default_certificate_serves_unknown_names_and_clients_without_one() {
    let backend = Backend::answering("ok");
    let fallback = names(&["fallback.example"]);
    let (mut sites, _) = sites(&backend, &["one.example"]);
    sites.push(tls_secret("fallback", &fallback));
    let proxy = Headgate::with(&sites).flag("--default-ssl-certificate", "default/fallback").start();
    for tls in [Tls::to("unknown.example"), Tls::without_name(), Tls::to("192.0.2.1")] {
        assert_eq!(certificate(&tls.connect(proxy.https)), fallback.der, "{tls:?}");
    }
}

#[test]
fn rsa_and_ecdsa_certificates_serve_one_name_side_by_side() {
    let backend = Backend::answering("ok");
    let (ecdsa, rsa) = (names(&["a.example"]), TestCertificate::rsa_for_names(&["a.example"]));
    let both = with_tls(
        with_tls(ingress("a", &[rule("a.example", "/", "Prefix", "a")]), &["a.example"], "ecdsa"),
        &["a.example"],
        "rsa",
    );
    let mut objects = vec![both, tls_secret("ecdsa", &ecdsa), tls_secret("rsa", &rsa)];
    objects.extend(objects::service("a", &[backend.address]));
    let proxy = Headgate::serve(&objects);
    let shown = |tls: Tls| certificate(&tls.connect(proxy.https));
    for version in [&TLS12, &TLS13] {
        let only = |schemes: &[SignatureScheme]| Tls::to("a.example").version(version).signatures(schemes);
        assert_eq!(shown(only(&[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256])), rsa.der);
        assert_eq!(shown(only(&[SignatureScheme::ECDSA_NISTP256_SHA256])), ecdsa.der);
        assert_eq!(shown(Tls::to("a.example").version(version)), ecdsa.der, "the cheaper one for those that take both");
    }
}

#[test]
fn a_missing_or_broken_secret_keeps_the_host_alive() {
    let backend = Backend::answering("ok");
    let mut objects = Vec::new();
    for (host, text) in [("garbage", "garbage"), ("mismatch", ""), ("missing", "")] {
        let mut site = tls_site(&format!("{host}.example"), &[backend.address], &names(&[host]));
        match host {
            "garbage" => site.last_mut().unwrap()["stringData"]["tls.crt"] = text.into(),
            "mismatch" => site.last_mut().unwrap()["stringData"]["tls.key"] = names(&[host]).key_pem.into(),
            _ => drop(site.pop()),
        }
        objects.extend(site);
    }
    let (good, certificates) = sites(&backend, &["good.example"]);
    objects.extend(good);
    let proxy = Headgate::serve(&objects);
    for host in ["garbage.example", "mismatch.example", "missing.example"] {
        assert_eq!(Tls::to(host).connect(proxy.https).get(host, "/").status, 200, "{host}");
        assert_eq!(get(proxy.http, host, "/").status, 308, "{host}");
        let name = host.split('.').next().unwrap();
        assert!(proxy.stderr().contains(name), "{name} is reported: {}", proxy.stderr());
    }
    assert_eq!(certificate(&Tls::to("good.example").connect(proxy.https)), certificates[0].der);
}

#[test]
fn alpn_picks_http_2_first() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for (offered, agreed) in
        [(&["http/1.1", "h2"][..], Some("h2")), (&["h2"], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let client = Tls::to("a.example").alpn(offered).connect(proxy.https);
        assert_eq!(protocol(&client).as_deref(), agreed, "{offered:?}");
    }
    let stranger = Tls::to("a.example").alpn(&["spdy/3"]).handshake(crate::support::client::tcp(proxy.https));
    assert!(stranger.is_err_and(|error| error.to_string().contains("NoApplicationProtocol")));
}

#[test]
fn a_client_without_alpn_speaks_http_1() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    assert_eq!(Tls::to("a.example").alpn(&[]).connect(proxy.https).get("a.example", "/").status, 200);
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_logged() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for (version, path, name) in [(&TLS12, "/12", "TLSv1.2"), (&TLS13, "/13", "TLSv1.3")] {
        assert_eq!(Tls::to("a.example").version(version).connect(proxy.https).get("a.example", path).status, 200);
        assert_eq!(proxy.log_of(path)["tls_version"], name);
    }
}

#[test]
fn older_versions_are_refused() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    // A ClientHello of TLS 1.1 without extensions.
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]].concat();
    let handshake = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
    let record = [&[0x16, 3, 1, 0, handshake.len() as u8][..], &handshake].concat();
    let mut client = Client::connect(proxy.https);
    client.send(record);
    let answer = client.rest();
    assert!(answer.is_empty() || answer[0] == 0x15, "an alert or a close: {answer:?}");
    proxy.counted("proxy_connections_refused_total", &[("reason", "tls_handshake")], 1.0);
}

#[test]
fn plain_http_on_the_tls_port_and_tls_on_the_plain_port_end_cleanly() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut plain = Client::connect(proxy.https);
    plain.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = plain.rest();
    assert!(answer.is_empty() || answer[0] == 0x15 || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    let tls = Tls::to("a.example").handshake(crate::support::client::tcp(proxy.http));
    assert!(tls.is_err());
    assert!(backend.seen().is_empty());
}

#[test]
fn a_host_of_another_certificate_is_served_on_the_same_connection() {
    let backend = Backend::answering("ok");
    let (sites, _) = sites(&backend, &["one.example", "two.example"]);
    let proxy = Headgate::serve(&sites);
    let mut client = Tls::to("one.example").connect(proxy.https);
    assert_eq!(client.get("one.example", "/").status, 200);
    assert_eq!(client.get("two.example", "/").status, 200, "all hosts have the same TLS settings");
}

#[test]
fn a_session_is_resumed() {
    let backend = Backend::answering("ok");
    let (sites, _) = sites(&backend, &["a.example"]);
    let proxy = Headgate::serve(&sites);
    for version in [&TLS12, &TLS13] {
        let config = std::sync::Arc::new(Tls::to("a.example").version(version).config());
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let name = rustls::pki_types::ServerName::try_from("a.example").unwrap();
            let connection = rustls::ClientConnection::new(config.clone(), name).unwrap();
            let stream = rustls::StreamOwned::new(connection, crate::support::client::tcp(proxy.https));
            let mut client = Client::over(stream);
            assert_eq!(client.get("a.example", "/").status, 200);
            kinds.push(client.stream.conn.handshake_kind());
        }
        assert!(kinds.contains(&Some(rustls::HandshakeKind::Resumed)), "{kinds:?}");
    }
}

#[test]
fn no_key_is_ever_shown() {
    let backend = Backend::answering("ok");
    let (sites, certificates) = sites(&backend, &["a.example"]);
    let proxy = Headgate::with(&sites).flag("--log-level", "debug").start();
    Tls::to("a.example").connect(proxy.https).get("a.example", "/");
    let key = certificates[0].key_pem.lines().nth(1).unwrap();
    for path in ["/debug/snapshot", "/debug/routes", "/debug/backends", "/metrics"] {
        assert!(!get(proxy.admin, "admin", path).text().contains(key), "{path}");
    }
    assert!(!proxy.stderr().contains(key));
}
