//! Waiting for a fact that another process or thread brings about, with an end to the waiting.

use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine, shorter than a person waits.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `fact` again and again until it gives a value; panics with `what` once [`PATIENCE`] has run out.
#[track_caller]
pub fn until<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, fact).unwrap_or_else(|| panic!("waited {PATIENCE:?} for {what}"))
}

/// Asks `fact` until it gives a value or `patience` has run out.
pub fn within<T>(patience: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(value) = fact() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        // Between two questions: the facts are another process's, which cannot wake us.
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Panics unless `fact` stays true for all of `time`.
#[track_caller]
pub fn stays(what: &str, time: Duration, mut fact: impl FnMut() -> bool) {
    if within(time, || (!fact()).then_some(())).is_some() {
        panic!("{what} did not hold for {time:?}");
    }
}

/// What `work` gives, and how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}
