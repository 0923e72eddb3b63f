//! Hop-by-hop fields, trailers, and attempts to have others lost with them.

use super::*;

#[test]
fn hop_by_hop_fields_end_here() {
    let fields = [
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    for name in fields {
        for client in [Client::new(), Client::trusted()] {
            assert_eq!(client.passes(&[(name, "trailers"), (name, "5")]), [], "{name}");
        }
    }
}

#[test]
fn names_that_backends_mix_up_with_others_end_here() {
    let underscores = ["x_real_ip", "X_Forwarded_For", "x-auth_user", "_", "content_length", "transfer_encoding"];
    let others = "!#$%&'*+.^`|~-".chars().map(|odd| format!("x-real-{odd}ip")).collect::<Vec<_>>();
    let ends = ["-x-real-ip", "x-real-ip-", "-", "--"];
    for name in underscores.into_iter().chain(others.iter().map(String::as_str)).chain(ends) {
        assert_eq!(Client::trusted().passes(&[(name, "evil")]), [], "{name}");
    }
}

#[test]
fn connection_removes_the_fields_it_names() {
    let fields = [("connection", "keep-alive, X-Hop"), ("connection", "x-other"), ("x-hop", "1"), ("x-hop", "2")];
    let sent = Client::new().passes(&[&fields[..], &[("x-other", "3"), ("x-stays", "4")]].concat());
    assert_eq!(sent, pairs(&[("x-stays", "4")]));
}

#[test]
fn connection_cannot_remove_end_to_end_fields() {
    let names = [
        "authorization",
        "accept",
        "accept-encoding",
        "cache-control",
        "content-type",
        "cookie",
        "if-none-match",
        "origin",
        "range",
        "referer",
        "sec-websocket-protocol",
        "traceparent",
        "user-agent",
        "x-api-key",
    ];
    for name in names {
        let shouted = name.to_uppercase();
        assert_eq!(Client::new().passes(&[("connection", &shouted), (name, "v")]), pairs(&[(name, "v")]), "{name}");
    }
}

#[test]
fn connection_cannot_remove_what_we_write() {
    let every = "host, x-forwarded-for, X-Real-IP, x-forwarded-proto, x-forwarded-host, x-request-id, x-scheme, te";
    let fields = [("connection", every), ("host", "shop.test"), ("x-forwarded-for", "6.6.6.6")];
    for client in [Client::new(), Client::trusted()] {
        assert_eq!(listed(&client.sends(&fields)), listed(&client.sends(&fields[1..])));
    }
}

#[test]
fn a_connection_field_of_any_bytes_is_read() {
    let mut headers = map(&[("x-hop", "1")]);
    let value = HeaderValue::from_bytes(b"\xff, ,,x-hop , \xc3\xa4, a b, \"x\"").unwrap();
    headers.insert(CONNECTION, value);
    let client = Client::new();
    to_backend(&mut headers, client.facts());
    assert!(!headers.contains_key("x-hop") && !headers.contains_key(CONNECTION));
}

#[test]
fn trailers_are_asked_for_at_http_2_backends_only() {
    for (te, asked) in
        [("trailers", true), ("Trailers", true), ("gzip, trailers;q=0.5", true), ("gzip", false), ("", false)]
    {
        let http2 = Client { http2: true, ..Client::new() };
        let expected = if asked { pairs(&[("te", "trailers")]) } else { vec![] };
        assert_eq!(http2.passes(&[("te", te), ("connection", "te")]), expected, "{te}");
        assert_eq!(Client::new().passes(&[("te", te)]), [], "{te}");
        assert_eq!(takes_trailers(&map(&[("te", te)]), http::Version::HTTP_11), asked, "{te}");
        assert!(!takes_trailers(&map(&[("te", te)]), http::Version::HTTP_10), "{te}");
        assert!(takes_trailers(&map(&[("te", te)]), http::Version::HTTP_2), "{te}");
    }
}

#[test]
fn trailers_never_hold_what_a_head_decides() {
    let barred = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "if-match",
        "max-forwards",
        "proxy-authorization",
        "range",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "www-authenticate",
        "x-forwarded-for",
        "x-forwarded-anything",
        "x-original-url",
        "x-real-ip",
        "x-request-id",
    ];
    let kept = [
        ("content-digest", "a"),
        ("grpc-message", "m"),
        ("grpc-status", "0"),
        ("x-checksum", "1"),
        ("x-checksum", "2"),
    ];
    let fields: Vec<_> = barred.iter().map(|name| (*name, "evil")).chain(kept).collect();
    for strip in [request_trailers, response_trailers] {
        let mut trailers = map(&fields);
        strip(&mut trailers);
        assert_eq!(listed(&trailers), pairs(&kept));
    }
}

#[test]
fn trailers_with_an_underscore_pass_to_clients_only() {
    let mut trailers = map(&[("x_auth_user", "1")]);
    response_trailers(&mut trailers);
    assert_eq!(trailers.len(), 1);
    request_trailers(&mut trailers);
    assert_eq!(trailers.len(), 0);
}
