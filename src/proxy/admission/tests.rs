use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses_known(admission: &Admission) -> usize {
    admission.addresses.iter().map(|shard| shard.lock().unwrap().len()).sum()
}

#[test]
fn the_process_takes_exactly_its_cap() {
    let admission = Admission::new(3, 0);
    let mut held: Vec<_> =
        (0..3).map(|n| admission.admit(Some(IpAddr::from([10, 0, 0, n])), || false).unwrap()).collect();
    assert_eq!(admission.admit(Some(ip("10.0.0.9")), || false).unwrap_err(), Refusal::Process);
    assert_eq!(admission.open(), 3);
    held.pop();
    assert!(admission.admit(Some(ip("10.0.0.9")), || false).is_ok());
}

#[test]
fn one_more_takes_the_place_of_another() {
    let admission = Admission::new(1, 1);
    let first = admission.admit(Some(ip("192.0.2.1")), || unreachable!("there is room")).unwrap();
    let refused = admission.admit(Some(ip("192.0.2.1")), || unreachable!("nobody goes for one that is refused"));
    assert_eq!(refused.unwrap_err(), Refusal::Address);
    let _second = admission.admit(Some(ip("192.0.2.2")), || true).unwrap();
    assert_eq!(admission.open(), 2, "the other is not gone yet");
    drop(first);
    assert_eq!(admission.admit(Some(ip("192.0.2.1")), || false).unwrap_err(), Refusal::Process);
}

#[test]
fn an_address_takes_exactly_its_cap_and_its_neighbour_is_free() {
    let admission = Admission::new(100, 2);
    let _first = admission.admit(Some(ip("192.0.2.1")), || false).unwrap();
    let second = admission.admit(Some(ip("192.0.2.1")), || false).unwrap();
    assert_eq!(admission.admit(Some(ip("192.0.2.1")), || false).unwrap_err(), Refusal::Address);
    assert!(admission.admit(Some(ip("192.0.2.2")), || false).is_ok());
    assert_eq!(admission.open(), 2, "a refused connection holds no place");
    drop(second);
    assert!(admission.admit(Some(ip("192.0.2.1")), || false).is_ok());
}

#[test]
fn a_mapped_address_is_the_v4_address() {
    let admission = Admission::new(100, 1);
    let _held = admission.admit(Some(ip("::ffff:192.0.2.1")), || false).unwrap();
    assert_eq!(admission.admit(Some(ip("192.0.2.1")), || false).unwrap_err(), Refusal::Address);
}

#[test]
fn a_client_of_ipv6_is_its_64() {
    let admission = Admission::new(100, 2);
    let _held =
        ["2001:db8::1", "2001:db8:0:0:ffff::2"].map(|client| admission.admit(Some(ip(client)), || false).unwrap());
    assert_eq!(admission.admit(Some(ip("2001:db8::3")), || false).unwrap_err(), Refusal::Address);
    assert!(admission.admit(Some(ip("2001:db8:0:1::1")), || false).is_ok());
}

#[test]
fn connections_of_an_address_share_its_requests() {
    let admission = Admission::new(100, 2);
    let [first, second] = [0, 1].map(|_| admission.admit(Some(ip("192.0.2.1")), || false).unwrap());
    let other = admission.admit(Some(ip("192.0.2.2")), || false).unwrap().requests().unwrap();
    let [first, second] = [first, second].map(|admitted| admitted.requests().unwrap());
    assert_eq!([first.begin(), second.begin(), first.begin(), other.begin()], [true, true, false, true]);
    first.end();
    assert!(!second.begin(), "what was refused counts too");
    first.end();
    second.end();
    assert!(second.begin());
}

#[test]
fn zero_counts_no_addresses() {
    let admission = Admission::new(100, 0);
    let held: Vec<_> = (0..50).map(|_| admission.admit(Some(ip("192.0.2.1")), || false).unwrap()).collect();
    assert_eq!(held.len(), 50);
    assert!(held[0].requests().is_none());
    assert_eq!(addresses_known(&admission), 0);
}

#[test]
fn a_claim_moves_the_count_to_the_address_it_names() {
    let admission = Admission::new(100, 1);
    let mut behind_proxy = admission.admit(Some(ip("10.0.0.1")), || false).unwrap();
    behind_proxy.claim(ip("192.0.2.1")).unwrap();
    assert!(admission.admit(Some(ip("10.0.0.1")), || false).is_ok());
    assert_eq!(admission.admit(Some(ip("192.0.2.1")), || false).unwrap_err(), Refusal::Address);

    let mut second = admission.admit(None, || false).unwrap();
    assert_eq!(second.claim(ip("192.0.2.1")), Err(Refusal::Address));
    drop(second);
    assert_eq!(admission.open(), 1);
}

#[test]
fn nothing_is_left_of_closed_connections() {
    let admission = Admission::new(1000, 1000);
    std::thread::scope(|scope| {
        for worker in 0..8u8 {
            let admission = &admission;
            scope.spawn(move || {
                for round in 0..200u8 {
                    let own = admission.admit(Some(IpAddr::from([10, 0, worker, round])), || false);
                    let shared = admission.admit(Some(ip("10.1.0.1")), || false);
                    assert!(own.is_ok() && shared.is_ok());
                }
            });
        }
    });
    assert_eq!(admission.open(), 0);
    assert_eq!(addresses_known(&admission), 0);
}
