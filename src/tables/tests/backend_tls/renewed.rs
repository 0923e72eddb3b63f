//! What outlives a change of how endpoints are talked to.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::snapshot::HealthCheck;
use crate::tables::NoLease;

#[test]
fn what_is_known_of_an_endpoint_outlives_a_change_of_its_tls() {
    let check = HealthCheck::new("/".into(), None, None);
    let backend = |tls, check: Option<&HealthCheck>| {
        let mut backend = https(tls);
        backend.policy.health_check = check.cloned();
        backend.policy.max_connections = Some(1);
        backend
    };
    let state = |tables: &Tables| {
        let of = |endpoint: &LiveEndpoint| (endpoint.unhealthy.load(Relaxed), endpoint.failed_check());
        endpoints(tables).iter().map(|endpoint| of(endpoint)).collect::<Vec<_>>()
    };
    let bad = (true, Some("status 500".to_owned()));
    let first = tables_of(backend(None, Some(&check)), None);
    let [ill, _] = endpoints(&first) else { panic!() };
    ill.unhealthy.store(true, Relaxed);
    ill.note_check(Some("status 500".into()));
    let lease = first.backends[0].pick([127, 0, 0, 1].into(), 0, &[]).unwrap();

    let second = tables_of(backend(Some(named(NAME, Vec::new())), Some(&check)), Some(&first));
    assert_eq!(state(&second), [bad, (false, None)]);
    let pick = || second.backends[0].pick([127, 0, 0, 1].into(), 0, &[]).map(drop);
    assert_eq!(pick(), Err(NoLease::Full), "the request of before is in flight");
    drop(lease);
    assert_eq!(pick(), Ok(()));

    let unchecked = tables_of(backend(None, None), Some(&second));
    assert_eq!(state(&unchecked), [(false, None), (false, None)], "nobody would ever say otherwise");
}
