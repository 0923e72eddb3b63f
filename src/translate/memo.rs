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
}

/// The objects of one kind as they were at the last look.
pub(super) struct Seen<I>(Option<Vec<Arc<I>>>);

impl<K: Ord + Clone, I, O: PartialEq> Memo<K, I, O> {
    /// Makes what is not known yet and forgets what is gone. `objects` are in ascending order. Gives the keys of the
    /// outputs that differ from the last time.
    pub(super) fn update<'a>(
        &mut self,
        objects: impl IntoIterator<Item = (&'a K, &'a Arc<I>)>,
        mut translate: impl FnMut(&K, &I) -> O,
    ) -> Vec<K>
    where
        K: 'a,
        I: 'a,
    {
        let (mut changed, fresh) = self.since_last(objects);
        for key in &changed {
            self.0.remove(key);
        }
        for (key, input) in fresh {
            let output = translate(key, input);
            match self.0.get_mut(key) {
                Some((seen, known)) => {
                    *seen = input.clone();
                    if **known == output {
                        continue;
                    }
                    *known = Arc::new(output);
                }
                None => _ = self.0.insert(key.clone(), (input.clone(), Arc::new(output))),
            }
            changed.push(key.clone());
        }
        changed
    }

    /// The keys that are gone, and the objects that are new or differ. While both sides are the same, that is a
    /// comparison of pointers for each: an object has one key.
    fn since_last<'a>(
        &self,
        objects: impl IntoIterator<Item = (&'a K, &'a Arc<I>)>,
    ) -> (Vec<K>, Vec<(&'a K, &'a Arc<I>)>) {
        let mut known = self.0.iter().peekable();
        let (mut gone, mut fresh) = (Vec::new(), Vec::new());
        for (key, input) in objects {
            let same = |(_, (seen, _)): &(&K, &(Arc<I>, Arc<O>))| Arc::ptr_eq(seen, input);
            if known.next_if(same).is_some() {
                continue;
            }
            while let Some((key, _)) = known.next_if(|(known, _)| *known < key) {
                gone.push(key.clone());
            }
            if known.next_if(same).is_none() {
                known.next_if(|(known, _)| *known == key);
                fresh.push((key, input));
            }
        }
        gone.extend(known.map(|(key, _)| key.clone()));
        (gone, fresh)
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
        Ascending { entries: map.into_iter().peekable() }
    }

    /// The entry of `key`, if there is one. Keys are asked for in ascending order.
    pub(super) fn take(&mut self, key: &K) -> Option<(K, V)> {
        while self.entries.next_if(|(known, _)| known < key).is_some() {}
        self.entries.next_if(|(known, _)| known == key)
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
        let all = memo.update(&objects(&[("a", &one), ("b", &two)]), |_, value| {
            made.push(*value);
            value * 10
        });
        let first = memo.find(&"a").unwrap().clone();
        let changed = memo.update(&objects(&[("a", &one), ("b", &three)]), |_, value| {
            made.push(*value);
            value * 10
        });
        assert_eq!((all, changed), (vec!["a", "b"], vec!["b"]));
        assert_eq!(made, [1, 2, 3]);
        assert!(Arc::ptr_eq(&first, memo.find(&"a").unwrap()));
        assert_eq!(memo.outputs().map(|output| **output).collect::<Vec<_>>(), [10, 30]);
    }

    #[test]
    fn an_equal_output_keeps_its_pointer_and_is_no_change() {
        let mut memo = Memo::default();
        memo.update(&objects(&[("a", &Arc::new(11))]), |_, value| value / 10);
        let first = memo.find(&"a").unwrap().clone();
        let equal = Arc::new(12);
        assert_eq!(memo.update(&objects(&[("a", &equal)]), |_, value| value / 10), [""; 0]);
        assert!(Arc::ptr_eq(&first, memo.find(&"a").unwrap()));
        assert_eq!(memo.update(&objects(&[("a", &equal)]), |_, _| unreachable!("it is known now")), [""; 0]);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_a_change() {
        let one = Arc::new(1);
        let mut memo = Memo::default();
        memo.update(&objects(&[("a", &one)]), |_, value| *value);
        assert_eq!(memo.update(&objects(&[]), |_, value| *value), ["a"]);
        assert!(memo.find(&"a").is_none());
        assert_eq!(memo.update(&objects(&[]), |_, value| *value), [""; 0]);
    }

    #[test]
    fn what_is_gone_before_and_after_others_is_a_change() {
        let [a, b, c] = [1, 2, 3].map(Arc::new);
        let all = [("a", &a), ("b", &b), ("c", &c)];
        for (gone, rest) in
            [("a", [("b", &b), ("c", &c)]), ("b", [("a", &a), ("c", &c)]), ("c", [("a", &a), ("b", &b)])]
        {
            let mut memo = Memo::default();
            memo.update(&objects(&all), |_, value| *value);
            assert_eq!(memo.update(&objects(&rest), |_, value| *value), [gone]);
            assert_eq!(memo.update(&objects(&rest), |_, _| unreachable!("all is known")), [""; 0]);
            assert_eq!(memo.update(&objects(&all), |_, value| *value), [gone]);
        }
    }

    #[test]
    fn what_comes_goes_and_changes_at_once_is_told_apart() {
        let [a, b, c, d, other] = [1, 2, 3, 4, 5].map(Arc::new);
        let mut memo = Memo::default();
        memo.update(&objects(&[("a", &a), ("c", &c), ("d", &d)]), |_, value| *value);
        let changed = memo.update(&objects(&[("b", &b), ("c", &other), ("d", &d)]), |_, value| *value);
        assert_eq!(changed, ["a", "b", "c"]);
        let outputs = ["a", "b", "c", "d"].map(|key| memo.find(&key).map(|output| **output));
        assert_eq!(outputs, [None, Some(2), Some(5), Some(4)]);
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
