//! The counter and the histogram under all sharded metrics. Each has one writer, so counting is a plain load and store;
//! a scrape may read at any time and sees some recent value.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the duration histogram in seconds, as Prometheus clients have them by default.
pub(super) const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const BOUNDS_NANOS: [u64; 11] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A number that one thread adds to. A second writer would lose counts, nothing else.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations by bucket, one writer.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One per bound and one for what is beyond the last; not cumulative.
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

/// The sum of the same histogram over shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HistogramTotal {
    /// Not cumulative, as in [`Histogram`].
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) nanos: u64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NANOS.iter().filter(|bound| nanos > **bound).count();
        self.buckets[bucket].add(1);
        self.nanos.add(nanos);
    }
}

impl HistogramTotal {
    pub(super) fn add(&mut self, shard: &Histogram) {
        for (total, counter) in self.buckets.iter_mut().zip(&shard.buckets) {
            *total += counter.value();
        }
        self.nanos = self.nanos.wrapping_add(shard.nanos.value());
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_same_in_seconds_and_nanoseconds() {
        for (seconds, nanos) in BOUNDS.iter().zip(BOUNDS_NANOS) {
            assert_eq!(Duration::from_secs_f64(*seconds), Duration::from_nanos(nanos));
        }
    }

    #[test]
    fn a_duration_equal_to_a_bound_counts_below_it() {
        let histogram = Histogram::default();
        for millis in [0, 5, 6, 10_000, 10_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut total = HistogramTotal::default();
        total.add(&histogram);
        assert_eq!(total.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(total.count(), 5);
        assert_eq!(total.nanos, 20_012_000_000);
    }
}
