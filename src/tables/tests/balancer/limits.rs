//! What holds whatever the algorithm: who gets nothing new, and how much one endpoint may have.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::IpHash];

fn limited(algorithm: Algorithm, weights: &[u16], most: u32) -> Backend {
    let mut backend = weighted(algorithm, weights);
    backend.policy.max_connections = Some(most);
    backend
}

#[test]
fn a_full_endpoint_is_passed_over_and_all_full_is_told_at_once() {
    for algorithm in ALGORITHMS {
        for count in [3, 20] {
            let tables = with(limited(algorithm, &vec![1; count], 2), None);
            let backend = &tables.backends[0];
            let mut leases: Vec<_> = (0..2 * count).map(|at| backend.pick(CLIENT, at as u64, &[]).unwrap()).collect();
            assert!(backend.endpoints.iter().all(|endpoint| endpoint.in_flight.load(Ordering::Relaxed) == 2));
            assert_eq!(pick(backend, &[]).unwrap_err(), NoLease::Full);
            assert!(!backend.is_open());
            let freed = leases.swap_remove(3).endpoint().id;
            assert_eq!(pick(backend, &[]).unwrap().endpoint().id, freed, "{algorithm:?}");
            assert_eq!(pick(backend, &[freed]).unwrap_err(), NoLease::Full);
        }
    }
}

#[test]
fn an_endpoint_s_own_limit_counts_before_that_of_all() {
    for algorithm in ALGORITHMS {
        let mut limited = limited(algorithm, &[1; 3], 2);
        limited.terms[0].max_connections = Some(1);
        limited.terms[1].max_connections = Some(3);
        let tables = with(limited, None);
        let backend = &tables.backends[0];
        let _leases: Vec<_> = (0..6).map(|at| backend.pick(CLIENT, at, &[]).unwrap()).collect();
        let in_flight = |at: usize| backend.endpoints[at].in_flight.load(Ordering::Relaxed);
        assert_eq!([0, 1, 2].map(in_flight), [1, 3, 2], "{algorithm:?}");
        assert_eq!(pick(backend, &[]).unwrap_err(), NoLease::Full);
        assert_eq!([0, 1, 2].map(|at| backend.max_connections(at)), [Some(1), Some(3), Some(2)]);
    }
}

#[test]
fn a_lower_limit_holds_from_the_next_request_on() {
    let first = with(limited(Algorithm::RoundRobin, &[1], 3), None);
    let mut leases: Vec<_> = (0..3).map(|_| pick(&first.backends[0], &[]).unwrap()).collect();
    let second = with(limited(Algorithm::RoundRobin, &[1], 2), Some(&first));
    leases.pop();
    assert_eq!(pick(&second.backends[0], &[]).unwrap_err(), NoLease::Full);
    leases.pop();
    assert!(pick(&second.backends[0], &[]).is_ok());
}

#[test]
fn health_is_kept_over_generations() {
    let first = with_ports(&[1, 2], None);
    first.backends[0].endpoints[0].unhealthy.store(true, Ordering::Relaxed);
    first.backends[0].endpoints[1].ejected.store(true, Ordering::Relaxed);
    let second = with_ports(&[1, 2, 3], Some(&first));
    assert_eq!(picks(&second.backends[0], &[], 5), BTreeMap::from([(3, 5)]));
}

#[test]
fn no_endpoint_ever_has_more_than_it_may_over_all_threads() {
    for algorithm in ALGORITHMS {
        let tables = with(limited(algorithm, &[1, 2, 1], 2), None);
        let backend = &tables.backends[0];
        let (most, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let ask = |thread: u64| {
            for at in 0..500 {
                let leases: Vec<_> =
                    (0..2).filter_map(|_| backend.pick(CLIENT, thread * 1000 + at, &[]).ok()).collect();
                served.fetch_add(leases.len(), Ordering::Relaxed);
                for endpoint in &*backend.endpoints {
                    most.fetch_max(endpoint.in_flight.load(Ordering::Relaxed) as usize, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| (0..4).for_each(|thread| drop(scope.spawn(move || ask(thread)))));
        assert!(most.into_inner() <= 2);
        assert!(served.into_inner() >= 4 * 500);
        assert!(backend.endpoints.iter().all(|endpoint| endpoint.in_flight.load(Ordering::Relaxed) == 0));
    }
}

proptest! {
    /// The model: whoever has weight, is well, untried and not full may be picked; if there is such a one, one is.
    #[test]
    fn somebody_is_picked_exactly_if_somebody_may_be(
        algorithm in select(&ALGORITHMS[..]),
        endpoints in prop::collection::vec((0..3_u16, any::<[bool; 3]>(), 0..3_u32), 0..12),
        random in any::<u64>(),
    ) {
        let weights: Vec<_> = endpoints.iter().map(|(weight, ..)| *weight).collect();
        let tables = with(limited(algorithm, &weights, 2), None);
        let backend = &tables.backends[0];
        let mut tried = Vec::new();
        let mut may = Vec::new();
        let mut has_room = Vec::new();
        for (endpoint, &(weight, [unhealthy, ejected, was_tried], in_flight)) in backend.endpoints.iter().zip(&endpoints) {
            endpoint.unhealthy.store(unhealthy && ejected, Ordering::Relaxed);
            endpoint.ejected.store(unhealthy && !ejected, Ordering::Relaxed);
            endpoint.in_flight.store(in_flight, Ordering::Relaxed);
            if was_tried && ejected {
                tried.push(endpoint.id);
            } else if weight > 0 && !unhealthy {
                may.push(endpoint.id);
                if in_flight < 2 {
                    has_room.push(endpoint.id);
                }
            }
        }
        match backend.pick(CLIENT, random, &tried) {
            Ok(lease) => prop_assert!(has_room.contains(&lease.endpoint().id)),
            Err(NoLease::Full) => prop_assert!(has_room.is_empty() && !may.is_empty()),
            Err(NoLease::Nobody) => prop_assert!(may.is_empty()),
        }
    }
}
