use http::header::{SERVER, STRICT_TRANSPORT_SECURITY};

use super::*;

const PLAIN: Asker = Asker { head: false, grpc: false, http1: true };

fn field<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn every_failure_is_answered_with_its_status_and_reason() {
    for error in ProxyError::all() {
        let allow = HeaderValue::from_static("GET");
        let response = refuse(&error, PLAIN, Some(&allow), Marks::default());
        let status = error.status();
        assert_eq!(response.status(), status);
        let reason = status.canonical_reason().unwrap_or("Client Closed Request");
        assert_eq!(response.body(), format!("{} {reason}\n", status.as_u16()).as_bytes(), "{error:?}");
        assert_eq!(field(&response, "content-length"), Some(response.body().len().to_string().as_str()));
        assert_eq!(field(&response, "content-type"), Some("text/plain"));
        assert_eq!(field(&response, "connection"), error.closes().then_some("close"), "{error:?}");
        assert_eq!(field(&response, "allow"), (status == 405).then_some("GET"), "{error:?}");
        assert!(!refuse(&error, PLAIN, None, Marks::default()).headers().contains_key(ALLOW));
        assert_eq!(field(&response, "grpc-status"), None);
    }
}

#[test]
fn marks_are_on_every_answer_and_only_if_given() {
    let (server, hsts) = (HeaderValue::from_static("headgate"), HeaderValue::from_static("max-age=1"));
    let marks = Marks { server: Some(&server), hsts: Some(hsts.clone()), limit: None };
    let response = refuse(&ProxyError::NoRoute, PLAIN, None, marks);
    assert_eq!(response.headers()[SERVER], server);
    assert_eq!(response.headers()[STRICT_TRANSPORT_SECURITY], hsts);
    let response = refuse(&ProxyError::NoRoute, PLAIN, None, Marks::default());
    assert!(!response.headers().contains_key(SERVER) && !response.headers().contains_key(STRICT_TRANSPORT_SECURITY));
}

#[test]
fn head_is_told_the_length_and_given_nothing() {
    let asker = Asker::of(&Method::HEAD, Version::HTTP_11, &HeaderMap::new());
    let response = refuse(&ProxyError::NoRoute, asker, None, Marks::default());
    assert!(response.body().is_empty());
    assert_eq!(field(&response, "content-length"), Some("14"));
}

#[test]
fn http_2_has_no_connection_field() {
    let asker = Asker::of(&Method::GET, Version::HTTP_2, &HeaderMap::new());
    for error in ProxyError::all() {
        assert_eq!(field(&refuse(&error, asker, None, Marks::default()), "connection"), None, "{error:?}");
    }
}

#[test]
fn grpc_is_told_in_its_own_terms_too() {
    let asker = |content_type: &'static str, version| {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Asker::of(&Method::POST, version, &headers)
    };
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc; x", "Application/gRPC"] {
        assert!(asker(content_type, Version::HTTP_2).grpc, "{content_type}");
        assert!(!asker(content_type, Version::HTTP_11).grpc, "{content_type}");
    }
    for content_type in ["application/grpc-web", "application/json", "application/grp"] {
        assert!(!asker(content_type, Version::HTTP_2).grpc, "{content_type}");
    }
    let table = [
        (ProxyError::BadRequest(""), "13"),
        (ProxyError::NoRoute, "12"),
        (ProxyError::Connect, "14"),
        (ProxyError::NoEndpoint, "14"),
        (ProxyError::ResponseTimeout, "14"),
        (ProxyError::Panic, "2"),
        (ProxyError::BodyTooLarge, "2"),
    ];
    for (error, code) in table {
        let response = refuse(&error, asker("application/grpc", Version::HTTP_2), None, Marks::default());
        assert_eq!(field(&response, "grpc-status"), Some(code), "{error:?}");
        assert_eq!(response.status(), error.status());
        assert!(response.body().is_empty(), "a body would hide the status");
        assert!(field(&response, "grpc-message").unwrap().starts_with(error.status().as_str()));
    }
}

#[test]
fn a_status_of_a_policys_choice_is_its_own_text() {
    for (status, text) in [(402, "402 Payment Required\n"), (420, "420\n"), (599, "599\n")] {
        let response = refuse(&ProxyError::RateLimited(status), PLAIN, None, Marks::default());
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, text.as_bytes()));
        assert_eq!(field(&response, "content-length"), Some(text.len().to_string().as_str()));
        let asker = Asker { grpc: true, http1: false, ..PLAIN };
        let response = refuse(&ProxyError::RateLimited(status), asker, None, Marks::default());
        assert_eq!(field(&response, "grpc-message"), Some(text.trim_ascii_end()));
    }
}

#[test]
fn a_redirect_keeps_path_and_query_byte_for_byte() {
    let table = [
        ("/", None, "https://a.test/"),
        ("/a/%7e//b;c?d=%2f&&e", None, "https://a.test/a/%7e//b;c?d=%2f&&e"),
        ("/?", None, "https://a.test/?"),
        ("/x", Some(8443), "https://a.test:8443/x"),
        ("//evil.example/x", None, "https://a.test//evil.example/x"),
        ("http://b.test/x?y", None, "https://a.test/x?y"),
        ("http://b.test", None, "https://a.test/"),
        ("http://b.test?y", None, "https://a.test/?y"),
    ];
    for (target, port, expected) in table {
        let response = redirect("a.test", port, &target.parse().unwrap(), PLAIN, Marks::default()).unwrap();
        assert_eq!(response.status(), 308);
        assert_eq!(field(&response, "location"), Some(expected));
        assert_eq!(response.body(), "308 Permanent Redirect\n");
        assert_eq!(field(&response, "content-length"), Some("23"));
        assert_eq!(field(&response, "connection"), None);
    }
}

#[test]
fn a_request_that_named_no_host_is_redirected_nowhere() {
    let redirect = redirect("", None, &"/x".parse().unwrap(), PLAIN, Marks::default());
    assert!(matches!(redirect, Err(ProxyError::BadRequest(_))), "{redirect:?}");
}
