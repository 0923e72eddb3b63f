//! The fields of a backend's answer, as the client gets them.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SERVER,
    STRICT_TRANSPORT_SECURITY, TRAILER, UPGRADE,
};
use smallvec::SmallVec;

use super::{connection, fields};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The fields that all our answers carry, a backend's as well as our own.
#[derive(Clone, Debug, Default)]
pub struct Marks<'a> {
    /// `None`: answers carry no Server.
    pub server: Option<&'a HeaderValue>,
    /// Strict-Transport-Security: to be given only over https, for a host that has a certificate.
    pub hsts: Option<HeaderValue>,
    /// What a rate limit tells, of those that hold for the request.
    pub limit: Option<&'a LimitFields>,
}

/// RateLimit and its kin (draft-ietf-httpapi-ratelimit-headers), and Retry-After (RFC 9110 §10.2.3).
#[derive(Clone, Debug)]
pub struct LimitFields {
    pub policy: HeaderValue,
    pub state: HeaderValue,
    /// Seconds, where the request is refused.
    pub retry_after: Option<u64>,
}

impl Marks<'_> {
    /// Sets them, in place of what a backend sent.
    pub fn write(self, headers: &mut HeaderMap) {
        if let Some(server) = self.server {
            headers.insert(SERVER, server.clone());
        }
        if let Some(hsts) = self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts);
        }
        if let Some(limit) = self.limit {
            headers.insert(RATE_LIMIT_POLICY, limit.policy.clone());
            headers.insert(RATE_LIMIT, limit.state.clone());
            if let Some(seconds) = limit.retry_after {
                headers.insert(RETRY_AFTER, seconds.into());
            }
        }
    }
}

/// How the end of the answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its body, from which the sender makes Content-Length or chunks.
    Body,
    /// As `Body`, and trailers may follow: the client takes them and the backend is one that sends them.
    BodyAndTrailers,
    /// The same towards a client of HTTP/1.1, where only trailers that the head announces are sent.
    BodyAndAnnouncedTrailers,
    /// No body, as the request was HEAD: a Content-Length says how long it would be, and passes if it is one number.
    Head,
    /// 101: the tunnel's protocol passes with the answer.
    Upgrade,
}

/// Turns the fields of a backend's answer into those of ours. The backend's Date stays, its Server never does.
pub fn to_client(headers: &mut HeaderMap, framing: Framing, marks: Marks<'_>) {
    let mut dropped: SmallVec<[HeaderName; 6]> = SmallVec::new();
    let mut nominates = false;
    for name in headers.keys() {
        if fields::stays_behind(name.as_str()) {
            nominates |= name == CONNECTION;
            dropped.push(name.clone());
        }
    }
    let kept = Kept::of(headers, framing);
    if nominates {
        connection::remove_nominated(headers);
    }
    for name in &dropped {
        headers.remove(name);
    }
    if let Some((name, value)) = kept.0 {
        headers.insert(name, value);
    }
    if framing == Framing::Upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    marks.write(headers);
}

/// The one field besides end-to-end ones that the framing lets through.
struct Kept(Option<(HeaderName, HeaderValue)>);

impl Kept {
    fn of(headers: &HeaderMap, framing: Framing) -> Self {
        Kept(match framing {
            Framing::Body => None,
            Framing::BodyAndTrailers => trailer(headers).map(|names| (TRAILER, names)),
            Framing::BodyAndAnnouncedTrailers => {
                trailer(headers).or_else(|| grpc_trailer(headers)).map(|names| (TRAILER, names))
            }
            Framing::Head => length(headers).map(|length| (CONTENT_LENGTH, length)),
            Framing::Upgrade => headers.get(UPGRADE).map(|protocol| (UPGRADE, protocol.clone())),
        })
    }
}

fn trailer(headers: &HeaderMap) -> Option<HeaderValue> {
    super::joined(headers, &TRAILER, b", ", None)
}

/// gRPC has the same trailers always and announces them seldom.
fn grpc_trailer(headers: &HeaderMap) -> Option<HeaderValue> {
    let grpc = headers.get(CONTENT_TYPE).is_some_and(super::is_grpc);
    grpc.then(|| HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin"))
}

/// Content-Length in its canonical form: one number, however often it is said.
fn length(headers: &HeaderMap) -> Option<HeaderValue> {
    let first = headers.get(CONTENT_LENGTH)?;
    let digits = first.as_bytes();
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    let fits = digits.len() <= 19;
    let agreed = headers.get_all(CONTENT_LENGTH).iter().all(|length| length == first);
    (canonical && fits && agreed).then(|| first.clone())
}
