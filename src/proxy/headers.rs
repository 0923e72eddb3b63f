//! Which fields pass between client and backend, and which we write ourselves.
//!
//! Every request goes through [`to_backend`] and every backend's answer through [`to_client`]; what each field's name
//! means for that stands in the tables of `fields`. Framing is never passed on: it is rebuilt from the body by whoever
//! sends the message. Both work in place and look at each field once; what is forwarded unchanged is not copied.

mod connection;
mod fields;
mod response;
mod trailers;
mod websocket;

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE};
use smallvec::SmallVec;

use crate::snapshot::host;

pub use connection::{has_few_options, takes_trailers, upgrade_of};
pub use response::{Framing, LimitFields, Marks, to_client};
pub use trailers::{request_trailers, response_trailers};
pub use websocket::Handshake;

use fields::Fate;

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_ORIGINAL_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-original-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");

/// How many fields a request gains.
const WRITTEN: usize = 8;

/// What is known of a request besides its fields. Addresses are text made once per connection.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The Host in its canonical form (`head_check::Checked::authority`).
    pub host: &'a HeaderValue,
    pub peer: &'a HeaderValue,
    /// Equals `peer` unless the peer is trusted and named another.
    pub client: &'a HeaderValue,
    /// The peer's forwarding fields are believed.
    pub trusted: bool,
    /// X-Forwarded-For names the client alone, not the chain that led here.
    pub client_only: bool,
    /// The client's connection is TLS.
    pub tls: bool,
    /// From [`request_id`].
    pub request_id: HeaderValue,
    /// From [`upgrade_of`]; `None` also where the backend is not spoken to in HTTP/1.1.
    pub upgrade: Option<HeaderValue>,
    /// The backend is spoken to in HTTP/2: its `:authority` stands in for Host, and trailers may be asked for.
    pub http2: bool,
}

/// How a client reached us, or the trusted proxy before us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn of(tls: bool) -> Self {
        if tls { Scheme::Https } else { Scheme::Http }
    }

    /// The port that clients know the listener by, whatever it is bound to.
    fn port(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Scheme::Http => "80",
            Scheme::Https => "443",
        })
    }
}

/// Turns the fields of a client's request into those of ours. What remains for the caller is framing (no Content-Length
/// or Transfer-Encoding is left) and, towards an HTTP/2 backend, `:authority`.
pub fn to_backend(headers: &mut HeaderMap, facts: Facts<'_>) {
    let found = Found::of(headers, facts.trusted);
    let origin = Origin::of(headers, &facts);
    let chain = if found.chain { joined(headers, &X_FORWARDED_FOR, b", ", None) } else { None };
    let trailers = facts.http2 && found.te && connection::te_lists_trailers(headers);
    strip(headers, &found);
    headers.reserve(WRITTEN);
    write_origin(headers, origin);
    write_client(headers, &facts, chain);
    headers.insert(X_REQUEST_ID, facts.request_id);
    if facts.http2 {
        headers.remove(HOST);
    } else {
        headers.insert(HOST, facts.host.clone());
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = facts.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// The scheme the client used, as far as anybody believable tells: decides about the redirect to https.
pub fn effective_scheme(headers: &HeaderMap, tls: bool, trusted: bool) -> Scheme {
    let stated = if trusted { stated_scheme(headers) } else { None };
    stated.unwrap_or(Scheme::of(tls))
}

/// The client's X-Request-ID if it is one of 1 to 128 letters, digits, `.`, `_` and `-`, else 32 hexadecimal digits.
pub fn request_id(headers: &HeaderMap, random: u128) -> HeaderValue {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match only(headers, &X_REQUEST_ID) {
        Some(id) if (1..=128).contains(&id.len()) && id.as_bytes().iter().all(allowed) => id.clone(),
        _ => hexadecimal(random),
    }
}

/// A Content-Type of gRPC: `application/grpc`, also with a message format or parameters.
pub(super) fn is_grpc(content_type: &HeaderValue) -> bool {
    let bytes = content_type.as_bytes();
    let (Some(start), rest) = (bytes.get(..16), bytes.get(16)) else { return false };
    start.eq_ignore_ascii_case(b"application/grpc") && matches!(rest, None | Some(b'+' | b';' | b' '))
}

fn hexadecimal(number: u128) -> HeaderValue {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&digits).expect("digits are visible ASCII")
}

/// What one look at the names of a request's fields finds.
#[derive(Default)]
struct Found {
    /// Fields that do not pass.
    dropped: SmallVec<[HeaderName; 6]>,
    connection: bool,
    te: bool,
    cookie: bool,
    chain: bool,
}

impl Found {
    fn of(headers: &HeaderMap, trusted: bool) -> Self {
        let mut found = Found::default();
        for name in headers.keys() {
            match fields::fate(name.as_str()) {
                Fate::Keep | Fate::Ours => continue,
                Fate::Claim if trusted => continue,
                Fate::Cookie => {
                    found.cookie = true;
                    continue;
                }
                Fate::Chain => {
                    found.chain = true;
                    continue;
                }
                Fate::Connection => found.connection = true,
                Fate::Te => found.te = true,
                Fate::Claim | Fate::Drop => {}
            }
            found.dropped.push(name.clone());
        }
        found
    }
}

fn strip(headers: &mut HeaderMap, found: &Found) {
    if found.connection {
        connection::remove_nominated(headers);
    }
    for name in &found.dropped {
        headers.remove(name);
    }
    if found.cookie && headers.get_all(COOKIE).iter().nth(1).is_some() {
        // HTTP/2 clients split Cookie for better compression (RFC 9113 §8.2.3); HTTP/1.1 knows one field only.
        let cookie = joined(headers, &COOKIE, b"; ", None);
        headers.insert(COOKIE, cookie.unwrap_or(HeaderValue::from_static("")));
    }
}

/// What the backend is told about the URL the client used.
struct Origin {
    scheme: Scheme,
    host: HeaderValue,
    port: HeaderValue,
}

impl Origin {
    /// What we see, or what a trusted peer says it saw.
    fn of(headers: &HeaderMap, facts: &Facts<'_>) -> Self {
        if !facts.trusted {
            let scheme = Scheme::of(facts.tls);
            return Origin { scheme, host: facts.host.clone(), port: scheme.port() };
        }
        let scheme = effective_scheme(headers, facts.tls, true);
        let host = only(headers, &X_FORWARDED_HOST).filter(|host| is_host(host)).unwrap_or(facts.host);
        let port = only(headers, &X_FORWARDED_PORT).filter(|port| is_port(port));
        Origin { scheme, host: host.clone(), port: port.cloned().unwrap_or_else(|| scheme.port()) }
    }
}

fn write_origin(headers: &mut HeaderMap, origin: Origin) {
    let scheme = HeaderValue::from_static(origin.scheme.as_str());
    headers.insert(X_FORWARDED_HOST, origin.host);
    headers.insert(X_FORWARDED_PORT, origin.port);
    headers.insert(X_FORWARDED_PROTO, scheme.clone());
    headers.insert(X_FORWARDED_SCHEME, scheme.clone());
    headers.insert(X_SCHEME, scheme);
}

/// `chain`: what the client sent as X-Forwarded-For.
fn write_client(headers: &mut HeaderMap, facts: &Facts<'_>, chain: Option<HeaderValue>) {
    headers.insert(X_REAL_IP, facts.client.clone());
    let appended = match &chain {
        Some(_) if facts.client_only => Some(facts.client.clone()),
        Some(_) if facts.trusted => joined(headers, &X_FORWARDED_FOR, b", ", Some(facts.peer)),
        _ => None,
    };
    headers.insert(X_FORWARDED_FOR, appended.unwrap_or_else(|| facts.peer.clone()));
    if let Some(chain) = chain {
        headers.insert(X_ORIGINAL_FORWARDED_FOR, chain);
    }
}

/// All values of a field as one, with `last` behind them; `None` if they are empty. Shares a single value.
fn joined(headers: &HeaderMap, name: &HeaderName, between: &[u8], last: Option<&HeaderValue>) -> Option<HeaderValue> {
    let values = || headers.get_all(name).iter().filter(|value| !value.is_empty());
    let first = values().next()?;
    if last.is_none() && values().nth(1).is_none() {
        return Some(first.clone());
    }
    let length = values().chain(last).map(|value| value.len() + between.len()).sum();
    let mut whole = Vec::with_capacity(length);
    for value in values().chain(last) {
        if !whole.is_empty() {
            whole.extend_from_slice(between);
        }
        whole.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(Bytes::from(whole)).ok()
}

/// The value of a field that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// A list is not believed: of its parts, only the last is surely the trusted peer's.
fn stated_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let stated = only(headers, &X_FORWARDED_PROTO)?.as_bytes();
    let is = |scheme: &[u8]| stated.eq_ignore_ascii_case(scheme);
    if is(b"https") || is(b"wss") {
        Some(Scheme::Https)
    } else if is(b"http") || is(b"ws") {
        Some(Scheme::Http)
    } else {
        None
    }
}

fn is_host(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| host::split_port(text).is_ok())
}

fn is_port(value: &HeaderValue) -> bool {
    let digits = value.as_bytes();
    digits.iter().all(u8::is_ascii_digit)
        && value.to_str().ok().and_then(|text| text.parse::<u16>().ok()).is_some_and(|port| port > 0)
}

#[cfg(test)]
mod tests;
