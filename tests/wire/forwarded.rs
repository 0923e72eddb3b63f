//! Who the client is: behind trusted proxies, and behind the PROXY protocol.

use std::net::{IpAddr, Ipv4Addr};

use crate::support::{Backend, Client, Headgate, Response, Seen, objects};

const TRUSTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A proxy that trusts 127.0.0.2 and 10.0.0.0/8, and its backend.
fn trusting(flags: &[(&str, &str)]) -> (Headgate, Backend) {
    let backend = Backend::answering("ok");
    let mut builder = Headgate::with(&objects::site("a.example", &[backend.address]));
    for (flag, value) in flags {
        builder = builder.flag(flag, value);
    }
    (builder.flag("--trusted-proxies", "127.0.0.2,10.0.0.0/8").start(), backend)
}

#[track_caller]
fn ask(proxy: &Headgate, from: Ipv4Addr, before: &[u8], lines: &str) -> std::io::Result<Response> {
    let mut client = Client::connect_from(IpAddr::V4(from), proxy.http);
    let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{lines}\r\n");
    client.send([before, request.as_bytes()].concat());
    client.try_response()
}

/// X-Real-IP, X-Forwarded-For, X-Forwarded-Proto of what arrived.
fn addresses(seen: &Seen) -> (String, String, String) {
    let field = |name| seen.header(name).unwrap();
    (field("x-real-ip"), field("x-forwarded-for"), field("x-forwarded-proto"))
}

fn three(real: &str, chain: &str, proto: &str) -> (String, String, String) {
    (real.into(), chain.into(), proto.into())
}

#[test]
fn a_trusted_proxy_names_the_client_and_is_appended() {
    let (proxy, backend) = trusting(&[]);
    ask(&proxy, TRUSTED, b"", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n").unwrap();
    assert_eq!(addresses(&backend.last()), three("9.9.9.9", "9.9.9.9, 127.0.0.2", "https"));
}

#[test]
fn the_rightmost_untrusted_entry_is_the_client() {
    let (proxy, backend) = trusting(&[]);
    ask(&proxy, TRUSTED, b"", "X-Forwarded-For: 6.6.6.6, 9.9.9.9,10.1.1.1\r\nX-Forwarded-For: 10.2.2.2\r\n").unwrap();
    let seen = backend.last();
    assert_eq!(seen.header("x-real-ip").as_deref(), Some("9.9.9.9"));
    let chain = seen.header("x-forwarded-for").unwrap().replace(' ', "");
    assert_eq!(chain, "6.6.6.6,9.9.9.9,10.1.1.1,10.2.2.2,127.0.0.2");
    assert_eq!(proxy.log_of("/")["client_ip"], "9.9.9.9");
}

#[test]
fn an_entry_that_is_no_address_is_not_believed_nor_is_anything_left_of_it() {
    let (proxy, backend) = trusting(&[]);
    ask(&proxy, TRUSTED, b"", "X-Forwarded-For: 6.6.6.6, unknown\r\n").unwrap();
    assert_eq!(backend.last().header("x-real-ip").as_deref(), Some("127.0.0.2"));
}

#[test]
fn a_trusted_proxy_that_says_nothing_is_the_client() {
    let (proxy, backend) = trusting(&[]);
    ask(&proxy, TRUSTED, b"", "").unwrap();
    assert_eq!(addresses(&backend.last()), three("127.0.0.2", "127.0.0.2", "http"));
}

#[test]
fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
    let (proxy, backend) = trusting(&[]);
    ask(&proxy, OTHER, b"", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n").unwrap();
    assert_eq!(addresses(&backend.last()), three("127.0.0.3", "127.0.0.3", "http"));
    assert_eq!(proxy.log_of("/")["client_ip"], "127.0.0.3");
}

#[test]
fn a_v4_mapped_entry_is_the_v4_address() {
    let (proxy, backend) = trusting(&[]);
    ask(&proxy, TRUSTED, b"", "X-Forwarded-For: ::ffff:9.9.9.9\r\n").unwrap();
    assert_eq!(backend.last().header("x-real-ip").as_deref(), Some("9.9.9.9"));
}

#[test]
fn a_proxy_header_version_1_names_the_client() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    ask(&proxy, TRUSTED, b"PROXY TCP4 9.9.9.9 10.0.0.1 56324 443\r\n", "X-Forwarded-For: 6.6.6.6\r\n").unwrap();
    assert_eq!(addresses(&backend.last()), three("9.9.9.9", "9.9.9.9", "http"));
    assert_eq!(proxy.log_of("/")["client_ip"], "9.9.9.9");
}

#[test]
fn a_proxy_header_version_2_names_the_client() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    ask(&proxy, TRUSTED, &version_2(0x21, 0x11, &[9, 9, 9, 9, 10, 0, 0, 1, 0, 80, 0, 80]), "").unwrap();
    assert_eq!(addresses(&backend.last()).0, "9.9.9.9");
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(&std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets());
    ask(&proxy, TRUSTED, &version_2(0x21, 0x21, &v6), "").unwrap();
    assert_eq!(addresses(&backend.last()).0, "2001:db8::7");
}

#[test]
fn a_proxy_header_may_come_in_single_bytes() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    let mut client = Client::connect_from(IpAddr::V4(TRUSTED), proxy.http);
    for byte in b"PROXY TCP4 9.9.9.9 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(addresses(&backend.last()).0, "9.9.9.9");
}

#[test]
fn a_proxy_header_stands_before_tls() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    let mut client = Client::connect_from(IpAddr::V4(TRUSTED), proxy.https);
    client.send("PROXY TCP4 9.9.9.9 10.0.0.1 56324 443\r\n");
    let tls = crate::support::tls::Tls::to("a.example").handshake(client.stream).unwrap();
    assert_eq!(Client::over(tls).get("a.example", "/").status, 200);
    assert_eq!(addresses(&backend.last()), three("9.9.9.9", "9.9.9.9", "https"));
}

#[test]
fn unknown_and_local_proxy_headers_leave_the_peer() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), version_2(0x20, 0x00, &[]), version_2(0x21, 0x00, &[])] {
        let claims = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n";
        assert_eq!(ask(&proxy, TRUSTED, &header, claims).unwrap().status, 200, "{header:?}");
        assert_eq!(addresses(&backend.last()), three("127.0.0.2", "127.0.0.2", "http"), "{header:?}");
    }
}

#[test]
fn connections_without_the_header_or_with_a_bad_one_are_closed() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
    let bad: [&[u8]; 8] = [
        b"",
        b"PROXY TCP4 9.9.9.9 10.0.0.1 56324\r\n",
        b"PROXY TCP5 9.9.9.9 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 9.9.9.999 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 9.9.9.9 10.0.0.1 1 99999\r\n",
        b"PROXY TCP4 009.9.9.9 10.0.0.1 1 2\r\n",
        b"proxy TCP4 9.9.9.9 10.0.0.1 1 2\r\n",
        long.as_bytes(),
    ];
    for header in bad {
        assert!(ask(&proxy, TRUSTED, header, "").is_err(), "{:?}", String::from_utf8_lossy(header));
    }
    assert!(ask(&proxy, TRUSTED, &version_2(0x31, 0x11, &[0; 12]), "").is_err(), "version 3");
    assert!(backend.seen().is_empty());
    proxy.counted("proxy_connections_refused_total", &[], 9.0);
}

#[test]
fn a_proxy_header_from_a_peer_that_is_not_trusted_is_no_http() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    let header = b"PROXY TCP4 9.9.9.9 10.0.0.1 56324 443\r\n";
    assert_eq!(ask(&proxy, OTHER, header, "").map_or(400, |response| response.status), 400);
    assert!(backend.seen().is_empty());
}

#[test]
fn a_second_proxy_header_is_no_http() {
    let (proxy, backend) = trusting(&[("--use-proxy-protocol", "true")]);
    let header = b"PROXY TCP4 9.9.9.9 10.0.0.1 56324 443\r\n".repeat(2);
    assert_eq!(ask(&proxy, TRUSTED, &header, "").map_or(400, |response| response.status), 400);
    assert!(backend.seen().is_empty());
}

#[test]
fn without_the_flag_a_proxy_header_is_no_http() {
    let (proxy, backend) = trusting(&[]);
    let header = b"PROXY TCP4 9.9.9.9 10.0.0.1 56324 443\r\n";
    assert_eq!(ask(&proxy, TRUSTED, header, "").map_or(400, |response| response.status), 400);
    assert!(backend.seen().is_empty());
}

#[test]
fn connections_count_for_the_address_that_a_proxy_header_names() {
    let (proxy, _backend) = trusting(&[("--use-proxy-protocol", "true"), ("--max-connections-per-address", "2")]);
    let connect = |source: &str, lines: &str| {
        let mut client = Client::connect_from(IpAddr::V4(TRUSTED), proxy.http);
        let header = format!("PROXY TCP4 {source} 10.0.0.1 56324 443\r\n");
        client.send(format!("{header}GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n"));
        client.try_response().ok().map(|_| client)
    };
    let held = [connect("9.9.9.9", ""), connect("9.9.9.9", "")];
    assert!(held.iter().all(Option::is_some));
    assert!(connect("9.9.9.9", "X-Forwarded-For: 8.8.8.8\r\n").is_none(), "what a client says moves nothing");
    assert!(connect("8.8.8.8", "").is_some(), "another client of the same peer");
    assert_eq!(proxy.counted("proxy_connections_refused_total", &[("reason", "address")], 1.0), 1.0);
}

fn version_2(version_command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = (addresses.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version_command, family][..], &length, addresses].concat()
}

#[test]
fn the_client_of_a_request_that_no_rule_takes_is_logged_too() {
    let (proxy, _backend) = trusting(&[]);
    let mut client = Client::connect_from(IpAddr::V4(TRUSTED), proxy.http);
    client.send("GET /nowhere HTTP/1.1\r\nHost: b.example\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
    assert_eq!(client.response().status, 404);
    assert_eq!(proxy.log_of("/nowhere")["client_ip"], "9.9.9.9");
}

#[test]
fn a_proxy_protocol_that_nobody_may_speak_is_told_at_the_start() {
    let start = |flags: &[(&str, &str)]| {
        let mut builder = Headgate::with(&objects::site("a.example", &[]));
        for (flag, value) in flags {
            builder = builder.flag(flag, value);
        }
        builder.start().stderr()
    };
    let trust = ("--trusted-proxies", "10.0.0.0/8");
    assert!(start(&[("--use-proxy-protocol", "true")]).contains("name them with --trusted-proxies"));
    assert!(!start(&[("--use-proxy-protocol", "true"), trust]).contains("name them with"));
}
