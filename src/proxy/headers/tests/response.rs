//! What of a backend's answer reaches the client.

use http::header::{CONTENT_LENGTH, SERVER, TRAILER};

use super::*;

fn answered(framing: Framing, fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut headers = map(fields);
    to_client(&mut headers, framing, Marks::default());
    listed(&headers)
}

#[test]
fn hop_by_hop_fields_framing_and_server_end_here() {
    let dropped = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let kept = [("date", "d"), ("etag", "e"), ("set-cookie", "a"), ("set-cookie", "b"), ("x_y", "z")];
    let fields: Vec<_> = dropped.iter().map(|name| (*name, "5")).chain(kept).collect();
    assert_eq!(answered(Framing::Body, &fields), pairs(&kept));
}

#[test]
fn connection_removes_the_fields_it_names_but_no_end_to_end_field() {
    let fields = [("connection", "x-hop, set-cookie, close"), ("set-cookie", "a"), ("x-hop", "1")];
    assert_eq!(answered(Framing::Body, &fields), pairs(&[("set-cookie", "a")]));
}

#[test]
fn our_marks_replace_those_of_the_backend() {
    let [server, hsts] = ["headgate", "max-age=1"].map(HeaderValue::from_static);
    let theirs = [("server", "nginx"), ("server", "twice"), ("strict-transport-security", "max-age=0")];
    let mut headers = map(&theirs);
    to_client(&mut headers, Framing::Body, Marks { server: Some(&server), hsts: Some(hsts), limit: None });
    assert_eq!(listed(&headers), pairs(&[("server", "headgate"), ("strict-transport-security", "max-age=1")]));
    assert_eq!(answered(Framing::Body, &theirs), pairs(&[("strict-transport-security", "max-age=0")]));
}

#[test]
fn only_an_answer_to_head_keeps_its_length() {
    let table: [(&[&str], Option<&str>); 9] = [
        (&["5"], Some("5")),
        (&["0"], Some("0")),
        (&["5", "5"], Some("5")),
        (&["5", "6"], None),
        (&["05"], None),
        (&["+5"], None),
        (&[""], None),
        (&["5, 5"], None),
        (&["99999999999999999999"], None),
    ];
    for (lengths, kept) in table {
        let fields: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        let expected: Vec<_> = kept.iter().map(|length| ("content-length", *length)).collect();
        assert_eq!(answered(Framing::Head, &fields), pairs(&expected), "{lengths:?}");
        for framing in [Framing::Body, Framing::BodyAndTrailers, Framing::BodyAndAnnouncedTrailers, Framing::Upgrade] {
            let mut headers = map(&fields);
            to_client(&mut headers, framing, Marks::default());
            assert!(!headers.contains_key(CONTENT_LENGTH), "{framing:?}");
        }
    }
}

#[test]
fn an_upgrade_passes_with_its_protocol() {
    let fields =
        [("connection", "Upgrade, x-hop"), ("sec-websocket-accept", "p"), ("upgrade", "websocket"), ("x-hop", "1")];
    let expected = [("connection", "upgrade"), ("sec-websocket-accept", "p"), ("upgrade", "websocket")];
    assert_eq!(answered(Framing::Upgrade, &fields), pairs(&expected));
    assert_eq!(answered(Framing::Body, &fields), pairs(&expected[1..2]));
}

#[test]
fn trailers_are_announced_where_they_may_follow() {
    let announced = |framing, fields: &[(&str, &str)]| {
        let mut headers = map(fields);
        to_client(&mut headers, framing, Marks::default());
        headers.get(TRAILER).map(|names| names.to_str().unwrap().to_owned())
    };
    let grpc = [("content-type", "application/grpc"), ("trailer", "a"), ("trailer", "b")];
    for framing in [Framing::BodyAndTrailers, Framing::BodyAndAnnouncedTrailers] {
        assert_eq!(announced(framing, &[]), None);
        assert_eq!(announced(framing, &grpc).as_deref(), Some("a, b"));
    }
    assert_eq!(announced(Framing::BodyAndTrailers, &grpc[..1]), None);
    let made = announced(Framing::BodyAndAnnouncedTrailers, &grpc[..1]).unwrap();
    assert!(made.split(", ").eq(["grpc-status", "grpc-message", "grpc-status-details-bin"]));
}

proptest! {
    #[test]
    fn framing_is_never_a_backends(fields in proptest::collection::vec((name(), "[ -~]{0,20}"), 0..12)) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut headers = map(&fields);
        to_client(&mut headers, Framing::Body, Marks::default());
        for name in [CONNECTION, CONTENT_LENGTH, SERVER, UPGRADE, TE, http::header::TRANSFER_ENCODING] {
            prop_assert!(!headers.contains_key(&name), "{}", name);
        }
    }
}
