//! What limits have counted, and who is ejected. Belongs to no generation: each takes it over from the one before, and
//! limits find theirs by their scope, so it stays as long as it means anything.

use std::sync::Arc;

use super::concurrency::InFlight;
use super::limiter::table::RateTable;
use super::outlier::Ejections;
use super::{Nanos, Tables};

/// The counts of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) rates: Arc<RateTable>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) ejections: Arc<Ejections>,
}

impl Tables {
    /// Forgets clients that no rate limit has anything to remember of, in one part of 2,048 a call; `turn` counts calls.
    /// Gives back memory after a flood of clients; without it that waits for other clients.
    pub fn sweep(&self, turn: usize, now: Nanos) {
        self.counts.rates.sweep(turn, now);
    }

    /// Keys that rate limits remember, and the bytes for them.
    #[cfg(test)]
    pub(super) fn limiter_size(&self) -> (usize, usize) {
        self.counts.rates.size()
    }
}
