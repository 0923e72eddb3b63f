//! Who is ejected, for how long, and that half are always left.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::snapshot::{BackendPolicy, EndpointTerms, Outlier};
use crate::tables::{LiveBackend, Nanos};

const SECOND: Nanos = 1_000_000_000;

fn with(ports: &[u16], outlier: Option<Outlier>, previous: Option<&Tables>) -> Tables {
    let policy = BackendPolicy { outlier, ..BackendPolicy::default() };
    let backend = Backend { policy, ..Backend::clone(&backend(ports)) };
    let backends = BTreeMap::from([(backend_id("s"), Arc::new(backend))]);
    build(Snapshot { backends, ..Snapshot::default() }, previous)
}

fn fails(backend: &LiveBackend, place: usize, times: u32) {
    (0..times).for_each(|_| backend.failed(backend.endpoints[place].id));
}

fn ejected(backend: &LiveBackend) -> Vec<u16> {
    let ejected = backend.endpoints.iter().filter(|endpoint| endpoint.ejected.load(Relaxed));
    ejected.map(|endpoint| endpoint.address.port()).collect()
}

/// Ports and whether they are ejected.
fn told(tables: &Tables, now: Nanos) -> Vec<(u16, bool)> {
    tables.readmit(now).iter().map(|change| (change.endpoint.address.port(), change.ejected)).collect()
}

#[test]
fn five_failures_in_a_row_eject_for_ten_seconds() {
    let tables = with(&[1, 2], Some(Outlier::default()), None);
    let backend = &tables.backends[0];
    fails(backend, 0, 4);
    backend.served(&backend.endpoints[0]);
    fails(backend, 0, 4);
    assert_eq!((ejected(backend), told(&tables, SECOND)), (vec![], vec![]));
    fails(backend, 0, 1);
    assert_eq!((ejected(backend), told(&tables, SECOND)), (vec![1], vec![(1, true)]));
    assert_eq!(told(&tables, 11 * SECOND - 1), []);
    assert_eq!((told(&tables, 11 * SECOND), ejected(backend)), (vec![(1, false)], vec![]));
}

#[test]
fn one_that_was_used_again_is_ejected_by_its_next_failure_until_it_serves() {
    let tables = with(&[1, 2], Some(Outlier::default()), None);
    let backend = &tables.backends[0];
    fails(backend, 0, 5);
    told(&tables, 0);
    told(&tables, 10 * SECOND);
    fails(backend, 0, 1);
    assert_eq!(ejected(backend), [1]);
    told(&tables, 10 * SECOND);
    told(&tables, 20 * SECOND);
    backend.served(&backend.endpoints[0]);
    fails(backend, 0, 4);
    assert!(ejected(backend).is_empty());
}

#[test]
fn an_opened_tunnel_forgets_tunnels_that_were_not_and_no_request() {
    let tables = with(&[1, 2], Some(Outlier::default()), None);
    let backend = &tables.backends[0];
    let endpoint = &backend.endpoints[0];
    let cannot_be_opened = |times| (0..times).for_each(|_| backend.not_opened(endpoint.id));
    for times in [1, 4, 1] {
        backend.opened(endpoint);
        cannot_be_opened(times);
    }
    fails(backend, 0, 3);
    assert_eq!(ejected(backend), [0; 0]);
    backend.opened(endpoint);
    fails(backend, 0, 1);
    assert_eq!(ejected(backend), [0; 0], "four requests in a row");
    cannot_be_opened(1);
    assert_eq!(ejected(backend), [1], "one after the other, whatever they were");

    let end = |from| [from, from + 10 * SECOND].map(|now| told(&tables, now));
    end(0);
    cannot_be_opened(1);
    assert_eq!(ejected(backend), [1], "one more");
    end(20 * SECOND);
    backend.opened(endpoint);
    cannot_be_opened(4);
    backend.served(endpoint);
    cannot_be_opened(4);
    assert_eq!(ejected(backend), [0; 0], "a request that is served forgets all");
}

#[test]
fn the_only_endpoint_is_never_ejected_and_none_where_that_is_off() {
    for (ports, outlier) in [(&[1][..], Some(Outlier::default())), (&[1, 2, 3], None)] {
        let tables = with(ports, outlier, None);
        fails(&tables.backends[0], 0, 100);
        assert!(ejected(&tables.backends[0]).is_empty());
    }
}

#[test]
fn an_ejection_outlives_its_generation_but_not_its_share() {
    let first = with(&[1, 2, 3, 4], Some(Outlier::default()), None);
    (0..4).for_each(|place| fails(&first.backends[0], place, 5));
    assert_eq!(ejected(&first.backends[0]), [1, 2]);
    let second = with(&[1, 2, 3, 4, 5], Some(Outlier::default()), Some(&first));
    assert_eq!(ejected(&second.backends[0]), [1, 2]);
    assert_eq!(told(&second, 0), [(1, true), (2, true)]);
    let third = with(&[1, 2], Some(Outlier::default()), Some(&second));
    assert_eq!((ejected(&third.backends[0]), told(&third, 1)), (vec![2], vec![(1, false)]));
    let fourth = with(&[1, 2], None, Some(&third));
    assert_eq!((ejected(&fourth.backends[0]), told(&fourth, 2)), (vec![], vec![(2, false)]));
}

#[test]
fn an_endpoint_that_is_out_already_takes_no_share_of_the_ejections() {
    let tables = with(&[1, 2, 3, 4, 5], Some(Outlier::default()), None);
    let backend = &tables.backends[0];
    backend.endpoints[0].unhealthy.store(true, Relaxed);
    (0..3).for_each(|place| fails(backend, place, 5));
    assert_eq!((ejected(backend), told(&tables, 0)), (vec![2, 3], vec![(2, true), (3, true)]));
}

#[test]
fn endpoints_that_are_well_again_while_ejected_are_half_at_most() {
    let tables = with(&[1, 2, 3, 4], Some(Outlier::default()), None);
    let backend = &tables.backends[0];
    let two = [1, 3];
    let unhealthy = |unhealthy| two.iter().for_each(|&at| backend.endpoints[at].unhealthy.store(unhealthy, Relaxed));
    two.iter().for_each(|&place| fails(backend, place, 5));
    assert_eq!((told(&tables, 0), ejected(backend)), (vec![(2, true), (4, true)], vec![2, 4]));
    unhealthy(true);
    fails(backend, 0, 5);
    assert_eq!((told(&tables, 1), ejected(backend)), (vec![(1, true)], vec![1, 2, 4]));
    unhealthy(false);
    assert_eq!((told(&tables, 2), ejected(backend)), (vec![(1, false)], vec![2, 4]));
}

/// A request holds its generation, which may have more endpoints than there are now.
#[test]
fn what_requests_of_an_older_generation_eject_is_half_of_the_newest_at_most() {
    let first = with(&[1, 2, 3, 4], Some(Outlier::default()), None);
    let second = with(&[1, 2], Some(Outlier::default()), Some(&first));
    (0..2).for_each(|place| fails(&first.backends[0], place, 5));
    assert_eq!(ejected(&second.backends[0]), [1, 2]);
    assert_eq!(told(&second, 0), [(1, true), (1, false), (2, true)]);
    assert_eq!(ejected(&second.backends[0]), [2]);
}

/// Each is found among others, wherever it stands.
#[test]
fn each_backend_is_left_half_of_its_own() {
    let services = ["a", "b", "c"];
    let policy = BackendPolicy { outlier: Some(Outlier::default()), ..BackendPolicy::default() };
    let backends = |ports: &[u16], services: &[&str]| {
        let backend = Arc::new(Backend { policy: policy.clone(), ..Backend::clone(&backend(ports)) });
        let backends = services.iter().map(|service| (backend_id(service), backend.clone())).collect();
        Snapshot { backends, ..Snapshot::default() }
    };
    // The last that comes stands at another place than its name does.
    let first = build(backends(&[1, 2, 3, 4], &["a", "c"]), None);
    let second = build(backends(&[1, 2, 3, 4], &services), Some(&first));
    let third = build(backends(&[1, 2], &services), Some(&second));
    second.backends.iter().for_each(|backend| (0..2).for_each(|place| fails(backend, place, 5)));
    third.readmit(0);
    assert_eq!(third.backends.iter().map(|backend| ejected(backend)).collect::<Vec<_>>(), [[2], [2], [2]]);
    for service in services {
        assert_eq!(third.backend(&backend_id(service)).unwrap().id.service, service);
    }
    assert!(third.backend(&backend_id("d")).is_none());
}

#[test]
fn an_endpoint_says_why_its_newest_check_failed() {
    let tables = with(&[1], None, None);
    let endpoint = &tables.backends[0].endpoints[0];
    assert_eq!(endpoint.failed_check(), None);
    for failure in [Some("status 503"), None] {
        endpoint.note_check(failure.map(str::to_owned));
        assert_eq!(endpoint.failed_check().as_deref(), failure);
    }
}

#[test]
fn an_endpoint_without_weight_is_none_of_those_of_whom_half_may_be_ejected() {
    let terms = [1, 1, 0, 0].map(|weight| EndpointTerms { weight, ..EndpointTerms::default() }).into();
    let backend = Backend { terms, ..Backend::clone(&backend(&[1, 2, 3, 4])) };
    let backends = BTreeMap::from([(backend_id("s"), Arc::new(backend))]);
    let tables = build(Snapshot { backends, ..Snapshot::default() }, None);
    (0..4).for_each(|place| fails(&tables.backends[0], place, 5));
    assert_eq!(ejected(&tables.backends[0]), [1]);
}

#[test]
fn an_endpoint_that_is_gone_is_not_told_of() {
    let first = with(&[1, 2], Some(Outlier::default()), None);
    fails(&first.backends[0], 0, 5);
    told(&first, 0);
    let second = with(&[2], Some(Outlier::default()), Some(&first));
    assert_eq!(told(&second, 100 * SECOND), []);
}

#[test]
fn threads_that_fail_all_at_once_leave_half() {
    let tables = with(&[1, 2, 3, 4, 5], Some(Outlier::default()), None);
    let backend = &tables.backends[0];
    let fail = || (0..200).for_each(|at| fails(backend, at % 5, 1));
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(fail))));
    assert_eq!(ejected(backend).len(), 2);
}

proptest! {
    /// Whatever happens, half of those that are well can be used as soon as `readmit` has looked.
    #[test]
    fn half_of_the_well_are_never_ejected(
        count in 1..9_usize,
        events in prop::collection::vec((0..9_usize, 0..4_u8), 0..200),
    ) {
        let ports: Vec<u16> = (1..).take(count).collect();
        let outlier = Outlier { consecutive_errors: 2, ejection_time: Duration::from_secs(10) };
        let tables = with(&ports, Some(outlier), None);
        let backend = &tables.backends[0];
        for (step, (place, event)) in events.into_iter().enumerate() {
            let endpoint = &backend.endpoints[place % count];
            match event {
                0 | 1 => backend.failed(endpoint.id),
                2 => backend.served(endpoint),
                _ => _ = endpoint.unhealthy.fetch_xor(true, Relaxed),
            }
            told(&tables, step as Nanos * SECOND / 4);
            let well = backend.endpoints.iter().filter(|endpoint| !endpoint.unhealthy.load(Relaxed));
            let ejected = well.clone().filter(|endpoint| endpoint.ejected.load(Relaxed)).count();
            prop_assert!(ejected <= well.count() / 2);
        }
    }
}
