//! The two heads of an exchange as they leave: the request for the backend, the response for the client.
//!
//! Framing is never relayed: who sends a head writes one field from the size of the body that comes with it. Which fields
//! stay, go or are set is `headers`' rule; who may be forwarded to is decided before, in `request`.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;

use super::body::ResponseBody;
use super::client_address::{self, Resolved};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::forward::Received;
use super::head_check::{Checked, Connect};
use super::headers::{Framing, Handshake};
use super::pool::Connected;
use super::request_body::RequestBody;
use super::{headers, upgrade};
use crate::snapshot::Protocol;
use crate::tables::LiveSettings;

/// A request as it goes to the backend.
pub(super) struct Outgoing {
    pub(super) request: Request<RequestBody>,
    /// The client's stream, once the backend has agreed to switch protocols.
    pub(super) upgrade: Option<Upgrade>,
}

/// What the backend has to agree to.
pub(super) enum Asked {
    Websocket(Handshake),
    /// What this Upgrade field names.
    Other(HeaderValue),
}

/// The client asked to switch protocols.
pub(super) struct Upgrade {
    pub(super) client: OnUpgrade,
    pub(super) asked: Asked,
}

/// The request for a backend that speaks `protocol`.
pub(super) fn outgoing(
    exchange: &Rc<Exchange>,
    settings: &LiveSettings,
    mut head: Parts,
    target: &Checked,
    client: Resolved,
    protocol: Protocol,
) -> Result<Outgoing, ProxyError> {
    let http2 = protocol == Protocol::H2c;
    let websocket = target.connect == Some(Connect::Websocket);
    if websocket && http2 {
        return Err(ProxyError::NotImplemented);
    }
    let stream = head.extensions.remove::<OnUpgrade>();
    let switch = exchange.head.upgrade.clone().filter(|_| !http2);
    let facts = headers::Facts {
        host: target.authority(),
        peer: &exchange.connection.facts.peer_text,
        client: &client_text(exchange, client),
        trusted: client.trusted_peer,
        client_only: settings.client_only_forwarded_for,
        tls: exchange.is_tls(),
        request_id: exchange.request_id.clone(),
        upgrade: switch.clone(),
        http2,
    };
    headers::to_backend(&mut head.headers, facts);
    let asked = match websocket {
        true => Some(Asked::Websocket(handshake(&mut head))),
        false => switch.map(|protocol| Handshake::of(&head.headers).map_or(Asked::Other(protocol), Asked::Websocket)),
    };
    let upgrade = stream.zip(asked).map(|(client, asked)| Upgrade { client, asked });
    let limit = exchange.route().and_then(|route| route.policy.max_body_size);
    let body = RequestBody::new(exchange.clone(), limit, http2 && head.version == Version::HTTP_2);
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = uri(&head.uri, target, http2)?;
    *request.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    *request.headers_mut() = head.headers;
    Ok(Outgoing { request, upgrade })
}

/// Makes of an extended CONNECT what opens a websocket over HTTP/1.1.
fn handshake(head: &mut Parts) -> Handshake {
    head.method = Method::GET;
    Handshake::offer(&mut head.headers, fastrand::u128(..))
}

/// The answer for the client, made of the backend's `response`.
pub(super) fn incoming(
    exchange: &Rc<Exchange>,
    response: Received,
    connected: Connected,
    upgrade: Option<Upgrade>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let status = response.status();
    exchange.answered(status);
    let extended_connect = exchange.head.method == Method::CONNECT;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let upgrade = upgrade.ok_or(ProxyError::Protocol)?;
        return upgrade::start(exchange, upgrade, response, connected);
    }
    if extended_connect && status.is_success() {
        // To the client it would mean that the websocket is open.
        return Err(ProxyError::Protocol);
    }
    if !ends_clearly(response.headers()) || !headers::has_few_options(response.headers()) {
        return Err(ProxyError::Protocol);
    }
    let (mut head, body) = response.into_parts();
    let trailers = exchange.head.takes_trailers;
    let length = connected.length(body.as_ref());
    headers::to_client(&mut head.headers, framing(exchange, status, length, trailers), exchange.marks());
    head.extensions.clear();
    if status.canonical_reason().is_none() {
        // Else hyper writes `<none>`.
        head.extensions.insert(ReasonPhrase::from_static(b""));
    }
    head.version = response_version(exchange);
    let bodyless =
        exchange.head.method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = ResponseBody::backend(body, exchange.clone(), connected, trailers, bodyless)?;
    exchange.responds(status);
    let mut answer = Response::from_parts(head, body);
    // HTTP/1.0 knows no chunks: what has no length ends with the connection.
    let endless = exchange.head.version == Version::HTTP_10 && !bodyless && answer.body().size_hint().exact().is_none();
    if endless {
        exchange.connection.answer_is_open_ended();
    }
    announce_end(exchange, &mut answer, endless);
    Ok(answer)
}

/// What tells the client where the answer ends, whose body has this `length`, if that is known.
fn framing(exchange: &Exchange, status: StatusCode, length: Option<u64>, trailers: bool) -> Framing {
    // Beside 204 no length is ever said (RFC 9110 §8.6).
    if exchange.head.method == Method::HEAD && status != StatusCode::NO_CONTENT {
        Framing::Head
    } else if trailers && length.is_none() {
        match exchange.head.version {
            Version::HTTP_2 => Framing::BodyAndTrailers,
            _ => Framing::BodyAndAnnouncedTrailers,
        }
    } else {
        Framing::Body
    }
}

/// An answer of our own. It announces the end of the connection where that must end.
pub(super) fn own(exchange: &Rc<Exchange>, mut answer: Response<Bytes>) -> Response<ResponseBody> {
    exchange.responds(answer.status());
    exchange.discard_body();
    announce_end(exchange, &mut answer, false);
    answer.map(|content| ResponseBody::own(content, exchange))
}

/// Says that the connection ends behind `answer` where it does: the answer is `endless` without that, no further request
/// is wanted on it, or there is no telling where one would begin, since the request's body has not all come or it is a
/// CONNECT. hyper closes there by itself mostly, but announces only what it knew in time.
fn announce_end<B>(exchange: &Exchange, answer: &mut Response<B>, endless: bool) {
    let version = exchange.head.version;
    let unclear = !exchange.body_complete.get() || exchange.head.method == Method::CONNECT;
    if version < Version::HTTP_2 && (endless || unclear || exchange.connection.ends()) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if version == Version::HTTP_10 && answer.headers().contains_key(header::CONNECTION) {
        // Told 1.1, hyper would add keep-alive for a client that asks for that.
        *answer.version_mut() = Version::HTTP_10;
    }
}

fn client_text<'a>(exchange: &'a Exchange, client: Resolved) -> Cow<'a, HeaderValue> {
    let facts = &exchange.connection.facts;
    if client.client == facts.peer.ip() {
        Cow::Borrowed(&facts.peer_text)
    } else {
        Cow::Owned(client_address::header_value(client.client))
    }
}

/// Origin form with the path that was matched (RFC 9112 §3.2.1); with scheme and authority towards HTTP/2.
fn uri(client: &Uri, target: &Checked, http2: bool) -> Result<Uri, ProxyError> {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target.target(client));
    if http2 {
        parts.scheme = Some(Scheme::HTTP);
        let authority = Authority::try_from(target.authority().as_bytes());
        parts.authority = Some(authority.map_err(|_| ProxyError::BadRequest("malformed host"))?);
    }
    Uri::from_parts(parts).map_err(|_| ProxyError::BadRequest("the target cannot be forwarded"))
}

/// hyper makes of it what the client speaks; told 1.0, it would not keep the connection of a client that asks for that.
pub(super) fn response_version(exchange: &Exchange) -> Version {
    exchange.head.version.max(Version::HTTP_11)
}

/// A body ends by a length or by chunks, not by both and not in a way that we do not know.
fn ends_clearly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked") && !headers.contains_key(header::CONTENT_LENGTH)
        }
        _ => false,
    }
}
