use std::sync::atomic::Ordering;
use std::thread;

use super::*;
use crate::tables::LiveBackend;

/// Tables with one backend whose endpoints have these ports.
fn with_ports(ports: &[u16], previous: Option<&Tables>) -> Tables {
    let backends = BTreeMap::from([(backend_id("s"), backend(ports))]);
    build(Snapshot { backends, ..Snapshot::default() }, previous)
}

/// How often each port is picked.
fn picks(backend: &LiveBackend, tried: &[u64], count: usize) -> BTreeMap<u16, usize> {
    let mut picks = BTreeMap::new();
    for _ in 0..count {
        *picks.entry(backend.pick(tried).unwrap().endpoint().address.port()).or_default() += 1;
    }
    picks
}

#[test]
fn the_turn_is_exact_over_all_threads() {
    let tables = with_ports(&[1, 2], None);
    let backend = &tables.backends[0];
    let count = || (0..25).filter(|_| backend.pick(&[]).unwrap().endpoint().address.port() == 1).count();
    let firsts: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(firsts, 50);
}

#[test]
fn endpoints_take_turns_in_order() {
    let tables = with_ports(&[1, 2, 3], None);
    let port = || tables.backends[0].pick(&[]).unwrap().endpoint().address.port();
    assert_eq!([(); 7].map(|()| port()), [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn tried_endpoints_are_passed_over_and_the_others_share_evenly() {
    let tables = with_ports(&[1, 2, 3, 4], None);
    let backend = &tables.backends[0];
    let id = |at: usize| backend.endpoints[at].id;
    assert_eq!(picks(backend, &[id(0)], 300), BTreeMap::from([(2, 100), (3, 100), (4, 100)]));
    assert_eq!(picks(backend, &[id(3), id(1)], 10), BTreeMap::from([(1, 5), (3, 5)]));
    assert_eq!(picks(backend, &[id(0), id(1), id(2)], 10), BTreeMap::from([(4, 10)]));
    assert!(backend.pick(&[id(0), id(1), id(2), id(3)]).is_none());
}

#[test]
fn a_backend_without_endpoints_gives_nothing() {
    assert!(with_ports(&[], None).backends[0].pick(&[]).is_none());
}

#[test]
fn a_lease_counts_until_it_is_dropped() {
    let tables = with_ports(&[1], None);
    let in_flight = || tables.backends[0].endpoints[0].in_flight.load(Ordering::Relaxed);
    let first = tables.backends[0].pick(&[]).unwrap();
    let second = tables.backends[0].pick(&[]).unwrap();
    assert_eq!(in_flight(), 2);
    drop(first);
    assert_eq!(in_flight(), 1);
    drop(second);
    assert_eq!(in_flight(), 0);
}

#[test]
fn the_turn_goes_on_over_generations() {
    let first = with_ports(&[1, 2, 3], None);
    assert_eq!(picks(&first.backends[0], &[], 2), BTreeMap::from([(1, 1), (2, 1)]));
    let second = with_ports(&[1, 2, 3, 4], Some(&first));
    assert_eq!(picks(&second.backends[0], &[], 1), BTreeMap::from([(3, 1)]));
    assert_eq!(picks(&second.backends[0], &[], 400).into_values().collect::<Vec<_>>(), [100; 4]);
    let third = with_ports(&[2, 4], Some(&second));
    assert_eq!(picks(&third.backends[0], &[], 10), BTreeMap::from([(2, 5), (4, 5)]));
}

#[test]
fn a_request_of_an_older_generation_shares_the_count() {
    let first = with_ports(&[1], None);
    let lease = first.backends[0].pick(&[]).unwrap();
    let second = with_ports(&[1, 2], Some(&first));
    assert_eq!(second.backends[0].endpoints[0].in_flight.load(Ordering::Relaxed), 1);
    drop(lease);
    assert_eq!(second.backends[0].endpoints[0].in_flight.load(Ordering::Relaxed), 0);
}
