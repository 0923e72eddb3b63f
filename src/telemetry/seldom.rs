//! Lets a warning that could come for every connection through once a minute, with the number of those held back.
//!
//! Used where the cause is outside: connection caps, exhausted descriptors, TLS that backends refuse. Who has something to
//! warn of says when that is: no clock is here, so that tables can hold it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The shortest time between two lines of one kind.
const PERIOD: Duration = Duration::from_secs(60);

/// One kind of warning. Shared by all workers.
#[derive(Debug, Default)]
pub struct Seldom {
    /// When the next line is due, in milliseconds since [`millis`] was first called. 0: at once.
    due: AtomicU64,
    /// Occurrences since the last line.
    held_back: AtomicU64,
}

impl Seldom {
    pub const fn new() -> Self {
        Seldom { due: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// One more occurrence. `Some(n)`: write the line now; it stands for `n` occurrences, this one included.
    pub fn occurred(&self, now: Instant) -> Option<u64> {
        self.held_back.fetch_add(1, Ordering::Relaxed);
        let now = millis(now);
        let due = self.due.load(Ordering::Relaxed);
        if now < due {
            return None;
        }
        let next = now + PERIOD.as_millis() as u64;
        // Of several threads that find the line due, one writes it.
        self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(self.held_back.swap(0, Ordering::Relaxed))
    }
}

fn millis(now: Instant) -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*EPOCH.get_or_init(|| now)).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_is_told_at_once_and_the_next_after_a_minute_with_their_number() {
        let seldom = Seldom::new();
        // Other tests may have the first call.
        let start = Instant::now() + PERIOD;
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(seldom.occurred(at(0)), Some(1));
        assert_eq!(seldom.occurred(at(1)), None);
        assert_eq!(seldom.occurred(at(59_999)), None);
        assert_eq!(seldom.occurred(at(60_000)), Some(3));
        assert_eq!(seldom.occurred(at(60_001)), None);
    }

    #[test]
    fn one_of_many_threads_tells() {
        let seldom = Seldom::new();
        let told: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| seldom.occurred(Instant::now()).is_some())).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(told, 1);
    }
}
