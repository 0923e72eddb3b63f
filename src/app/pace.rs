//! When a change is applied: the first one after quiet at once, bursts together. Pure; the clock is an argument.

use std::time::{Duration, Instant};

/// Longest time that a change waits for others.
const LONGEST: Duration = Duration::from_millis(100);

/// Shortest time between two applications.
const SHORTEST: Duration = Duration::from_millis(5);

/// Applying takes at most one part in this many of a CPU, unless that would mean waiting longer than [`LONGEST`].
const SHARE: u32 = 5;

/// Decides when what has changed is applied.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the oldest change that was not looked at yet was noticed.
    noticed: Option<Instant>,
    /// When the oldest change that is not applied yet was noticed.
    oldest: Option<Instant>,
    /// Before this nothing is applied.
    rest_until: Option<Instant>,
}

impl Pace {
    /// Something changed.
    pub(super) fn notice(&mut self, now: Instant) {
        self.noticed.get_or_insert(now);
        self.oldest.get_or_insert(now);
    }

    /// When to apply what has changed; `None`: nothing has.
    pub(super) fn due(&self) -> Option<Instant> {
        self.noticed.map(|noticed| self.rest_until.map_or(noticed, |rest| rest.max(noticed)))
    }

    /// What was noticed before `started` waits for something else, whose coming will be noticed in turn. To find that out
    /// took until `now`.
    pub(super) fn postponed(&mut self, started: Instant, now: Instant) {
        let rest = (now - started) * (SHARE - 1);
        self.rest_until = Some(now + rest.clamp(SHORTEST, LONGEST));
        self.noticed = None;
    }

    /// Everything noticed before `started` was applied, which took until `now`. Tells when the oldest of it was noticed.
    pub(super) fn applied(&mut self, started: Instant, now: Instant) -> Option<Instant> {
        self.postponed(started, now);
        self.oldest.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_change_after_quiet_is_due_at_once() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.due(), None);
        pace.notice(start);
        assert_eq!(pace.due(), Some(start));
        assert_eq!(pace.applied(start, start + MS), Some(start));
        assert_eq!(pace.due(), None);
        let later = start + 200 * MS;
        pace.notice(later);
        assert_eq!(pace.due(), Some(later));
    }

    #[test]
    fn a_burst_is_applied_together_and_counts_from_its_first_change() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.notice(start);
        pace.applied(start, start + 10 * MS);
        pace.notice(start + 11 * MS);
        pace.notice(start + 12 * MS);
        assert_eq!(pace.due(), Some(start + 50 * MS));
        assert_eq!(pace.applied(start + 50 * MS, start + 60 * MS), Some(start + 11 * MS));
    }

    #[test]
    fn what_waits_for_something_else_is_not_due_and_counts_from_when_it_was_noticed() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.notice(start);
        pace.postponed(start, start + MS);
        assert_eq!(pace.due(), None);
        pace.notice(start + 20 * MS);
        assert_eq!(pace.due(), Some(start + 20 * MS));
        assert_eq!(pace.applied(start + 20 * MS, start + 21 * MS), Some(start));
    }

    #[test]
    fn the_wait_is_bounded_however_long_applying_takes() {
        let start = Instant::now();
        for (took, wait) in [(Duration::ZERO, SHORTEST), (10 * MS, 40 * MS), (Duration::from_secs(3), LONGEST)] {
            let mut pace = Pace::default();
            pace.applied(start, start + took);
            pace.notice(start + took);
            assert_eq!(pace.due(), Some(start + took + wait));
        }
    }
}
