//! How many requests may be tried again: a share of those of the last 10 s, so that a backend in trouble does not get
//! many times its load. One budget a backend, for all workers and generations. Time is an argument.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{LiveBackend, Nanos};

const WINDOW: u64 = 10;

/// What is always allowed in a window.
const LEAST: u64 = 3;

const SECOND: Nanos = 1_000_000_000;

/// Counts of the last seconds: each slot holds its second (20 bits), requests (24 bits) and tries again (20 bits).
#[derive(Debug, Default)]
pub(super) struct Budget([AtomicU64; WINDOW as usize]);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    second: u64,
    requests: u64,
    retries: u64,
}

const SECONDS: u64 = (1 << 20) - 1;
const REQUESTS: u64 = (1 << 24) - 1;
const RETRIES: u64 = (1 << 20) - 1;

impl LiveBackend {
    /// A request came that may be tried again under the budget.
    pub fn count_request(&self, now: Nanos) {
        self.budget.change(now, |slot| slot.requests = (slot.requests + 1).min(REQUESTS));
    }

    /// Takes a further try from the budget, if that is left.
    pub fn may_retry(&self, now: Nanos) -> bool {
        self.budget.take(now, self.source.policy.retry.budget_percent)
    }
}

impl Budget {
    fn take(&self, now: Nanos, percent: u32) -> bool {
        // Counted before it is looked at, so that threads that ask at once do not all find the last one.
        self.change(now, |slot| slot.retries = (slot.retries + 1).min(RETRIES));
        let (requests, retries) = self.sums(now);
        let allowed = retries <= (requests * u64::from(percent) / 100).max(LEAST);
        if !allowed {
            self.change(now, |slot| slot.retries = slot.retries.saturating_sub(1));
        }
        allowed
    }

    fn change(&self, now: Nanos, change: impl Fn(&mut Slot)) {
        let second = (now / SECOND) & SECONDS;
        let changed = |packed| {
            let mut slot = Slot::unpack(packed);
            if slot.second != second {
                slot = Slot { second, ..Slot::default() };
            }
            change(&mut slot);
            Some(slot.pack())
        };
        let _changed = self.0[(now / SECOND % WINDOW) as usize].fetch_update(Relaxed, Relaxed, changed);
    }

    fn sums(&self, now: Nanos) -> (u64, u64) {
        let second = (now / SECOND) & SECONDS;
        let slots = self.0.iter().map(|slot| Slot::unpack(slot.load(Relaxed)));
        let recent = slots.filter(|slot| second.wrapping_sub(slot.second) & SECONDS < WINDOW);
        recent.fold((0, 0), |(requests, retries), slot| (requests + slot.requests, retries + slot.retries))
    }
}

impl Slot {
    fn unpack(packed: u64) -> Self {
        Slot { second: packed >> 44, requests: (packed >> 20) & REQUESTS, retries: packed & RETRIES }
    }

    fn pack(self) -> u64 {
        self.second << 44 | self.requests << 20 | self.retries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_are_allowed_in_ten_seconds_whatever_comes() {
        let budget = Budget::default();
        let taken = |now| (0..9).filter(|_| budget.take(now, 0)).count();
        assert_eq!([taken(0), taken(9 * SECOND), taken(10 * SECOND), taken(19 * SECOND)], [3, 0, 3, 0]);
    }

    #[test]
    fn a_share_of_the_requests_of_ten_seconds_is_allowed() {
        let budget = Budget::default();
        for second in 0..10 {
            (0..10).for_each(|_| budget.change(second * SECOND, |slot| slot.requests += 1));
        }
        assert_eq!((0..100).filter(|_| budget.take(9 * SECOND, 20)).count(), 20);
        // The first second's requests count no more.
        assert_eq!(budget.sums(10 * SECOND), (90, 20));
    }

    #[test]
    fn threads_that_ask_at_once_get_no_more_than_there_is() {
        let budget = Budget::default();
        let ask = || (0..100).filter(|_| budget.take(0, 0)).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((1..=3).contains(&taken), "{taken}");
    }
}
