//! Gets a request answered by an endpoint of its backend: a pooled connection or a new one, the next endpoint where one
//! cannot be reached, and never a request twice that must not be.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use smallvec::SmallVec;

use super::error::ProxyError;
use super::exchange::Exchange;
use super::pool::{Connected, Sender};
use super::replay::{Replay, Retries};
use super::request_body::RequestBody;
use super::{connect, failure};
use crate::snapshot::RoutePolicy;
use crate::tables::{Lease, LiveBackend, NoLease};

/// Endpoints that one request is sent to, where those before have done nothing about it.
const CONNECT_TRIES: usize = 3;

/// Fields in the head of an answer. hyper sees to it in HTTP/1.1; h2 knows no such bound.
const MAX_FIELDS: usize = 100;

/// Their bytes, as HTTP/1.1 writes them: what a head of 64 KiB leaves beside `HTTP/1.1 200 OK` and the empty line. hyper
/// refuses a head that does not fit its buffer, but may have read up to twice as much by the time it looks.
const MAX_FIELD_BYTES: usize = (64 << 10) - 19;

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
    response: Response<Incoming>,
    connected: Connected,
    replay: Option<Replay>,
}

/// How a connection gave no answer.
enum Lost {
    /// Nothing of the request was sent; here it is.
    Unsent(Request<RequestBody>),
    /// The connection ended under the request, to no effect; here is its copy.
    Stale(Replay),
    /// The endpoint did nothing about the request, and the connection goes on.
    Refused(Replay),
    /// The connection or stream ended under the request; another endpoint may be asked if the policy says so.
    Reset(Replay, ProxyError),
    Failed(ProxyError),
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
) -> (Result<(Response<Incoming>, Option<Replay>), Lost>, Connected) {
    let again = Again {
        // A reused connection may have been closing when the request went out (RFC 9110 §9.2.2).
        if_reset: connected.reused && request.method().is_idempotent(),
        // The endpoint tells of a stream that it has not processed (RFC 9113 §8.7).
        if_undone: matches!(connected.sender, Sender::Http2(..)),
        by_policy,
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
    let replay = (again.if_reset || again.if_undone || again.by_policy).then(|| Replay::of(&request));
    let result = match &mut connected.sender {
        Sender::Http1(sender) => exchange.unless_failed(sender.send(request)).await,
        Sender::Http2(shared, in_use) => {
            in_use.under_way = true;
            let answer = exchange.unless_failed(shared.sender().try_send_request(request)).await;
            in_use.under_way = !matches!(answer, Ok(Err(_)));
            answer
        }
    };
    let result = match result {
        Ok(Ok(response)) => bounded(exchange, response)
            .map(|response| (response, replay.filter(|_| again.by_policy)))
            .map_err(Lost::Failed),
        Ok(Err(unanswered)) => {
            // A client's certificate is refused in TLS 1.3 after the handshake.
            if let Some(alert) = failure::alert(unanswered.error()) {
                connect::tell(connected.lease.endpoint(), alert);
            }
            Err(lost(exchange, unanswered, again, replay, &connected.sender))
        }
        Err(error) => Err(Lost::Failed(error)),
    };
    (result, connected)
}

fn bounded(exchange: &Exchange, response: Response<Incoming>) -> Result<Response<Incoming>, ProxyError> {
    let fields = response.headers();
    let bytes = || fields.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>();
    if fields.len() <= MAX_FIELDS && bytes() <= MAX_FIELD_BYTES {
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
    sender: &Sender,
) -> Lost {
    if let Some(request) = unanswered.take_message() {
        return Lost::Unsent(request);
    }
    // A request body that broke shows up as a broken connection; its own reason is the true one.
    if let Some(error) = exchange.failure() {
        return Lost::Failed(error);
    }
    let error = unanswered.error();
    let failure = match failure::of(error) {
        ProxyError::Reset if sender.is_spent() => ProxyError::ManyCancelled,
        failure => failure,
    };
    exchange.backend_failed(failure);
    let reset = matches!(failure, ProxyError::Reset | ProxyError::ManyCancelled);
    let ended = reset && !failure::is_of_stream(error);
    match replay.filter(|_| exchange.body.is_whole()) {
        Some(replay) if again.if_undone && failure::is_refused(error) => Lost::Refused(replay),
        Some(replay) if again.if_undone && failure::is_left_out(error) || again.if_reset && ended => {
            Lost::Stale(replay)
        }
        Some(replay) if again.by_policy && reset => Lost::Reset(replay, failure),
        _ => Lost::Failed(failure),
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
