//! What moves on a client's stream, as far as limits depend on it. Written by the stream (`io`, `inlet`), which hyper
//! owns; read by the checks of its `connection`. All on one thread: atomics, since hyper wants to be able to send it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::clock::{Clock, Millis, passed};
use super::error::ProxyError;
use super::unacknowledged;

/// A wait of this length is looked into: shorter ones are usual in any download.
const FIRST_LOOK: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Activity {
    clock: Clock,
    /// Since when a request head is not complete; 0: none is begun.
    head_since: AtomicU64,
    /// That head is to be refused.
    overdue: AtomicBool,
    /// Why the last head was refused, and how many stood before it.
    refused: OnceLock<(ProxyError, u32)>,
    /// Requests that are over.
    answered: AtomicU32,
    /// The stream has bytes that wait for an answer.
    wants_answer: AtomicBool,
    /// Since when the client has taken nothing of what waits to be written; 0: nothing waits.
    blocked_since: AtomicU64,
    /// When the client last took something that had to wait.
    taken_at: AtomicU64,
    /// Dropped from now on, the stream has to end by a reset.
    resets: AtomicBool,
    /// Both ends of the stream, once a write has had to wait.
    ends: OnceLock<(SocketAddr, SocketAddr)>,
    /// What the client had not acknowledged of what waits for it, 0: not looked at since it waits; and when that was.
    unacknowledged: (AtomicU32, AtomicU64),
    /// Since when nothing more is served, and when bytes last came since; 0: not yet.
    lingering: (AtomicU64, AtomicU64),
}

impl Activity {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Activity {
            clock,
            head_since: AtomicU64::new(0),
            overdue: AtomicBool::new(false),
            refused: OnceLock::new(),
            answered: AtomicU32::new(0),
            wants_answer: AtomicBool::new(false),
            blocked_since: AtomicU64::new(0),
            taken_at: AtomicU64::new(0),
            resets: AtomicBool::new(false),
            ends: OnceLock::new(),
            unacknowledged: (AtomicU32::new(0), AtomicU64::new(0)),
            lingering: (AtomicU64::new(0), AtomicU64::new(0)),
        })
    }

    /// Whether a head is begun and not complete.
    pub(super) fn in_head(&self, begun: bool) {
        if !begun {
            self.head_since.store(0, Relaxed);
        } else if self.head_since() == 0 {
            self.head_since.store(self.clock.now(), Relaxed);
        }
    }

    /// The head that is begun, if one is, began then.
    pub(super) fn head_began(&self, time: Instant) {
        if self.head_since() != 0 {
            self.head_since.store(self.clock.at(time), Relaxed);
        }
    }

    pub(super) fn head_since(&self) -> Millis {
        self.head_since.load(Relaxed)
    }

    /// The head that is begun has taken too long. The stream learns of it when it is read next.
    pub(super) fn head_is_overdue(&self) {
        self.overdue.store(true, Relaxed);
    }

    pub(super) fn take_overdue(&self) -> bool {
        self.overdue.load(Relaxed) && self.overdue.swap(false, Relaxed)
    }

    /// The request after the first `heads` is a stand-in for one whose head cannot be served.
    pub(super) fn refuse(&self, error: ProxyError, heads: u32) {
        self.refused.get_or_init(|| (error, heads));
    }

    /// Why the newest of `begun` requests cannot be served, if it is a stand-in.
    pub(super) fn refused(&self, begun: u32) -> Option<ProxyError> {
        self.refused.get().filter(|(_, heads)| begun > *heads).map(|(error, _)| *error)
    }

    /// A request is over. Whether the stream waits for that.
    pub(super) fn answer(&self) -> bool {
        self.answered.store(self.answered().wrapping_add(1), Relaxed);
        self.wants_answer.load(Relaxed) && self.wants_answer.swap(false, Relaxed)
    }

    pub(super) fn answered(&self) -> u32 {
        self.answered.load(Relaxed)
    }

    pub(super) fn wants_answer(&self) {
        self.wants_answer.store(true, Relaxed);
    }

    /// `stream`: what was to be written to.
    pub(super) fn wrote<T>(&self, result: &Poll<T>, stream: &TcpStream) {
        if result.is_ready() {
            if self.blocked_since() != 0 {
                self.blocked_since.store(0, Relaxed);
                self.taken_at.store(self.clock.now(), Relaxed);
            }
        } else if self.blocked_since() == 0 {
            self.blocked_since.store(self.clock.now(), Relaxed);
            self.unacknowledged.0.store(0, Relaxed);
            if self.ends.get().is_none()
                && let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr())
            {
                self.ends.get_or_init(|| (local, peer));
            }
        }
    }

    /// The client may take something though nothing fits yet: so many bytes at `least`. Looks at that each `pause` of
    /// waiting. The first look is only what later ones are compared with, and the client has its time from then on.
    pub(super) fn look(&self, pause: Duration, least: u32, now: Millis) {
        let (seen, seen_at) = &self.unacknowledged;
        let (since, last) = (self.blocked_since(), seen_at.load(Relaxed));
        let due = if last < since { passed(since, pause.min(FIRST_LOOK), now) } else { passed(last, pause, now) };
        if since == 0 || !due {
            return;
        }
        seen_at.store(now, Relaxed);
        let left = self.ends.get().and_then(|(local, peer)| unacknowledged::bytes(*local, *peer));
        if let Some(left) = left
            && seen.load(Relaxed).abs_diff(left) >= least
        {
            seen.store(left, Relaxed);
            self.blocked_since.store(now, Relaxed);
        }
    }

    pub(super) fn blocked_since(&self) -> Millis {
        self.blocked_since.load(Relaxed)
    }

    pub(super) fn taken_at(&self) -> Millis {
        self.taken_at.load(Relaxed)
    }

    /// The answer that begins now has no other end than that of the stream.
    pub(super) fn answer_is_open_ended(&self) {
        self.resets.store(true, Relaxed);
    }

    /// The stream is to be dropped. Whether something waits for its client: the kernel would keep that for minutes if the
    /// stream were not reset, for which it is polled once more.
    pub(super) fn cut(&self) -> bool {
        let waits = self.blocked_since() != 0;
        self.resets.fetch_or(waits, Relaxed);
        waits
    }

    /// Told once.
    pub(super) fn take_resets(&self) -> bool {
        self.resets.load(Relaxed) && self.resets.swap(false, Relaxed)
    }

    /// What the client still sends is read for nothing; some of it came just now.
    pub(super) fn lingers(&self) {
        let (since, last) = &self.lingering;
        let now = self.clock.now();
        last.store(now, Relaxed);
        if since.load(Relaxed) == 0 {
            since.store(now, Relaxed);
        }
    }

    /// Since when the stream lingers, and when bytes last came; 0: it does not.
    pub(super) fn lingering(&self) -> (Millis, Millis) {
        (self.lingering.0.load(Relaxed), self.lingering.1.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// A stream whose other end reads nothing by itself, as full as it gets, and how much was written.
    async fn full() -> (TcpStream, std::net::TcpStream, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (reader, _) = listener.accept().unwrap();
        let mut written = 0;
        while tokio::time::timeout(SECOND / 5, stream.writable()).await.is_ok() {
            written += stream.try_write(&[0; 64 << 10]).unwrap_or(0);
        }
        (stream, reader, written)
    }

    /// So much more is acknowledged, which takes a moment.
    fn read(reader: &mut std::net::TcpStream, bytes: usize, left: impl Fn() -> u32) {
        let before = left();
        reader.read_exact(&mut vec![0; bytes]).unwrap();
        let end = Instant::now() + 20 * SECOND;
        while left() == before {
            assert!(Instant::now() < end, "{before}");
        }
    }

    #[tokio::test]
    async fn who_waits_takes_something_if_enough_is_acknowledged_between_two_looks() {
        let (stream, mut reader, written) = full().await;
        let left = || unacknowledged::bytes(stream.local_addr().unwrap(), stream.peer_addr().unwrap()).unwrap();
        let activity = Activity::new(Clock::start());
        let look = |least, now| {
            activity.look(SECOND, least, now);
            activity.blocked_since()
        };
        assert_eq!(look(1, 5000), 0, "nothing waits");
        activity.wrote(&Poll::<()>::Pending, &stream);
        assert_eq!((look(1, 300), look(1, 301)), (1, 301), "soon, for the first time");
        assert_eq!((look(1, 1301), look(1, 3001)), (301, 301), "it takes nothing");
        read(&mut reader, written / 2, left);
        assert_eq!(look(1, 4000), 301, "too soon");
        assert_eq!(look(u32::MAX, 4001), 301, "too little");
        assert_eq!((look(1, 5000), look(1, 5001)), (301, 5001), "enough");
        activity.wrote(&Poll::Ready(()), &stream);
        assert_eq!(look(1, 9000), 0);
        activity.wrote(&Poll::<()>::Pending, &stream);
        assert_eq!((activity.blocked_since(), look(1, 9001)), (1, 9001), "anew");
    }
}
