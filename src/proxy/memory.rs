//! Whether memory is scarce: first connections are not kept, then requests are refused. `app::memory` looks at what the
//! process takes and sets the level; workers read it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// How scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Enough,
    /// Connections end behind the answer that is under way, idle ones at once. Large answers go on as there is room.
    Scarce,
    /// Connections and requests are refused as well, answers pause, and who takes nothing of one is cut soon.
    Full,
}

/// What an answer takes for itself at most until its next pause, in the buffers of both connections.
const ANSWER: u64 = 128 << 10;

/// The level now. One per process.
#[derive(Debug, Default)]
pub struct Memory {
    level: AtomicU8,
    /// Bytes for answers that go on after a pause: all at once they would fill what has become free.
    room: AtomicU64,
}

impl Memory {
    /// `room`: what is left before memory is full.
    pub fn set(&self, level: Level, room: u64) {
        self.room.store(room, Relaxed);
        self.level.store(level as u8, Relaxed);
    }

    /// One answer that was paused may go on.
    pub(super) fn resumes_one(&self) -> bool {
        !self.is_full() && self.room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(ANSWER)).is_ok()
    }

    pub(super) fn is_scarce(&self) -> bool {
        self.level.load(Relaxed) >= Level::Scarce as u8
    }

    pub(super) fn is_full(&self) -> bool {
        self.level.load(Relaxed) >= Level::Full as u8
    }
}
