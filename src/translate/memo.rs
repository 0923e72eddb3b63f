//! Remembers what was made of each object, so that an object that did not change costs a pointer comparison.
//!
//! An input is recognised by its `Arc`, which is kept here: its address is not used again while it is remembered. An
//! output that comes out equal keeps its `Arc`, so that what was built from it is recognised in turn.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

/// Outputs by name, each with the input it was made of.
pub(super) struct Memo<K, I, O>(BTreeMap<K, (Arc<I>, Arc<O>)>);

/// The entries of a map as one walks along another one: a comparison each, where a search would cost many.
pub(super) struct Ascending<K, V> {
    entries: Peekable<btree_map::IntoIter<K, V>>,
    skipped: bool,
}

/// The objects of one kind as they were at the last look.
pub(super) struct Seen<I>(Option<Vec<Arc<I>>>);

impl<K: Ord + Clone, I, O: PartialEq> Memo<K, I, O> {
    /// Makes what is not known yet and forgets what is gone. `objects` are in ascending order. `true` if any output
    /// differs from the last time.
    pub(super) fn update<'a>(
        &mut self,
        objects: impl IntoIterator<Item = (&'a K, &'a Arc<I>)>,
        mut translate: impl FnMut(&K, &I) -> O,
    ) -> bool
    where
        K: 'a,
        I: 'a,
    {
        let mut previous = Ascending::new(std::mem::take(&mut self.0));
        let mut changed = false;
        let make = |(key, input): (&K, &Arc<I>)| {
            let (key, output) = match previous.take(key) {
                Some((key, (seen, output))) if Arc::ptr_eq(&seen, input) => (key, output),
                Some((key, (_, output))) => {
                    let fresh = translate(&key, input);
                    let same = fresh == *output;
                    changed |= !same;
                    (key, if same { output } else { Arc::new(fresh) })
                }
                None => {
                    changed = true;
                    (key.clone(), Arc::new(translate(key, input)))
                }
            };
            (key, (input.clone(), output))
        };
        self.0 = objects.into_iter().map(make).collect();
        changed || previous.left_some()
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &Arc<O>> {
        self.0.values().map(|(_, output)| output)
    }

    pub(super) fn find(&self, key: &K) -> Option<&Arc<O>> {
        self.0.get(key).map(|(_, output)| output)
    }
}

impl<K: Ord, V> Ascending<K, V> {
    pub(super) fn new(map: BTreeMap<K, V>) -> Self {
        Ascending { entries: map.into_iter().peekable(), skipped: false }
    }

    /// The entry of `key`, if there is one. Keys are asked for in ascending order.
    pub(super) fn take(&mut self, key: &K) -> Option<(K, V)> {
        while self.entries.next_if(|(known, _)| known < key).is_some() {
            self.skipped = true;
        }
        self.entries.next_if(|(known, _)| known == key)
    }

    /// Some entry was not taken.
    fn left_some(&mut self) -> bool {
        self.skipped || self.entries.peek().is_some()
    }
}

impl<I> Seen<I> {
    /// Notes the objects of this look. `true` if they are the very same as at the last one.
    pub(super) fn same<K>(&mut self, objects: &BTreeMap<K, Arc<I>>) -> bool {
        let same = self.0.as_ref().is_some_and(|seen| {
            seen.len() == objects.len() && seen.iter().zip(objects.values()).all(|(seen, now)| Arc::ptr_eq(seen, now))
        });
        if !same {
            self.0 = Some(objects.values().cloned().collect());
        }
        same
    }
}

impl<K, I, O> Default for Memo<K, I, O> {
    fn default() -> Self {
        Memo(BTreeMap::new())
    }
}

impl<I> Default for Seen<I> {
    fn default() -> Self {
        Seen(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(values: &[(&'static str, &Arc<u32>)]) -> BTreeMap<&'static str, Arc<u32>> {
        values.iter().map(|(key, value)| (*key, Arc::clone(value))).collect()
    }

    #[test]
    fn what_is_known_is_not_made_again() {
        let (one, two, three) = (Arc::new(1), Arc::new(2), Arc::new(3));
        let mut memo = Memo::default();
        let mut made = Vec::new();
        assert!(memo.update(&objects(&[("a", &one), ("b", &two)]), |_, value| {
            made.push(*value);
            value * 10
        }));
        let first = memo.find(&"a").unwrap().clone();
        assert!(memo.update(&objects(&[("a", &one), ("b", &three)]), |_, value| {
            made.push(*value);
            value * 10
        }));
        assert_eq!(made, [1, 2, 3]);
        assert!(Arc::ptr_eq(&first, memo.find(&"a").unwrap()));
        assert_eq!(memo.outputs().map(|output| **output).collect::<Vec<_>>(), [10, 30]);
    }

    #[test]
    fn an_equal_output_keeps_its_pointer_and_is_no_change() {
        let mut memo = Memo::default();
        memo.update(&objects(&[("a", &Arc::new(11))]), |_, value| value / 10);
        let first = memo.find(&"a").unwrap().clone();
        assert!(!memo.update(&objects(&[("a", &Arc::new(12))]), |_, value| value / 10));
        assert!(Arc::ptr_eq(&first, memo.find(&"a").unwrap()));
    }

    #[test]
    fn what_is_gone_is_forgotten_and_a_change() {
        let one = Arc::new(1);
        let mut memo = Memo::default();
        memo.update(&objects(&[("a", &one)]), |_, value| *value);
        assert!(memo.update(&objects(&[]), |_, value| *value));
        assert!(memo.find(&"a").is_none());
        assert!(!memo.update(&objects(&[]), |_, value| *value));
    }

    #[test]
    fn what_is_gone_before_and_after_others_is_a_change() {
        let one = Arc::new(1);
        let all = [("a", &one), ("b", &one), ("c", &one)];
        for rest in [[("b", &one), ("c", &one)], [("a", &one), ("c", &one)], [("a", &one), ("b", &one)]] {
            let mut memo = Memo::default();
            memo.update(&objects(&all), |_, value| *value);
            assert!(memo.update(&objects(&rest), |_, value| *value), "{rest:?}");
            assert!(!memo.update(&objects(&rest), |_, _| unreachable!("all is known")));
        }
    }

    #[test]
    fn the_same_objects_are_seen_by_pointer() {
        let (one, other) = (Arc::new(1), Arc::new(1));
        let mut seen = Seen::default();
        assert!(!seen.same(&objects(&[("a", &one)])));
        assert!(seen.same(&objects(&[("a", &one)])));
        assert!(!seen.same(&objects(&[("a", &other)])));
        assert!(!seen.same(&objects(&[("a", &other), ("b", &one)])));
        assert!(!seen.same(&objects(&[])));
        assert!(seen.same(&objects(&[])));
    }
}
