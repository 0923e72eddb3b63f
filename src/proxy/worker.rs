//! One data plane thread: a current-thread runtime with its own listeners, pools, log buffer and clock.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::{http1, http2};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{LocalSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::accept;
use super::admission::{Admission, Admitted};
use super::backend_sockets::BackendSockets;
use super::builders::{http1_builder, http2_builder};
use super::clock::{Clock, Millis, TICK};
use super::connection::{Connection, FINISH_AFTER};
use super::executor::StreamExecutor;
use super::listener;
use super::memory::Memory;
use super::pool::Pools;
use super::room::Room;
use super::rounds;
use super::turns::Turns;
use crate::config::Limits;
use crate::tables::{Nanos, Published, Reader};
use crate::telemetry::access_log::Buffer;
use crate::telemetry::{AccessLog, Metrics, Refusal, WorkerShard};

/// How long a worker without connections looks at nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections that are accepted of a port in a round: each is several tasks, which the others' wait behind.
const ACCEPTS: usize = 8;

/// What all workers have in common.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) published: Arc<Published>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) admission: Arc<Admission>,
    pub(super) backend_sockets: Arc<BackendSockets>,
    pub(super) memory: Arc<Memory>,
    pub(super) client_tls: TlsAcceptor,
    /// `None`: no Server field is sent.
    pub(super) server_header: Option<HeaderValue>,
    pub(super) https_redirect_port: Option<u16>,
    /// Where the time of rate limits begins, which all workers have in common.
    pub(super) origin: std::time::Instant,
}

impl Shared {
    /// Since the start, for rate limits.
    pub(super) fn nanos(&self) -> Nanos {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One thread's part. Everything here is used by that thread alone.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) reader: Reader,
    pub(super) clock: Clock,
    pub(super) pools: Pools,
    pub(super) log: RefCell<Buffer>,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<StreamExecutor>,
    /// Of TLS with clients.
    pub(super) handshakes: Turns,
    /// For the checks of each tick; the dead are dropped there.
    connections: RefCell<Vec<Weak<Connection>>>,
    pub(super) room: Room,
    /// Client streams that are open, tunnels too; counted down by [`Counted`].
    open: Arc<AtomicUsize>,
    /// Ends the pause of a tick that had nothing to look at.
    stirred: Notify,
    /// The drain's deadline has come: what is still in flight is cut by us.
    pub(super) cuts: Cell<bool>,
    draining: Cell<bool>,
    /// Tells those who wait that `draining` was set.
    drain_began: Notify,
}

/// A drain began: no new connections, and the end at the deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) deadline: Instant,
}

/// The two ports of a worker; a plain proxy has one of them.
pub(super) struct Listeners {
    pub(super) http: Option<std::net::TcpListener>,
    pub(super) https: Option<std::net::TcpListener>,
}

/// One open client stream: what was counted for it is undone when it is dropped.
pub(super) struct Open {
    pub(super) admitted: Admitted,
    metrics: Arc<Metrics>,
    worker: usize,
    tls: bool,
    pub(super) counted: Counted,
    /// A PROXY protocol header was there and named no client.
    pub(super) unnamed: bool,
}

/// A client stream that a drain waits for, counted from the moment it is taken from the queue.
pub(super) struct Counted {
    open: Arc<AtomicUsize>,
    /// It has asked for something; written by its connection.
    pub(super) asked: Arc<AtomicBool>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.worker(self.worker).connection_closed(self.tls);
    }
}

/// Runs a worker on this thread until a drain is over.
pub(super) fn run(
    index: usize,
    shared: Arc<Shared>,
    listeners: Listeners,
    drain: watch::Receiver<Option<Drain>>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async move {
        let worker = Worker::new(index, shared);
        let http = listeners.http.map(TcpListener::from_std).transpose()?;
        let https = listeners.https.map(TcpListener::from_std).transpose()?;
        // Not tasks: a panic in either is the end of the worker, not of a task that nobody misses.
        tokio::select! {
            result = serve(worker.clone(), http, https, drain) => result,
            never = tick(worker) => match never {},
        }
    };
    LocalSet::new().block_on(&runtime, rounds::counted(work))
}

async fn serve(
    worker: Rc<Worker>,
    http: Option<TcpListener>,
    https: Option<TcpListener>,
    mut drain: watch::Receiver<Option<Drain>>,
) -> std::io::Result<()> {
    tokio::select! {
        () = accept_forever(&worker, http.as_ref(), false) => {}
        () = accept_forever(&worker, https.as_ref(), true) => {}
        _ = drain.wait_for(Option::is_some) => {}
    }
    worker.draining.set(true);
    worker.drain_began.notify_waiters();
    let starved = || worker.shard().connection_refused(Refusal::Descriptors);
    let close = async |listener, tls| {
        if let Some(listener) = listener {
            listener::close(listener, starved, |stream, peer| worker.accepted(stream, peer, tls)).await;
        }
    };
    tokio::join!(close(http, false), close(https, true));
    tokio::select! {
        () = worker.emptied() => {}
        // The rest is cut: dropping the runtime drops every stream, and the last of them the log.
        () = over(drain) => worker.cuts.set(true),
    }
    Ok(())
}

/// Until the deadline, which may be moved meanwhile.
async fn over(mut drain: watch::Receiver<Option<Drain>>) {
    loop {
        let deadline = drain.borrow_and_update().map_or_else(Instant::now, |drain| drain.deadline);
        match timeout_at(deadline, drain.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// For ever, also if there is no such port.
async fn accept_forever(worker: &Rc<Worker>, listener: Option<&TcpListener>, tls: bool) {
    let Some(listener) = listener else { return std::future::pending().await };
    let starved = || worker.shard().connection_refused(Refusal::Descriptors);
    loop {
        for _ in 0..ACCEPTS {
            let (stream, peer) = listener::accept(listener, starved).await;
            #[cfg(test)]
            super::faults::strike(super::faults::Place::Accept);
            worker.accepted(stream, peer, tls);
        }
        yield_now().await;
    }
}

/// Moves the clock, gives overdue orders, sweeps pools, flushes the log. Pauses while there is nothing to look at.
async fn tick(worker: Rc<Worker>) -> Infallible {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut draining_since, mut scarce_since) = (None, None);
    let mut turn = 0;
    loop {
        ticks.tick().await;
        #[cfg(test)]
        super::faults::strike(super::faults::Place::Tick);
        let now = worker.clock.advance();
        if draining_since.is_none() && worker.draining.get() {
            draining_since = Some(now);
        }
        scarce_since = worker.shared.memory.is_scarce().then(|| scarce_since.unwrap_or(now));
        worker.check(now, draining_since.or(scarce_since));
        if worker.index == 0 {
            turn += 1;
            worker.reader.current().sweep(turn, worker.shared.nanos());
        }
        if worker.connections.borrow().is_empty() && worker.pools.is_empty() {
            // Not for ever: a generation that was published meanwhile is to be let go of.
            let _: Result<(), _> = timeout(PAUSE, worker.stirred.notified()).await;
        }
    }
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Rc<Self> {
        Rc::new(Worker {
            index,
            reader: shared.published.reader(),
            clock: Clock::start(),
            pools: Pools::default(),
            log: RefCell::new(shared.access_log.buffer()),
            http1: http1_builder(&shared.limits),
            http2: http2_builder(&shared.limits),
            handshakes: Turns::new(),
            connections: RefCell::default(),
            room: Room::default(),
            open: Arc::default(),
            stirred: Notify::new(),
            cuts: Cell::new(false),
            draining: Cell::new(false),
            drain_began: Notify::new(),
            shared,
        })
    }

    pub(super) fn shard(&self) -> &WorkerShard {
        self.shared.metrics.worker(self.index)
    }

    /// Not for secrets.
    pub(super) fn random(&self) -> u64 {
        fastrand::u64(..)
    }

    fn accepted(self: &Rc<Self>, stream: TcpStream, peer: std::net::SocketAddr, tls: bool) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let asked = Arc::new(AtomicBool::new(false));
        accept::serve(self, stream, peer, tls, Counted { open: self.open.clone(), asked });
    }

    pub(super) fn open(&self, admitted: Admitted, tls: bool, counted: Counted) -> Open {
        self.shard().connection_opened(tls);
        Open { admitted, metrics: self.shared.metrics.clone(), worker: self.index, tls, counted, unnamed: false }
    }

    /// Another connection may have the place of one that asks for nothing.
    pub(super) fn makes_room(&self) -> bool {
        let made = self.room.make(&self.connections.borrow(), self.clock.advance());
        if made {
            self.shard().connection_refused(Refusal::Idle);
        }
        made
    }

    /// The clock has stood still if nothing was there to look at.
    pub(super) fn stir(&self) {
        self.clock.advance();
        self.stirred.notify_one();
    }

    pub(super) fn watch(&self, connection: &Rc<Connection>) {
        self.connections.borrow_mut().push(Rc::downgrade(connection));
    }

    /// `ending_since`: since when connections are not kept.
    fn check(&self, now: Millis, ending_since: Option<Millis>) {
        self.connections.borrow_mut().retain(|connection| match connection.upgrade() {
            Some(connection) => {
                connection.check(now, ending_since);
                true
            }
            None => false,
        });
        self.room.sweep();
        self.pools.sweep(now, self.shared.limits.backend_idle_timeout);
        self.log.borrow_mut().flush();
        // Lets go of a generation that no request has asked past.
        drop(self.reader.current());
    }

    /// How long a client may take nothing. Where requests are refused for lack of memory, those go first who hold most of it.
    pub(super) fn write_timeout(&self) -> Duration {
        let limit = self.shared.limits.write_timeout;
        if self.shared.memory.is_full() { limit.min(FINISH_AFTER) } else { limit }
    }

    /// Until a drain has gone on for so long, also if it began before.
    pub(super) async fn drained_for(&self, time: Duration) {
        if !self.draining.get() {
            self.drain_began.notified().await;
        }
        tokio::time::sleep(time).await;
    }

    /// Until no client stream is open.
    async fn emptied(&self) {
        while self.open.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
