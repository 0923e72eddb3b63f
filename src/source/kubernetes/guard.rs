//! Doubts a list that lacks most of what was there a moment ago.
//!
//! An API server that starts, or is restored from a backup, may for a while give lists that are short. Applied as they
//! are they would take every route off the cluster, or the guards off its routes. So what a list lacks on which much hangs
//! (`loss`) is kept for a time. Then the list is read again, and what was doubted and is lacking still is gone: nothing is
//! forgotten while there is nobody to ask. What is deleted one by one is not doubted.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// Objects that a list lacked and that are kept for the time being.
#[derive(Debug)]
pub(super) struct Guard<N> {
    hold: Duration,
    doubted: BTreeSet<N>,
    until: Option<Instant>,
    /// The time is over, and the list is being read again.
    asking: bool,
}

impl<N: Ord + Clone> Guard<N> {
    /// `hold`: how long they are kept; zero: nothing is doubted.
    pub(super) fn new(hold: Duration) -> Self {
        Guard { hold, doubted: BTreeSet::new(), until: None, asking: false }
    }

    /// A whole list came that lacks `lacking`. Gives those that are really gone. `is_much`: whether it is hardly credible
    /// that the first are gone, apart from the second. A list that still lacks what was doubted makes that no more credible
    /// before the time is up.
    pub(super) fn listed(
        &mut self,
        lacking: BTreeSet<N>,
        is_much: impl FnOnce(&BTreeSet<N>, &BTreeSet<N>) -> bool,
        now: Instant,
    ) -> BTreeSet<N> {
        let asked = std::mem::take(&mut self.asking);
        self.doubted.retain(|name| lacking.contains(name));
        let mut gone: BTreeSet<N> = lacking.difference(&self.doubted).cloned().collect();
        if !gone.is_empty() && !self.hold.is_zero() && is_much(&gone, &self.doubted) {
            self.doubted.append(&mut gone);
        } else if asked {
            gone.append(&mut self.doubted);
        }
        self.until.get_or_insert(now + self.hold);
        self.settle();
        gone
    }

    /// The object is there, or was deleted by itself.
    pub(super) fn told(&mut self, name: &N) {
        if self.doubted.remove(name) {
            self.settle();
        }
    }

    /// When the list is to be read again.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn doubted(&self) -> usize {
        self.doubted.len()
    }

    /// The time is over: the next list is believed in this.
    pub(super) fn ask_again(&mut self) {
        self.until = None;
        self.asking = true;
    }

    /// The API server gave no list, or the like. The first after that may be as short, so that the time begins anew.
    pub(super) fn failed(&mut self) {
        self.asking = false;
    }

    /// Once nothing is doubted, the next doubt has a time of its own.
    fn settle(&mut self) {
        if self.doubted.is_empty() {
            self.until = None;
            self.asking = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    fn names(range: std::ops::Range<usize>) -> BTreeSet<usize> {
        range.collect()
    }

    /// More than half of so many.
    fn half(of: usize) -> impl FnOnce(&BTreeSet<usize>, &BTreeSet<usize>) -> bool {
        move |lost, doubted| lost.len() * 2 > of - doubted.len()
    }

    fn guard() -> Guard<usize> {
        Guard::new(HOLD)
    }

    #[test]
    fn what_is_not_much_is_gone_at_once() {
        let mut guard = guard();
        for lacking in [0, 1, 50] {
            assert_eq!(guard.listed(names(0..lacking), half(100), Instant::now()), names(0..lacking));
            assert_eq!((guard.until(), guard.doubted()), (None, 0));
        }
    }

    #[test]
    fn what_is_much_is_kept_until_the_time_is_up_and_another_list_lacks_it() {
        let now = Instant::now();
        let mut guard = guard();
        assert_eq!(guard.listed(names(0..51), half(100), now), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 51));
        guard.ask_again();
        assert_eq!((guard.until(), guard.doubted()), (None, 51), "nothing is gone before there is another list");
        // And a few others.
        assert_eq!(guard.listed(names(0..53), half(100), now + HOLD), names(0..53));
        assert_eq!((guard.until(), guard.doubted()), (None, 0));
    }

    #[test]
    fn a_list_that_lacks_much_more_than_was_doubted_is_doubted_whole() {
        let now = Instant::now();
        let mut guard = guard();
        guard.listed(names(0..51), half(100), now);
        guard.ask_again();
        assert_eq!(guard.listed(names(0..100), half(100), now + HOLD), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD * 2), 100));
        guard.ask_again();
        assert_eq!(guard.listed(names(0..100), half(100), now + HOLD * 2), names(0..100));
    }

    #[test]
    fn where_there_is_nobody_to_ask_the_time_begins_anew() {
        let now = Instant::now();
        let mut guard = guard();
        guard.listed(names(0..60), half(100), now);
        guard.ask_again();
        guard.failed();
        assert_eq!((guard.until(), guard.doubted()), (None, 60));
        let back = now + HOLD * 5;
        assert_eq!(guard.listed(names(0..60), half(100), back), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (Some(back + HOLD), 60));
        // What goes wrong before the time is up changes nothing.
        guard.failed();
        assert_eq!(guard.until(), Some(back + HOLD));
        guard.ask_again();
        assert_eq!(guard.listed(names(0..60), half(100), back + HOLD), names(0..60));
    }

    #[test]
    fn once_a_list_has_them_the_next_short_one_is_doubted() {
        let now = Instant::now();
        let mut guard = guard();
        guard.listed(names(0..30), half(30), now);
        guard.ask_again();
        assert_eq!(guard.listed(names(0..0), half(30), now + HOLD), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (None, 0));
        assert_eq!(guard.listed(names(0..30), half(30), now + HOLD), names(0..0), "the next short one is doubted");
        assert_eq!(guard.until(), Some(now + HOLD * 2));
    }

    #[test]
    fn a_second_list_neither_shortens_nor_lengthens_the_time() {
        let now = Instant::now();
        let mut guard = guard();
        guard.listed(names(0..30), half(31), now);
        // 0 to 9 are back, and one more is gone by itself in the meantime.
        let lacking = names(10..30).into_iter().chain([99]).collect();
        assert_eq!(guard.listed(lacking, half(31), now + HOLD / 2), BTreeSet::from([99]));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 20));
        assert_eq!(guard.listed(names(0..30), half(41), now + HOLD / 2), names(0..10), "less than half of the rest");
        assert_eq!(guard.listed(names(0..0), half(30), now + HOLD / 2), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (None, 0));
    }

    #[test]
    fn a_list_that_is_shorter_still_is_doubted_too() {
        let now = Instant::now();
        let mut guard = guard();
        guard.listed(names(0..60), half(100), now);
        assert_eq!(guard.listed(names(0..100), half(100), now + HOLD / 2), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 100));
    }

    #[test]
    fn what_is_told_by_itself_is_not_doubted() {
        let now = Instant::now();
        let mut guard = guard();
        guard.listed(names(0..21), half(21), now);
        names(0..20).iter().for_each(|name| guard.told(name));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 1));
        guard.told(&20);
        assert_eq!((guard.until(), guard.doubted()), (None, 0));
    }

    #[test]
    fn a_hold_of_zero_doubts_nothing() {
        let mut guard = Guard::new(Duration::ZERO);
        assert_eq!(guard.listed(names(0..1000), half(1000), Instant::now()), names(0..1000));
    }
}
