use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use crate::snapshot::Access;
use crate::tables::AccessList;

fn list(allow: Option<&[&str]>, deny: &[&str]) -> AccessList {
    let networks = |networks: &[&str]| networks.iter().map(|network| network.parse().unwrap()).collect();
    AccessList::new(&Access { allow: allow.map(networks), deny: networks(deny) })
}

fn permits(list: &AccessList, client: &str) -> bool {
    list.permits(client.parse().unwrap())
}

#[test]
fn deny_wins_and_an_allow_list_denies_all_others() {
    let both = list(Some(&["10.0.0.0/8", "2001:db8::/32"]), &["10.9.0.0/16"]);
    assert!(permits(&both, "10.8.255.255") && permits(&both, "10.10.0.0") && permits(&both, "2001:db8::1"));
    assert!(!permits(&both, "10.9.0.0") && !permits(&both, "10.9.255.255"));
    assert!(!permits(&both, "11.0.0.0") && !permits(&both, "2001:db9::"));
    let deny = list(None, &["2001:db8::/32"]);
    assert!(permits(&deny, "192.0.2.1") && !permits(&deny, "2001:db8::1"));
    assert!(!permits(&list(Some(&[]), &[]), "192.0.2.1"));
}

#[test]
fn mapped_addresses_and_networks_are_v4() {
    let v4 = list(Some(&["192.0.2.0/24"]), &["::ffff:192.0.2.128/121"]);
    assert!(permits(&v4, "::ffff:192.0.2.1") && permits(&v4, "192.0.2.127"));
    assert!(!permits(&v4, "192.0.2.128") && !permits(&v4, "::ffff:192.0.2.255"));
}

#[test]
fn all_of_one_family_is_not_the_other() {
    let v6 = list(Some(&["::/0"]), &[]);
    assert!(permits(&v6, "2001:db8::1") && permits(&v6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    assert!(!permits(&v6, "192.0.2.1") && !permits(&v6, "::ffff:192.0.2.1"));
    let v4 = list(Some(&["0.0.0.0/0"]), &[]);
    assert!(permits(&v4, "0.0.0.0") && permits(&v4, "255.255.255.255") && !permits(&v4, "::1"));
}

#[test]
fn ten_thousand_networks_are_searched_and_not_walked() {
    let networks = (0..10_000_u32).map(|number| Ipv4Net::new((number << 12).into(), 20 + (number % 2) as u8).unwrap());
    let access = Access { allow: Some(networks.map(IpNet::from).collect()), deny: Vec::new() };
    let list = AccessList::new(&access);
    // The halves of every second network are missing; the rest touch each other.
    assert!(list.permits(Ipv4Addr::from(0x0000_17ff_u32).into()));
    assert!(!list.permits(Ipv4Addr::from(0x0000_1800_u32).into()));
    assert!(format!("{list:?}").matches("), (").count() < 5_001);
}

/// Of few bits, so that networks and addresses meet.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| Ipv4Addr::from(bits & 0xc000_00ff));
    let v6 = any::<(u8, u16)>().prop_map(|(high, low)| Ipv6Addr::from(u128::from(high & 3) << 126 | u128::from(low)));
    prop_oneof![
        v4.prop_map(IpAddr::V4),
        v6.prop_map(IpAddr::V6),
        any::<u8>().prop_map(|low| IpAddr::V6(Ipv4Addr::new(192, 0, 0, low).to_ipv6_mapped())),
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), 0..=16_u8, any::<bool>()).prop_map(|(address, short, long)| match address {
        IpAddr::V4(address) => Ipv4Net::new(address, if long { 32 - short } else { short }).unwrap().into(),
        IpAddr::V6(address) => Ipv6Net::new(address, if long { 128 - short } else { short }).unwrap().into(),
    })
}

/// As the rules say, one network after the other.
fn model(access: &Access, client: IpAddr) -> bool {
    let IpAddr::V6(mapped) = (match client.to_canonical() {
        IpAddr::V4(client) => client.to_ipv6_mapped().into(),
        client => client,
    }) else {
        panic!()
    };
    let is_v4 = mapped.to_ipv4_mapped().is_some();
    let contains = |network: &IpNet| match network {
        IpNet::V4(network) => is_v4 && network.contains(&mapped.to_ipv4_mapped().unwrap()),
        IpNet::V6(network) => {
            let about_v4 = network.prefix_len() >= 96 && network.addr().to_ipv4_mapped().is_some();
            about_v4 == is_v4 && network.contains(&mapped)
        }
    };
    !access.deny.iter().any(contains) && access.allow.as_ref().is_none_or(|allow| allow.iter().any(contains))
}

proptest! {
    #[test]
    fn a_list_says_what_its_networks_say_one_by_one(
        allow in prop::option::of(prop::collection::vec(network(), 0..30)),
        deny in prop::collection::vec(network(), 0..30),
        clients in prop::collection::vec(address(), 1..50),
    ) {
        let access = Access { allow, deny };
        let list = AccessList::new(&access);
        // Also those at the edges.
        let networks = access.allow.iter().flatten().chain(&access.deny);
        let edges = networks.flat_map(|network| [network.network(), network.broadcast()]);
        for client in clients.into_iter().chain(edges) {
            prop_assert_eq!(list.permits(client), model(&access, client), "{}", client);
        }
    }
}
