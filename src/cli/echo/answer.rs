//! One exchange of the echo backend: JSON of what was seen, or what the query asks for instead.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use rustls::{ProtocolVersion, ServerConnection};
use serde::Serialize;

use super::websocket;
use crate::config::{duration, size};

/// Who answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) pod: String,
    pub(super) namespace: String,
    pub(super) ingress: String,
    pub(super) service: String,
}

/// What was agreed with a TLS client.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tls {
    version: &'static str,
    server_name: Option<String>,
    alpn: Option<String>,
}

/// The JSON that is answered. Field names are lower case, as HTTP/2 has them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    path: &'a str,
    host: &'a str,
    method: &'a str,
    proto: &'static str,
    headers: BTreeMap<&'a str, Vec<String>>,
    namespace: &'a str,
    ingress: &'a str,
    service: &'a str,
    pod: &'a str,
    body_bytes: u64,
    tls: Option<&'a Tls>,
}

/// `?delay=`, `?status=`, `?size=`.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    delay: Duration,
    status: StatusCode,
    size: Option<u64>,
}

pub(super) type AnswerBody = Either<Full<Bytes>, Filler>;

pub(super) async fn answer(
    request: Request<Incoming>,
    identity: Arc<Identity>,
    tls: Option<Arc<Tls>>,
) -> hyper::Result<Response<AnswerBody>> {
    let wanted = match Wanted::read(request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(reason) => return Ok(text(StatusCode::BAD_REQUEST, reason)),
    };
    if let Some(accept) = websocket::accept_value(&request) {
        return Ok(websocket::switch(request, accept));
    }
    let (head, body) = request.into_parts();
    let body_bytes = length(body).await?;
    tokio::time::sleep(wanted.delay).await;
    let mut response = match wanted.size {
        Some(size) => typed("application/octet-stream", Either::Right(Filler { left: size })),
        None => {
            let seen = Seen::new(&head, body_bytes, &identity, tls.as_deref());
            let mut json = serde_json::to_vec_pretty(&seen).expect("strings and numbers are always JSON");
            json.push(b'\n');
            typed("application/json", Either::Left(json.into()))
        }
    };
    *response.status_mut() = wanted.status;
    Ok(response)
}

impl<'a> Seen<'a> {
    fn new(head: &'a http::request::Parts, body_bytes: u64, identity: &'a Identity, tls: Option<&'a Tls>) -> Self {
        let authority = head.uri.authority().map(|authority| authority.as_str());
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        Seen {
            path: head.uri.path_and_query().map_or("", |path| path.as_str()),
            host: host.or(authority).unwrap_or_default(),
            method: head.method.as_str(),
            proto: match head.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2.0",
                _ => "HTTP/1.1",
            },
            headers: lists(&head.headers),
            namespace: &identity.namespace,
            ingress: &identity.ingress,
            service: &identity.service,
            pod: &identity.pod,
            body_bytes,
            tls,
        }
    }
}

fn lists(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut lists = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in headers {
        lists.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    lists
}

impl Wanted {
    fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Wanted { delay: Duration::ZERO, status: StatusCode::OK, size: None };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let understood = match key {
                "delay" => duration::parse(value).map(|delay| wanted.delay = delay).is_ok(),
                "size" => size::parse(value).map(|size| wanted.size = Some(size)).is_ok(),
                "status" => final_status(value).map(|status| wanted.status = status).is_some(),
                _ => true,
            };
            if !understood {
                return Err(format!("{key}={value} is not understood; write delay=500ms, status=503, size=1Mi\n"));
            }
        }
        Ok(wanted)
    }
}

/// Statuses below 200 do not end an exchange.
fn final_status(text: &str) -> Option<StatusCode> {
    text.parse().ok().filter(|status: &StatusCode| !status.is_informational())
}

impl Tls {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        Tls {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "",
            },
            server_name: connection.server_name().map(str::to_owned),
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        }
    }
}

async fn length(mut body: Incoming) -> hyper::Result<u64> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

fn text(status: StatusCode, text: String) -> Response<AnswerBody> {
    let mut response = typed("text/plain", Either::Left(text.into()));
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A body of any length that takes no memory.
#[derive(Debug)]
pub(super) struct Filler {
    left: u64,
}

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static BLOCK: [u8; 64 << 10] = [b'.'; 64 << 10];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).map_or(BLOCK.len(), |left| left.min(BLOCK.len()));
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLOCK[..length])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_how_to_answer() {
        let wanted = Wanted::read("a&delay=500ms&b=c&status=503&size=1Mi").unwrap();
        let expected =
            Wanted { delay: Duration::from_millis(500), status: StatusCode::SERVICE_UNAVAILABLE, size: Some(1 << 20) };
        assert_eq!(wanted, expected);
    }

    #[test]
    fn what_the_query_cannot_mean_is_told() {
        for query in ["delay=5", "status=101", "status=99", "size=big"] {
            assert!(Wanted::read(query).unwrap_err().contains(query));
        }
    }
}
