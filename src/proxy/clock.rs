//! A worker's coarse clock: read on the request path in place of the system's, moved by the worker's tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Milliseconds since the worker started, never 0, so that 0 can mean "not set".
pub(super) type Millis = u64;

/// How often deadlines are looked at, and so how late one may be noticed.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Shared by everything of one worker. Atomic only because stream types must be `Send`; one thread uses it.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    origin: Instant,
    now: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Clock { origin: Instant::now(), now: Arc::new(AtomicU64::new(1)) }
    }

    /// As of the last tick.
    pub(super) fn now(&self) -> Millis {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn at(&self, time: Instant) -> Millis {
        millis(time.saturating_duration_since(self.origin)) + 1
    }

    /// Called by the tick, and by the accept loop, which may come after a pause in which nothing ticked.
    pub(super) fn advance(&self) -> Millis {
        let now = self.at(Instant::now());
        self.now.store(now, Ordering::Relaxed);
        now
    }
}

pub(super) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `limit` has passed since `since`; `since` 0 means that nothing is waited for.
pub(super) fn passed(since: Millis, limit: Duration, now: Millis) -> bool {
    since != 0 && now.saturating_sub(since) >= millis(limit)
}
