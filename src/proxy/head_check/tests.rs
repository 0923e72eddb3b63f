use http::Request;
use proptest::prelude::*;

use super::*;

const BAD: u16 = 400;

/// Names and values.
type Fields = &'static [(&'static str, &'static str)];

/// A head as hyper hands it over; several fields of one name as several lines.
fn head(version: Version, method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().version(version).method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn get(target: &str, host: &str) -> Parts {
    head(Version::HTTP_11, "GET", target, &[("host", host)])
}

fn status(parts: &Parts) -> u16 {
    check(parts, false, 100).map_or_else(|error| error.status().as_u16(), |_| 200)
}

fn seen(parts: &Parts, tls: bool) -> (String, String, String) {
    let checked = check(parts, tls, 100).unwrap();
    let authority = checked.authority().to_str().unwrap().to_owned();
    (checked.host().to_owned(), authority, checked.target(&parts.uri).as_str().to_owned())
}

#[test]
fn a_host_has_one_canonical_form() {
    let table = [
        ("shop.test", false, "shop.test", "shop.test"),
        ("SHOP.Test", false, "shop.test", "shop.test"),
        ("shop.test.", false, "shop.test", "shop.test"),
        ("shop.test:80", false, "shop.test", "shop.test"),
        ("shop.test:443", false, "shop.test", "shop.test:443"),
        ("shop.test:443", true, "shop.test", "shop.test"),
        ("shop.test:80", true, "shop.test", "shop.test:80"),
        ("shop.test:8080", false, "shop.test", "shop.test:8080"),
        ("Shop.test.:8080", false, "shop.test", "shop.test:8080"),
        ("shop.test:08080", false, "shop.test", "shop.test:8080"),
        ("shop.test:", false, "shop.test", "shop.test"),
        ("shop.test:9", false, "shop.test", "shop.test:9"),
        ("10.0.0.1:65535", false, "10.0.0.1", "10.0.0.1:65535"),
        ("[2001:DB8::1]:8080", false, "[2001:db8::1]", "[2001:db8::1]:8080"),
        ("[::1]", false, "[::1]", "[::1]"),
    ];
    for (sent, tls, host, authority) in table {
        let (seen_host, seen_authority, _) = seen(&get("/", sent), tls);
        assert_eq!((seen_host.as_str(), seen_authority.as_str()), (host, authority), "{sent} {tls}");
    }
}

#[test]
fn a_host_in_canonical_form_is_not_copied() {
    for host in ["shop.test", "shop.test:8080", "[::1]:8080"] {
        let parts = get("/", host);
        let checked = check(&parts, false, 100).unwrap();
        assert_eq!(checked.authority().as_bytes().as_ptr(), parts.headers[HOST].as_bytes().as_ptr(), "{host}");
    }
}

#[test]
fn malformed_hosts_are_refused() {
    let long = format!("{}.test", ["a"; 200].join("."));
    let table =
        ["", " ", "a,b", "u@h", "h/p", "h#f", "h?q", "h:0", "h:65536", "h:x", "h:1:2", "[::1", "::1", "a b", &long];
    for host in table {
        assert_eq!(status(&get("/", host)), BAD, "{host:?}");
    }
    let mut parts = get("/", "shop.test");
    parts.headers.insert(HOST, HeaderValue::from_bytes(b"shop\xff.test").unwrap());
    assert_eq!(status(&parts), BAD);
}

#[test]
fn http_1_1_names_exactly_one_host() {
    assert_eq!(status(&head(Version::HTTP_11, "GET", "/", &[])), BAD);
    assert_eq!(status(&head(Version::HTTP_11, "GET", "http://a.test/", &[])), BAD);
    for second in ["a.test", "b.test"] {
        let fields = [("host", "a.test"), ("host", second)];
        assert_eq!(status(&head(Version::HTTP_11, "GET", "/", &fields)), BAD);
        assert_eq!(status(&head(Version::HTTP_10, "GET", "/", &fields)), BAD);
    }
}

#[test]
fn http_1_0_may_name_no_host() {
    assert_eq!(seen(&head(Version::HTTP_10, "GET", "/a", &[]), false), (String::new(), String::new(), "/a".into()));
    assert_eq!(status(&head(Version::HTTP_10, "GET", "/", &[("host", "")])), BAD);
    let named = seen(&head(Version::HTTP_10, "GET", "/", &[("host", "A.test")]), false);
    assert_eq!(named.0, "a.test");
}

#[test]
fn in_absolute_form_the_target_names_the_host() {
    let parts = get("http://A.test:8080/x?y", "b.test");
    assert_eq!(seen(&parts, false), ("a.test".into(), "a.test:8080".into(), "/x?y".into()));
    assert_eq!(seen(&get("http://a.test", "b.test"), false).2, "/");
    assert_eq!(seen(&get("http://a.test?q", "b.test"), false).2, "/?q");
    assert_eq!(seen(&get("https://a.test/", "a.test"), true).0, "a.test");
    let refused = [
        get("https://a.test/", "a.test"),
        get("ftp://a.test/", "a.test"),
        get("http://u@a.test/", "a.test"),
        get("http://u:p@a.test/", "a.test"),
        get("http://a.test:0/", "a.test"),
        get("http://a.test/", "a b"),
        get("http://a.test/../b", "a.test"),
    ];
    for parts in refused {
        assert_eq!(status(&parts), BAD, "{:?}", parts.uri);
    }
    assert_eq!(check(&get("http://a.test/", "a.test"), true, 100).unwrap_err().status(), 400);
}

#[test]
fn other_forms_of_the_target_are_refused() {
    for target in ["admin", "h:80", "*"] {
        assert_eq!(status(&get(target, "a.test")), BAD, "{target}");
    }
    assert_eq!(status(&head(Version::HTTP_11, "OPTIONS", "*", &[("host", "a.test")])), 404);
    assert_eq!(status(&head(Version::HTTP_11, "OPTIONS", "/", &[("host", "a.test")])), 200);
}

#[test]
fn a_target_has_one_normal_form_and_the_query_stays() {
    let table = [
        ("/", "/"),
        ("/a/b?c=%7e&d", "/a/b?c=%7e&d"),
        ("/%7Eu/%c3%a4?x=%c3", "/~u/%C3%A4?x=%c3"),
        ("//evil.example/x", "//evil.example/x"),
        ("/a?", "/a?"),
        ("/%61?", "/a?"),
        ("/%252e%252e%252f", "/%252e%252e%252f"),
        ("/a{b}|\"c\"?{|}", "/a{b}|\"c\"?{|}"),
    ];
    for (sent, target) in table {
        let parts = get(sent, "a.test");
        assert_eq!(seen(&parts, false).2, target);
        let checked = check(&parts, false, 100).unwrap();
        assert_eq!(checked.path(&parts.uri), target.split('?').next().unwrap());
    }
}

#[test]
fn ambiguous_targets_are_refused() {
    let table =
        ["/a/../b", "/./a", "/%2e%2e/a", "/%2E./a", "/a/..;/b", "/a\\b", "/%00", "/%0d%0a", "/%", "/%zz", "/ä", "/?ä"];
    for target in table {
        match target.parse::<Uri>() {
            Ok(_) => assert_eq!(status(&get(target, "a.test")), BAD, "{target}"),
            Err(_) => panic!("hyper refuses {target} itself"),
        }
    }
}

#[test]
fn only_a_100_can_be_expected() {
    let post = |version, expected: &[&str]| {
        let mut fields = vec![("host", "a.test")];
        fields.extend(expected.iter().map(|value| ("expect", *value)));
        status(&head(version, "POST", "/", &fields))
    };
    assert_eq!(post(Version::HTTP_11, &["100-continue"]), 200);
    assert_eq!(post(Version::HTTP_11, &["100-Continue"]), 200);
    for expected in [&["x 100-continue"][..], &[""], &["200-ok"], &["100-continue", "100-continue"]] {
        assert_eq!(post(Version::HTTP_11, expected), 417, "{expected:?}");
        assert_eq!(post(Version::HTTP_10, expected), 200, "{expected:?}");
    }
}

#[test]
fn methods_pass_if_they_are_not_too_long() {
    let table = [
        ("GET", 200),
        ("get", 200),
        ("PURGE", 200),
        ("UPDATEREDIRECTREF", 200),
        ("TRACE", 200),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", 200),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", BAD),
    ];
    for (method, expected) in table {
        assert_eq!(status(&head(Version::HTTP_11, method, "/", &[("host", "a.test")])), expected, "{method}");
    }
}

#[test]
fn connect_asks_for_a_host_and_a_port_and_has_no_body() {
    let table: [(&str, Fields, u16); 26] = [
        ("a.test:443", &[("host", "a.test:443")], 200),
        ("a.test:5432", &[("host", "A.test.")], 200),
        ("a.test:5432", &[("host", "a.test:80")], 200),
        ("A.Test.:80", &[("host", "a.test")], 200),
        ("127.0.0.1:22", &[("host", "127.0.0.1:22")], 200),
        ("[::1]:22", &[("host", "[::1]")], 200),
        ("a.test:443", &[], BAD),
        ("a.test:443", &[("host", "")], BAD),
        ("a.test:443", &[("host", "b.test:443")], BAD),
        ("a.test:443", &[("host", "a.test"), ("host", "a.test")], BAD),
        ("a.test", &[("host", "a.test")], BAD),
        ("a.test:", &[("host", "a.test")], BAD),
        ("a.test:0", &[("host", "a.test")], BAD),
        ("a.test:65536", &[("host", "a.test")], BAD),
        ("u@a.test:443", &[("host", "a.test")], BAD),
        ("[::1]", &[("host", "[::1]")], BAD),
        ("http://a.test:443/", &[("host", "a.test")], BAD),
        ("http://a.test:443", &[("host", "a.test")], BAD),
        ("/", &[("host", "a.test")], BAD),
        ("*", &[("host", "a.test")], BAD),
        ("a.test:443", &[("host", "a.test"), ("content-length", "3")], BAD),
        ("a.test:443", &[("host", "a.test"), ("content-length", "0")], BAD),
        ("a.test:443", &[("host", "a.test"), ("transfer-encoding", "chunked")], BAD),
        ("a.test:443", &[("host", "a.test"), ("expect", "100-continue")], 417),
        ("a.test:443", &[("host", "a.test"), ("expect", "x")], 417),
        ("a.test:443", &[("host", "a.test"), ("upgrade", "websocket"), ("connection", "upgrade")], 200),
    ];
    for (target, fields, expected) in table {
        let parts = head(Version::HTTP_11, "CONNECT", target, fields);
        assert_eq!(status(&parts), expected, "{target} {fields:?}");
    }
    for (version, target, expected) in [
        (Version::HTTP_10, "a.test:443", 200),
        (Version::HTTP_2, "a.test:443", 200),
        (Version::HTTP_2, "a.test", BAD),
        (Version::HTTP_2, "/", BAD),
        (Version::HTTP_2, "http://a.test:443/", BAD),
    ] {
        assert_eq!(status(&head(version, "CONNECT", target, &[])), expected, "{version:?} {target}");
    }
}

#[test]
fn a_tunnel_is_for_the_host_and_the_path_slash() {
    for (tls, target, authority) in [(false, "A.test.:80", "a.test"), (true, "a.test:80", "a.test:80")] {
        let parts = head(Version::HTTP_11, "CONNECT", target, &[("host", "a.test")]);
        let checked = check(&parts, tls, 100).unwrap();
        assert_eq!((checked.host(), checked.path(&parts.uri)), ("a.test", "/"));
        assert_eq!(checked.authority(), authority);
        assert_eq!(checked.connect, Some(Connect::Tunnel));
    }
}

#[test]
fn extended_connect_opens_websockets_only() {
    let mut parts = head(Version::HTTP_2, "CONNECT", "https://a.test/chat?x", &[]);
    parts.extensions.insert(Protocol::from_static("websocket"));
    let checked = check(&parts, true, 100).unwrap();
    assert_eq!(checked.connect, Some(Connect::Websocket));
    assert_eq!(checked.target(&parts.uri), "/chat?x");
    parts.extensions.insert(Protocol::from_static("connect-udp"));
    assert_eq!(status(&parts), 501);
    assert_eq!(check(&get("/", "a.test"), false, 100).unwrap().connect, None);
}

#[test]
fn in_http_2_authority_and_host_agree() {
    let table = [
        ("https://a.test/", None, 200),
        ("http://a.test/", Some("a.test"), 200),
        ("https://a.test/", Some("A.test."), 200),
        ("https://a.test/", Some("a.test:80"), 200),
        ("https://a.test:8080/", Some("a.test:8080"), 200),
        ("https://a.test:8080/", Some("a.test"), BAD),
        ("https://a.test/", Some("b.test"), BAD),
        ("https://u@a.test/", None, BAD),
        ("ftp://a.test/", None, BAD),
        ("/", Some("a.test"), 200),
        ("/", None, BAD),
        ("/", Some(""), BAD),
    ];
    for (target, host, expected) in table {
        let fields: Vec<_> = host.iter().map(|host| ("host", *host)).collect();
        assert_eq!(status(&head(Version::HTTP_2, "GET", target, &fields)), expected, "{target} {host:?}");
    }
    let fields = [("host", "a.test"), ("host", "a.test")];
    assert_eq!(status(&head(Version::HTTP_2, "GET", "https://a.test/", &fields)), BAD);
}

#[test]
fn fields_are_counted() {
    let parts = head(Version::HTTP_2, "GET", "https://a.test/", &[("a", "1"), ("a", "2"), ("b", "3")]);
    assert!(check(&parts, true, 3).is_ok());
    assert_eq!(check(&parts, true, 2), Err(ProxyError::HeadTooLarge));
}

proptest! {
    #[test]
    fn what_passes_passes_again_unchanged(target in "/[a-zA-Z0-9%./;{}|\"~?&=_-]{0,40}", host in "[a-zA-Z0-9.:-]{0,20}") {
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let mut parts = get("/", &host);
        parts.uri = uri;
        let Ok(first) = check(&parts, false, 100) else { return Ok(()) };
        let mut again = get("/", first.authority().to_str().unwrap());
        again.uri = first.target(&parts.uri).into();
        let second = check(&again, false, 100).unwrap();
        prop_assert_eq!(first.host(), second.host());
        prop_assert_eq!(first.authority(), second.authority());
        prop_assert_eq!(second.path.as_deref(), None);
        prop_assert_eq!(first.path(&parts.uri), second.path(&again.uri));
        prop_assert_eq!(parts.uri.query(), again.uri.query());
    }

    #[test]
    fn no_head_is_too_odd(target in "\\PC{1,60}", host in "[ -~]{0,40}", tls in any::<bool>()) {
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let mut parts = head(version, "GET", "/", &[("host", &host)]);
            parts.uri = uri.clone();
            let Ok(checked) = check(&parts, tls, 100) else { continue };
            prop_assert!(checked.target(&uri).as_str().starts_with('/'));
            prop_assert!(checked.authority().as_bytes().starts_with(checked.host().as_bytes()));
        }
    }
}

#[test]
fn a_length_that_no_body_can_have_is_refused_over_http_2_too() {
    for (length, expected) in
        [("9223372036854775807", 200), ("9223372036854775808", BAD), ("18446744073709551615", BAD)]
    {
        let parts = head(Version::HTTP_2, "POST", "http://shop.test/", &[("content-length", length)]);
        assert_eq!(status(&parts), expected, "{length}");
    }
}
