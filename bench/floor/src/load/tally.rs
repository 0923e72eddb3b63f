//! What came of a load.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

#[derive(Default)]
pub(crate) struct Tally(RefCell<Counts>);

#[derive(Default)]
struct Counts {
    statuses: BTreeMap<u16, u64>,
    latencies: Vec<u32>,
    resumed: u64,
    handshakes: u64,
    unsent: u64,
    /// The first thing that went wrong, and how much did.
    failure: Option<String>,
    failures: u64,
}

/// The line that is printed; times in microseconds.
#[derive(Serialize)]
pub(crate) struct Report {
    requests: u64,
    seconds: f64,
    statuses: BTreeMap<u16, u64>,
    handshakes: u64,
    resumed: u64,
    /// At a fixed rate: those whose time came while every connection was busy, to the end.
    unsent: u64,
    failures: u64,
    failure: Option<String>,
    p50: u32,
    p99: u32,
    max: u32,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.failures == 0
    }
}

impl Tally {
    pub(crate) fn answered(&self, status: u16, since: Instant) {
        let mut counts = self.0.borrow_mut();
        *counts.statuses.entry(status).or_default() += 1;
        counts.latencies.push(micros(since.elapsed()));
    }

    pub(crate) fn handshake(&self, resumed: bool) {
        let mut counts = self.0.borrow_mut();
        counts.handshakes += 1;
        counts.resumed += u64::from(resumed);
    }

    /// A request that could not be sent to the end counts with the time that it waited: it is not forgotten.
    pub(crate) fn unsent(&self, since: Instant) {
        let mut counts = self.0.borrow_mut();
        counts.unsent += 1;
        counts.latencies.push(micros(since.elapsed()));
    }

    pub(crate) fn failed(&self, error: &anyhow::Error) {
        let mut counts = self.0.borrow_mut();
        counts.failures += 1;
        counts.failure.get_or_insert_with(|| format!("{error:#}"));
    }

    pub(crate) fn report(&self, taken: Duration) -> Report {
        let mut counts = self.0.borrow_mut();
        counts.latencies.sort_unstable();
        let at = |share: f64| {
            let last = counts.latencies.len().saturating_sub(1);
            counts.latencies.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
        };
        Report {
            requests: counts.statuses.values().sum(),
            seconds: taken.as_secs_f64(),
            statuses: counts.statuses.clone(),
            handshakes: counts.handshakes,
            resumed: counts.resumed,
            unsent: counts.unsent,
            failures: counts.failures,
            failure: counts.failure.clone(),
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

fn micros(time: Duration) -> u32 {
    time.as_micros().try_into().unwrap_or(u32::MAX)
}
