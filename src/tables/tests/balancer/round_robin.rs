use std::sync::atomic::Ordering;
use std::thread;

use proptest::prelude::*;

use super::*;

#[test]
fn the_turn_is_exact_over_all_threads() {
    let tables = with_ports(&[1, 2], None);
    let backend = &tables.backends[0];
    let count = || (0..25).filter(|_| port(backend) == 1).count();
    let firsts: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(firsts, 50);
}

#[test]
fn endpoints_take_turns_in_order() {
    let tables = with_ports(&[1, 2, 3], None);
    assert_eq!([(); 7].map(|()| port(&tables.backends[0])), [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn tried_endpoints_are_passed_over_and_the_others_share_evenly() {
    let tables = with_ports(&[1, 2, 3, 4], None);
    let backend = &tables.backends[0];
    let id = |at: usize| backend.endpoints[at].id;
    assert_eq!(picks(backend, &[id(0)], 300), BTreeMap::from([(2, 100), (3, 100), (4, 100)]));
    assert_eq!(picks(backend, &[id(3), id(1)], 10), BTreeMap::from([(1, 5), (3, 5)]));
    assert_eq!(picks(backend, &[id(0), id(1), id(2)], 10), BTreeMap::from([(4, 10)]));
    assert_eq!(pick(backend, &[id(0), id(1), id(2), id(3)]).unwrap_err(), NoLease::Nobody);
}

#[test]
fn a_backend_without_endpoints_gives_nothing() {
    assert_eq!(pick(&with_ports(&[], None).backends[0], &[]).unwrap_err(), NoLease::Nobody);
}

#[test]
fn a_lease_counts_until_it_is_dropped() {
    let tables = with_ports(&[1], None);
    let in_flight = || tables.backends[0].endpoints[0].in_flight.load(Ordering::Relaxed);
    let first = pick(&tables.backends[0], &[]).unwrap();
    let second = pick(&tables.backends[0], &[]).unwrap();
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
    let lease = pick(&first.backends[0], &[]).unwrap();
    let second = with_ports(&[1, 2], Some(&first));
    assert_eq!(second.backends[0].endpoints[0].in_flight.load(Ordering::Relaxed), 1);
    drop(lease);
    assert_eq!(second.backends[0].endpoints[0].in_flight.load(Ordering::Relaxed), 0);
}

#[test]
fn a_change_of_weights_leaves_endpoints_as_they_are() {
    let first = with(weighted(Algorithm::RoundRobin, &[1, 1]), None);
    let second = with(weighted(Algorithm::RoundRobin, &[3, 1]), Some(&first));
    assert!((0..2).all(|at| Arc::ptr_eq(&first.backends[0].endpoints[at], &second.backends[0].endpoints[at])));
    assert_eq!(picks(&second.backends[0], &[], 400), BTreeMap::from([(1, 300), (2, 100)]));
}

#[test]
fn without_the_heaviest_the_others_keep_their_proportion() {
    let tables = with(weighted(Algorithm::RoundRobin, &[1000, 2, 1]), None);
    let backend = &tables.backends[0];
    backend.endpoints[0].ejected.store(true, Ordering::Relaxed);
    let mut random = 0_u64;
    let mut seconds = 0_u32;
    for _ in 0..30_000 {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let lease = backend.pick(CLIENT, random, &[]).unwrap();
        seconds += u32::from(lease.endpoint().address.port() == 2);
    }
    assert!((19_500..20_500).contains(&seconds), "{seconds} of 30,000");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The model: over whole cycles each endpoint has what its weight says, whoever takes the turns.
    #[test]
    fn weights_are_exact_over_all_threads(
        weights in prop::collection::vec(prop_oneof![0..4_u16, 0..200_u16], 1..8),
        start in 0..500_usize,
        passed in any::<u8>(),
    ) {
        let tables = with(weighted(Algorithm::RoundRobin, &weights), None);
        let backend = &tables.backends[0];
        let sum: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
        prop_assume!(sum > 0);
        let turns = |count: usize| (0..count).map(|_| port(backend)).collect::<Vec<_>>();
        turns(start);
        let counts = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| turns(sum))).collect();
            let mut counts = vec![0_u16; weights.len()];
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).for_each(|port| counts[usize::from(port) - 1] += 1);
            counts
        });
        prop_assert_eq!(&counts, &weights.iter().map(|weight| weight * 4).collect::<Vec<_>>());

        // The same with some passed over, as long as patience lasts.
        let is_passed = |at: usize| passed & (1 << at) != 0;
        backend.endpoints.iter().enumerate().for_each(|(at, endpoint)| endpoint.unhealthy.store(is_passed(at), Ordering::Relaxed));
        let left: Vec<_> = (0..weights.len()).map(|at| if is_passed(at) { 0 } else { weights[at] }).collect();
        match left.iter().map(|&weight| usize::from(weight)).sum() {
            0 => prop_assert_eq!(pick(backend, &[]).unwrap_err(), NoLease::Nobody),
            rest if sum <= 60 => {
                let picks = picks(backend, &[], rest * 3);
                let shares = (1..).zip(left).filter(|(_, weight)| *weight > 0);
                prop_assert_eq!(picks, shares.map(|(port, weight)| (port, usize::from(weight) * 3)).collect());
            }
            _ => prop_assert!(picks(backend, &[], 50).keys().all(|&port| left[usize::from(port) - 1] > 0)),
        }
    }
}
