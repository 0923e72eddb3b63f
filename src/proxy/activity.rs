//! What moves on a client's stream, as far as limits depend on it. Written by the stream (`io`, `inlet`), which hyper
//! owns; read by the checks of its `connection`. All on one thread: atomics, since hyper wants to be able to send it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Instant;

use super::clock::{Clock, Millis};
use super::error::ProxyError;

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
    /// An answer has begun that only the end of the stream ends.
    open_ended: AtomicBool,
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
            open_ended: AtomicBool::new(false),
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

    pub(super) fn wrote<T>(&self, result: &Poll<T>) {
        if result.is_ready() {
            if self.blocked_since() != 0 {
                self.blocked_since.store(0, Relaxed);
                self.taken_at.store(self.clock.now(), Relaxed);
            }
        } else if self.blocked_since() == 0 {
            self.blocked_since.store(self.clock.now(), Relaxed);
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
        self.open_ended.store(true, Relaxed);
    }

    /// Such an answer has begun; told once.
    pub(super) fn take_open_ended(&self) -> bool {
        self.open_ended.load(Relaxed) && self.open_ended.swap(false, Relaxed)
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
