//! Gets a request answered by an endpoint of its backend: a pooled connection or a new one, the next endpoint where one
//! cannot be reached, and never a request twice that must not be.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use smallvec::SmallVec;

use super::error::ProxyError;
use super::exchange::Exchange;
use super::pool::{Connected, Sender};
use super::request_body::RequestBody;
use super::{connect, failure};
use crate::snapshot::RoutePolicy;
use crate::tables::{Lease, LiveBackend, NoLease};

/// Endpoints that one request tries to connect to.
const CONNECT_TRIES: usize = 3;

/// Fields in the head of an answer. hyper sees to it in HTTP/1.1; h2 knows no such bound.
const MAX_FIELDS: usize = 100;

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
    if_undone: bool,
}

/// How a connection gave no answer.
enum Lost {
    /// Nothing of the request was sent; here it is.
    Unsent(Request<RequestBody>),
    /// The connection ended under the request, to no effect; here is its copy.
    Stale(Replay),
    /// The endpoint did nothing about the request, and the connection goes on.
    Refused(Replay),
    Failed(ProxyError),
}

/// How an endpoint gave no answer.
enum Unserved {
    /// Another endpoint may answer the request.
    Unreached(Request<RequestBody>, ProxyError),
    /// The same, and this one may do so later.
    Refused(Request<RequestBody>),
    Failed(ProxyError),
}

/// Sends `request` to `backend` and waits for the response head.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    backend: &LiveBackend,
    policy: &RoutePolicy,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Connected), ProxyError> {
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
) -> Result<(Response<Incoming>, Connected), ProxyError> {
    let mut tried = SmallVec::<[u64; CONNECT_TRIES]>::new();
    let mut failure = None;
    // The only endpoint may be asked again.
    let mut alone = backend.endpoints.len() == 1;
    while tried.len() < CONNECT_TRIES {
        let lease = match backend.pick(exchange.client.get(), exchange.connection.worker.random(), &tried) {
            Ok(lease) => lease,
            Err(nobody) => return Err(failure.unwrap_or_else(|| nobody.into())),
        };
        match failure {
            None => exchange.trying(lease.endpoint().address),
            Some(_) => exchange.retries(lease.endpoint().address),
        }
        tried.push(lease.endpoint().id);
        match to_endpoint(exchange, policy, lease, request).await {
            Ok((response, connected)) => {
                if response.status().is_server_error() {
                    backend.failed(connected.lease.endpoint().id);
                } else {
                    backend.served(connected.lease.endpoint());
                }
                return Ok((response, connected));
            }
            Err(Unserved::Unreached(unsent, error)) => {
                told_of(backend, &tried, error);
                (request, failure) = (unsent, Some(error));
            }
            Err(Unserved::Refused(unsent)) => {
                (request, failure) = (unsent, Some(ProxyError::Reset));
                if std::mem::take(&mut alone) {
                    tried.clear();
                }
            }
            Err(Unserved::Failed(error)) => {
                told_of(backend, &tried, error);
                return Err(error);
            }
        }
    }
    Err(failure.unwrap_or(ProxyError::NoEndpoint))
}

/// Counts a failure against the endpoint that was tried last, if it is one of an endpoint.
fn told_of(backend: &LiveBackend, tried: &[u64], error: ProxyError) {
    if let (Some(last), true) = (tried.last(), error.ejects()) {
        backend.failed(*last);
    }
}

/// Pooled connections to the endpoint first: one that turns out to be closed costs nothing. Then a new one.
async fn to_endpoint(
    exchange: &Rc<Exchange>,
    policy: &RoutePolicy,
    mut lease: Lease,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Connected), Unserved> {
    let worker = &exchange.connection.worker;
    let mut pooled = true;
    loop {
        let checkout = if pooled { worker.pools.checkout(worker, lease) } else { Err(lease) };
        let connected = match checkout {
            Ok(connected) => connected,
            // Boxed, since it is seldom needed and most of this future's size.
            Err(lease) => match Box::pin(fresh(exchange, policy, lease, request.headers())).await {
                Ok(Ok(connected)) => connected,
                Ok(Err(unreachable)) => return Err(Unserved::Unreached(request, unreachable)),
                Err(error) => return Err(Unserved::Failed(error)),
            },
        };
        match on_connection(exchange, connected, request).await {
            (Ok(response), connected) => return Ok((response, connected)),
            (Err(lost), connected) => match once_more(exchange, lost, connected) {
                ControlFlow::Continue(next) => (request, lease, pooled) = next,
                ControlFlow::Break(unserved) => return Err(unserved),
            },
        }
    }
}

/// What to send to the same endpoint again, and whether a pooled connection may be used for that.
fn once_more(
    exchange: &Rc<Exchange>,
    lost: Lost,
    connected: Connected,
) -> ControlFlow<Unserved, (Request<RequestBody>, Lease, bool)> {
    match lost {
        Lost::Unsent(unsent) if connected.reused => ControlFlow::Continue((unsent, connected.lease, true)),
        Lost::Unsent(unsent) => {
            exchange.backend_failed(ProxyError::Reset);
            ControlFlow::Break(Unserved::Unreached(unsent, ProxyError::Reset))
        }
        Lost::Stale(replay) if connected.reused => {
            exchange.retries(connected.lease.endpoint().address);
            // Not another pooled one: a request that makes its endpoint close must not do so to all of them.
            ControlFlow::Continue((replay.request(exchange), connected.lease, false))
        }
        // A new connection does not help where one has just failed: another endpoint may.
        Lost::Stale(replay) => ControlFlow::Break(Unserved::Unreached(replay.request(exchange), ProxyError::Reset)),
        Lost::Refused(replay) => ControlFlow::Break(Unserved::Refused(replay.request(exchange))),
        Lost::Failed(error) => ControlFlow::Break(Unserved::Failed(error)),
    }
}

/// A new connection to the endpoint, or why there is none. The outer error is the exchange's own end.
async fn fresh(
    exchange: &Rc<Exchange>,
    policy: &RoutePolicy,
    lease: Lease,
    headers: &HeaderMap,
) -> Result<Result<Connected, ProxyError>, ProxyError> {
    let worker = &exchange.connection.worker;
    let connecting = connect::connect(worker, &lease, headers, exchange.connect_timeout(policy));
    Ok(match exchange.unless_failed(connecting).await? {
        Ok(sender) => Ok(Connected::fresh(sender, lease, worker.clone())),
        Err(error) => {
            let failure = failure::of_connecting(&error);
            exchange.backend_failed(failure);
            Err(failure)
        }
    })
}

impl From<NoLease> for ProxyError {
    fn from(nobody: NoLease) -> Self {
        match nobody {
            NoLease::Nobody => ProxyError::NoEndpoint,
            NoLease::Full => ProxyError::BackendFull,
        }
    }
}

/// One request on one connection, to the response head.
async fn on_connection(
    exchange: &Rc<Exchange>,
    mut connected: Connected,
    request: Request<RequestBody>,
) -> (Result<Response<Incoming>, Lost>, Connected) {
    let again = Again {
        // A reused connection may have been closing when the request went out (RFC 9110 §9.2.2).
        if_reset: connected.reused && request.method().is_idempotent(),
        // The endpoint tells of a stream that it has not processed (RFC 9113 §8.7).
        if_undone: matches!(connected.sender, Sender::Http2(..)),
    };
    let repeatable = again.if_reset && request.body().is_end_stream();
    if connected.reused && !repeatable && connected.idle_since != exchange.connection.worker.clock.now() {
        // This request may not be sendable twice: let the reactor deliver a close that has already arrived.
        tokio::task::yield_now().await;
    }
    exchange.waits_for_backend();
    match exchange.unless_failed(poll_fn(|cx| connected.sender.poll_ready(cx))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return (Err(Lost::Unsent(request)), connected),
        Err(error) => return (Err(Lost::Failed(error)), connected),
    }
    let replay = (again.if_reset || again.if_undone).then(|| Replay::of(&request));
    let result = match &mut connected.sender {
        Sender::Http1(sender) => exchange.unless_failed(sender.send(request)).await,
        Sender::Http2(shared, _) => exchange.unless_failed(shared.sender().try_send_request(request)).await,
    };
    let result = match result {
        Ok(Ok(response)) => bounded(exchange, response).map_err(Lost::Failed),
        Ok(Err(unanswered)) => Err(lost(exchange, unanswered, again, replay)),
        Err(error) => Err(Lost::Failed(error)),
    };
    (result, connected)
}

fn bounded(exchange: &Exchange, response: Response<Incoming>) -> Result<Response<Incoming>, ProxyError> {
    if response.headers().len() <= MAX_FIELDS {
        return Ok(response);
    }
    exchange.backend_failed(ProxyError::Protocol);
    Err(ProxyError::Protocol)
}

fn lost(
    exchange: &Exchange,
    mut unanswered: TrySendError<Request<RequestBody>>,
    again: Again,
    replay: Option<Replay>,
) -> Lost {
    if let Some(request) = unanswered.take_message() {
        return Lost::Unsent(request);
    }
    // A request body that broke shows up as a broken connection; its own reason is the true one.
    if let Some(error) = exchange.failure() {
        return Lost::Failed(error);
    }
    let error = unanswered.error();
    let failure = failure::of(error);
    exchange.backend_failed(failure);
    let ended = failure == ProxyError::Reset && !failure::is_of_stream(error);
    match replay.filter(|_| exchange.body.is_whole()) {
        Some(replay) if again.if_undone && failure::is_refused(error) => Lost::Refused(replay),
        Some(replay) if again.if_undone && failure::is_left_out(error) || again.if_reset && ended => {
            Lost::Stale(replay)
        }
        _ => Lost::Failed(failure),
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
