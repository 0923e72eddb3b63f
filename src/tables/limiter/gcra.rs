//! The arithmetic of one limit (generic cell rate algorithm): a bucket of `burst` requests that fills at `requests` in
//! `per`. Exact: what a request costs in time is a fraction, and nothing of it is rounded away.

use std::time::Duration;

use super::Nanos;

/// So that times can be added without overflow: 146 years.
const LONGEST: u64 = u64::MAX >> 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct Gcra {
    requests: u64,
    per: u64,
    /// The time that one request costs.
    step: Span,
    /// The time that an empty bucket takes to fill.
    size: Span,
    /// Nothing ever passes.
    closed: bool,
}

/// A time, or a moment: nanoseconds, and as many parts of one as the limit has requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) nanos: u64,
    parts: u32,
}

/// A bucket after a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) admitted: bool,
    /// The time until it is full.
    missing: Span,
}

impl Gcra {
    pub(super) fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let closed = requests == 0 || burst == 0;
        let requests = u64::from(requests.max(1));
        let per = u64::try_from(per.as_nanos()).unwrap_or(LONGEST).clamp(1, LONGEST);
        let span = |count: u32| {
            let parts = u128::from(count) * u128::from(per);
            let nanos = u64::try_from(parts / u128::from(requests)).unwrap_or(LONGEST).min(LONGEST);
            Span { nanos, parts: (parts % u128::from(requests)) as u32 }
        };
        Gcra { requests, per, step: span(1), size: span(burst), closed }
    }

    /// Takes a request out of the bucket that is full at `full`, if it holds one.
    pub(super) fn take(&self, full: &mut Span, now: Nanos) -> Level {
        let missing = self.missing(*full, now);
        let more = self.sum(missing, self.step);
        let admitted = more <= self.size && !self.closed;
        let missing = if admitted { more } else { missing };
        *full = Span { nanos: now + missing.nanos, parts: missing.parts };
        Level { admitted, missing }
    }

    pub(super) fn give_back(&self, full: &mut Span) {
        *full = self.difference(*full, self.step);
    }

    /// Requests that it still holds.
    pub(super) fn remaining(&self, level: &Level) -> u32 {
        let parts = |span: Span| u128::from(span.nanos) * u128::from(self.requests) + u128::from(span.parts);
        let held = parts(self.size).saturating_sub(parts(level.missing)) / u128::from(self.per);
        if self.closed { 0 } else { u32::try_from(held).unwrap_or(u32::MAX) }
    }

    /// Whole seconds until the next request may pass, or if this one did, until the bucket is full; at least 1.
    pub(super) fn seconds(&self, level: &Level) -> u64 {
        let wait = match level.admitted {
            true => level.missing,
            false if self.closed => Span { nanos: self.per, parts: 0 },
            false => self.difference(self.sum(level.missing, self.step), self.size),
        };
        (wait.nanos + u64::from(wait.parts > 0)).div_ceil(1_000_000_000).max(1)
    }

    /// The time until the bucket is full; not more than if it were empty, whatever was asked of it under another limit.
    fn missing(&self, full: Span, now: Nanos) -> Span {
        if full.nanos < now {
            return Span::default();
        }
        let parts = full.parts.min((self.requests - 1) as u32);
        Span { nanos: full.nanos - now, parts }.min(self.size)
    }

    fn sum(&self, one: Span, other: Span) -> Span {
        let parts = u64::from(one.parts) + u64::from(other.parts);
        let carry = u64::from(parts >= self.requests);
        Span { nanos: one.nanos + other.nanos + carry, parts: (parts - carry * self.requests) as u32 }
    }

    /// 0 if `other` is more.
    fn difference(&self, one: Span, other: Span) -> Span {
        if one < other {
            return Span::default();
        }
        let borrow = u64::from(one.parts < other.parts);
        let parts = u64::from(one.parts) + borrow * self.requests - u64::from(other.parts);
        Span { nanos: one.nanos - other.nanos - borrow, parts: parts as u32 }
    }
}

impl Span {
    /// A bucket that is full at this moment is full now.
    pub(super) fn is_over(&self, now: Nanos) -> bool {
        *self <= Span { nanos: now, parts: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn span(nanos: u64, parts: u32) -> Span {
        Span { nanos, parts }
    }

    /// The seconds told when the bucket is empty.
    fn wait(requests: u32, per: Duration, burst: u32) -> u64 {
        let gcra = Gcra::new(requests, per, burst);
        let mut full = Span::default();
        while gcra.take(&mut full, 0).admitted {}
        gcra.seconds(&gcra.take(&mut full, 0))
    }

    #[test]
    fn a_part_of_a_nanosecond_makes_another_second() {
        assert_eq!(wait(3, Duration::from_nanos(9 * SECOND), 1), 3);
        assert_eq!(wait(3, Duration::from_nanos(9 * SECOND + 1), 1), 4);
    }

    #[test]
    fn what_is_closed_tells_its_window() {
        assert_eq!(wait(2, Duration::from_secs(10), 0), 10);
    }

    #[test]
    fn the_longest_window_is_counted_without_overflow() {
        let gcra = Gcra::new(1, Duration::MAX, 2);
        let mut full = Span::default();
        assert_eq!([0, SECOND].map(|now| gcra.take(&mut full, now).admitted), [true, false]);
    }

    #[test]
    fn what_another_limit_left_counts_in_parts_of_this_one() {
        let gcra = Gcra::new(3, Duration::from_secs(1), 5);
        let mut full = span(10, 900);
        assert!(gcra.take(&mut full, 0).admitted);
        // 2 of 3 parts are the most there is; with the 333,333,333 and a third of a request they make one more.
        assert_eq!(full, span(333_333_344, 0));
    }

    #[test]
    fn a_bucket_that_was_forgotten_takes_nothing_back() {
        let gcra = Gcra::new(3, Duration::from_secs(1), 5);
        for (before, after) in
            [(span(7, 0), span(0, 0)), (span(333_333_333, 1), span(0, 0)), (span(333_333_334, 0), span(0, 2))]
        {
            let mut full = before;
            gcra.give_back(&mut full);
            assert_eq!(full, after, "{before:?}");
        }
    }
}
