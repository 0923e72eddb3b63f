//! Gets a request answered by an endpoint of its backend: a pooled connection or a new one, the next endpoint where one
//! cannot be reached, and never a request twice that must not be.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use rustix::io::Errno;
use smallvec::SmallVec;

use super::connect;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::pool::{Sender, Upstream};
use super::request_body::RequestBody;
use crate::snapshot::RoutePolicy;
use crate::tables::{Lease, LiveBackend};

/// Endpoints that one request tries to connect to.
const CONNECT_TRIES: usize = 3;

/// What is needed to send a request again; its body is the exchange's.
struct Replay {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

/// When a request may be sent again though it went out.
#[derive(Clone, Copy)]
struct Again {
    if_reset: bool,
    if_refused: bool,
}

/// How a try ended that gave no answer.
enum Lost {
    /// Nothing of the request was sent; here it is.
    Unsent(Request<RequestBody>, ProxyError),
    /// The request went out, to no effect; here is its copy.
    Stale(Replay),
    Failed(ProxyError),
}

/// Sends `request` to `backend` and waits for the response head.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    backend: &LiveBackend,
    policy: &RoutePolicy,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Upstream), ProxyError> {
    exchange.body.keep();
    let answer = to_backend(exchange, backend, policy, request).await;
    if answer.is_ok() {
        exchange.body.settle();
    }
    answer
}

/// One endpoint after the other, as far as that can help.
async fn to_backend(
    exchange: &Rc<Exchange>,
    backend: &LiveBackend,
    policy: &RoutePolicy,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Upstream), ProxyError> {
    let mut tried = SmallVec::<[u64; CONNECT_TRIES]>::new();
    let mut failure = ProxyError::NoEndpoint;
    while tried.len() < CONNECT_TRIES
        && let Some(lease) = backend.pick(&tried)
    {
        let address = lease.endpoint().address;
        if tried.is_empty() {
            exchange.trying(address)
        } else {
            exchange.retries(address)
        }
        tried.push(lease.endpoint().id);
        match to_endpoint(exchange, policy, lease, request).await {
            Ok(answer) => return Ok(answer),
            Err(Lost::Unsent(unsent, error)) => (request, failure) = (unsent, error),
            Err(Lost::Stale(_)) => return Err(ProxyError::Reset),
            Err(Lost::Failed(error)) => return Err(error),
        }
    }
    Err(failure)
}

/// Pooled connections to the endpoint first: one that turns out to be closed costs nothing. Then a new one.
async fn to_endpoint(
    exchange: &Rc<Exchange>,
    policy: &RoutePolicy,
    mut lease: Lease,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Upstream), Lost> {
    let worker = &exchange.connection.worker;
    let mut pooled = true;
    loop {
        let checkout = if pooled { worker.pools.checkout(worker, lease) } else { Err(lease) };
        let upstream = match checkout {
            Ok(upstream) => upstream,
            // Boxed, since it is seldom needed and most of this future's size.
            Err(lease) => match Box::pin(fresh(exchange, policy, lease, request.headers())).await {
                Ok(Ok(upstream)) => upstream,
                Ok(Err(unreachable)) => return Err(Lost::Unsent(request, unreachable)),
                Err(error) => return Err(Lost::Failed(error)),
            },
        };
        match on_connection(exchange, upstream, request).await {
            (Ok(response), upstream) => return Ok((response, upstream)),
            (Err(Lost::Unsent(unsent, _)), upstream) if upstream.reused => (request, lease) = (unsent, upstream.lease),
            // A new connection does not help where the endpoint refuses the request on one: another endpoint may.
            (Err(Lost::Stale(replay)), upstream) if !upstream.reused => {
                exchange.backend_failed(ProxyError::Reset);
                return Err(Lost::Unsent(replay.request(exchange), ProxyError::Reset));
            }
            (Err(Lost::Stale(replay)), upstream) => {
                exchange.retries(upstream.lease.endpoint().address);
                (request, lease) = (replay.request(exchange), upstream.lease);
                // Not another pooled one: a request that makes its endpoint close must not do so to all of them.
                pooled = false;
            }
            (Err(lost), _) => {
                if let Lost::Unsent(..) = lost {
                    exchange.backend_failed(ProxyError::Reset);
                }
                return Err(lost);
            }
        }
    }
}

/// A new connection to the endpoint, or why there is none. The outer error is the exchange's own end.
async fn fresh(
    exchange: &Rc<Exchange>,
    policy: &RoutePolicy,
    lease: Lease,
    headers: &HeaderMap,
) -> Result<Result<Upstream, ProxyError>, ProxyError> {
    let worker = &exchange.connection.worker;
    let connecting = connect::connect(worker, &lease, headers, policy.connect_timeout);
    Ok(match exchange.unless_failed(connecting).await? {
        Ok(sender) => Ok(Upstream::fresh(sender, lease, worker.clone())),
        Err(error) => {
            let failure = connect_failure(&error);
            exchange.backend_failed(failure);
            Err(failure)
        }
    })
}

/// One request on one connection, to the response head.
async fn on_connection(
    exchange: &Rc<Exchange>,
    mut upstream: Upstream,
    request: Request<RequestBody>,
) -> (Result<Response<Incoming>, Lost>, Upstream) {
    let again = Again {
        // A reused connection may have been closing when the request went out (RFC 9110 §9.2.2).
        if_reset: upstream.reused && request.method().is_idempotent(),
        // A refused stream was not processed (RFC 9113 §8.7).
        if_refused: matches!(upstream.sender, Sender::Http2(..)),
    };
    let repeatable = again.if_reset && request.body().is_end_stream();
    if upstream.reused && !repeatable && upstream.idle_since != exchange.connection.worker.clock.now() {
        // This request may not be sendable twice: let the reactor deliver a close that has already arrived.
        tokio::task::yield_now().await;
    }
    exchange.waits_for_backend();
    match exchange.unless_failed(poll_fn(|cx| upstream.sender.poll_ready(cx))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return (Err(Lost::Unsent(request, ProxyError::Reset)), upstream),
        Err(error) => return (Err(Lost::Failed(error)), upstream),
    }
    let replay = (again.if_reset || again.if_refused).then(|| Replay::of(&request));
    let result = match &mut upstream.sender {
        Sender::Http1(sender) => exchange.unless_failed(sender.send(request)).await,
        Sender::Http2(shared, _) => exchange.unless_failed(shared.sender().try_send_request(request)).await,
    };
    let result = match result {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(unanswered)) => Err(lost(exchange, unanswered, again, replay)),
        Err(error) => Err(Lost::Failed(error)),
    };
    (result, upstream)
}

fn lost(
    exchange: &Exchange,
    mut unanswered: TrySendError<Request<RequestBody>>,
    again: Again,
    replay: Option<Replay>,
) -> Lost {
    if let Some(request) = unanswered.take_message() {
        return Lost::Unsent(request, ProxyError::Reset);
    }
    // A request body that broke shows up as a broken connection; its own reason is the true one.
    if let Some(error) = exchange.failure() {
        return Lost::Failed(error);
    }
    let failure = failure_of(unanswered.error());
    let unprocessed =
        again.if_reset && failure == ProxyError::Reset || again.if_refused && is_refused(unanswered.error());
    match replay {
        Some(replay) if unprocessed && exchange.body.is_whole() => Lost::Stale(replay),
        _ => {
            exchange.backend_failed(failure);
            Lost::Failed(failure)
        }
    }
}

impl Replay {
    fn of(request: &Request<RequestBody>) -> Self {
        Replay {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        }
    }

    fn request(self, exchange: &Rc<Exchange>) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::again(exchange.clone()));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers;
        request
    }
}

impl Sender {
    /// The connection has finished the request before and can take one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Sender::Http1(sender) => sender.poll_ready(cx),
            Sender::Http2(shared, _) => shared.sender().poll_ready(cx),
        }
    }
}

/// The endpoint says that it did nothing about the stream: refused it, or left it out of a GOAWAY (RFC 9113 §6.8).
fn is_refused(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(|error| match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => true,
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    })
}

fn connect_failure(error: &io::Error) -> ProxyError {
    let no_descriptor = matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
    match error.kind() {
        io::ErrorKind::TimedOut => ProxyError::ConnectTimeout,
        io::ErrorKind::AddrNotAvailable => ProxyError::NoSocket,
        _ if no_descriptor => ProxyError::NoSocket,
        _ => ProxyError::Connect,
    }
}

/// Why a try failed after the request had gone out, or while the answer came in: what came is not HTTP, or the
/// connection ended.
pub(super) fn failure_of(error: &hyper::Error) -> ProxyError {
    // What h2 found by itself, and was not told by the other side.
    let found = http2_error(error).is_some_and(h2::Error::is_library);
    if found || is_malformed(error) { ProxyError::Protocol } else { ProxyError::Reset }
}

fn http2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref())
}

/// The other side broke the rules of HTTP/1.1, or of chunks (which hyper says in the kind of an I/O error), rather than
/// going away.
pub(super) fn is_malformed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let broken = |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    error.is_parse() || source.is_some_and(broken)
}
