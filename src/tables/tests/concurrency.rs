use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::snapshot::ConnectionLimit;
use crate::tables::concurrency::InFlight;
use crate::tables::{ConnectionLimiter, Counted, enter_all};

fn limiter(policy: &str, per_client: u32, counts: &Arc<InFlight>) -> ConnectionLimiter {
    ConnectionLimiter::new(&ConnectionLimit { scope: limit_scope(policy), per_client }, counts)
}

fn client(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

fn v6(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_client_has_as_many_as_it_may_and_again_when_one_is_over() {
    let counts = Arc::default();
    let limiter = limiter("p", 2, &counts);
    let (first, second) = (limiter.enter(client(1)).unwrap(), limiter.enter(client(1)).unwrap());
    assert!(limiter.enter(client(1)).is_none());
    assert!(limiter.enter(client(2)).is_some());
    drop(first);
    let third = limiter.enter(client(1)).unwrap();
    assert!(limiter.enter(client(1)).is_none());
    drop((second, third));
    assert_eq!(counts.size().0, 0);
}

#[test]
fn a_client_is_a_v4_address_or_a_64_of_v6() {
    let limiter = limiter("p", 1, &Arc::default());
    let _four = limiter.enter(client(1)).unwrap();
    let _six = limiter.enter(v6("2001:db8::1")).unwrap();
    assert!(limiter.enter(v6("::ffff:0.0.0.1")).is_none());
    assert!(limiter.enter(v6("2001:db8::ffff:1")).is_none());
    assert!(limiter.enter(v6("2001:db8:0:1::1")).is_some());
}

#[test]
fn limits_of_one_scope_count_together_and_of_others_apart() {
    let counts = Arc::default();
    let (strict, generous) = (limiter("p", 1, &counts), limiter("p", 2, &counts));
    let _first = generous.enter(client(1)).unwrap();
    assert!(strict.enter(client(1)).is_none());
    assert!(limiter("other", 1, &counts).enter(client(1)).is_some());
    assert!(limiter("none", 0, &counts).enter(client(1)).is_none());
}

#[test]
fn what_one_limit_refuses_counts_for_no_other() {
    let counts = Arc::default();
    let limits = [limiter("a", 2, &counts), limiter("b", 1, &counts)];
    let first: Vec<Counted> = enter_all(&limits, client(1)).unwrap();
    assert!(enter_all::<Vec<_>>(&limits, client(1)).is_none());
    assert!(limits[0].enter(client(1)).is_some());
    drop(first);
    assert_eq!(counts.size().0, 0);
    assert!(enter_all::<Vec<_>>(&[], client(1)).is_some_and(|none| none.is_empty()));
}

#[test]
fn no_client_ever_has_more_than_it_may_over_64_threads() {
    let counts = Arc::default();
    let limiter = limiter("p", 3, &counts);
    let (now, admitted) = ([const { AtomicU32::new(0) }; 4], AtomicU32::new(0));
    let ask = |thread: usize| {
        for step in 0..200 {
            let at = (thread + step) % 4;
            if let Some(_counted) = limiter.enter(client(at as u32)) {
                assert!(now[at].fetch_add(1, Ordering::SeqCst) < 3);
                admitted.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
                now[at].fetch_sub(1, Ordering::SeqCst);
            }
        }
    };
    thread::scope(|scope| (0..64).for_each(|thread| drop(scope.spawn(move || ask(thread)))));
    assert!(admitted.into_inner() > 200);
    assert_eq!(counts.size().0, 0);
}

#[test]
fn a_flood_of_clients_leaves_no_memory_behind() {
    let counts = Arc::default();
    let limiter = limiter("p", 3, &counts);
    let before = counts.size().1;
    let all: Vec<_> = (0..100_000).map(|number| limiter.enter(client(number)).unwrap()).collect();
    assert_eq!(counts.size().0, 100_000);
    drop(all);
    let (clients, bytes) = counts.size();
    assert!(clients == 0 && bytes - before < 64 * 1024, "{bytes} bytes");
}

proptest! {
    /// The model: a number for each client.
    #[test]
    fn it_counts_as_numbers_would(steps in prop::collection::vec((0..4_u32, any::<prop::sample::Index>(), any::<bool>()), 0..100)) {
        let counts = Arc::default();
        let limiter = limiter("p", 3, &counts);
        let mut held: Vec<(u32, Counted)> = Vec::new();
        for (number, index, leaves) in steps {
            if leaves && !held.is_empty() {
                let _ends = held.swap_remove(index.index(held.len()));
            } else {
                let has = held.iter().filter(|(other, _)| *other == number).count();
                let entered = limiter.enter(client(number));
                prop_assert_eq!(entered.is_some(), has < 3);
                held.extend(entered.map(|counted| (number, counted)));
            }
            let clients: std::collections::BTreeSet<_> = held.iter().map(|(number, _)| number).collect();
            prop_assert_eq!(counts.size().0, clients.len());
        }
    }
}
