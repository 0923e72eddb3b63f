//! What is needed to send a request again, and whether its backend's policy wants that. `forward` asks; what became of
//! the request, and whether its body is still whole, is known there.

use std::rc::Rc;

use http::request::Parts;
use http::{Method, Request, StatusCode};

use super::exchange::Exchange;
use super::request_body::RequestBody;
use crate::snapshot::{Retry, RetryOn};
use crate::tables::{Lease, LiveBackend, NoLease};

/// What is needed to send a request again; its body is the exchange's.
pub(super) struct Replay(Parts);

/// What the policy leaves to one request: further tries, each at another endpoint.
pub(super) struct Retries<'a> {
    exchange: &'a Exchange,
    backend: &'a LiveBackend,
    left: u32,
    /// The policy names something besides failed connections, for requests like this one.
    pub(super) after_sending: bool,
}

impl Replay {
    /// A copy, for hyper takes the request itself (HTTP/2).
    pub(super) fn of(request: &Request<RequestBody>) -> Self {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method.clone_from(request.method());
        head.uri.clone_from(request.uri());
        head.version = request.version();
        head.headers.clone_from(request.headers());
        Replay(head)
    }

    pub(super) fn request(self, exchange: &Rc<Exchange>) -> Request<RequestBody> {
        Request::from_parts(self.0, RequestBody::again(exchange.clone()))
    }
}

impl From<Parts> for Replay {
    fn from(head: Parts) -> Self {
        Replay(head)
    }
}

impl<'a> Retries<'a> {
    pub(super) fn of(exchange: &'a Exchange, backend: &'a LiveBackend, method: &Method) -> Self {
        let Retry { attempts, on, non_idempotent, .. } = &backend.source.policy.retry;
        let named = *attempts > 0 && on.iter().any(|on| *on != RetryOn::ConnectFailure);
        let after_sending = named && (*non_idempotent || method.is_idempotent());
        if named {
            backend.count_request(exchange.connection.worker.shared.nanos());
        }
        Retries { after_sending, ..Self::of_tunnel(exchange, backend) }
    }

    /// For connecting only. Nothing of a tunnel is sent again, so that it makes no room in the budget of requests.
    pub(super) fn of_tunnel(exchange: &'a Exchange, backend: &'a LiveBackend) -> Self {
        Retries { exchange, backend, left: backend.source.policy.retry.attempts, after_sending: false }
    }

    /// The endpoint for another try after a connection that failed, if the policy wants one and there is one. No budget
    /// for these: they cost an endpoint nothing.
    pub(super) fn after_connecting(&mut self, pick: impl Fn() -> Result<Lease, NoLease>) -> Option<Lease> {
        let lease = if self.left > 0 && self.wants(RetryOn::ConnectFailure) { pick().ok()? } else { return None };
        self.left -= 1;
        Some(lease)
    }

    /// The same after a connection that ended under the request.
    pub(super) fn after_reset(&mut self, pick: impl Fn() -> Result<Lease, NoLease>) -> Option<Lease> {
        self.after_sending(RetryOn::Reset, pick)
    }

    /// The same after an answer of this status.
    pub(super) fn after_answer(
        &mut self,
        status: StatusCode,
        pick: impl Fn() -> Result<Lease, NoLease>,
    ) -> Option<Lease> {
        self.after_sending(RetryOn::Status(status.as_u16()), pick)
    }

    fn after_sending(&mut self, what: RetryOn, pick: impl Fn() -> Result<Lease, NoLease>) -> Option<Lease> {
        if !self.after_sending || self.left == 0 || !self.wants(what) {
            return None;
        }
        // First, so that nothing is taken from the budget where nobody is left.
        let lease = pick().ok()?;
        if !self.backend.may_retry(self.exchange.connection.worker.shared.nanos()) {
            return None;
        }
        self.left -= 1;
        Some(lease)
    }

    fn wants(&self, what: RetryOn) -> bool {
        self.backend.source.policy.retry.on.contains(&what)
    }
}
