//! What an error of hyper, of a connection or of connecting means for a request. Asked by `forward` and by both bodies; what
//! follows from it is theirs to decide.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use super::error::ProxyError;
use crate::connecting::is_ours;

/// Why a try failed after the request had gone out, or while the answer came in: what came is not HTTP, or the
/// connection or stream ended.
pub(super) fn of(error: &hyper::Error) -> ProxyError {
    // What h2 found by itself, and was not told by the other side.
    let found = http2_error(error).is_some_and(h2::Error::is_library);
    if found || is_malformed(error) { ProxyError::Protocol } else { ProxyError::Reset }
}

/// The same of a connection in HTTP/1.1.
pub(super) fn of_http1(error: &io::Error) -> ProxyError {
    if is_broken(error) { ProxyError::Protocol } else { ProxyError::Reset }
}

/// Why there is no connection.
pub(super) fn of_connecting(error: &io::Error, endpoint: SocketAddr) -> ProxyError {
    match error.kind() {
        io::ErrorKind::TimedOut => ProxyError::ConnectTimeout,
        _ if is_ours(error, endpoint) => ProxyError::NoSocket,
        _ => ProxyError::Connect,
    }
}

/// The other side broke the rules of HTTP/1.1, or of chunks (which hyper says in the kind of an I/O error), rather than
/// going away.
pub(super) fn is_malformed(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_parse() || source.is_some_and(is_broken)
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) && alert(error).is_none()
}

/// What the other side had against us, or against going on, in TLS.
pub(super) fn alert(error: &io::Error) -> Option<&rustls::Error> {
    let error = error.get_ref()?.downcast_ref()?;
    matches!(error, rustls::Error::AlertReceived(_)).then_some(error)
}

/// Only the HTTP/2 stream ended; its connection goes on.
pub(super) fn is_of_stream(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(h2::Error::is_reset)
}

/// The endpoint says that it did nothing about the stream.
pub(super) fn is_refused(error: &hyper::Error) -> bool {
    is_of_stream(error) && reason(error) == Some(h2::Reason::REFUSED_STREAM)
}

/// The endpoint closes the connection and has left the stream out of what it still does (RFC 9113 §6.8).
pub(super) fn is_left_out(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(|error| error.is_go_away() && error.is_remote())
        && reason(error) == Some(h2::Reason::NO_ERROR)
}

fn reason(error: &hyper::Error) -> Option<h2::Reason> {
    http2_error(error).and_then(h2::Error::reason)
}

fn http2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|source| source.downcast_ref())
}
