//! Which upgrades are carried, and the handshake made for a websocket over HTTP/2.

use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{Method, Version};

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const WEBSOCKET: [(&str, &str); 4] =
    [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", KEY)];

fn carried(method: Method, version: Version, fields: &[(&str, &str)]) -> Option<String> {
    upgrade_of(&map(fields), version, &method).map(|protocol| protocol.to_str().unwrap().to_owned())
}

/// The websocket request with one field in place of its own.
fn with(name: &'static str, values: &[&'static str]) -> Option<String> {
    let kept = WEBSOCKET.iter().filter(|field| field.0 != name).copied();
    let fields: Vec<_> = kept.chain(values.iter().map(|value| (name, *value))).collect();
    carried(Method::GET, Version::HTTP_11, &fields)
}

#[test]
fn a_correct_websocket_is_carried() {
    let carried_as = Some("websocket".to_owned());
    assert_eq!(carried(Method::GET, Version::HTTP_11, &WEBSOCKET), carried_as);
    for connection in [&["upgrade"][..], &["keep-alive, Upgrade"], &["keep-alive", "upgrade"], &["upgrade, upgrade"]] {
        assert_eq!(with("connection", connection), carried_as, "{connection:?}");
    }
    assert_eq!(with("content-length", &["0"]), carried_as);
    assert_eq!(with("upgrade", &["WebSocket"]), Some("WebSocket".to_owned()));
}

#[test]
fn an_incorrect_websocket_is_not() {
    assert_eq!(carried(Method::POST, Version::HTTP_11, &WEBSOCKET), None);
    assert_eq!(carried(Method::GET, Version::HTTP_10, &WEBSOCKET), None);
    assert_eq!(carried(Method::GET, Version::HTTP_2, &WEBSOCKET), None);
    let table: [(&str, &[&[&str]]); 6] = [
        ("connection", &[&[], &["keep-alive"], &["upgrade, close"], &["close", "upgrade"], &["xupgrade"]]),
        ("upgrade", &[&[], &[""], &["websocket, h2c"], &["websocket", "websocket"], &["web socket"]]),
        ("sec-websocket-version", &[&[], &["99"], &["8"], &["13, 8"], &["13", "13"]]),
        (
            "sec-websocket-key",
            &[&[], &["short"], &[KEY, KEY], &["dGhlIHNhbXBsZSBub25jZQ=!"], &["!GhlIHNhbXBsZSBub25jZQ=="]],
        ),
        ("content-length", &[&["1"], &["x"]]),
        ("transfer-encoding", &[&["chunked"]]),
    ];
    for (name, wrong) in table {
        for values in wrong {
            assert_eq!(with(name, values), None, "{name} {values:?}");
        }
    }
}

#[test]
fn other_protocols_are_carried_unless_they_are_http_itself() {
    let upgrade = |to| carried(Method::POST, Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", to)]);
    for to in ["SPDY/3.1", "tcp", "derp", "foo/1"] {
        assert_eq!(upgrade(to).as_deref(), Some(to));
    }
    for to in ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.2", "tls", "a b", "a/", "/a", "a/b/c", "a;b"] {
        assert_eq!(upgrade(to), None, "{to}");
    }
}

#[test]
fn a_carried_upgrade_is_asked_for_in_one_way() {
    let client = Client { upgrade: Some(HeaderValue::from_static("websocket")), ..Client::new() };
    let sent = client.passes(&[&WEBSOCKET[..], &[("connection", "x-hop"), ("x-hop", "1")]].concat());
    let expected = [("sec-websocket-key", KEY), ("sec-websocket-version", "13")];
    assert_eq!(sent, pairs(&expected));
    let sent = client.sends(&WEBSOCKET);
    assert_eq!((&sent[CONNECTION], &sent[UPGRADE]), (&HeaderValue::from_static("upgrade"), &client.upgrade.unwrap()));
}

#[test]
fn a_websocket_over_http_2_becomes_a_handshake() {
    let mut headers = Client::new().sends(&[("sec-websocket-key", "clients"), ("sec-websocket-protocol", "chat")]);
    let handshake = Handshake::offer(&mut headers, u128::from_be_bytes(*b"the sample nonce"));
    assert_eq!(
        (&headers[CONNECTION], &headers[UPGRADE]),
        (&HeaderValue::from_static("upgrade"), &HeaderValue::from_static("websocket"))
    );
    assert_eq!(headers.get_all(SEC_WEBSOCKET_KEY).iter().collect::<Vec<_>>(), [KEY]);
    assert_eq!(headers[SEC_WEBSOCKET_VERSION], "13");
    assert_eq!(headers["sec-websocket-protocol"], "chat");

    // The example of RFC 6455 §1.3.
    let proof = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(handshake.is_accepted(&map(&[("connection", "Upgrade"), ("upgrade", "WebSocket"), proof])));
    let wrong: [&[(&str, &str)]; 7] = [
        &[],
        &[proof],
        &[("upgrade", "websocket")],
        &[("upgrade", "h2c"), proof],
        &[("upgrade", "websocket"), ("upgrade", "websocket"), proof],
        &[("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo")],
        &[("upgrade", "websocket"), proof, proof],
    ];
    for fields in wrong {
        assert!(!handshake.is_accepted(&map(fields)), "{fields:?}");
    }
}

#[test]
fn a_client_has_a_handshake_of_its_own_for_websockets_only() {
    let of = |protocol| Handshake::of(&map(&[("upgrade", protocol), ("sec-websocket-key", KEY)]));
    let proof = map(&[("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]);
    assert!(of("WebSocket").unwrap().is_accepted(&proof));
    assert!(of("derp").is_none());
}

#[test]
fn the_clients_websocket_version_is_kept() {
    let mut headers = map(&[("sec-websocket-version", "12")]);
    Handshake::offer(&mut headers, 0);
    assert_eq!(headers[SEC_WEBSOCKET_VERSION], "12");
}
