//! Answers that we give ourselves: failures and the redirect to https.
//!
//! Their text is that of their status and nothing else, so that nobody learns from it which hosts or rules exist. What
//! becomes of a request body that was not read is the connection's business.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode, Uri, Version};

use super::error::ProxyError;
use super::headers::{self, Marks};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What of a request matters for our answer to it. Taken before the request is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    head: bool,
    grpc: bool,
    /// The connection's end can be announced by a field.
    http1: bool,
}

impl Asker {
    pub fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        let http1 = version < Version::HTTP_2;
        let grpc = !http1 && headers.get(CONTENT_TYPE).is_some_and(headers::is_grpc);
        Asker { head: *method == Method::HEAD, grpc, http1 }
    }
}

/// The answer to a request that failed with `error`. `allow`: the methods of its route, if it has one, which go with 405.
pub fn refuse(error: &ProxyError, asker: Asker, allow: Option<&HeaderValue>, marks: Marks<'_>) -> Response<Bytes> {
    let status = error.status();
    let mut response = answer(status, asker, marks);
    let headers = response.headers_mut();
    if let Some(allow) = allow.filter(|_| status == StatusCode::METHOD_NOT_ALLOWED) {
        headers.insert(ALLOW, allow.clone());
    }
    if asker.http1 && error.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Sends the client to the same URL over https. `host` is in normal form, and empty if the request named none, which is
/// then nowhere to go; `port` is given if https has an unusual one. Path and query are those of `uri`, the request's
/// target, byte for byte.
pub fn redirect(
    host: &str,
    port: Option<u16>,
    uri: &Uri,
    asker: Asker,
    marks: Marks<'_>,
) -> Result<Response<Bytes>, ProxyError> {
    if host.is_empty() {
        return Err(ProxyError::BadRequest("no host to redirect to"));
    }
    let location = HeaderValue::from_maybe_shared(Bytes::from(location(host, port, uri)));
    let location = location.map_err(|_| ProxyError::BadRequest("the target cannot be a Location"))?;
    let mut response = answer(StatusCode::PERMANENT_REDIRECT, asker, marks);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn location(host: &str, port: Option<u16>, uri: &Uri) -> Vec<u8> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut location = Vec::with_capacity("https://".len() + host.len() + ":65535/".len() + target.len());
    location.extend_from_slice(b"https://");
    location.extend_from_slice(host.as_bytes());
    if let Some(port) = port {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    // An absolute-form target may have a query and no path.
    if !target.starts_with('/') {
        location.push(b'/');
    }
    location.extend_from_slice(target.as_bytes());
    location
}

fn answer(status: StatusCode, asker: Asker, marks: Marks<'_>) -> Response<Bytes> {
    let (text, length) = text(status);
    let mut response = Response::new(if asker.head || asker.grpc { Bytes::new() } else { text.clone() });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(6);
    if asker.grpc {
        // A status in the head counts only if nothing follows it: gRPC calls that "Trailers-Only".
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, grpc_status(status));
        let message = HeaderValue::from_maybe_shared(text.slice(..text.len() - 1));
        headers.insert(GRPC_MESSAGE, message.expect("a status and its reason are visible ASCII"));
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CONTENT_LENGTH, length);
    }
    marks.write(headers);
    response
}

/// `<status> <reason>\n` and its length, ready made for every status that is not of a policy's choice.
fn text(status: StatusCode) -> (Bytes, HeaderValue) {
    let (text, length) = match status.as_u16() {
        308 => ("308 Permanent Redirect\n", "23"),
        400 => ("400 Bad Request\n", "16"),
        403 => ("403 Forbidden\n", "14"),
        404 => ("404 Not Found\n", "14"),
        405 => ("405 Method Not Allowed\n", "23"),
        408 => ("408 Request Timeout\n", "20"),
        413 => ("413 Payload Too Large\n", "22"),
        414 => ("414 URI Too Long\n", "17"),
        417 => ("417 Expectation Failed\n", "23"),
        429 => ("429 Too Many Requests\n", "22"),
        431 => ("431 Request Header Fields Too Large\n", "36"),
        499 => ("499 Client Closed Request\n", "26"),
        501 => ("501 Not Implemented\n", "20"),
        502 => ("502 Bad Gateway\n", "16"),
        503 => ("503 Service Unavailable\n", "24"),
        504 => ("504 Gateway Timeout\n", "20"),
        500 => ("500 Internal Server Error\n", "26"),
        other => {
            let reason = status.canonical_reason().map_or(String::new(), |reason| format!(" {reason}"));
            let text = format!("{other}{reason}\n");
            let length = text.len().into();
            return (text.into(), length);
        }
    };
    (Bytes::from_static(text.as_bytes()), HeaderValue::from_static(length))
}

/// What a gRPC client takes an HTTP status for (grpc/doc/http-grpc-status-mapping.md).
fn grpc_status(status: StatusCode) -> HeaderValue {
    HeaderValue::from_static(match status.as_u16() {
        400 => "13",                   // INTERNAL
        401 => "16",                   // UNAUTHENTICATED
        403 => "7",                    // PERMISSION_DENIED
        404 => "12",                   // UNIMPLEMENTED
        429 | 502 | 503 | 504 => "14", // UNAVAILABLE
        _ => "2",                      // UNKNOWN
    })
}

#[cfg(test)]
mod tests;
