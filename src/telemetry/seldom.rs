//! Lets a warning that could come for every connection through once a minute, with the number of those held back.
//!
//! Used where the sender of the cause is outside: connection caps, exhausted descriptors.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The shortest time between two lines of one kind.
const PERIOD: Duration = Duration::from_secs(60);

/// One kind of warning. Shared by all workers.
#[derive(Debug, Default)]
pub struct Seldom {
    /// When the next line is due, in milliseconds since [`epoch`]. 0: at once.
    due: AtomicU64,
    /// Occurrences since the last line.
    held_back: AtomicU64,
}

impl Seldom {
    pub const fn new() -> Self {
        Seldom { due: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// One more occurrence. `Some(n)`: write the line now; it stands for `n` occurrences, this one included.
    pub fn occurred(&self) -> Option<u64> {
        self.occurred_at(epoch().elapsed())
    }

    fn occurred_at(&self, now: Duration) -> Option<u64> {
        self.held_back.fetch_add(1, Ordering::Relaxed);
        let now = now.as_millis() as u64;
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

fn epoch() -> &'static Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_is_told_at_once_and_the_next_after_a_minute_with_their_number() {
        let seldom = Seldom::new();
        let at = Duration::from_millis;
        assert_eq!(seldom.occurred_at(at(0)), Some(1));
        assert_eq!(seldom.occurred_at(at(1)), None);
        assert_eq!(seldom.occurred_at(at(59_999)), None);
        assert_eq!(seldom.occurred_at(at(60_000)), Some(3));
        assert_eq!(seldom.occurred_at(at(60_001)), None);
    }

    #[test]
    fn one_of_many_threads_tells() {
        let seldom = Seldom::new();
        let told: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| seldom.occurred().is_some())).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(told, 1);
    }
}
