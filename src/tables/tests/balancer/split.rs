use std::sync::atomic::Ordering;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::snapshot::SplitMember;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Backends `a` to `d` with one endpoint each, and `s`, whose place the first of them take at these weights.
fn split(weights: &[u16]) -> BTreeMap<BackendId, Arc<Backend>> {
    let members = NAMES.into_iter().zip(weights);
    let members = members.map(|(name, &weight)| SplitMember { backend: backend_id(name), weight }).collect();
    let mut backends: BTreeMap<_, _> =
        NAMES.into_iter().zip(1..).map(|(name, port)| (backend_id(name), backend(&[port]))).collect();
    backends.insert(backend_id("s"), Arc::new(Backend { split: members, ..Backend::clone(&backend(&[9])) }));
    backends
}

fn tables(backends: BTreeMap<BackendId, Arc<Backend>>, previous: Option<&Tables>) -> Tables {
    build(Snapshot { backends, ..Snapshot::default() }, previous)
}

fn slot(tables: &Tables) -> usize {
    tables.slots[tables.snapshot.backends.keys().position(|id| id.service == "s").unwrap()]
}

fn choose(tables: &Tables, random: u64) -> Result<&LiveBackend, NoLease> {
    tables.choose(slot(tables), random).map(|slot| &*tables.backends[slot])
}

fn chosen(tables: &Tables, count: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for random in 0..count {
        let name = &choose(tables, random as u64 * 0x9e37_79b9).unwrap().name;
        *counts.entry(name.trim_start_matches("ns-").trim_end_matches("-80").to_owned()).or_default() += 1;
    }
    counts
}

fn counts(wanted: &[(&str, usize)]) -> BTreeMap<String, usize> {
    wanted.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn a_backend_without_a_split_is_itself() {
    let tables = with_ports(&[1], None);
    assert_eq!(tables.choose(0, 0), Ok(0));
    assert_eq!(tables.choose(1, 0).unwrap_err(), NoLease::Nobody);
}

#[test]
fn a_split_over_backends_that_are_not_there_has_nobody() {
    let mut wanted = split(&[1, 1]);
    wanted.retain(|id, _| id.service == "s");
    assert_eq!(tables(wanted, None).choose(0, 0).unwrap_err(), NoLease::Nobody);
}

#[test]
fn a_split_is_exact_over_a_cycle_and_goes_on_over_generations() {
    let first = tables(split(&[9, 1]), None);
    assert_eq!(chosen(&first, 10), counts(&[("a", 9), ("b", 1)]));
    assert_eq!(chosen(&first, 5), counts(&[("a", 5)]));
    let mut wanted = split(&[9, 1]);
    wanted.insert(backend_id("a"), backend(&[7, 8]));
    let second = tables(wanted, Some(&first));
    assert_eq!(chosen(&second, 5), counts(&[("a", 4), ("b", 1)]));
}

#[test]
fn a_split_that_did_not_change_is_the_same_value() {
    let first = tables(split(&[9, 1]), None);
    let mut wanted = split(&[9, 1]);
    wanted.insert(backend_id("a"), backend(&[7, 8]));
    let second = tables(wanted.clone(), Some(&first));
    assert!(Arc::ptr_eq(&first.backends[slot(&first)], &second.backends[slot(&second)]));
    wanted.insert(backend_id("s"), split(&[1, 1])[&backend_id("s")].clone());
    let third = tables(wanted.clone(), Some(&second));
    assert_eq!(chosen(&third, 10), counts(&[("a", 5), ("b", 5)]));
    wanted.insert(backend_id("s"), backend(&[9]));
    assert_eq!(chosen(&tables(wanted, Some(&third)), 10), counts(&[("s", 10)]));
}

#[test]
fn members_are_found_when_other_backends_come_and_go() {
    let mut wanted = split(&[0, 1, 2]);
    let first = tables(wanted.clone(), None);
    wanted.remove(&backend_id("a"));
    let second = tables(wanted.clone(), Some(&first));
    assert_eq!(chosen(&second, 9), counts(&[("b", 3), ("c", 6)]));
    wanted.insert(backend_id("0"), backend(&[3]));
    let third = tables(wanted.clone(), Some(&second));
    assert_eq!(chosen(&third, 9), counts(&[("b", 3), ("c", 6)]));
    wanted.remove(&backend_id("b"));
    assert_eq!(chosen(&tables(wanted, Some(&third)), 9), counts(&[("c", 9)]));
}

#[test]
fn the_choices_are_the_members_or_the_backend_itself() {
    let tables = tables(split(&[9, 0]), None);
    let names = |slot| tables.choices(slot).iter().map(|(live, weight)| (&*live.name, *weight)).collect::<Vec<_>>();
    assert_eq!(names(slot(&tables)), [("ns-a-80", 9), ("ns-b-80", 0)]);
    assert_eq!(names(0), [("ns-a-80", 1)]);
    assert_eq!(names(99), []);
}

#[test]
fn a_backend_may_be_in_its_own_split() {
    let mut wanted = split(&[1]);
    let own = SplitMember { backend: backend_id("s"), weight: 3 };
    Arc::make_mut(wanted.get_mut(&backend_id("s")).unwrap()).split.push(own);
    assert_eq!(chosen(&tables(wanted, None), 8), counts(&[("a", 2), ("s", 6)]));
}

#[test]
fn a_split_of_weight_0_takes_nothing_and_never_the_backend_itself() {
    let tables = tables(split(&[0, 0]), None);
    assert_eq!(tables.choose(slot(&tables), 1).unwrap_err(), NoLease::Nobody);
    assert_eq!(tables.would_serve(slot(&tables)), Err(NoLease::Nobody));
}

#[test]
fn where_all_members_are_full_that_is_what_is_told() {
    let mut wanted = split(&[1, 1]);
    for name in ["a", "b"] {
        Arc::make_mut(wanted.get_mut(&backend_id(name)).unwrap()).policy.max_connections = Some(1);
    }
    let tables = tables(wanted, None);
    let first = pick(choose(&tables, 0).unwrap(), &[]).unwrap();
    let second = pick(choose(&tables, 0).unwrap(), &[]).unwrap();
    assert_ne!(first.endpoint().id, second.endpoint().id);
    assert_eq!(tables.choose(slot(&tables), 0).unwrap_err(), NoLease::Full);
    drop(first);
    assert!((0..3).all(|random| tables.choose(slot(&tables), random).is_ok()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The model: shares by weight among the members that have an endpoint to use.
    #[test]
    fn a_member_that_takes_nothing_gives_its_share_to_the_others(weights in [0..12_u16, 0..12_u16, 0..12_u16, 0..12_u16], down in 0..16_u8) {
        let tables = tables(split(&weights), None);
        let is_down = |at: usize| down & (1 << at) != 0;
        for (_, source, live) in tables.backends() {
            if let Some(at) = source.endpoints.iter().position(|address| is_down(usize::from(address.port() - 1) % 8)) {
                live.endpoints[at].unhealthy.store(true, Ordering::Relaxed);
            }
        }
        let open = (0..4).filter(|&at| !is_down(at) && weights[at] > 0);
        let wanted: Vec<_> = open.map(|at| (NAMES[at], usize::from(weights[at]))).collect();
        let sum: usize = wanted.iter().map(|(_, weight)| weight).sum();
        if sum == 0 {
            prop_assert_eq!(tables.choose(slot(&tables), 5).unwrap_err(), NoLease::Nobody);
        } else if down == 0 {
            let threads = thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| chosen(&tables, sum))).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).fold(BTreeMap::new(), |mut sum, (name, count)| {
                    *sum.entry(name).or_default() += count;
                    sum
                })
            });
            prop_assert_eq!(threads, wanted.iter().map(|&(name, weight)| (name.to_owned(), weight * 4)).collect());
        } else {
            prop_assert_eq!(chosen(&tables, sum), counts(&wanted));
        }
    }
}
