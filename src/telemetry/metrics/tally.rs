//! Requests by method and status. The set of pairs is closed and large, the set that a route sees is small, so pairs
//! are kept in order of first appearance and found by a scan of one cache line.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use http::Method;

use super::counter::Counter;

/// Pairs per link of the chain.
const SLOTS: usize = 12;

/// Names of the `method` label; the last stands for all methods that are not among the others.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "_OTHER"];

/// A method and a status, folded into the closed set. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair(u16);

/// Counts by [`Pair`], one writer. Grows by one link when a new pair finds no free slot, at most to the closed set.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// 0: the slot is free. Written once, after the counter beside it is in place.
    pairs: [AtomicU16; SLOTS],
    counts: [Counter; SLOTS],
    next: OnceLock<Box<Tally>>,
}

impl Pair {
    const STATUSES: u16 = 600;

    pub(super) fn new(method: &Method, status: u16) -> Self {
        let status = if (100..Self::STATUSES).contains(&status) { status } else { 0 };
        Pair(method_index(method) * Self::STATUSES + status + 1)
    }

    pub(super) fn method(self) -> &'static str {
        METHODS[usize::from((self.0 - 1) / Self::STATUSES)]
    }

    /// `None`: a status outside 100..=599.
    pub(super) fn status(self) -> Option<u16> {
        Some((self.0 - 1) % Self::STATUSES).filter(|status| *status != 0)
    }
}

impl Tally {
    pub(super) fn count(&self, pair: Pair) {
        let mut link = self;
        loop {
            for (slot, count) in link.pairs.iter().zip(&link.counts) {
                match slot.load(Ordering::Relaxed) {
                    found if found == pair.0 => return count.add(1),
                    0 => {
                        count.add(1);
                        return slot.store(pair.0, Ordering::Release);
                    }
                    _ => {}
                }
            }
            link = link.next.get_or_init(Box::default);
        }
    }

    /// All pairs seen so far, in order of first appearance.
    pub(super) fn for_each(&self, mut visit: impl FnMut(Pair, u64)) {
        let mut link = Some(self);
        while let Some(tally) = link {
            for (slot, count) in tally.pairs.iter().zip(&tally.counts) {
                match slot.load(Ordering::Acquire) {
                    0 => return,
                    pair => visit(Pair(pair), count.value()),
                }
            }
            link = tally.next.get().map(|next| &**next);
        }
    }
}

fn method_index(method: &Method) -> u16 {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_pair_of_the_closed_set_has_its_own_count() {
        let tally = Tally::default();
        let other = Method::from_bytes(b"PURGE").unwrap();
        let known = METHODS[..9].iter().map(|name| Method::from_bytes(name.as_bytes()).unwrap());
        let methods: Vec<Method> = known.chain([other]).collect();
        for method in &methods {
            for status in 99..=600 {
                tally.count(Pair::new(method, status));
            }
        }
        let mut seen = BTreeMap::new();
        tally.for_each(|pair, count| assert!(seen.insert((pair.method(), pair.status()), count).is_none()));
        assert_eq!(seen.len(), METHODS.len() * 501);
        for ((_, status), count) in &seen {
            assert_eq!(*count, if status.is_some() { 1 } else { 2 });
        }
        for (method, name) in methods.iter().zip(METHODS) {
            assert_eq!(Pair::new(method, 204).method(), name);
        }
    }

    #[test]
    fn methods_outside_the_closed_set_are_folded() {
        let made_up = Method::from_bytes(b"X1").unwrap();
        assert_eq!(Pair::new(&made_up, 200).method(), "_OTHER");
        assert_eq!(Pair::new(&made_up, 200).status(), Some(200));
        assert_eq!(Pair::new(&made_up, 999).status(), None);
    }
}
