//! Rules of the request's fields; those of the response, of trailers and of upgrades have files of their own.

mod hop;
mod response;
mod upgrade;

use proptest::prelude::*;

use super::*;

pub(super) fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    map
}

/// All fields, sorted by name; values of one name in their order.
pub(super) fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut list: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

/// A client of 192.0.2.1 asking for `shop.test`, as a request's facts.
#[derive(Clone)]
pub(super) struct Client {
    host: HeaderValue,
    peer: HeaderValue,
    client: HeaderValue,
    trusted: bool,
    tls: bool,
    http2: bool,
    upgrade: Option<HeaderValue>,
}

impl Client {
    pub(super) fn new() -> Self {
        let [host, address] = ["shop.test", "192.0.2.1"].map(HeaderValue::from_static);
        Client { host, peer: address.clone(), client: address, trusted: false, tls: false, http2: false, upgrade: None }
    }

    /// The client is behind a trusted proxy, which is the peer.
    pub(super) fn trusted() -> Self {
        Client { trusted: true, client: HeaderValue::from_static("203.0.113.5"), ..Client::new() }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            host: &self.host,
            peer: &self.peer,
            client: &self.client,
            trusted: self.trusted,
            client_only: false,
            tls: self.tls,
            request_id: HeaderValue::from_static("id"),
            upgrade: self.upgrade.clone(),
            http2: self.http2,
        }
    }

    pub(super) fn sends(&self, fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = map(fields);
        to_backend(&mut headers, self.facts());
        headers
    }

    /// What of `fields` reaches the backend, besides what we write with every request.
    pub(super) fn passes(&self, fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let ours = listed(&self.sends(&[]));
        listed(&self.sends(fields)).into_iter().filter(|field| !ours.contains(field)).collect()
    }
}

pub(super) fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn a_plain_request_gains_exactly_these_fields() {
    let gained = [
        ("host", "shop.test"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-port", "80"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-scheme", "http"),
        ("x-real-ip", "192.0.2.1"),
        ("x-request-id", "id"),
        ("x-scheme", "http"),
    ];
    assert_eq!(listed(&Client::new().sends(&[("host", "SHOP.test.")])), pairs(&gained));
    let https = Client { tls: true, ..Client::new() }.sends(&[]);
    for (name, value) in [("port", "443"), ("proto", "https"), ("scheme", "https")] {
        assert_eq!(https[format!("x-forwarded-{name}")], value);
    }
    assert_eq!(https["x-scheme"], "https");
}

#[test]
fn http_2_backends_get_no_host_field() {
    let client = Client { http2: true, ..Client::new() };
    assert!(!client.sends(&[("host", "shop.test")]).contains_key(HOST));
}

#[test]
fn end_to_end_fields_pass_with_their_duplicates_in_order() {
    let fields = [
        ("accept", "a"),
        ("accept", "b"),
        ("authorization", "Basic x"),
        ("cookie", "a=b"),
        ("x-custom", "1"),
        ("x-custom", ""),
        ("x-custom", "1"),
    ];
    assert_eq!(Client::new().passes(&fields), pairs(&fields));
}

#[test]
fn an_untrusted_client_claims_nothing() {
    let claims = [
        "cf-connecting-ip",
        "client-cert",
        "client-ip",
        "forwarded",
        "front-end-https",
        "ssl-client-verify",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forwarded",
        "x-forwarded-client-cert",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "x-forwarded-ssl",
        "x-forwarded-user",
        "x-host",
        "x-original-forwarded-for",
        "x-original-forwarded-host",
        "x-original-url",
        "x-rewrite-url",
        "x-ssl-client-cert",
        "x-url-scheme",
        "ali-cdn-real-ip",
        "do-connecting-ip",
        "incap-client-ip",
        "proxy-client-ip",
        "remote-user",
        "wl-proxy-client-ip",
        "x-amzn-mtls-clientcert",
        "x-arr-clientcert",
        "x-client-verify",
        "x-forward-for",
        "x-remote-user",
        "x-ssl-cert",
        "x-tls-client-cert",
    ];
    for name in claims {
        assert_eq!(Client::new().passes(&[(name, "evil"), (name, "twice")]), [], "{name}");
    }
    let ours = ["host", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-scheme", "x-scheme"];
    for name in ours.iter().chain(&["x-real-ip", "x-request-id"]) {
        assert_eq!(Client::new().passes(&[(name, "evil"), (name, "twice")]), [], "{name}");
    }
}

#[test]
fn a_trusted_proxy_s_claims_pass_but_for_forwarded() {
    for name in ["cf-connecting-ip", "client-cert", "x-forwarded-prefix", "x-forwarded-user", "x-original-url"] {
        assert_eq!(Client::trusted().passes(&[(name, "said")]), pairs(&[(name, "said")]), "{name}");
    }
    for name in ["forwarded", "x-forwarded_prefix", "x-original-forwarded-for"] {
        assert_eq!(Client::trusted().passes(&[(name, "said")]), [], "{name}");
    }
}

#[test]
fn the_chain_is_the_peer_unless_a_trusted_proxy_wrote_one() {
    let table: [(&[&str], Option<&str>, &str); 6] = [
        (&[], None, "192.0.2.1"),
        (&[""], None, "192.0.2.1"),
        (&["6.6.6.6"], Some("6.6.6.6"), "6.6.6.6, 192.0.2.1"),
        (&["6.6.6.6,7.7.7.7"], Some("6.6.6.6,7.7.7.7"), "6.6.6.6,7.7.7.7, 192.0.2.1"),
        (&["6.6.6.6", "7.7.7.7"], Some("6.6.6.6, 7.7.7.7"), "6.6.6.6, 7.7.7.7, 192.0.2.1"),
        (&["6.6.6.6", ""], Some("6.6.6.6"), "6.6.6.6, 192.0.2.1"),
    ];
    for (chain, original, appended) in table {
        let fields: Vec<_> = chain.iter().map(|entry| ("x-forwarded-for", *entry)).collect();
        for (client, expected) in [(Client::new(), "192.0.2.1"), (Client::trusted(), appended)] {
            let sent = client.sends(&fields);
            assert_eq!(sent.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>(), [expected], "{chain:?}");
            assert_eq!(sent.get(X_ORIGINAL_FORWARDED_FOR).map(|value| value.to_str().unwrap()), original);
            assert_eq!(sent[X_REAL_IP], client.client);
        }
    }
}

#[test]
fn a_trusted_proxy_says_what_the_client_asked_for() {
    // X-Forwarded-Proto, -Host, -Port as sent; then as forwarded.
    let table = [
        (Some("https"), None, None, ("https", "shop.test", "443")),
        (Some("HTTPS"), None, None, ("https", "shop.test", "443")),
        (Some("wss"), None, None, ("https", "shop.test", "443")),
        (Some("ws"), None, None, ("http", "shop.test", "80")),
        (Some("https,http"), None, None, ("http", "shop.test", "80")),
        (Some("ftp"), None, None, ("http", "shop.test", "80")),
        (Some("https"), Some("Public.test"), Some("8443"), ("https", "Public.test", "8443")),
        (None, Some("public.test:8080"), Some("8080"), ("http", "public.test:8080", "8080")),
        (None, Some("a.test, b.test"), Some("80, 81"), ("http", "shop.test", "80")),
        (None, Some("u@h"), Some("0"), ("http", "shop.test", "80")),
        (None, Some(""), Some(""), ("http", "shop.test", "80")),
        (None, None, Some("+80"), ("http", "shop.test", "80")),
        (None, None, Some("65536"), ("http", "shop.test", "80")),
    ];
    for (proto, host, port, expected) in table {
        let names = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];
        let fields: Vec<_> =
            names.iter().zip([proto, host, port]).filter_map(|(name, value)| Some((*name, value?))).collect();
        let sent = Client::trusted().sends(&fields);
        let text = |name: &str| sent[name].to_str().unwrap();
        assert_eq!((text(names[0]), text(names[1]), text(names[2])), expected, "{fields:?}");
        assert_eq!(text("x-scheme"), expected.0);
        assert_eq!(text("x-forwarded-scheme"), expected.0);
        assert_eq!(effective_scheme(&map(&fields), false, true).as_str(), expected.0);
        assert_eq!(effective_scheme(&map(&fields), false, false), Scheme::Http);
        assert_eq!(effective_scheme(&map(&fields), true, false), Scheme::Https);
    }
    let twice = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")];
    assert_eq!(effective_scheme(&map(&twice), false, true), Scheme::Http);
}

#[test]
fn cookies_of_several_lines_become_one() {
    let sent = Client::new().sends(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3; d=4")]);
    assert_eq!(sent.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3; d=4"]);
}

#[test]
fn cookies_that_are_all_empty_become_one_too() {
    let sent = Client::new().sends(&[("cookie", ""), ("x", "y"), ("cookie", "")]);
    assert_eq!(sent.get_all(COOKIE).iter().collect::<Vec<_>>(), [""]);
}

#[test]
fn a_request_id_is_the_clients_if_it_is_harmless() {
    let longest = "a".repeat(128);
    for id in ["a", "A.b_c-9", &longest] {
        assert_eq!(request_id(&map(&[("x-request-id", id)]), 0), id);
    }
    let made = "0123456789abcdef00000000000000ff";
    let random = 0x0123_4567_89ab_cdef_0000_0000_0000_00ff;
    assert_eq!(request_id(&HeaderMap::new(), random), made);
    for id in ["", "a b", "a,b", "ä", "\"", "a/b", &"a".repeat(129)] {
        assert_eq!(request_id(&map(&[("x-request-id", id)]), random), made, "{id}");
    }
    assert_eq!(request_id(&map(&[("x-request-id", "a"), ("x-request-id", "a")]), random), made);
}

#[test]
fn what_passes_unchanged_is_not_copied() {
    let mut headers = map(&[("x-custom", "a value that is long enough"), ("cookie", "a=1")]);
    let before: Vec<_> = headers.values().map(|value| value.as_bytes().as_ptr()).collect();
    to_backend(&mut headers, Client::new().facts());
    let after = ["x-custom", "cookie"].map(|name| headers[name].as_bytes().as_ptr());
    assert_eq!(before, after);
}

proptest! {
    /// No name or value gets a client's word in where the backend looks for ours.
    #[test]
    fn our_fields_are_ours_whatever_is_sent(
        fields in proptest::collection::vec((name(), "[ -~]{0,20}"), 0..12),
        trusted in any::<bool>(),
    ) {
        let client = if trusted { Client::trusted() } else { Client::new() };
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let sent = client.sends(&fields);
        let one = |name: &str| sent.get_all(name).iter().collect::<Vec<_>>();
        prop_assert_eq!(one("host"), ["shop.test"]);
        prop_assert_eq!(one("x-real-ip"), [&client.client]);
        prop_assert_eq!(one("x-request-id"), ["id"]);
        prop_assert_eq!(one("x-forwarded-for").len(), 1);
        prop_assert!(sent["x-forwarded-for"].as_bytes().ends_with(b"192.0.2.1"));
        prop_assert!(trusted || sent["x-forwarded-for"] == "192.0.2.1");
        prop_assert!(trusted || sent["x-forwarded-proto"] == "http");
        for name in ["connection", "content-length", "expect", "forwarded", "te", "transfer-encoding", "upgrade"] {
            prop_assert!(!sent.contains_key(name), "{}", name);
        }
        prop_assert!(sent.keys().all(|name| !name.as_str().contains('_')));
        prop_assert!(one("cookie").len() <= 1);
    }
}

/// Names, most of which mean something.
fn name() -> impl Strategy<Value = String> {
    let known = [
        "connection",
        "Connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "X_Forwarded_For",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    prop_oneof![proptest::sample::select(known.to_vec()).prop_map(String::from), "[a-zA-Z][a-zA-Z_-]{0,12}"]
}
