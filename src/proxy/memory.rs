//! Whether memory is scarce: first connections are not kept, then requests are refused. `app::memory` looks at what the
//! process takes and sets the level; workers read it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// How scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Enough,
    /// Connections end behind the answer that is under way, idle ones at once.
    Scarce,
    /// Connections and requests are refused as well, answers pause, and who takes nothing of one is cut soon.
    Full,
}

/// What a piece of an answer may take, in the buffers of both connections.
const PIECE: u64 = 128 << 10;

/// The level now. One per process.
#[derive(Debug)]
pub struct Memory {
    level: AtomicU8,
    /// Bytes for pieces of answers that pass until the next look.
    room: AtomicU64,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { level: AtomicU8::new(Level::Enough as u8), room: AtomicU64::new(ANY) }
    }
}

/// Room that need not be counted.
pub const ANY: u64 = u64::MAX;

impl Memory {
    /// `room`: what may be taken until memory is looked at again.
    pub fn set(&self, level: Level, room: u64) {
        self.room.store(room, Relaxed);
        self.level.store(level as u8, Relaxed);
    }

    /// One more piece of an answer may pass.
    pub(super) fn has_room(&self) -> bool {
        let take = || self.room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(PIECE));
        self.room.load(Relaxed) == ANY || take().is_ok()
    }

    pub(super) fn is_scarce(&self) -> bool {
        self.level.load(Relaxed) >= Level::Scarce as u8
    }

    pub(super) fn is_full(&self) -> bool {
        self.level.load(Relaxed) >= Level::Full as u8
    }
}
