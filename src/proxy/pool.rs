//! A worker's connections to endpoints. Idle HTTP/1.1 connections wait here for the next request, most recently used
//! first; HTTP/2 connections are shared. Nothing is locked: a pool belongs to one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use hashbrown::HashMap;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use tokio::sync::Notify;

use super::backend_http1::Http1;
use super::clock::{Millis, millis, passed};
use super::opening::Opening;
use super::request_body::RequestBody;
use super::source::Answers;
use super::worker::Worker;
use crate::tables::{Lease, LiveEndpoint};

/// Idle HTTP/1.1 connections kept per endpoint and worker.
const MAX_IDLE: usize = 256;
/// Requests that share one HTTP/2 connection before another is opened; what most servers allow.
pub(super) const MAX_SHARED: usize = 100;
/// Requests on a shared connection that are cancelled within [`CANCEL_WINDOW`] before it takes no more: servers end a
/// connection with many resets, and what others have on it. hyper stands 20 that it has not looked at.
const MAX_CANCELLED: u32 = 10;
const CANCEL_WINDOW: Duration = Duration::from_secs(1);

/// All pools of one worker, by [`LiveEndpoint::id`].
#[derive(Default)]
pub(super) struct Pools {
    by_endpoint: RefCell<HashMap<u64, Pool, foldhash::fast::FixedState>>,
}

struct Pool {
    endpoint: Arc<LiveEndpoint>,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// The HTTP/2 connection that is being opened; written by its opener.
    opening: Option<Rc<Opening>>,
}

struct Idle {
    sender: Http1,
    since: Millis,
}

/// One HTTP/2 connection and the requests on it.
#[derive(Clone)]
pub(super) struct Shared {
    sender: http2::SendRequest<RequestBody>,
    usage: Rc<Usage>,
    allowance: Rc<Allowance>,
    pub(super) answers: Rc<Answers>,
}

/// The requests on a shared connection.
struct Usage {
    in_flight: Cell<u32>,
    /// When the last one ended.
    idle_since: Cell<Millis>,
    /// Start of the current window, and the requests that were cancelled in it.
    cancelled: Cell<(Millis, u32)>,
    /// Too many were: it finishes what it has.
    spent: Cell<bool>,
}

/// Requests that an endpoint takes at a time on an HTTP/2 connection, as far as it has said; written by the connection's
/// task.
pub(super) struct Allowance {
    requests: Cell<usize>,
    /// hyper does not wake the connection's task when the endpoint says another number, so the sweep does.
    task: RefCell<Waker>,
    /// Tells those who wait that the number is another, or that the connection has ended.
    changed: Notify,
}

/// A connection in use by one request.
pub(super) struct Connected {
    pub(super) sender: Sender,
    /// It has served a request before, so the endpoint may be about to close it.
    pub(super) reused: bool,
    /// When it was put into the pool, if it was reused.
    pub(super) idle_since: Millis,
    pub(super) lease: Lease,
    worker: Rc<Worker>,
}

pub(super) enum Sender {
    Http1(Http1),
    /// The second is there to be dropped with the first.
    Http2(Shared, InUse),
}

/// Counts one request on a shared connection until dropped.
pub(super) struct InUse {
    usage: Rc<Usage>,
    /// The request was sent, and neither side has ended it: dropped like this, it is cancelled.
    pub(super) under_way: bool,
    worker: Rc<Worker>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let now = self.worker.clock.now();
        self.usage.in_flight.set(self.usage.in_flight.get() - 1);
        self.usage.idle_since.set(now);
        if self.under_way {
            self.usage.count_cancelled(now);
        }
    }
}

impl Usage {
    fn count_cancelled(&self, now: Millis) {
        let (since, count) = self.cancelled.get();
        let within = count > 0 && now.saturating_sub(since) < millis(CANCEL_WINDOW);
        let cancelled = if within { (since, count + 1) } else { (now, 1) };
        self.cancelled.set(cancelled);
        self.spent.set(self.spent.get() || cancelled.1 >= MAX_CANCELLED);
    }
}

impl Pools {
    /// A connection to `lease`'s endpoint that is open as far as is known. Gives the lease back if there is none.
    pub(super) fn checkout(&self, worker: &Rc<Worker>, lease: Lease) -> Result<Connected, Lease> {
        let mut pools = self.by_endpoint.borrow_mut();
        let Some(pool) = pools.get_mut(&lease.endpoint().id) else { return Err(lease) };
        let limit = worker.shared.limits.backend_idle_timeout;
        if let Some(sender) = pool.join(worker) {
            return Ok(Connected { sender, reused: true, idle_since: 0, lease, worker: worker.clone() });
        }
        while let Some(Idle { sender, since }) = pool.idle.pop() {
            if sender.is_silent() && !passed(since, limit, worker.clock.now()) {
                let sender = Sender::Http1(sender);
                return Ok(Connected { sender, reused: true, idle_since: since, lease, worker: worker.clone() });
            }
            sender.close();
        }
        Err(lease)
    }

    /// A place on an HTTP/2 connection to `endpoint` that is open.
    pub(super) fn join(&self, worker: &Rc<Worker>, endpoint: &LiveEndpoint) -> Option<Sender> {
        self.by_endpoint.borrow().get(&endpoint.id)?.join(worker)
    }

    /// Makes a new HTTP/2 connection available to the requests that follow.
    pub(super) fn share(&self, endpoint: &Arc<LiveEndpoint>, shared: Shared) {
        self.with(endpoint, |pool| pool.shared.push(shared));
    }

    /// The HTTP/2 connection to `endpoint` that is being opened.
    pub(super) fn opening(&self, endpoint: &LiveEndpoint) -> Option<Rc<Opening>> {
        self.by_endpoint.borrow().get(&endpoint.id)?.opening.clone()
    }

    /// What the newest HTTP/2 connection to `endpoint` may carry, if that is nothing: the endpoint asks for patience, and
    /// another connection would not be what it wants.
    pub(super) fn held_back(&self, endpoint: &LiveEndpoint) -> Option<Rc<Allowance>> {
        let pools = self.by_endpoint.borrow();
        let newest = pools.get(&endpoint.id)?.shared.iter().rfind(|shared| shared.is_usable())?;
        (newest.allowance.requests.get() == 0).then(|| newest.allowance.clone())
    }

    pub(super) fn opens(&self, endpoint: &Arc<LiveEndpoint>, opening: Option<Rc<Opening>>) {
        self.with(endpoint, |pool| pool.opening = opening);
    }

    /// Closes what was idle for too long, what its endpoint has closed or spoilt, and everything idle of endpoints that are
    /// gone. Called by the worker's tick: nobody is woken for a connection that is idle.
    pub(super) fn sweep(&self, now: Millis, idle_timeout: Duration) {
        self.by_endpoint.borrow_mut().retain(|_, pool| {
            let retired = pool.endpoint.retired.load(Ordering::Relaxed);
            let ends = |idle: &mut Idle| retired || passed(idle.since, idle_timeout, now) || !idle.sender.is_silent();
            pool.idle.extract_if(.., ends).for_each(|idle| idle.sender.close());
            pool.shared.retain(|shared| {
                shared.allowance.task.borrow().wake_by_ref();
                let Usage { in_flight, idle_since, .. } = &*shared.usage;
                let idle = in_flight.get() == 0;
                shared.is_usable() && !(idle && (retired || passed(idle_since.get(), idle_timeout, now)))
            });
            !pool.idle.is_empty() || !pool.shared.is_empty() || pool.opening.is_some()
        });
    }

    /// Nothing is idle here.
    pub(super) fn is_empty(&self) -> bool {
        self.by_endpoint.borrow().is_empty()
    }

    fn with(&self, endpoint: &Arc<LiveEndpoint>, change: impl FnOnce(&mut Pool)) {
        let mut pools = self.by_endpoint.borrow_mut();
        change(pools.entry(endpoint.id).or_insert_with(|| Pool {
            endpoint: endpoint.clone(),
            idle: Vec::new(),
            shared: Vec::new(),
            opening: None,
        }));
    }
}

impl Pool {
    fn join(&self, worker: &Rc<Worker>) -> Option<Sender> {
        self.shared.iter().find(|shared| shared.takes_more()).map(|shared| shared.join(worker))
    }
}

impl Shared {
    pub(super) fn new(
        sender: http2::SendRequest<RequestBody>,
        allowance: Rc<Allowance>,
        answers: Rc<Answers>,
        now: Millis,
    ) -> Self {
        let usage = Usage {
            in_flight: Cell::new(0),
            idle_since: Cell::new(now),
            cancelled: Cell::default(),
            spent: Cell::new(false),
        };
        Shared { sender, usage: Rc::new(usage), allowance, answers }
    }

    /// It takes requests, now or later. Once it does not, those on it keep it.
    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.is_spent()
    }

    /// Many requests on it were cancelled.
    pub(super) fn is_spent(&self) -> bool {
        self.usage.spent.get()
    }

    pub(super) fn takes_more(&self) -> bool {
        self.is_usable() && (self.usage.in_flight.get() as usize) < self.allowance.requests.get().min(MAX_SHARED)
    }

    pub(super) fn join(&self, worker: &Rc<Worker>) -> Sender {
        self.usage.in_flight.set(self.usage.in_flight.get() + 1);
        let in_use = InUse { usage: self.usage.clone(), under_way: false, worker: worker.clone() };
        Sender::Http2(self.clone(), in_use)
    }

    pub(super) fn sender(&mut self) -> &mut http2::SendRequest<RequestBody> {
        &mut self.sender
    }
}

impl Allowance {
    pub(super) fn new() -> Rc<Self> {
        let task = RefCell::new(Waker::noop().clone());
        Rc::new(Allowance { requests: Cell::new(MAX_SHARED), task, changed: Notify::new() })
    }

    /// The endpoint takes so many `requests`; told by the task of `cx`.
    pub(super) fn tell(&self, requests: usize, cx: &Context<'_>) {
        self.task.borrow_mut().clone_from(cx.waker());
        if self.requests.replace(requests) != requests {
            self.changed.notify_waiters();
        }
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        self.changed.notify_waiters();
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Connected {
    pub(super) fn fresh(sender: Sender, lease: Lease, worker: Rc<Worker>) -> Self {
        Connected { sender, reused: false, idle_since: 0, lease, worker }
    }

    /// How long the body of the answer is, if that is known: `incoming`, or what is read of the connection itself.
    pub(super) fn length(&self, incoming: Option<&Incoming>) -> Option<u64> {
        match (&self.sender, incoming) {
            (Sender::Http1(connection), _) => connection.size_hint().exact(),
            (Sender::Http2(..), incoming) => incoming?.size_hint().exact(),
        }
    }

    /// The exchange on it is complete: the next request may have the connection. `patience`: how long the endpoint may take
    /// for the rest of the request.
    pub(super) fn give_back(self, patience: impl FnOnce() -> Duration) {
        let connection = match self.sender {
            Sender::Http1(connection) => connection.reusable(patience),
            Sender::Http2(_, mut in_use) => {
                in_use.under_way = false;
                return;
            }
        };
        let Some(sender) = connection else { return };
        let mut left = Some(Idle { sender, since: self.worker.clock.now() });
        if !self.lease.endpoint().retired.load(Ordering::Relaxed) {
            self.worker.pools.with(self.lease.endpoint(), |pool| {
                if pool.idle.len() < MAX_IDLE {
                    pool.idle.extend(left.take());
                }
            });
        }
        if let Some(idle) = left {
            idle.sender.close();
        }
    }
}
