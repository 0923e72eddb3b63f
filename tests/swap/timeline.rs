//! Which answer was possible when. Whoever changes something says so before and after; whoever got an answer asks.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

/// When each answer was that of some generation in use.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    spans: Mutex<HashMap<String, Vec<Span>>>,
}

#[derive(Debug)]
struct Span {
    from: Instant,
    until: Option<Instant>,
}

impl Timeline {
    /// To be called before the change that makes `answer` possible is written.
    pub(super) fn begins(&self, answer: &str) {
        let span = Span { from: Instant::now(), until: None };
        self.spans.lock().unwrap().entry(answer.to_owned()).or_default().push(span);
    }

    /// To be called after the change that makes `answer` impossible is in use.
    pub(super) fn ends(&self, answer: &str) {
        let mut spans = self.spans.lock().unwrap();
        let span = spans.get_mut(answer).and_then(|spans| spans.last_mut()).expect("an answer ends after it began");
        span.until = Some(Instant::now());
    }

    /// Whether `answer` was possible at some moment from `start` to `end`.
    pub(super) fn held(&self, answer: &str, start: Instant, end: Instant) -> bool {
        let spans = self.spans.lock().unwrap();
        let of_answer = spans.get(answer).map_or(&[][..], Vec::as_slice);
        of_answer.iter().rev().any(|span| span.from <= end && span.until.is_none_or(|until| until >= start))
    }
}

#[test]
fn an_answer_counts_from_before_its_change_until_after_the_next() {
    let timeline = Timeline::default();
    let before = Instant::now();
    timeline.begins("a");
    let between = Instant::now();
    assert!(timeline.held("a", between, between));
    timeline.ends("a");
    let ended = Instant::now();
    let after = std::iter::repeat_with(Instant::now).find(|now| *now > ended).expect("clocks go on");
    assert!(timeline.held("a", between, between) && timeline.held("a", before, after));
    assert!(!timeline.held("a", after, after), "it has ended");
    assert!(!timeline.held("b", before, after), "it never was");
    timeline.begins("a");
    assert!(timeline.held("a", after, Instant::now()), "it came back");
    assert!(!timeline.held("a", after, after), "not yet");
}
