//! Doubts a list that lacks most of what was there a moment ago.
//!
//! An API server that starts, or is restored from a backup, may for a while give lists that are short. Applied as they
//! are they would take every route off the cluster, or the guards off its routes. So if a list lacks more than half of a
//! kind and more than 20 of its objects at once, or any of a kind that much hangs on, those are kept for a time. Then the
//! list is read again, and what that lacks too is gone: nothing is forgotten while there is nobody to ask. What is deleted
//! one by one is not doubted.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// Objects that a list lacked and that are kept for the time being.
#[derive(Debug)]
pub(super) struct Guard<N> {
    hold: Duration,
    /// So many may go at once; `None`: none.
    few: Option<usize>,
    doubted: BTreeSet<N>,
    until: Option<Instant>,
    /// The time is over, and the list is being read again.
    asking: bool,
}

impl<N: Ord + Clone> Guard<N> {
    /// `hold`: how long they are kept; zero: nothing is doubted.
    pub(super) fn new(hold: Duration, few: Option<usize>) -> Self {
        Guard { hold, few, doubted: BTreeSet::new(), until: None, asking: false }
    }

    /// A whole list came that lacks `lacking` of `known` objects. Gives those that are really gone. A list that still lacks
    /// what was doubted makes that no more credible before the time is up.
    pub(super) fn listed(&mut self, known: usize, lacking: BTreeSet<N>, now: Instant) -> BTreeSet<N> {
        if std::mem::take(&mut self.asking) {
            self.doubted.clear();
            return lacking;
        }
        self.doubted.retain(|name| lacking.contains(name));
        let fresh: BTreeSet<N> = lacking.difference(&self.doubted).cloned().collect();
        let is_much = match self.few {
            Some(few) => fresh.len() > few && fresh.len() * 2 > known - self.doubted.len(),
            None => !fresh.is_empty(),
        };
        if is_much && !self.hold.is_zero() {
            self.doubted.extend(fresh);
            self.until.get_or_insert(now + self.hold);
            return BTreeSet::new();
        }
        self.settle();
        fresh
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

    /// The time is over: the next list is believed.
    pub(super) fn ask_again(&mut self) {
        self.until = None;
        self.asking = true;
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

    #[test]
    fn half_of_a_kind_or_twenty_objects_may_go_at_once() {
        let now = Instant::now();
        for (known, lacking) in [(20, 20), (21, 1), (42, 21), (100, 50), (0, 0)] {
            let mut guard = Guard::new(HOLD, Some(20));
            assert_eq!(guard.listed(known, names(0..lacking), now), names(0..lacking), "{lacking} of {known}");
            assert_eq!((guard.until(), guard.doubted()), (None, 0));
        }
    }

    #[test]
    fn of_what_much_hangs_on_each_one_is_doubted() {
        let now = Instant::now();
        let mut guard = Guard::new(HOLD, None);
        assert_eq!(guard.listed(9, names(0..0), now), names(0..0));
        assert_eq!(guard.listed(9, names(0..1), now), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 1));
        guard.ask_again();
        assert_eq!(guard.listed(9, names(0..1), now + HOLD), names(0..1));
    }

    #[test]
    fn more_are_kept_until_the_time_is_up_and_another_list_lacks_them() {
        let now = Instant::now();
        for (known, lacking) in [(21, 21), (41, 21), (100, 51)] {
            let mut guard = Guard::new(HOLD, Some(20));
            assert_eq!(guard.listed(known, names(0..lacking), now), names(0..0), "{lacking} of {known}");
            assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), lacking));
            guard.ask_again();
            assert_eq!(
                (guard.until(), guard.doubted()),
                (None, lacking),
                "nothing is gone before there is another list"
            );
            assert_eq!(guard.listed(known, names(0..lacking), now + HOLD), names(0..lacking));
            assert_eq!((guard.until(), guard.doubted()), (None, 0));
        }
    }

    #[test]
    fn the_list_that_is_read_again_is_believed_also_where_it_has_them() {
        let now = Instant::now();
        let mut guard = Guard::new(HOLD, Some(20));
        guard.listed(30, names(0..30), now);
        guard.ask_again();
        assert_eq!(guard.listed(30, names(0..0), now + HOLD), names(0..0));
        assert_eq!(guard.listed(30, names(0..30), now + HOLD), names(0..0), "the next short one is doubted");
        assert_eq!(guard.until(), Some(now + HOLD * 2));
    }

    #[test]
    fn a_second_list_neither_shortens_nor_lengthens_the_time() {
        let now = Instant::now();
        let mut guard = Guard::new(HOLD, Some(20));
        guard.listed(30, names(0..30), now);
        // 0 to 9 are back, and one more is gone by itself in the meantime.
        let lacking = names(10..30).into_iter().chain([99]).collect();
        assert_eq!(guard.listed(31, lacking, now + HOLD / 2), BTreeSet::from([99]));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 20));
        assert_eq!(guard.listed(31, names(0..0), now + HOLD / 2), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (None, 0));
    }

    #[test]
    fn a_list_that_is_shorter_still_is_doubted_too() {
        let now = Instant::now();
        let mut guard = Guard::new(HOLD, Some(20));
        guard.listed(100, names(0..60), now);
        assert_eq!(guard.listed(100, names(0..100), now + HOLD / 2), names(0..0));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 100));
    }

    #[test]
    fn what_is_told_by_itself_is_not_doubted() {
        let now = Instant::now();
        let mut guard = Guard::new(HOLD, Some(20));
        guard.listed(21, names(0..21), now);
        names(0..20).iter().for_each(|name| guard.told(name));
        assert_eq!((guard.until(), guard.doubted()), (Some(now + HOLD), 1));
        guard.told(&20);
        assert_eq!((guard.until(), guard.doubted()), (None, 0));
    }

    #[test]
    fn a_hold_of_zero_doubts_nothing() {
        let mut guard = Guard::new(Duration::ZERO, Some(20));
        assert_eq!(guard.listed(1000, names(0..1000), Instant::now()), names(0..1000));
    }
}
