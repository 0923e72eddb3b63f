use std::collections::HashMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;

fn hashed(weights: &[u16]) -> Tables {
    with(weighted(Algorithm::IpHash, weights), None)
}

fn clients(count: u32) -> impl Iterator<Item = IpAddr> {
    (0..count).map(|number| Ipv4Addr::from(0x0a00_0000 + number).into())
}

fn port_of(backend: &LiveBackend, client: IpAddr) -> u16 {
    backend.pick(client, 0, &[]).unwrap().endpoint().address.port()
}

#[test]
fn a_client_stays_with_its_endpoint_on_every_replica() {
    let (one, other) = (hashed(&[1, 2, 3]), hashed(&[1, 2, 3]));
    for client in clients(1_000) {
        let port = port_of(&one.backends[0], client);
        assert_eq!(port_of(&one.backends[0], client), port);
        assert_eq!(other.backends[0].pick(client, 99, &[]).unwrap().endpoint().address.port(), port);
    }
}

/// Replicas of another version must choose the same, so these never change.
#[test]
fn the_choices_stay_as_they_are() {
    let tables = hashed(&[1, 2, 3]);
    let ports: Vec<u16> = clients(24).map(|client| port_of(&tables.backends[0], client)).collect();
    assert_eq!(ports, [3, 3, 3, 2, 3, 3, 3, 3, 2, 3, 2, 1, 3, 3, 3, 3, 2, 1, 3, 1, 1, 1, 1, 1]);
}

#[test]
fn a_mapped_client_is_the_v4_one() {
    let tables = hashed(&[1; 50]);
    let mapped = |client: IpAddr| match client {
        IpAddr::V4(client) => client.to_ipv6_mapped().into(),
        IpAddr::V6(_) => client,
    };
    assert!(
        clients(100).all(|client| port_of(&tables.backends[0], client) == port_of(&tables.backends[0], mapped(client)))
    );
}

#[test]
fn clients_are_shared_by_weight() {
    for weights in [&[1, 1, 1, 1][..], &[1, 2, 3, 6], &[10, 0, 30], &[1000, 500]] {
        let tables = hashed(weights);
        let mut counts = vec![0_u32; weights.len()];
        clients(60_000).for_each(|client| counts[usize::from(port_of(&tables.backends[0], client)) - 1] += 1);
        let sum: u16 = weights.iter().sum();
        for (&count, &weight) in counts.iter().zip(weights) {
            let share = 60_000 * u32::from(weight) / u32::from(sum);
            assert!(count.abs_diff(share) <= 600, "{counts:?} for {weights:?}");
        }
    }
}

#[test]
fn a_full_endpoint_loses_its_clients_for_the_time_being_only() {
    let mut wanted = weighted(Algorithm::IpHash, &[1, 1, 1]);
    wanted.policy.max_connections = Some(1);
    let tables = with(wanted, None);
    let backend = &tables.backends[0];
    let first = backend.pick(CLIENT, 0, &[]).unwrap();
    let second = port_of(backend, CLIENT);
    assert_ne!(second, first.endpoint().address.port());
    assert_eq!(port_of(backend, CLIENT), second);
    let port = first.endpoint().address.port();
    drop(first);
    assert_eq!(port_of(backend, CLIENT), port);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The model: each client has an order of endpoints, of which the first that may be used has it.
    #[test]
    fn when_one_goes_only_its_clients_move(weights in prop::collection::vec(1..20_u16, 2..12), gone in any::<prop::sample::Index>()) {
        let tables = hashed(&weights);
        let before: HashMap<_, _> = clients(500).map(|client| (client, port_of(&tables.backends[0], client))).collect();
        let gone = gone.index(weights.len());

        // Gone from the snapshot, ejected, or tried: the same for the clients.
        let mut fewer = weighted(Algorithm::IpHash, &weights);
        fewer.endpoints.remove(gone);
        fewer.terms.remove(gone);
        let fewer = with(fewer, Some(&tables));
        let id = tables.backends[0].endpoints[gone].id;
        for (&client, &port) in &before {
            let left = port_of(&fewer.backends[0], client);
            prop_assert!(left == port || usize::from(port) == gone + 1);
            let tried = tables.backends[0].pick(client, 0, &[id]).unwrap().endpoint().address.port();
            prop_assert_eq!(tried, left);
        }
        tables.backends[0].endpoints[gone].ejected.store(true, Ordering::Relaxed);
        for &client in before.keys() {
            prop_assert_eq!(port_of(&tables.backends[0], client), port_of(&fewer.backends[0], client));
        }
    }
}
