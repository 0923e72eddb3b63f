use std::sync::atomic::Ordering;
use std::thread;

use proptest::prelude::*;

use super::*;

fn least(weights: &[u16]) -> Tables {
    with(weighted(Algorithm::LeastConnections, weights), None)
}

/// A sequence of random numbers.
fn random() -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ (state >> 31)
    }
}

fn in_flight(backend: &LiveBackend) -> Vec<u32> {
    backend.endpoints.iter().map(|endpoint| endpoint.in_flight.load(Ordering::Relaxed)).collect()
}

#[test]
fn without_load_it_is_weighted_round_robin() {
    let tables = least(&[3, 1]);
    assert_eq!(picks(&tables.backends[0], &[], 400), BTreeMap::from([(1, 300), (2, 100)]));
}

#[test]
fn requests_that_stay_are_spread_by_weight() {
    let tables = least(&[1, 2, 3]);
    let _leases: Vec<_> = (0..60).map(|_| pick(&tables.backends[0], &[]).unwrap()).collect();
    assert_eq!(in_flight(&tables.backends[0]), [10, 20, 30]);
}

#[test]
fn all_workers_count_together() {
    let tables = least(&[1, 1, 1, 1]);
    let backend = &tables.backends[0];
    let leases: Vec<Lease> = thread::scope(|scope| {
        let ask = || (0..50).map(|_| pick(backend, &[]).unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // Between a look at the counts and the lease, each other thread may have leased the same.
    assert!(in_flight(backend).iter().all(|count| (44..=56).contains(count)), "{:?}", in_flight(backend));
    drop(leases);
    assert_eq!(in_flight(backend), [0; 4]);
}

#[test]
fn the_better_of_two_keeps_many_endpoints_even() {
    let tables = least(&[1; 100]);
    let backend = &tables.backends[0];
    let mut random = random();
    let _leases: Vec<_> = (0..10_000).map(|_| backend.pick(CLIENT, random(), &[]).unwrap()).collect();
    // By one chance each, counts would be from about 70 to 130.
    assert!(in_flight(backend).iter().all(|count| (95..=105).contains(count)), "{:?}", in_flight(backend));
}

#[test]
fn of_many_endpoints_a_heavier_one_has_more() {
    let mut weights = [1; 20];
    weights[7] = 10;
    let tables = least(&weights);
    let mut random = random();
    let _leases: Vec<_> = (0..2_900).map(|_| tables.backends[0].pick(CLIENT, random(), &[]).unwrap()).collect();
    let counts = in_flight(&tables.backends[0]);
    assert!((950..1_050).contains(&counts[7]), "{counts:?}");
}

/// Else a moment's best would get everybody's next request.
#[test]
fn of_many_the_least_loaded_has_only_the_chance_of_being_drawn() {
    let tables = least(&[1; 100]);
    let backend = &tables.backends[0];
    for (place, endpoint) in backend.endpoints.iter().enumerate() {
        // Of each two one is out, as little as it has to do.
        endpoint.ejected.store(place % 2 == 1, Ordering::Relaxed);
        endpoint.in_flight.store(if place % 2 == 1 || place == 0 { 0 } else { 5 }, Ordering::Relaxed);
    }
    let mut random = random();
    let mut picked = |_: &u32| backend.pick(CLIENT, random(), &[]).unwrap().endpoint().address.port() == 1;
    let count = (0..1_000).filter(|turn| picked(turn)).count();
    assert!((20..70).contains(&count), "{count} of 1,000, where two of 50 are 40");
}

#[test]
fn one_that_is_well_among_many_that_are_not_is_found() {
    let tables = least(&[1; 1_000]);
    let backend = &tables.backends[0];
    backend.endpoints.iter().skip(1).for_each(|endpoint| endpoint.ejected.store(true, Ordering::Relaxed));
    assert_eq!(picks(backend, &[], 10), BTreeMap::from([(1, 10)]));
}

proptest! {
    /// The model: nobody who may be picked has fewer in flight for its weight.
    #[test]
    fn of_a_few_the_least_loaded_is_picked(
        endpoints in prop::collection::vec((0..5_u16, 0..20_u32, any::<bool>()), 1..=8),
        random in any::<u64>(),
    ) {
        let weights: Vec<_> = endpoints.iter().map(|(weight, ..)| *weight).collect();
        let tables = least(&weights);
        let backend = &tables.backends[0];
        for (endpoint, &(_, in_flight, ejected)) in backend.endpoints.iter().zip(&endpoints) {
            endpoint.in_flight.store(in_flight, Ordering::Relaxed);
            endpoint.ejected.store(ejected, Ordering::Relaxed);
        }
        let load = |&(weight, in_flight, _): &(u16, u32, bool)| f64::from(in_flight) / f64::from(weight);
        let may = endpoints.iter().filter(|(weight, _, ejected)| *weight > 0 && !ejected);
        let best = may.map(load).reduce(f64::min);
        let picked = backend.pick(CLIENT, random, &[]).ok().map(|lease| usize::from(lease.endpoint().address.port()) - 1);
        prop_assert_eq!(picked.map(|at| load(&endpoints[at])), best);
    }
}
