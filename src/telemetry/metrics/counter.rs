//! The counter and the histogram under all sharded metrics. Each has one writer, so counting is a plain load and store;
//! a scrape may read at any time and sees some recent value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most buckets of a histogram, beside the one for what is beyond the last.
const MOST_BUCKETS: usize = 50;

/// Upper bounds of the duration histogram (`--time-buckets`), ascending; by default as Prometheus clients have them.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeBuckets {
    pub(super) seconds: Arc<[f64]>,
    nanos: Arc<[u64]>,
}

impl TimeBuckets {
    /// `None`: these are no bounds.
    pub fn new(seconds: &[f64]) -> Option<Self> {
        let nanos: Vec<_> = seconds.iter().map(|bound| (bound * 1e9).round() as u64).collect();
        let are_bounds = seconds.iter().all(|bound| bound.is_finite() && *bound <= 1e6)
            && nanos.first().is_some_and(|first| *first > 0)
            && nanos.is_sorted_by(|one, next| one < next);
        (are_bounds && nanos.len() <= MOST_BUCKETS)
            .then(|| TimeBuckets { seconds: seconds.into(), nanos: nanos.into() })
    }
}

impl Default for TimeBuckets {
    fn default() -> Self {
        let standard = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self::new(&standard).expect("these are bounds")
    }
}

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
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Arc<[u64]>,
    /// One per bound and one for what is beyond the last; not cumulative.
    buckets: Box<[Counter]>,
    nanos: Counter,
}

/// The sum of the same histogram over shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HistogramTotal {
    /// Not cumulative, as in [`Histogram`]; none before the first shard.
    pub(super) buckets: Vec<u64>,
    pub(super) nanos: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &TimeBuckets) -> Self {
        let buckets = (0..=bounds.nanos.len()).map(|_| Counter::default()).collect();
        Histogram { bounds: bounds.nanos.clone(), buckets, nanos: Counter::default() }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.iter().filter(|bound| nanos > **bound).count();
        self.buckets[bucket].add(1);
        self.nanos.add(nanos);
    }
}

impl HistogramTotal {
    pub(super) fn add(&mut self, shard: &Histogram) {
        self.buckets.resize(shard.buckets.len(), 0);
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
    fn bounds_ascend_from_above_nothing() {
        assert_eq!(TimeBuckets::new(&[0.0000001, 1.0]).unwrap().nanos, [100, 1_000_000_000].into());
        let many: Vec<_> = (1..=51).map(f64::from).collect();
        assert!(TimeBuckets::new(&many[..50]).is_some());
        for wrong in
            [&[][..], &[0.0], &[-1.0, 1.0], &[1.0, 1.0], &[2.0, 1.0], &[f64::NAN], &[f64::INFINITY], &[2e6], &many]
        {
            assert_eq!(TimeBuckets::new(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_duration_equal_to_a_bound_counts_below_it() {
        let histogram = Histogram::new(&TimeBuckets::default());
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
