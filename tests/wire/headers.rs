//! What we add to a request and to a response, and what we take away.

use crate::support::objects::{rule, with_tls};
use crate::support::tls::Tls;
use crate::support::{Backend, Client, Headgate, TestCertificate, get, objects, request};

/// What reaches the backend of a GET with these lines behind Host.
#[track_caller]
fn forwarded(lines: &str) -> crate::support::Seen {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let response = request(proxy.http, format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n"));
    assert_eq!(response.status, 200);
    backend.only()
}

/// What reaches the client of a response with these lines.
#[track_caller]
fn answered(lines: &str) -> crate::support::Response {
    let backend = Backend::sending(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok"));
    let proxy = Headgate::before(&backend);
    Client::connect(proxy.http).get("a.example", "/")
}

#[test]
fn the_backend_gets_exactly_the_forwarding_fields_of_the_contract() {
    let seen = forwarded("Accept: */*\r\n");
    let mut fields: Vec<_> = seen.fields().into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    fields.sort();
    let id = seen.header("x-request-id").unwrap();
    let expected = [
        ("accept", "*/*"),
        ("host", "a.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-port", "80"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-scheme", "http"),
        ("x-real-ip", "127.0.0.1"),
        ("x-request-id", id.as_str()),
        ("x-scheme", "http"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(seen.line(), "GET / HTTP/1.1");
}

#[test]
fn over_tls_the_forwarding_fields_say_https() {
    let backend = Backend::answering("ok");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let proxy = Headgate::serve(&objects::tls_site("a.example", &[backend.address], &certificate));
    assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").status, 200);
    let seen = backend.only();
    for (name, value) in
        [("proto", "https"), ("scheme", "https"), ("port", "443"), ("host", "a.example"), ("for", "127.0.0.1")]
    {
        assert_eq!(seen.header(&format!("x-forwarded-{name}")).as_deref(), Some(value));
    }
    assert_eq!(seen.header("x-scheme").as_deref(), Some("https"));
}

#[test]
fn the_host_is_brought_into_one_form() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for (sent, forwarded) in [
        ("A.Example", "a.example"),
        ("a.example.", "a.example"),
        ("a.example:80", "a.example"),
        ("A.EXAMPLE.:8080", "a.example:8080"),
        ("a.example:443", "a.example:443"),
    ] {
        assert_eq!(get(proxy.http, sent, "/").status, 200, "{sent}");
        let seen = backend.last();
        assert_eq!(seen.header("host").as_deref(), Some(forwarded), "{sent}");
        assert_eq!(seen.header("x-forwarded-host").as_deref(), Some(forwarded), "{sent}");
    }
}

#[test]
fn a_request_id_of_the_client_is_kept_if_it_is_plain() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let longest = "x".repeat(128);
    for id in ["abc", "A-z.0_9", longest.as_str()] {
        request(proxy.http, format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Request-ID: {id}\r\n\r\n"));
        assert_eq!(backend.last().header("x-request-id").as_deref(), Some(id));
    }
}

#[test]
fn any_other_request_id_is_replaced_by_32_hex_digits() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let too_long = "x".repeat(129);
    let mut ids = std::collections::BTreeSet::new();
    for line in [
        "",
        "X-Request-ID: \r\n",
        "X-Request-ID: a b\r\n",
        "X-Request-ID: a\"b\r\n",
        "X-Request-ID: a\r\nX-Request-ID: b\r\n",
        &format!("X-Request-ID: {too_long}\r\n"),
    ] {
        request(proxy.http, format!("GET / HTTP/1.1\r\nHost: a.example\r\n{line}\r\n"));
        let id = backend.last().header("x-request-id").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{line:?}: {id}");
        assert!(ids.insert(id), "{line:?}: the same again");
    }
}

#[test]
fn forwarding_fields_of_a_client_are_not_believed() {
    let claims = [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 666",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Scheme: https",
        "X-Scheme: https",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6;host=evil.example",
        "X-Forwarded-Server: evil",
        "X-Forwarded-Prefix: /evil",
        "X-Original-URL: /evil",
        "X-Rewrite-URL: /evil",
        "X-Original-Forwarded-Host: evil",
        "Proxy: evil:80",
        "X-Forwarded-Ssl: on",
        "Client-Cert: :evil:",
        "X-Client-IP: 6.6.6.6",
    ];
    let seen = forwarded(&claims.map(|claim| format!("{claim}\r\n")).concat());
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("a.example"));
    assert_eq!(seen.header("x-original-forwarded-for").as_deref(), Some("6.6.6.6"), "kept where it does no harm");
    let rest: Vec<_> =
        seen.fields().into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("x-original-forwarded-for")).collect();
    // An id of ours is random and may have the digits within.
    let random = |name: &str| name.eq_ignore_ascii_case("x-request-id");
    for word in ["evil", "6.6.6.6", "666"] {
        let says = |(name, value): &(String, String)| value.contains(word) && !(word == "666" && random(name));
        assert!(!rest.iter().any(says), "{word}: {rest:?}");
    }
}

#[test]
fn hop_by_hop_fields_of_a_request_stay_with_us() {
    let seen = forwarded(
        "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers, gzip\r\n\
         Trailer: X-T\r\nProxy-Authorization: Basic eDp5\r\nProxy-Authenticate: Basic\r\nHTTP2-Settings: AAMAAABk\r\nX-Kept: 1\r\n",
    );
    for name in [
        "connection",
        "x-mine",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "transfer-encoding",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-kept").as_deref(), Some("1"));
}

#[test]
fn connection_cannot_remove_what_we_add_or_what_must_arrive() {
    let seen = forwarded(
        "Connection: X-Forwarded-For, X-Real-IP, X-Request-ID, Host, Cookie, Authorization, X-Forwarded-Proto\r\n\
         Cookie: a=1\r\nAuthorization: Basic eDp5\r\n",
    );
    for name in ["x-forwarded-for", "x-real-ip", "x-request-id", "host", "x-forwarded-proto", "cookie", "authorization"]
    {
        assert!(seen.header(name).is_some(), "{name}");
    }
}

#[test]
fn connection_cannot_touch_the_framing() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for framing in ["Content-Length: 12", "Transfer-Encoding: chunked"] {
        let body = "7\r\n1234567\r\n0\r\n\r\n";
        let body = if framing.starts_with('C') { &body[..12] } else { body };
        let text = format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: Content-Length, Transfer-Encoding\r\n{framing}\r\n\r\n{body}"
        );
        assert_eq!(request(proxy.http, text).status, 200);
        let seen = backend.last();
        assert_eq!(seen.all("content-length").len() + seen.all("transfer-encoding").len(), 1, "{}", seen.head);
        assert!(!seen.body.is_empty());
    }
}

#[test]
fn names_of_more_than_letters_digits_and_hyphens_are_dropped() {
    let odd = "X_Auth_User: root\r\nX-Auth-User: me\r\n_: 1\r\nX-Forwarded_For: 6.6.6.6\r\nX.Auth~User: root\r\n";
    let seen = forwarded(odd);
    let plain = |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    assert!(seen.fields().iter().all(|(name, _)| plain(name)), "{}", seen.head);
    assert_eq!(seen.header("x-auth-user").as_deref(), Some("me"));
}

#[test]
fn end_to_end_fields_arrive_as_they_were_sent() {
    let seen = forwarded(
        "Cookie: a=1; b=2\r\nX-Many: 1\r\nX-Many: 2\r\nAccept-Encoding: br\r\nX-Empty:\r\nX-Latin: \u{e9}\r\nOrigin: null\r\nAuthorization: Bearer t\r\n",
    );
    assert_eq!(seen.all("x-many"), ["1", "2"]);
    assert_eq!(seen.header("cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(seen.header("x-empty").as_deref(), Some(""));
    assert_eq!(seen.header("x-latin").as_deref(), Some("\u{e9}"));
    assert_eq!(seen.header("authorization").as_deref(), Some("Bearer t"));
}

#[test]
fn hop_by_hop_fields_of_a_response_stay_with_us() {
    let response = answered(
        "Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-Kept: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n",
    );
    for name in ["connection", "x-mine", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("x-kept"), Some("1"));
    assert_eq!(response.all("set-cookie"), ["a", "b"]);
}

#[test]
fn a_backend_cannot_end_the_clients_connection() {
    let backend = Backend::sending("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    for _ in 0..2 {
        assert_eq!(client.get("a.example", "/").header("connection"), None);
    }
    assert_eq!(backend.accepted(), 2, "its own connection it can");
}

#[test]
fn server_is_ours_and_date_is_there() {
    let response = answered("Server: secret/1.0\r\n");
    assert_eq!(response.header("server"), Some("headgate"));
    assert!(response.header("date").unwrap().ends_with(" GMT"));
}

#[test]
fn a_date_of_the_backend_is_kept() {
    let date = "Tue, 15 Nov 1994 08:12:31 GMT";
    assert_eq!(answered(&format!("Date: {date}\r\n")).header("date"), Some(date));
}

#[test]
fn the_server_field_is_what_the_flag_says() {
    let backend = Backend::sending("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: secret\r\n\r\n");
    for (flag, expected) in [("gate/9", Some("gate/9")), ("", None)] {
        let site = objects::site("a.example", &[backend.address]);
        let proxy = Headgate::with(&site).flag("--server-header", flag).start();
        assert_eq!(get(proxy.http, "a.example", "/").header("server"), expected);
        assert_eq!(get(proxy.http, "b.example", "/").header("server"), expected);
    }
}

#[test]
fn hsts_is_sent_over_https_for_hosts_that_have_a_certificate() {
    let backend =
        Backend::sending("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\n\r\n");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let mut site = objects::tls_site("a.example", &[backend.address], &certificate);
    site.extend(objects::site("b.example", &[backend.address]));
    let proxy = Headgate::with(&site).flag("--ssl-redirect", "false").start();
    let mut tls = Tls::to("a.example").connect(proxy.https);
    let hsts = "strict-transport-security";
    assert_eq!(tls.get("a.example", "/").header(hsts), Some("max-age=31536000; includeSubDomains"));
    assert_eq!(
        get(proxy.http, "a.example", "/").header(hsts),
        Some("max-age=1"),
        "plain: the backend's stays the backend's"
    );
    let mut other = Tls::to("b.example").connect(proxy.https);
    assert_eq!(other.get("b.example", "/").header(hsts), Some("max-age=1"), "no certificate");
}

#[test]
fn hsts_can_be_switched_off() {
    let backend = Backend::answering("ok");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let site = objects::tls_site("a.example", &[backend.address], &certificate);
    let proxy = Headgate::with(&site).flag("--hsts", "false").start();
    assert_eq!(
        Tls::to("a.example").connect(proxy.https).get("a.example", "/").header("strict-transport-security"),
        None
    );
}

#[test]
fn our_own_answers_are_small_plain_text() {
    let site = vec![objects::ingress("a", &[rule("a.example", "/", "Prefix", "missing")])];
    let proxy = Headgate::serve(&site);
    let mut client = Client::connect(proxy.http);
    for (host, status, text) in [("b.example", 404, "404 Not Found\n"), ("a.example", 503, "503 Service Unavailable\n")]
    {
        let response = client.get(host, "/");
        assert_eq!((response.status, response.text().as_str()), (status, text));
        assert_eq!(response.header("content-type"), Some("text/plain"));
        assert_eq!(response.header("content-length"), Some(text.len().to_string().as_str()));
        assert_eq!(response.header("server"), Some("headgate"));
        assert!(response.header("date").is_some());
        assert_eq!(response.header("connection"), None, "the connection stays");
    }
}

#[test]
fn hsts_is_on_our_own_answers_too() {
    let certificate = TestCertificate::for_names(&["a.example"]);
    let ingress = with_tls(objects::ingress("a", &[rule("a.example", "/x", "Prefix", "missing")]), &["a.example"], "a");
    let proxy = Headgate::serve(&[ingress, objects::tls_secret("a", &certificate)]);
    let mut client = Tls::to("a.example").connect(proxy.https);
    for (path, status) in [("/x", 503), ("/nowhere", 404)] {
        let response = client.get("a.example", path);
        assert_eq!(response.status, status);
        assert!(response.header("strict-transport-security").is_some(), "{path}");
    }
}
