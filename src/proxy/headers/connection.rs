//! What two neighbours agree about their connection: Connection, Upgrade, TE.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};
use memchr::memchr_iter;
use smallvec::SmallVec;

use super::{fields, only};
use crate::proxy::framing::is_token;

const MAX_OPTIONS: usize = 100;

/// The protocol that an HTTP/1.1 request asks to change to, if it is one that we carry through to the backend. If
/// `None`, the request is served as if it had not asked.
///
/// Any protocol but another version or wrapping of HTTP itself is carried: h2c would hide requests from us. websocket
/// must be asked for correctly (RFC 6455 §4.1). `Connection: close` beats an upgrade.
pub fn upgrade_of(headers: &HeaderMap, version: Version, method: &Method) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    if version != Version::HTTP_11 || only(headers, &UPGRADE).is_none() || !connection_upgrades(headers) {
        return None;
    }
    let is = |name: &str| protocol.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    let begins = |name: &str| {
        let length = name.len();
        protocol.as_bytes().get(..length).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    let hidden = is("h2c") || is("h2") || is("h3") || begins("http/") || begins("tls/") || is("tls");
    let malformed = is("websocket") && !asks_for_websocket(headers, method);
    let carried = is_protocol(protocol) && !hidden && !malformed && !has_body(headers);
    carried.then(|| protocol.clone())
}

/// The client reads trailers: always in HTTP/2, in HTTP/1.1 if `TE: trailers` says so. Ask before `to_backend`.
pub fn takes_trailers(headers: &HeaderMap, version: Version) -> bool {
    match version {
        Version::HTTP_2 => true,
        Version::HTTP_11 => te_lists_trailers(headers),
        _ => false,
    }
}

pub(super) fn te_lists_trailers(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TE).iter().flat_map(tokens);
    codings.any(|coding| {
        let name = coding.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"trailers")
    })
}

/// Connection names no more than any message has fields. Each name costs a look-up, and a head has room for 30,000.
pub fn has_few_options(headers: &HeaderMap) -> bool {
    let options = |value: &HeaderValue| 1 + memchr_iter(b',', value.as_bytes()).count();
    headers.get_all(CONNECTION).iter().map(options).sum::<usize>() <= MAX_OPTIONS
}

/// Removes the fields that Connection names (RFC 9110 §7.6.1), but for those that are end-to-end: naming them is an
/// attempt to have them lost on the way.
pub(super) fn remove_nominated(headers: &mut HeaderMap) {
    let is_option = |token: &[u8]| {
        let options = ["keep-alive", "close", "upgrade", "te", "http2-settings"];
        options.iter().any(|option| token.eq_ignore_ascii_case(option.as_bytes()))
    };
    if headers.get_all(CONNECTION).iter().flat_map(tokens).all(is_option) {
        return;
    }
    let values: SmallVec<[HeaderValue; 2]> = headers.get_all(CONNECTION).iter().cloned().collect();
    let mut lower: SmallVec<[u8; 64]> = SmallVec::new();
    for token in values.iter().flat_map(tokens).filter(|token| !is_option(token)) {
        lower.clear();
        lower.extend(token.iter().map(u8::to_ascii_lowercase));
        if let Ok(name) = std::str::from_utf8(&lower)
            && fields::is_removable(name)
        {
            headers.remove(name);
        }
    }
}

/// The members of a comma-separated list.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Connection lists `upgrade` and not `close`.
fn connection_upgrades(headers: &HeaderMap) -> bool {
    let mut upgrade = false;
    for token in headers.get_all(CONNECTION).iter().flat_map(tokens) {
        if token.eq_ignore_ascii_case(b"close") {
            return false;
        }
        upgrade |= token.eq_ignore_ascii_case(b"upgrade");
    }
    upgrade
}

/// One token, or two with a slash between them: `websocket`, `SPDY/3.1`.
fn is_protocol(value: &HeaderValue) -> bool {
    value.as_bytes().splitn(2, |byte| *byte == b'/').all(is_token)
}

fn asks_for_websocket(headers: &HeaderMap, method: &Method) -> bool {
    let version = only(headers, &SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = only(headers, &SEC_WEBSOCKET_KEY).is_some_and(|key| is_websocket_key(key.as_bytes()));
    *method == Method::GET && version && key
}

/// 16 bytes in base64.
fn is_websocket_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}
