//! `access` of a policy: who is let in, by which address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use crate::support::{Backend, Client, Headgate, Response, objects};

const HOST: &str = "a.example";

fn guarded(access: Value, flags: &[(&str, &str)]) -> (Headgate, Backend) {
    let backend = Backend::answering("ok");
    let objects = objects::site_with_policy(HOST, &[backend.address], json!({ "access": access }));
    let builder = Headgate::with(&objects);
    (flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, value)).start(), backend)
}

#[track_caller]
fn ask(proxy: &Headgate, from: IpAddr, lines: &str) -> Response {
    let mut client = Client::connect_from(from, proxy.http);
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{lines}\r\n"));
    client.response()
}

fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// The status for each of these last bytes of 127.0.0.x.
fn statuses<const N: usize>(proxy: &Headgate, from: [u8; N]) -> [u16; N] {
    from.map(|last| ask(proxy, v4(last), "").status)
}

#[test]
fn those_that_are_allowed_pass_and_all_others_are_403() {
    let (proxy, backend) = guarded(json!({ "allow": ["127.0.0.5", "127.0.0.8/30"] }), &[]);
    assert_eq!(statuses(&proxy, [4, 5, 6, 7, 8, 11, 12]), [403, 200, 403, 403, 200, 200, 403]);
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn those_that_are_denied_are_403_and_all_others_pass() {
    let (proxy, _backend) = guarded(json!({ "deny": ["127.0.0.8/30"] }), &[]);
    assert_eq!(statuses(&proxy, [7, 8, 11, 12]), [200, 403, 403, 200]);
}

#[test]
fn deny_wins_over_allow() {
    let (proxy, _backend) = guarded(json!({ "allow": ["127.0.0.0/24"], "deny": ["127.0.0.9"] }), &[]);
    assert_eq!(statuses(&proxy, [8, 9, 10]), [200, 403, 200]);
}

#[test]
fn a_v4_client_is_let_in_by_its_mapped_network_and_not_by_all_of_v6() {
    let (proxy, _backend) = guarded(json!({ "allow": ["::ffff:127.0.0.8/126"] }), &[]);
    assert_eq!(statuses(&proxy, [7, 8, 11, 12]), [403, 200, 200, 403]);
    let (proxy, _backend) = guarded(json!({ "allow": ["::/0"] }), &[]);
    assert_eq!(statuses(&proxy, [1]), [403]);
}

#[test]
fn a_client_that_came_mapped_is_v4() {
    let (proxy, _backend) = guarded(json!({ "deny": ["127.0.0.1"] }), &[("--bind-address", "[::]")]);
    let address = (Ipv4Addr::LOCALHOST, proxy.http.port()).into();
    let mut client = Client::connect(address);
    assert_eq!(client.get(HOST, "/").status, 403);
}

#[test]
fn v6_clients_are_told_apart() {
    let (proxy, _backend) = guarded(json!({ "deny": ["::1"] }), &[("--bind-address", "[::]")]);
    let port = proxy.http.port();
    let mut v6 = Client::connect((Ipv6Addr::LOCALHOST, port).into());
    assert_eq!(v6.get(HOST, "/").status, 403);
    let mut v4 = Client::connect((Ipv4Addr::LOCALHOST, port).into());
    assert_eq!(v4.get(HOST, "/").status, 200);
}

#[test]
fn behind_a_trusted_proxy_the_true_client_counts() {
    let access = json!({ "allow": ["9.9.9.0/24", "2001:db8::/32"] });
    let (proxy, _backend) = guarded(access, &[("--trusted-proxies", "127.0.0.2")]);
    for (from, chain, status) in [
        (2, "9.9.9.9", 200),
        (2, "8.8.8.8", 403),
        (2, "9.9.9.9, 8.8.8.8", 403),
        (2, "2001:db8::1", 200),
        (2, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 200),
        (2, "2001:db9::1", 403),
        (2, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", 403),
        (2, "::ffff:9.9.9.9", 200),
        (3, "9.9.9.9", 403),
    ] {
        let response = ask(&proxy, v4(from), &format!("X-Forwarded-For: {chain}\r\n"));
        assert_eq!(response.status, status, "{from} {chain}");
    }
}

#[test]
fn the_refusal_is_plain_and_has_its_flag() {
    let (proxy, backend) = guarded(json!({ "deny": ["127.0.0.0/8"] }), &[]);
    let mut client = Client::connect(proxy.http);
    for _ in 0..2 {
        let response = client.get(HOST, "/x");
        assert_eq!((response.status, response.text().as_str()), (403, "403 Forbidden\n"));
        assert_eq!(response.header("connection"), None);
    }
    assert_eq!(backend.accepted(), 0);
    let line = proxy.log_of("/x");
    assert_eq!((&line["status"], &line["flag"]), (&json!(403), &json!("AD")));
}

#[test]
fn two_lists_have_to_be_passed_both() {
    let backend = Backend::answering("ok");
    let mut objects =
        objects::site_with_policy(HOST, &[backend.address], json!({ "access": { "deny": ["127.0.0.7"] } }));
    objects.push(objects::policy("second", "Ingress", "a", json!({ "access": { "deny": ["127.0.0.8"] } })));
    let proxy = Headgate::serve(&objects);
    assert_eq!(statuses(&proxy, [6, 7, 8, 9]), [200, 403, 403, 200]);
}

#[test]
fn challenges_under_their_own_rule_are_for_everybody() {
    let backend = Backend::answering("ok");
    let guard = json!({
        "access": { "deny": ["127.0.0.0/8"] }, "request": { "methods": ["PUT"], "requiredHeaders": ["X-A"] },
        "rateLimit": { "requests": 1, "per": "1h" },
    });
    let mut objects = objects::site_with_policy(HOST, &[backend.address], guard.clone());
    let rules = [
        objects::rule(HOST, "/", "Prefix", "a"),
        objects::rule(HOST, "/.well-known/acme-challenge/token", "Exact", "a"),
    ];
    objects[0] = objects::ingress("a", &rules);
    let proxy = Headgate::serve(&objects);
    let status = |path| {
        let mut client = Client::connect(proxy.http);
        client.get(HOST, path).status
    };
    let challenge = "/.well-known/acme-challenge/token";
    assert_eq!(
        [status("/"), status(challenge), status(challenge), status("/.well-known/acme-challenge/x")],
        [403, 200, 200, 403]
    );
}
