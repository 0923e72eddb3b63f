//! One request and its answer, from the head to the last byte: what it waits for, what it has cost, what the log says.

mod end;
mod waits;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use smallvec::SmallVec;

use self::waits::Waits;
use super::client_address::{self, Resolved};
use super::clock::Millis;
use super::connection::Connection;
use super::decide;
use super::error::ProxyError;
use super::executor::Cut;
use super::head_check::Checked;
use super::headers::{self, LimitFields, Marks};
use super::request_body::ClientBody;
use super::respond::Asker;
use super::source::Answer;
use crate::snapshot::Protocol;
use crate::tables::{Counted, Decision, Held, LiveBackend, LiveRoute, RateLimiter, Tables};
use crate::telemetry::access_log::Try;
use crate::telemetry::{BackendError, RouteMetrics, RouteShard};

/// Shared by the request's future and its two bodies; all on one thread.
pub(super) struct Exchange {
    pub(super) connection: Rc<Connection>,
    /// The generation that this request lives in, until it is [let go of](Self::let_go).
    tables: RefCell<Option<Rc<Held>>>,
    pub(super) head: Head,
    /// Host and path in the form in which they are served, once the head was checked.
    pub(super) target: OnceCell<Checked>,
    pub(super) request_id: HeaderValue,
    start: Instant,
    /// The route, once one is found.
    route: OnceCell<Arc<LiveRoute>>,
    /// Where no route is found: the host stands in some `tls:`.
    pub(super) host_is_certified: Cell<bool>,
    /// The true client address; the peer's until the head is read.
    pub(super) client: Cell<IpAddr>,
    /// The place of the backend in the generation: that of the route, or the member of its split that takes the request.
    slot: Cell<Option<usize>>,
    /// What the log calls the backend, once the generation is let go of.
    backend_name: OnceCell<Box<str>>,
    /// What a rate limit tells the client.
    pub(super) limit: OnceCell<Box<LimitFields>>,
    /// In flight for limits on that; let go of at the end.
    pub(super) counted: RefCell<SmallVec<[Counted; 1]>>,
    /// The client's address has as many others in flight as it may.
    pub(super) crowded: bool,
    waits: Waits,
    /// The client's body, for as long as a try may need it.
    pub(super) body: ClientBody,
    pub(super) answer: Answer,
    /// All that came of the client's tunnel was taken.
    pub(super) tunnel_is_read: Cell<bool>,
    pub(super) body_complete: Cell<bool>,
    pub(super) received: Cell<u64>,
    pub(super) sent: Cell<u64>,
    tries: RefCell<SmallVec<[Try; 1]>>,
    try_start: Cell<Option<Instant>>,
    status: Cell<u16>,
    failure: Cell<Option<ProxyError>>,
    finished: Cell<bool>,
    task: RefCell<Option<Waker>>,
    /// Resets the HTTP/2 stream, also where hyper polls nothing of ours, since the client takes nothing.
    cut: Option<Rc<Cut>>,
}

/// What the log needs of the request head. Cloning these is counting references.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) host: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) grpc: bool,
    pub(super) asker: Asker,
    /// The client reads trailers.
    pub(super) takes_trailers: bool,
    /// The protocol that a client of HTTP/1.1 asks to change to.
    pub(super) upgrade: Option<HeaderValue>,
}

impl Exchange {
    pub(super) fn start(
        connection: &Rc<Connection>,
        tables: &Rc<Held>,
        head: Head,
        request_id: HeaderValue,
    ) -> Rc<Self> {
        let exchange = Rc::new(Exchange {
            tables: RefCell::new(Some(tables.clone())),
            connection: connection.clone(),
            head,
            target: OnceCell::new(),
            request_id,
            start: Instant::now(),
            route: OnceCell::new(),
            host_is_certified: Cell::new(false),
            client: Cell::new(connection.facts.peer.ip()),
            slot: Cell::new(None),
            backend_name: OnceCell::new(),
            limit: OnceCell::new(),
            counted: RefCell::default(),
            crowded: !connection.counts_one(),
            waits: Waits::default(),
            body: ClientBody::default(),
            answer: Answer::default(),
            tunnel_is_read: Cell::new(false),
            body_complete: Cell::new(false),
            received: Cell::new(0),
            sent: Cell::new(0),
            tries: RefCell::default(),
            try_start: Cell::new(None),
            status: Cell::new(0),
            failure: Cell::new(None),
            finished: Cell::new(false),
            task: RefCell::default(),
            cut: Cut::current(),
        });
        connection.began(&exchange);
        exchange
    }

    /// The request belongs to `route` from here on: its rules, its counters.
    pub(super) fn enter(&self, route: &Arc<LiveRoute>) {
        if self.route.set(route.clone()).is_ok() {
            self.slot.set(decide::slot(route).ok());
            self.shard_of(&route.metrics).started();
            self.waits.hold_to(&route.policy, self.now());
        }
    }

    /// The backend that takes the request: that of its route, or a member of its split. Asked for once.
    pub(super) fn choose_backend<'a>(
        &self,
        tables: &'a Tables,
        route: &LiveRoute,
    ) -> Result<&'a LiveBackend, ProxyError> {
        let slot = tables.choose(decide::slot(route)?, self.connection.worker.random())?;
        self.slot.set(Some(slot));
        let backend = &tables.backends[slot];
        // That it is gRPC is believed only where the backend speaks it: else any client could switch the limit off.
        self.waits.expect_of(&route.policy, self.head.grpc && backend.protocol == Protocol::H2c);
        Ok(backend)
    }

    /// What is left of the request takes long and needs nothing of its generation, which would be kept as a whole, but the
    /// name of its backend.
    fn let_go(&self) {
        if let Some(tables) = self.tables.take() {
            self.backend_name.get_or_init(|| self.name_in(&tables).into());
        }
    }

    /// As logs have the backend that takes the request, as far as it is chosen.
    fn name_in<'a>(&self, tables: &'a Tables) -> &'a str {
        let endpoint = self.tries.borrow().last().map(|last| last.endpoint);
        self.slot.get().map_or("", |slot| tables.backends[slot].name_at(endpoint))
    }

    /// A rate limit has counted the request.
    pub(super) fn tell_limit(&self, limit: &RateLimiter, decision: &Decision) {
        let retry_after = (!decision.admitted).then_some(decision.seconds);
        let fields = LimitFields { policy: limit.policy_field.clone(), state: limit.field(decision), retry_after };
        self.limit.get_or_init(|| Box::new(fields));
    }

    /// A rate limit refuses the request.
    pub(super) fn rate_limited(&self, route: &LiveRoute) {
        self.shard_of(&route.metrics).rate_limited();
    }

    pub(super) fn route(&self) -> Option<&Arc<LiveRoute>> {
        self.route.get()
    }

    pub(super) fn is_tls(&self) -> bool {
        self.connection.facts.tls_version.is_some()
    }

    /// Who the client is, as far as anybody believable tells; for the log as well.
    pub(super) fn resolve_client(&self, tables: &Tables, headers: &HeaderMap) -> Resolved {
        let chain = || headers.get_all(headers::X_FORWARDED_FOR).iter();
        let trusted = if self.connection.facts.unnamed { &[][..] } else { &tables.settings.trusted_proxies[..] };
        let resolved = client_address::resolve(self.client.get(), chain, trusted);
        self.client.set(resolved.client);
        resolved
    }

    /// What every answer to this request carries.
    pub(super) fn marks(&self) -> Marks<'_> {
        let certified = self.is_tls() && self.route().map_or(self.host_is_certified.get(), |route| route.tls);
        let hsts = || self.tables.borrow().as_ref()?.settings.hsts.clone();
        let server = self.connection.worker.shared.server_header.as_ref();
        Marks { server, hsts: certified.then(hsts).flatten(), limit: self.limit.get().map(|limit| &**limit) }
    }

    fn shard_of<'a>(&self, metrics: &'a RouteMetrics) -> &'a RouteShard {
        metrics.shard(self.connection.worker.index)
    }

    fn now(&self) -> Millis {
        self.connection.worker.clock.now()
    }

    /// The first failure counts. Whoever polls the answer learns of it.
    pub(super) fn fail(&self, error: ProxyError) {
        if self.failure.get().is_none() {
            self.failure.set(Some(error));
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    /// There is no memory for more of the answer for now. Whoever polled it is woken once there is.
    pub(super) fn pauses(&self) -> bool {
        self.waits.pauses(|| self.connection.worker.shared.memory.has_room())
    }

    /// The failure, if there is one; else the task of `cx` is woken by it.
    pub(super) fn poll_failure(&self, cx: &mut Context<'_>) -> Option<ProxyError> {
        let failure = self.failure.get();
        if failure.is_none() {
            let mut task = self.task.borrow_mut();
            if !task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
        }
        failure
    }

    /// What `future` gives, unless the exchange fails before.
    pub(super) async fn unless_failed<T>(&self, future: impl Future<Output = T>) -> Result<T, ProxyError> {
        let mut future = pin!(future);
        poll_fn(|cx| match self.poll_failure(cx) {
            Some(error) => Poll::Ready(Err(error)),
            None => future.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// The HTTP/2 library may keep some of what came for a tunnel.
    pub(super) fn has_unread_tunnel(&self) -> bool {
        self.head.method == Method::CONNECT && !self.tunnel_is_read.get()
    }

    /// Resets the client's HTTP/2 stream.
    pub(super) fn cut(&self) {
        self.cut.iter().for_each(|cut| cut.now());
    }

    pub(super) fn failure(&self) -> Option<ProxyError> {
        self.failure.get()
    }

    /// A try at an endpoint begins.
    pub(super) fn trying(&self, endpoint: std::net::SocketAddr) {
        let mut tries = self.tries.borrow_mut();
        // The first try starts with the request, near enough.
        self.try_start.set(Some(if tries.is_empty() { self.start } else { Instant::now() }));
        tries.push(Try { endpoint, duration: Duration::ZERO, status: 0, response_bytes: 0 });
        // The silence of an earlier one is none of its.
        self.waits.backend.set(0);
    }

    /// The try at hand failed with `error`. Counted once a try: not again, if the status was an error before.
    pub(super) fn backend_failed(&self, error: ProxyError) {
        let counted = self.tries.borrow().last().is_some_and(|last| last.status >= 500);
        if let (false, Some(reason), Some(route)) = (counted, error.backend_error(), self.route.get()) {
            self.shard_of(&route.metrics).backend_error(reason);
        }
        self.end_try();
    }

    /// The try at hand came to nothing, and another begins.
    pub(super) fn retries(&self, endpoint: std::net::SocketAddr) {
        self.end_try();
        if let Some(route) = self.route.get() {
            self.shard_of(&route.metrics).retried();
        }
        self.trying(endpoint);
    }

    fn end_try(&self) {
        if let (Some(last), Some(start)) = (self.tries.borrow_mut().last_mut(), self.try_start.take()) {
            last.duration = start.elapsed();
            last.response_bytes = self.sent.get();
        }
    }

    /// The backend's response head came.
    pub(super) fn answered(&self, status: StatusCode) {
        if let Some(last) = self.tries.borrow_mut().last_mut() {
            last.status = status.as_u16();
        }
        // From here on it is the silence between two reads that counts.
        self.waits.backend.set(self.now());
        if status.is_server_error()
            && let Some(route) = self.route.get()
        {
            self.shard_of(&route.metrics).backend_error(BackendError::ServerError);
        }
    }

    /// The response head goes to the client.
    pub(super) fn responds(&self, status: StatusCode) {
        self.status.set(status.as_u16());
    }
}

impl Head {
    pub(super) fn of(request: &http::request::Parts) -> Self {
        let field = |name| HeaderMap::get(&request.headers, name).cloned();
        Head {
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            host: field(header::HOST),
            user_agent: field(header::USER_AGENT),
            referer: field(header::REFERER),
            grpc: request.headers.get(header::CONTENT_TYPE).is_some_and(headers::is_grpc),
            asker: Asker::of(&request.method, request.version, &request.headers),
            takes_trailers: headers::takes_trailers(&request.headers, request.version),
            upgrade: headers::upgrade_of(&request.headers, request.version, &request.method),
        }
    }

    /// The answer may be one after which the connection is a tunnel.
    pub(super) fn asks_to_switch(&self) -> bool {
        self.upgrade.is_some() || self.method == Method::CONNECT && self.version < Version::HTTP_2
    }
}
