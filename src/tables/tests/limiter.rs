use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::tables::limiter::table::RateTable;
use crate::tables::{Caller, Decision, RateLimiter, take_all};

const SECOND: u64 = 1_000_000_000;

fn limiter(limit: &RateLimit, table: &Arc<RateTable>) -> RateLimiter {
    RateLimiter::new(limit, table)
}

fn per_second(requests: u32, burst: u32) -> RateLimiter {
    limiter(&rate_limit(requests, Duration::from_secs(1), burst), &Arc::default())
}

fn client(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

fn caller(client: IpAddr, headers: &HeaderMap) -> Caller<'_> {
    Caller { client, host: "", headers }
}

fn take(limiter: &RateLimiter, client: IpAddr, now: u64) -> Decision {
    limiter.take(caller(client, &HeaderMap::new()), now)
}

/// How many pass at once.
fn passing(limiter: &RateLimiter, number: u32, now: u64) -> usize {
    (0..).take_while(|_| take(limiter, client(number), now).admitted).count()
}

/// The same, counted by `key`.
fn by(key: LimitKey, mut limit: RateLimit) -> RateLimit {
    limit.rate.key = key;
    limit
}

#[test]
fn a_new_key_gets_exactly_the_burst_and_then_what_the_rate_brings() {
    let limiter = per_second(10, 5);
    assert_eq!(passing(&limiter, 1, 7 * SECOND), 5);
    assert_eq!(passing(&limiter, 1, 7 * SECOND + SECOND / 10 - 1), 0);
    assert_eq!(passing(&limiter, 1, 7 * SECOND + SECOND / 10), 1);
    assert_eq!(passing(&limiter, 1, 8 * SECOND), 5);
    assert_eq!(passing(&limiter, 2, 8 * SECOND), 5);
}

#[test]
fn a_decision_tells_what_fields_need() {
    let limiter = per_second(1, 3);
    let decision = |admitted, remaining, seconds| Decision { admitted, remaining, seconds };
    assert_eq!(take(&limiter, client(1), 0), decision(true, 2, 1));
    assert_eq!(take(&limiter, client(1), 0), decision(true, 1, 2));
    assert_eq!(take(&limiter, client(1), 0), decision(true, 0, 3));
    assert_eq!(take(&limiter, client(1), 1), decision(false, 0, 1));
    assert_eq!(take(&limiter, client(1), SECOND), decision(true, 0, 3));
    assert_eq!(limiter.field(&decision(false, 0, 7)), "\"policy\";r=0;t=7");
    assert_eq!(limiter.policy_field, "\"policy\";q=1;w=1");
}

#[test]
fn only_a_refusal_tells_where_no_fields_are_asked_for() {
    let mut limit = rate_limit(1, Duration::from_secs(10), 2);
    limit.rate.headers = false;
    let limiter = limiter(&limit, &Arc::default());
    let seconds = [0; 3].map(|now| take(&limiter, client(1), now).seconds);
    assert_eq!(seconds, [0, 0, 10]);
}

#[test]
fn the_next_try_after_the_seconds_told_passes_and_none_a_second_before() {
    let limiter = limiter(&rate_limit(1, Duration::from_secs(100), 1), &Arc::default());
    assert!(take(&limiter, client(1), 0).admitted);
    assert_eq!(take(&limiter, client(1), SECOND / 2).seconds, 100);
    assert_eq!(take(&limiter, client(1), 98 * SECOND + 1).seconds, 2);
    assert_eq!(take(&limiter, client(1), 99 * SECOND).seconds, 1);
    assert!(take(&limiter, client(1), 100 * SECOND).admitted);
}

#[test]
fn a_window_is_told_in_whole_seconds() {
    let field = |requests, millis| {
        limiter(&rate_limit(requests, Duration::from_millis(millis), 1), &Arc::default()).policy_field
    };
    assert_eq!(field(100, 60_000), "\"policy\";q=100;w=60");
    assert_eq!(field(100, 500), "\"policy\";q=200;w=1");
    assert_eq!(field(3, 1_500), "\"policy\";q=4;w=2");
    let mut odd = rate_limit(1, Duration::from_secs(1), 1);
    odd.scope.policy.name = "a\"b\\c\n\u{e9} d".into();
    assert_eq!(limiter(&odd, &Arc::default()).policy_field, "\"abc d\";q=1;w=1");
}

#[test]
fn what_would_be_no_limit_lets_nothing_pass() {
    for (requests, burst) in [(0, 5), (5, 0), (0, 0)] {
        let decision = take(&per_second(requests, burst), client(1), 5);
        assert_eq!(decision, Decision { admitted: false, remaining: 0, seconds: 1 });
    }
}

#[test]
fn a_v6_client_is_its_64_and_a_mapped_one_is_v4() {
    let limiter = per_second(1, 1);
    let admitted = |text: &str| take(&limiter, text.parse().unwrap(), 0).admitted;
    assert!(admitted("2001:db8::1") && !admitted("2001:db8::2:1") && admitted("2001:db8:0:1::1"));
    assert!(admitted("192.0.2.1") && !admitted("::ffff:192.0.2.1"));
}

#[test]
fn a_field_is_counted_by_its_value_and_the_address_where_it_is_missing() {
    let key = LimitKey::Header("x-api-key".into());
    let limiter = limiter(&by(key, rate_limit(1, Duration::from_secs(1), 1)), &Arc::default());
    let with =
        |value: &[u8]| HeaderMap::from_iter([("x-api-key".parse().unwrap(), HeaderValue::from_bytes(value).unwrap())]);
    let long = |last| [vec![b'a'; 60_000], vec![last]].concat();
    for value in [&b""[..], b"a", b"b", b"\xff", &long(b'a'), &long(b'b')] {
        assert!(limiter.take(caller(client(1), &with(value)), 0).admitted);
        assert!(!limiter.take(caller(client(2), &with(value)), 0).admitted);
    }
    assert!(take(&limiter, client(1), 0).admitted && !take(&limiter, client(1), 0).admitted);
    assert!(take(&limiter, client(2), 0).admitted);
}

#[test]
fn the_host_is_counted_as_it_is_matched_and_the_address_where_there_is_none() {
    let limit = by(LimitKey::Header("host".into()), rate_limit(1, Duration::from_secs(1), 1));
    let limiter = limiter(&limit, &Arc::default());
    let admitted = |number, host, field: &'static str| {
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static(field))]);
        limiter.take(Caller { client: client(number), host, headers: &headers }, 0).admitted
    };
    assert!(admitted(1, "a", "a") && !admitted(2, "a", "A:80") && admitted(1, "b", "a"));
    assert!(admitted(1, "", "") && !admitted(1, "", "") && admitted(2, "", ""));
}

#[test]
fn everybody_together_has_one_bucket() {
    let limit = by(LimitKey::Route, rate_limit(1, Duration::from_secs(1), 2));
    let limiter = limiter(&limit, &Arc::default());
    assert!([1, 2, 3].map(|number| take(&limiter, client(number), 0).admitted) == [true, true, false]);
}

#[test]
fn what_one_limit_refuses_costs_nothing_of_the_others() {
    let table = Arc::default();
    let named = |name, requests| {
        let limit = rate_limit(requests, Duration::from_secs(1), requests);
        limiter(&RateLimit { scope: limit_scope(name), ..limit }, &table)
    };
    let limits = [named("wide", 10), named("narrow", 2)];
    let none = HeaderMap::new();
    let (tightest, decision) = take_all(&limits, caller(client(1), &none), 0).unwrap().unwrap();
    assert_eq!((tightest.field(&decision), decision.remaining), ("\"narrow\";r=1;t=1".parse().unwrap(), 1));
    assert!(take_all(&limits, caller(client(1), &none), 0).is_ok());
    for _ in 0..20 {
        assert_eq!(take_all(&limits, caller(client(1), &none), 0).unwrap_err().0.policy_field, "\"narrow\";q=2;w=1");
    }
    assert_eq!(passing(&limits[0], 1, 0), 8);
    assert!(take_all(&[], caller(client(1), &none), 0).unwrap().is_none());
}

#[test]
fn the_fields_are_of_the_limit_that_leaves_least_and_of_the_first_of_equals() {
    let named = |(name, requests, headers)| {
        let mut limit =
            RateLimit { scope: limit_scope(name), ..rate_limit(requests, Duration::from_secs(1), requests) };
        limit.rate.headers = headers;
        limiter(&limit, &Arc::default())
    };
    for (limits, told) in [
        ([("narrow", 2, true), ("wide", 10, true)], Some("narrow")),
        ([("wide", 10, true), ("silent", 2, false)], Some("wide")),
        ([("one", 5, true), ("other", 5, true)], Some("one")),
        ([("silent", 2, false), ("silent too", 1, false)], None),
    ] {
        let limiters = limits.map(named);
        let tightest = take_all(&limiters, caller(client(1), &HeaderMap::new()), 0).unwrap().map(|(limit, _)| limit);
        let name = tightest.map(|limit| limit.policy_field.to_str().unwrap().split('"').nth(1).unwrap());
        assert_eq!(name, told, "{limits:?}");
    }
}

#[test]
fn what_passes_is_exact_under_64_threads() {
    let limiter = limiter(&rate_limit(300_007, Duration::from_secs(1), 50), &Arc::default());
    let (clock, admitted) = (AtomicU64::new(SECOND), AtomicU64::new(0));
    // The bucket is known from the first moment on, and empty.
    let burst = passing(&limiter, 1, SECOND) as u64;
    // Asks twice as often as the rate allows; time is read before, so that requests come out of its order.
    let ask = || {
        for _ in 0..500 {
            let now = clock.fetch_add(1_667, Ordering::SeqCst);
            admitted.fetch_add(take(&limiter, client(1), now).admitted.into(), Ordering::SeqCst);
        }
    };
    thread::scope(|scope| (0..64).for_each(|_| drop(scope.spawn(ask))));
    let end = clock.into_inner();
    let admitted = burst + admitted.into_inner() + passing(&limiter, 1, end) as u64;
    let brought = (u128::from(end - SECOND) * 300_007 / u128::from(SECOND)) as u64;
    assert!(admitted.abs_diff(50 + brought) <= 1, "{admitted} of 50 + {brought}");
}

#[test]
fn a_million_clients_stay_within_13_megabytes_and_none_is_refused() {
    let table = Arc::<RateTable>::default();
    let limiter = limiter(&rate_limit(1, Duration::from_secs(3600), 2), &table);
    // One that has used up more than all that follow, and is remembered.
    assert_eq!(passing(&limiter, u32::MAX, 0), 2);
    let mut most = 0;
    for number in 0..1_000_000 {
        assert!(take(&limiter, client(number), 1_000).admitted, "{number}");
        if number % 100_000 == 0 {
            most = most.max(table.size().1);
        }
    }
    let (keys, bytes) = table.size();
    assert!(bytes.max(most) <= 13_500_000, "{bytes} bytes, at most {most}");
    assert!((200_000..=229_376).contains(&keys), "{keys} keys");
    assert!(!take(&limiter, client(u32::MAX), 1_000).admitted);

    // All are full again after an hour each.
    (0..2_048).for_each(|turn| table.sweep(turn, 7_300 * SECOND));
    let (keys, bytes) = table.size();
    assert!(keys == 0 && bytes < 250_000, "{bytes} bytes");
}

#[test]
fn keys_that_are_full_again_are_dropped_for_new_ones() {
    let table = Arc::<RateTable>::default();
    let limiter = limiter(&rate_limit(1_000, Duration::from_secs(1), 10), &table);
    // Each is full again when the next 10,000 have come.
    (0..200_000_u32).for_each(|number| assert!(take(&limiter, client(number), u64::from(number) * 100).admitted));
    let (keys, bytes) = table.size();
    assert!(keys < 30_000 && bytes < 3_000_000, "{keys} keys, {bytes} bytes");
}

#[test]
fn a_limit_that_changes_keeps_what_was_asked_for() {
    let table = Arc::default();
    let hourly = limiter(&rate_limit(10, Duration::from_secs(3600), 10), &table);
    assert_eq!(passing(&hourly, 1, 0), 10);
    // Never emptier than empty: it does not wait for what the old limit wanted.
    let quick = limiter(&rate_limit(10, Duration::from_secs(1), 5), &table);
    assert_eq!(passing(&quick, 1, SECOND), 0);
    assert_eq!(passing(&quick, 1, SECOND + SECOND / 10), 1);
    assert_eq!(passing(&quick, 1, 2 * SECOND), 5);
    // By another key, or in another scope, it is another bucket.
    let limit = rate_limit(10, Duration::from_secs(1), 5);
    assert_eq!(passing(&limiter(&by(LimitKey::Route, limit.clone()), &table), 1, 2 * SECOND), 5);
    assert_eq!(passing(&limiter(&RateLimit { scope: limit_scope("other"), ..limit }, &table), 1, 2 * SECOND), 5);
}

/// A bucket as one thinks of it, in parts of a request: `per` of them are one.
struct Model {
    requests: u128,
    per: u128,
    burst: u128,
    held: u128,
    at: u64,
}

impl Model {
    fn take(&mut self, now: u64) -> Decision {
        let size = self.burst * self.per;
        self.held = size.min(self.held + u128::from(now - self.at) * self.requests);
        self.at = now;
        let admitted = self.held >= self.per;
        self.held -= if admitted { self.per } else { 0 };
        let lacking = if admitted { size - self.held } else { self.per - self.held };
        let seconds = lacking.div_ceil(self.requests).div_ceil(u128::from(SECOND)).max(1);
        Decision { admitted, remaining: (self.held / self.per) as u32, seconds: seconds as u64 }
    }
}

proptest! {
    #[test]
    fn it_decides_as_a_bucket_that_is_filled_would(
        requests in prop_oneof![1..20_u32, 1..=u32::MAX],
        per in prop_oneof![1..5_000_u64, Just(SECOND), 1..3_600 * SECOND],
        burst in prop_oneof![1..10_u32, 1..1_000_000_u32],
        pauses in prop::collection::vec(prop_oneof![Just(0.0), 0.0..1.0_f64, 0.9..1.1_f64, 0.0..20.0_f64], 1..200),
    ) {
        let limiter = limiter(&rate_limit(requests, Duration::from_nanos(per), burst), &Arc::default());
        let (requests, per, burst) = (requests.into(), per.into(), burst.into());
        let mut model = Model { requests, per, burst, held: burst * per, at: 0 };
        let mut now = 0;
        for pause in pauses {
            // In requests' worth of time, so that much happens at the edges.
            now += (pause * per as f64 / requests as f64) as u64;
            prop_assert_eq!(take(&limiter, client(1), now), model.take(now));
        }
    }
}
