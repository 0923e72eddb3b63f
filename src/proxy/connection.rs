//! One client connection: drives hyper, and knows when the connection has to end.
//!
//! There is no timer per connection or request. The worker's tick asks [`Connection::check`] what is overdue; the answer
//! reaches the connection's task as an [`Order`].

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker, ready};
use std::time::{Duration, Instant};

use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use smallvec::SmallVec;

use super::activity::Activity;
use super::admission::Requests;
use super::clock::{Millis, millis, passed};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::io::ClientIo;
use super::metered::Metered;
use super::request;
use super::rounds::Portion;
use super::worker::Worker;

/// The span over which resets are counted against `--http2-max-resets`.
const RESET_WINDOW: Duration = Duration::from_secs(30);
/// How long an idle connection that is to end may still bring a request.
pub(super) const FINISH_AFTER: Duration = Duration::from_secs(1);

/// How long what a client sends after our last answer is read for nothing, and the longest silence meanwhile.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// How long an HTTP/2 client may take to leave after it was told to: to close if it is idle, else to say that it will open
/// no further stream.
const LEAVE_AFTER: Duration = Duration::from_secs(5);

/// How often it is looked within the write timeout whether a client takes something. As much later it may be found to have
/// stopped.
const LOOKS: u32 = 8;
/// What that is while memory is full, so that nobody keeps it full by taking a byte a second.
const LEAST: u32 = 16 << 10;

/// What is known of a client connection and shared by its requests.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) facts: Facts,
    activity: Arc<Activity>,
    http2: bool,
    /// When the connection is asked to end after a response, whatever it does.
    expires: Millis,
    /// Since when no request is in flight.
    idle_since: Cell<Millis>,
    /// Requests that began so far.
    begun: Cell<u32>,
    /// Those of HTTP/1 are many to a read where they are short. On HTTP/2 each has a task of its own.
    portion: RefCell<Portion>,
    /// Requests in flight; asked for overdue waits by each check.
    exchanges: RefCell<SmallVec<[Rc<Exchange>; 1]>>,
    /// Those that are over, but for their bodies, which somebody still reads.
    unread: RefCell<Vec<Weak<Exchange>>>,
    /// Start of the current window and the resets in it.
    resets: Cell<(Millis, u32)>,
    /// The same for streams that the client made us reset or refuse; of some, both know.
    provoked: Cell<(Millis, u32)>,
    /// The next request is to be the last: a tick seldom meets a connection of short requests with one in flight.
    ending: Cell<bool>,
    order: Cell<Order>,
    /// Since when the order to finish is in force; 0 also if the client was made to leave.
    finishes_since: Cell<Millis>,
    task: RefCell<Option<Waker>>,
}

/// What the connection's own setup told about the client.
#[derive(Debug)]
pub(super) struct Facts {
    /// The other end, or the source that a trusted PROXY protocol header named.
    pub(super) peer: SocketAddr,
    /// The peer's address as text, for forwarding headers.
    pub(super) peer_text: HeaderValue,
    /// `None` on the plain port; else the version's label.
    pub(super) tls_version: Option<&'static str>,
    /// In flight of the client's address, over all its connections; `None`: not counted.
    pub(super) requests: Option<Arc<Requests>>,
    /// Its PROXY protocol header named nobody, so that what its requests say of the client is the client's own word.
    pub(super) unnamed: bool,
    /// It has asked for something; for who makes room.
    pub(super) asked: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    None,
    /// No further request: `Connection: close` on HTTP/1.1, GOAWAY on HTTP/2.
    Finish,
    /// Now, whatever is in flight.
    Close,
}

impl Connection {
    /// `since`: from when on a request is waited for.
    pub(super) fn new(
        worker: Rc<Worker>,
        facts: Facts,
        activity: Arc<Activity>,
        http2: bool,
        since: Instant,
    ) -> Rc<Self> {
        let now = worker.clock.now();
        Rc::new(Connection {
            facts,
            activity,
            http2,
            expires: now + jittered(worker.shared.limits.max_connection_age, worker.random()),
            idle_since: Cell::new(worker.clock.at(since)),
            begun: Cell::new(0),
            portion: RefCell::default(),
            exchanges: RefCell::default(),
            unread: RefCell::default(),
            resets: Cell::new((now, 0)),
            provoked: Cell::new((now, 0)),
            ending: Cell::new(false),
            order: Cell::new(Order::None),
            finishes_since: Cell::new(0),
            task: RefCell::default(),
            worker,
        })
    }

    /// Counts a request for the client's address. False: it has as many in flight as it may.
    pub(super) fn counts_one(&self) -> bool {
        self.facts.requests.as_ref().is_none_or(|requests| requests.begin())
    }

    /// A request's head was read, and it was counted.
    pub(super) fn began(&self, exchange: &Rc<Exchange>) {
        self.begun.set(self.begun.get().wrapping_add(1));
        self.facts.asked.store(true, Ordering::Relaxed);
        if !self.http2 {
            self.portion.borrow_mut().took(0);
        }
        self.exchanges.borrow_mut().push(exchange.clone());
        self.idle_since.set(0);
        if self.ending.get() && !exchange.head.asks_to_switch() {
            self.give(Order::Finish);
        }
    }

    /// No further request will be served on it.
    pub(super) fn ends(&self) -> bool {
        self.ending.get() || self.order.get() != Order::None
    }

    /// The answer that begins now has no other end than that of the connection.
    pub(super) fn answer_is_open_ended(&self) {
        self.activity.answer_is_open_ended();
    }

    /// Why the request that begins now cannot be served: its head was replaced.
    pub(super) fn refused(&self) -> Option<ProxyError> {
        self.activity.refused(self.begun.get())
    }

    /// The client reset the stream of an answer that was ready.
    pub(super) fn answer_unwanted(&self) {
        if self.http2 {
            self.count_reset(&self.resets, self.worker.clock.now());
        }
    }

    /// The request is over; `aborted`: the client ended it before its response was complete.
    pub(super) fn ended(&self, exchange: &Exchange, aborted: bool) {
        let mut exchanges = self.exchanges.borrow_mut();
        if let Some(at) = exchanges.iter().position(|other| std::ptr::eq(&**other, exchange)) {
            let over = exchanges.swap_remove(at);
            if over.body.is_open() {
                self.keep_unread(&over);
            }
        }
        if let Some(requests) = &self.facts.requests {
            requests.end();
        }
        let now = self.worker.clock.now();
        if exchanges.is_empty() {
            self.idle_since.set(now);
        }
        if self.activity.answer() {
            self.wake();
        }
        if aborted && self.http2 {
            self.count_reset(&self.resets, now);
        }
    }

    /// Since when nothing is in flight: no request, and nothing of the last answer.
    pub(super) fn idle_since(&self) -> Option<Millis> {
        let idle = self.idle_since.get() != 0 && self.activity.blocked_since() == 0 && self.order.get() < Order::Close;
        idle.then(|| self.idle_since.get())
    }

    /// Another one needs the place.
    pub(super) fn make_room(&self) {
        self.give(Order::Close);
    }

    /// Gives the orders that are due. Called by the worker's tick. `ending_since`: since when no connection is kept.
    pub(super) fn check(&self, now: Millis, ending_since: Option<Millis>) {
        for exchange in self.exchanges.borrow().iter() {
            exchange.check(now);
        }
        let limits = &self.worker.shared.limits;
        let (timeout, full) = (self.worker.write_timeout(), self.worker.shared.memory.is_full());
        self.activity.look(timeout / LOOKS, if full { LEAST } else { 1 }, now);
        if passed(self.activity.blocked_since(), timeout, now)
            || self.is_idle_too_long(now)
            || self.lingers_too_long(now, ending_since.is_some())
        {
            self.give(Order::Close);
            return;
        }
        if self.http2 && passed(self.idle_since.get(), limits.keep_alive_timeout, now) {
            self.give(Order::Finish);
        }
        if passed(self.finishes_since.get(), LEAVE_AFTER, now) {
            self.wake();
        }
        let expired = (now >= self.expires).then_some(self.expires);
        if let Some(since) = ending_since.or(expired) {
            self.ending.set(true);
            if self.may_finish(since, now) {
                self.give(Order::Finish);
            }
        }
    }

    /// All that is sent on it waits for the client, which takes some or is cut.
    pub(super) fn is_blocked(&self) -> bool {
        self.activity.blocked_since() != 0 && !self.worker.shared.memory.is_full()
    }

    /// Nothing is asked for too long, or a head does not come to its end.
    fn is_idle_too_long(&self, now: Millis) -> bool {
        let limits = &self.worker.shared.limits;
        if self.idle_since.get() == 0 || self.activity.blocked_since() != 0 || self.activity.lingering().0 != 0 {
            return false;
        }
        // hyper has the last answer for longer than its last byte is on the way.
        let idle_since = self.idle_since.get().max(self.activity.taken_at());
        let head_since = self.activity.head_since();
        if !self.http2 && head_since != 0 {
            // What came behind a request is only waited for once that is over.
            let since = head_since.max(idle_since);
            if passed(since, limits.header_timeout, now) {
                self.activity.head_is_overdue();
                self.wake();
            }
            return passed(since, limits.header_timeout + FINISH_AFTER, now);
        }
        // HTTP/2 is told to end first: after a GOAWAY the client knows that a request which crosses was not served.
        passed(idle_since, limits.keep_alive_timeout + if self.http2 { LEAVE_AFTER } else { Duration::ZERO }, now)
    }

    /// At once while a request is in flight, since its answer tells the client; not if that may be a 101, behind which the
    /// stream is no longer ours. Else after a moment in which no request has begun to come: one that crosses our close
    /// would be lost.
    fn may_finish(&self, since: Millis, now: Millis) -> bool {
        let idle_since = self.idle_since.get();
        if self.http2 || idle_since == 0 {
            return !self.exchanges.borrow().iter().any(|exchange| exchange.head.asks_to_switch());
        }
        self.activity.head_since() == 0 && passed(idle_since.max(since), FINISH_AFTER, now)
    }

    /// The client goes on sending what nobody will serve, or does not close.
    fn lingers_too_long(&self, now: Millis, ending: bool) -> bool {
        let (since, last) = self.activity.lingering();
        passed(since, if ending { FINISH_AFTER } else { LINGER }, now) || passed(last, LINGER_SILENCE, now)
    }

    fn keep_unread(&self, exchange: &Rc<Exchange>) {
        let mut unread = self.unread.borrow_mut();
        unread.retain(|exchange| exchange.strong_count() > 0);
        unread.push(Rc::downgrade(exchange));
    }

    /// Takes what has come of requests out of the HTTP/2 library. False: a tunnel may be unread, which cannot be taken, so
    /// nothing is.
    pub(super) fn gather(&self) -> bool {
        let exchanges = self.exchanges.borrow();
        let all = !exchanges.iter().any(|exchange| exchange.has_unread_tunnel());
        if all {
            exchanges.iter().for_each(|exchange| exchange.body.gather());
            self.unread.borrow().iter().filter_map(Weak::upgrade).for_each(|exchange| exchange.body.gather());
        }
        all
    }

    /// The client was told to leave for so long that it is no longer asked. True once.
    pub(super) fn has_to_leave(&self, now: Millis) -> bool {
        let due = passed(self.finishes_since.get(), LEAVE_AFTER, now);
        if due {
            self.finishes_since.set(0);
        }
        due
    }

    /// We reset or refuse a stream for an error of the client.
    pub(super) fn made_us_reset(&self, now: Millis) {
        self.count_reset(&self.provoked, now);
    }

    fn count_reset(&self, counted: &Cell<(Millis, u32)>, now: Millis) {
        let (since, count) = counted.get();
        let within = now.saturating_sub(since) < millis(RESET_WINDOW);
        let resets = if within { (since, count + 1) } else { (now, 1) };
        counted.set(resets);
        let most = self.worker.shared.limits.http2_max_resets;
        // A peer may carry the streams of many, and lose none of them if it goes when it is told to.
        if resets.1 > most.saturating_mul(2) {
            self.give(Order::Close);
        } else if resets.1 > most {
            self.give(Order::Finish);
        }
    }

    fn give(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            self.finishes_since.set(if self.http2 { self.worker.clock.now() } else { 0 });
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    /// The order in force; the task of `cx` is woken by the next.
    fn obey(&self, cx: &mut std::task::Context<'_>) -> Order {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        self.order.get()
    }
}

/// Drives a connection to its end. `$graceful` asks hyper to take no further request.
macro_rules! drive {
    ($connection:expr, $hyper:expr) => {{
        let mut hyper = pin!($hyper);
        let mut finishing = false;
        poll_fn(|cx| {
            match $connection.obey(cx) {
                Order::Close if $connection.activity.cut() => return Poll::Ready(drop(hyper.as_mut().poll(cx))),
                Order::Close => return Poll::Ready(()),
                Order::Finish if !finishing => {
                    finishing = true;
                    hyper.as_mut().graceful_shutdown();
                }
                Order::Finish | Order::None => {}
            }
            ready!($connection.portion.borrow_mut().poll(cx));
            // An error here is the client's: malformed framing or a connection that went away.
            hyper.as_mut().poll(cx).map(drop)
        })
        .await;
    }};
}

/// Serves HTTP/1.0 and 1.1 until the client or a limit ends the connection.
pub(super) async fn serve_http1(connection: Rc<Connection>, io: ClientIo) {
    let service = service_fn(|request| request::serve(request, connection.clone()));
    let hyper = connection.worker.http1.serve_connection(TokioIo::new(io), service).with_upgrades();
    drive!(connection, hyper);
}

/// Serves HTTP/2 until the client or a limit ends the connection.
pub(super) async fn serve_http2(connection: Rc<Connection>, io: ClientIo) {
    let service = service_fn(|request| request::serve(request, connection.clone()));
    let io = Metered::client(io, &connection);
    let hyper = connection.worker.http2.serve_connection(TokioIo::new(io), service);
    drive!(connection, hyper);
}

/// `duration` ± 10 %, so that connections opened together do not end together.
fn jittered(duration: Duration, random: u64) -> Millis {
    let whole = millis(duration);
    whole - whole / 10 + random % (whole / 5).max(1)
}
