//! Gets a request answered by an endpoint of its backend: a pooled connection or a new one, the next endpoint where one
//! cannot be reached, and never a request twice that must not be.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use smallvec::SmallVec;

use super::backend_http1::{Http1, MAX_FIELDS};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::pool::{Connected, InUse, Sender, Shared};
use super::replay::{Replay, Retries};
use super::request_body::RequestBody;
use super::{connect, failure};
use crate::snapshot::RoutePolicy;
use crate::tables::{Lease, LiveBackend, LiveEndpoint, NoLease};

/// Endpoints that one request is sent to, where those before have done nothing about it.
const CONNECT_TRIES: usize = 3;

/// Bytes of the fields in the head of an answer over HTTP/2, as HTTP/1.1 writes them: what a head of 64 KiB leaves beside
/// `HTTP/1.1 200 OK` and the empty line. h2 knows no such bound, nor one of their number.
const MAX_FIELD_BYTES: usize = (64 << 10) - 19;

/// An answer. `None` in place of its body: that is read of the connection itself, over HTTP/1.1.
pub(super) type Received = Response<Option<Incoming>>;

/// When a request may be sent again though it went out.
#[derive(Clone, Copy)]
struct Again {
    if_reset: bool,
    if_undone: bool,
    /// The policy may want that.
    by_policy: bool,
}

/// An endpoint's answer, and the request where the policy may want it to be sent again.
struct Answer {
    response: Received,
    connected: Connected,
    replay: Option<Replay>,
}

/// How a connection gave no answer.
enum Lost {
    /// Nothing of the request was sent; here it is.
    Unsent(Request<RequestBody>),
    /// The connection ended under the request, to no effect.
    Stale(Replay),
    /// The endpoint did nothing about the request, and the connection goes on.
    Refused(Replay),
    /// The connection or stream ended under the request; another endpoint may be asked if the policy says so.
    Reset(Replay, ProxyError),
    Failed(ProxyError),
}

/// An error in place of an answer.
struct NoAnswer {
    failure: ProxyError,
    /// Only an HTTP/2 stream ended.
    of_stream: bool,
    /// The endpoint did nothing about that, or left it out of what it still does.
    refused: bool,
    left_out: bool,
}

/// How an endpoint gave no answer.
enum Unserved {
    /// Another endpoint may answer the request.
    Unreached(Request<RequestBody>, ProxyError),
    /// The same, and this one may do so later.
    Refused(Request<RequestBody>),
    /// Another endpoint may answer the request, if the policy wants that.
    Reset(Request<RequestBody>, ProxyError),
    Failed(ProxyError),
}

/// Sends `request` to `backend` and waits for the response head.
pub(super) async fn forward(
    exchange: &Rc<Exchange>,
    backend: &LiveBackend,
    policy: &RoutePolicy,
    request: Request<RequestBody>,
) -> Result<(Received, Connected), ProxyError> {
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
) -> Result<(Received, Connected), ProxyError> {
    let connect_timeout = backend.connect_timeout(policy);
    let pick = |tried: &[u64]| backend.pick(exchange.client.get(), exchange.connection.worker.random(), tried);
    let mut retries = Retries::of(exchange, backend, request.method());
    let mut tried = SmallVec::<[u64; CONNECT_TRIES]>::new();
    // The only endpoint may be asked again.
    let mut alone = backend.endpoints.len() == 1;
    let mut lease = pick(&tried)?;
    exchange.trying(lease.endpoint().address);
    loop {
        tried.push(lease.endpoint().id);
        let served = to_endpoint(exchange, connect_timeout, retries.after_sending, lease, request).await;
        tell_of(backend, &tried, &served);
        (request, lease) = match served {
            Ok(Answer { response, connected, replay }) => {
                let status = response.status();
                let whole = replay.filter(|_| exchange.body.is_whole());
                let next = whole.and_then(|replay| Some((replay, retries.after_answer(status, || pick(&tried))?)));
                let Some((replay, next)) = next else { return Ok((response, connected)) };
                exchange.answered(status);
                (replay.request(exchange), next)
            }
            Err(Unserved::Unreached(unsent, ProxyError::Reset)) if tried.len() < CONNECT_TRIES => {
                (unsent, pick(&tried).map_err(|_| ProxyError::Reset)?)
            }
            Err(Unserved::Unreached(unsent, error)) => {
                (unsent, retries.after_connecting(|| pick(&tried)).ok_or(error)?)
            }
            Err(Unserved::Refused(unsent)) => {
                if std::mem::take(&mut alone) {
                    tried.clear();
                }
                let next = if tried.len() < CONNECT_TRIES { pick(&tried).ok() } else { None };
                (unsent, next.ok_or(ProxyError::Reset)?)
            }
            Err(Unserved::Reset(unsent, error)) => (unsent, retries.after_reset(|| pick(&tried)).ok_or(error)?),
            Err(Unserved::Failed(error)) => return Err(error),
        };
        exchange.retries(lease.endpoint().address);
    }
}

/// Counts for or against the endpoint that was tried last what it made of the request.
fn tell_of(backend: &LiveBackend, tried: &[u64], served: &Result<Answer, Unserved>) {
    let failed = match served {
        Ok(Answer { response, connected, .. }) if !response.status().is_server_error() => {
            return backend.served(connected.lease.endpoint());
        }
        Ok(_) => true,
        Err(Unserved::Unreached(_, error) | Unserved::Reset(_, error) | Unserved::Failed(error)) => error.ejects(),
        Err(Unserved::Refused(_)) => false,
    };
    if let (true, Some(last)) = (failed, tried.last()) {
        backend.failed(*last);
    }
}

/// Pooled connections to the endpoint first: one that turns out to be closed costs nothing. Then a new one.
async fn to_endpoint(
    exchange: &Rc<Exchange>,
    connect_timeout: Duration,
    by_policy: bool,
    mut lease: Lease,
    mut request: Request<RequestBody>,
) -> Result<Answer, Unserved> {
    let worker = &exchange.connection.worker;
    let mut pooled = true;
    loop {
        let checkout = if pooled { worker.pools.checkout(worker, lease) } else { Err(lease) };
        let connected = match checkout {
            Ok(connected) => connected,
            // Boxed, since it is seldom needed and most of this future's size.
            Err(lease) => match Box::pin(fresh(exchange, connect_timeout, lease, request.headers())).await {
                Ok(Ok(connected)) => connected,
                Ok(Err(unreachable)) => return Err(Unserved::Unreached(request, unreachable)),
                Err(error) => return Err(Unserved::Failed(error)),
            },
        };
        match on_connection(exchange, by_policy, connected, request).await {
            (Ok((response, replay)), connected) => return Ok(Answer { response, connected, replay }),
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
        Lost::Reset(replay, error) => ControlFlow::Break(Unserved::Reset(replay.request(exchange), error)),
        Lost::Failed(error) => ControlFlow::Break(Unserved::Failed(error)),
    }
}

/// A new connection to the endpoint, or why there is none. The outer error is the exchange's own end.
async fn fresh(
    exchange: &Rc<Exchange>,
    timeout: Duration,
    lease: Lease,
    headers: &HeaderMap,
) -> Result<Result<Connected, ProxyError>, ProxyError> {
    let worker = &exchange.connection.worker;
    let connecting = connect::connect(worker, &lease, headers, timeout);
    Ok(match exchange.unless_failed(connecting).await? {
        Ok(sender) => Ok(Connected::fresh(sender, lease, worker.clone())),
        Err(error) => {
            let failure = failure::of_connecting(&error, lease.endpoint().address);
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
    by_policy: bool,
    mut connected: Connected,
    request: Request<RequestBody>,
) -> (Result<(Received, Option<Replay>), Lost>, Connected) {
    let again = Again {
        // A reused connection may have been closing when the request went out (RFC 9110 §9.2.2).
        if_reset: connected.reused && request.method().is_idempotent(),
        // The endpoint tells of a stream that it has not processed (RFC 9113 §8.7).
        if_undone: matches!(connected.sender, Sender::Http2(..)),
        by_policy,
    };
    let repeatable = again.if_reset && request.body().is_end_stream();
    // This request may not be sendable twice. So is any on a new connection, which costs nothing.
    let looks = !repeatable && connected.idle_since != exchange.connection.worker.clock.now();
    if connected.reused && looks {
        // Let the reactor deliver a close that has already arrived.
        tokio::task::yield_now().await;
    }
    exchange.waits_for_backend();
    let result = match &mut connected.sender {
        Sender::Http1(connection) if looks && !connection.is_silent() => Err(Lost::Unsent(request)),
        Sender::Http1(connection) => over_http1(exchange, again, connection, connected.lease.endpoint(), request).await,
        Sender::Http2(shared, in_use) => over_http2(exchange, again, shared, in_use, request).await,
    };
    (result, connected)
}

async fn over_http1(
    exchange: &Exchange,
    again: Again,
    connection: &mut Http1,
    endpoint: &LiveEndpoint,
    request: Request<RequestBody>,
) -> Result<(Received, Option<Replay>), Lost> {
    let (head, body) = request.into_parts();
    match exchange.unless_failed(connection.send(&head, body)).await {
        Ok(Ok(response)) => Ok((response.map(|()| None), again.by_policy.then(|| Replay::from(head)))),
        Ok(Err(error)) => {
            // A client's certificate is refused in TLS 1.3 after the handshake.
            if let Some(alert) = failure::alert(&error) {
                connect::tell(endpoint, alert);
            }
            let failure = failure::of_http1(&error);
            let none = NoAnswer { failure, of_stream: false, refused: false, left_out: false };
            Err(none.loses(exchange, again, Replay::from(head)))
        }
        Err(error) => Err(Lost::Failed(error)),
    }
}

async fn over_http2(
    exchange: &Exchange,
    again: Again,
    shared: &mut Shared,
    in_use: &mut InUse,
    request: Request<RequestBody>,
) -> Result<(Received, Option<Replay>), Lost> {
    match exchange.unless_failed(poll_fn(|cx| shared.sender().poll_ready(cx))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(Lost::Unsent(request)),
        Err(error) => return Err(Lost::Failed(error)),
    }
    let replay = Replay::of(&request);
    in_use.under_way = true;
    let answer = exchange.unless_failed(shared.sender().try_send_request(request)).await;
    in_use.under_way = !matches!(answer, Ok(Err(_)));
    match answer {
        Ok(Ok(response)) if is_bounded(&response) => Ok((response.map(Some), Some(replay).filter(|_| again.by_policy))),
        Ok(Ok(_)) => {
            exchange.backend_failed(ProxyError::Protocol);
            Err(Lost::Failed(ProxyError::Protocol))
        }
        Ok(Err(mut unanswered)) => match unanswered.take_message() {
            Some(request) => Err(Lost::Unsent(request)),
            None => Err(NoAnswer::of(unanswered.error(), shared).loses(exchange, again, replay)),
        },
        Err(error) => Err(Lost::Failed(error)),
    }
}

fn is_bounded(response: &Response<Incoming>) -> bool {
    let fields = response.headers();
    let bytes = || fields.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>();
    fields.len() <= MAX_FIELDS && bytes() <= MAX_FIELD_BYTES
}

impl NoAnswer {
    fn of(error: &hyper::Error, shared: &Shared) -> Self {
        NoAnswer {
            failure: match failure::of(error) {
                ProxyError::Reset if shared.is_spent() => ProxyError::ManyCancelled,
                failure => failure,
            },
            of_stream: failure::is_of_stream(error),
            refused: failure::is_refused(error),
            left_out: failure::is_left_out(error),
        }
    }

    /// What becomes of the request.
    fn loses(self, exchange: &Exchange, again: Again, replay: Replay) -> Lost {
        // A request body that broke shows up as a broken connection; its own reason is the true one.
        if let Some(error) = exchange.failure() {
            return Lost::Failed(error);
        }
        exchange.backend_failed(self.failure);
        let reset = matches!(self.failure, ProxyError::Reset | ProxyError::ManyCancelled);
        let ended = reset && !self.of_stream;
        match Some(replay).filter(|_| exchange.body.is_whole()) {
            Some(replay) if again.if_undone && self.refused => Lost::Refused(replay),
            Some(replay) if again.if_undone && self.left_out || again.if_reset && ended => Lost::Stale(replay),
            Some(replay) if again.by_policy && reset => Lost::Reset(replay, self.failure),
            _ => Lost::Failed(self.failure),
        }
    }
}
