//! Why a request fails, and what that means to everybody who looks: the client (status), the access log (flag), the
//! backend's error counter (reason).
//!
//! Every failure of a request is one [`ProxyError`]; the table in ARCHITECTURE.md ("Statuses") lists all of them and is
//! compared with this file by a test. `respond` makes answers of them. What is wrong with an object is a Problem, what
//! keeps the process from starting is a startup error; neither is here.

use http::StatusCode;

use crate::telemetry::BackendError;

/// This request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The head says something that two readers could understand differently, or nothing that can be served.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// An escape in the path would select another route if it were decoded.
    #[error("the path means another route once decoded")]
    AmbiguousPath,
    /// No rule takes host and path.
    #[error("no route takes the request")]
    NoRoute,
    /// TRACE, which would show what proxies add.
    #[error("the method is not allowed")]
    MethodNotAllowed,
    /// CONNECT where the route lets nobody open a tunnel.
    #[error("CONNECT is not served")]
    ConnectRefused,
    /// The client sent no more of its head or body in time.
    #[error("the client was too slow")]
    RequestTimeout,
    #[error("the request body is too large")]
    BodyTooLarge,
    #[error("the request target is too long")]
    UriTooLong,
    /// The client's address may not use the route.
    #[error("the client's address is not allowed")]
    Forbidden,
    /// The route's policy does not list the method.
    #[error("the method is not listed")]
    MethodNotListed,
    /// A field that the route's policy requires is missing.
    #[error("a required field is missing")]
    FieldMissing,
    /// A rate limit refuses the request, with this status.
    #[error("too many requests")]
    RateLimited(u16),
    /// The client has as many requests in flight as it may have.
    #[error("too many requests in flight")]
    ConnectionLimited,
    /// The client's address has as many requests in flight as `--max-connections-per-address` says.
    #[error("too many requests in flight from the client's address")]
    AddressLimited,
    /// `Expect` asks for something other than `100-continue`.
    #[error("the expectation is not met")]
    ExpectationFailed,
    #[error("the request head is too large")]
    HeadTooLarge,
    /// The client went away before the response head; the status is only logged.
    #[error("the client went away")]
    ClientGone,
    #[error("a panic ended the request")]
    Panic,
    /// An extended CONNECT (RFC 8441) for a protocol other than websocket.
    #[error("the protocol is not implemented")]
    NotImplemented,
    /// No connection to an endpoint could be opened.
    #[error("no endpoint could be connected to")]
    Connect,
    /// The endpoint closed or reset the connection.
    #[error("the endpoint closed the connection")]
    Reset,
    /// The same, of an HTTP/2 connection on which many requests had been cancelled.
    #[error("the endpoint closed a connection with many cancelled requests")]
    ManyCancelled,
    /// The endpoint answered something that is not valid HTTP, or that nobody asked for.
    #[error("the endpoint broke the protocol")]
    Protocol,
    /// The route's owner asks for something that cannot be honoured safely.
    #[error("the route is denied")]
    Denied,
    #[error("the backend has no endpoint")]
    NoEndpoint,
    /// Each endpoint has as many requests in flight as it may have.
    #[error("the backend's endpoints are full")]
    BackendFull,
    /// The process has no descriptor, local port or memory left for another connection.
    #[error("no socket is left")]
    NoSocket,
    /// The process takes nearly all of the memory that it may.
    #[error("memory is scarce")]
    MemoryScarce,
    /// The process ends before the request could be answered.
    #[error("the process is shutting down")]
    Draining,
    /// Connecting took longer than the route allows.
    #[error("connecting timed out")]
    ConnectTimeout,
    /// The endpoint was silent for longer than the route allows.
    #[error("the endpoint was silent for too long")]
    ResponseTimeout,
    /// The whole request took longer than the route allows.
    #[error("the request took too long")]
    RequestDeadline,
}

impl ProxyError {
    /// Every failure once, in the order of its status.
    pub fn all() -> [ProxyError; 32] {
        use ProxyError::*;
        [
            BadRequest(""),
            AmbiguousPath,
            FieldMissing,
            Forbidden,
            NoRoute,
            MethodNotAllowed,
            MethodNotListed,
            ConnectRefused,
            RequestTimeout,
            BodyTooLarge,
            UriTooLong,
            ExpectationFailed,
            RateLimited(429),
            ConnectionLimited,
            AddressLimited,
            HeadTooLarge,
            ClientGone,
            Panic,
            NotImplemented,
            Connect,
            Reset,
            ManyCancelled,
            Protocol,
            Denied,
            NoEndpoint,
            BackendFull,
            NoSocket,
            MemoryScarce,
            Draining,
            ConnectTimeout,
            ResponseTimeout,
            RequestDeadline,
        ]
    }

    /// What the client is answered, if no response head has left yet.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("three digits")
    }

    /// The short response flag of the access log.
    pub fn flag(&self) -> &'static str {
        self.row().1
    }

    /// The variant's name as documents and reports write it: `no_route`.
    pub fn cause(&self) -> String {
        let name = format!("{self:?}");
        let mut cause = String::with_capacity(name.len() + 4);
        for letter in name.chars().take_while(|letter| *letter != '(') {
            if letter.is_uppercase() && !cause.is_empty() {
                cause.push('_');
            }
            cause.push(letter.to_ascii_lowercase());
        }
        cause
    }

    /// What counts against the backend, if the failure is a backend's: 502 is connect, reset, protocol; 504 is timeout.
    pub fn backend_error(&self) -> Option<BackendError> {
        match self {
            ProxyError::Connect | ProxyError::NoSocket => Some(BackendError::Connect),
            ProxyError::Reset | ProxyError::ManyCancelled => Some(BackendError::Reset),
            ProxyError::Protocol => Some(BackendError::Protocol),
            ProxyError::ConnectTimeout | ProxyError::ResponseTimeout | ProxyError::RequestDeadline => {
                Some(BackendError::Timeout)
            }
            _ => None,
        }
    }

    /// Speaks against the endpoint. Not the deadline for the whole request, which a slow client may have used up, nor
    /// what this process lacks or other requests did.
    pub(super) fn ejects(&self) -> bool {
        use ProxyError::{Connect, ConnectTimeout, Protocol, Reset, ResponseTimeout};
        matches!(self, Connect | ConnectTimeout | Protocol | Reset | ResponseTimeout)
    }

    /// An HTTP/1 connection ends with the answer: where the request ends cannot be told, or must not be waited for.
    pub fn closes(&self) -> bool {
        match self {
            ProxyError::BadRequest(_)
            | ProxyError::AmbiguousPath
            | ProxyError::ConnectRefused
            | ProxyError::RequestTimeout
            | ProxyError::BodyTooLarge
            | ProxyError::UriTooLong
            | ProxyError::ExpectationFailed
            | ProxyError::HeadTooLarge
            | ProxyError::ClientGone
            | ProxyError::Panic
            | ProxyError::MemoryScarce
            | ProxyError::Draining => true,
            ProxyError::NoRoute
            | ProxyError::Forbidden
            | ProxyError::FieldMissing
            | ProxyError::MethodNotAllowed
            | ProxyError::MethodNotListed
            | ProxyError::RateLimited(_)
            | ProxyError::ConnectionLimited
            | ProxyError::AddressLimited
            | ProxyError::NotImplemented
            | ProxyError::Connect
            | ProxyError::Reset
            | ProxyError::ManyCancelled
            | ProxyError::Protocol
            | ProxyError::Denied
            | ProxyError::NoEndpoint
            | ProxyError::BackendFull
            | ProxyError::NoSocket
            | ProxyError::ConnectTimeout
            | ProxyError::ResponseTimeout
            | ProxyError::RequestDeadline => false,
        }
    }

    /// Status and flag. Flags are Envoy's where Envoy has one for the same thing.
    fn row(&self) -> (u16, &'static str) {
        match self {
            ProxyError::BadRequest(_) => (400, "DPE"),
            ProxyError::AmbiguousPath => (400, "AP"),
            ProxyError::FieldMissing => (400, "FM"),
            ProxyError::Forbidden => (403, "AD"),
            ProxyError::NoRoute => (404, "NR"),
            ProxyError::MethodNotAllowed => (405, "MA"),
            ProxyError::MethodNotListed => (405, "MA"),
            ProxyError::ConnectRefused => (405, "CR"),
            ProxyError::RequestTimeout => (408, "DT"),
            ProxyError::BodyTooLarge => (413, "BL"),
            ProxyError::UriTooLong => (414, "DPE"),
            ProxyError::ExpectationFailed => (417, "DPE"),
            ProxyError::RateLimited(status) => (*status, "RL"),
            ProxyError::ConnectionLimited => (429, "CL"),
            ProxyError::AddressLimited => (429, "AL"),
            ProxyError::HeadTooLarge => (431, "DPE"),
            ProxyError::ClientGone => (499, "DC"),
            ProxyError::Panic => (500, "IE"),
            ProxyError::NotImplemented => (501, "DPE"),
            ProxyError::Connect => (502, "UF"),
            ProxyError::Reset | ProxyError::ManyCancelled => (502, "UC"),
            ProxyError::Protocol => (502, "UPE"),
            ProxyError::Denied => (503, "DN"),
            ProxyError::NoEndpoint => (503, "UH"),
            ProxyError::BackendFull => (503, "UO"),
            ProxyError::NoSocket => (503, "UO"),
            ProxyError::MemoryScarce => (503, "OM"),
            ProxyError::Draining => (503, "SD"),
            ProxyError::ConnectTimeout => (504, "UF"),
            ProxyError::ResponseTimeout => (504, "UT"),
            ProxyError::RequestDeadline => (504, "UT"),
        }
    }
}

#[cfg(test)]
mod tests;
