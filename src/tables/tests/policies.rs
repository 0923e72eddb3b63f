//! What a route's rules become when tables are built, and what of them outlives a generation.

use std::net::Ipv4Addr;

use http::HeaderMap;

use super::*;
use crate::snapshot::{Access, ConnectionLimit};
use crate::tables::{Caller, LiveRoute};

fn policy(requests: u32, per_client: u32) -> RoutePolicy {
    let scope = limit_scope("policy");
    RoutePolicy {
        access: vec![Arc::new(Access { allow: None, deny: vec!["192.0.2.0/24".parse().unwrap()] })],
        rate_limits: vec![rate_limit(requests, Duration::from_secs(1), requests)],
        connection_limits: vec![ConnectionLimit { scope, per_client }],
        ..RoutePolicy::default()
    }
}

/// Host `h`, whose paths have the same rules.
fn governed(paths: &[&'static str], policy: &RoutePolicy, previous: Option<&Tables>) -> Tables {
    let rows: Vec<Row> = paths.iter().map(|&path| ("h", PREFIX, path, "s")).collect();
    let mut wanted = snapshot(&rows);
    let policy = Arc::new(policy.clone());
    for host in Arc::make_mut(&mut wanted.hosts).values_mut() {
        Arc::make_mut(host).routes.iter_mut().for_each(|route| route.policy = policy.clone());
    }
    build(wanted, previous)
}

fn route<'a>(tables: &'a Tables, path: &str) -> &'a LiveRoute {
    tables.routes.find("h", path).unwrap()
}

fn passes(route: &LiveRoute) -> bool {
    let caller = Caller { client: Ipv4Addr::LOCALHOST.into(), host: "h", headers: &HeaderMap::new() };
    route.rate_limits[0].take(caller, 5).admitted
}

#[test]
fn routes_of_one_scope_share_their_limits_and_their_list() {
    let tables = governed(&["/a", "/b"], &policy(2, 1), None);
    let (a, b) = (route(&tables, "/a"), route(&tables, "/b"));
    assert!(Arc::ptr_eq(&a.access[0], &b.access[0]));
    assert!(!a.access[0].permits("192.0.2.1".parse().unwrap()) && a.access[0].permits("192.0.3.1".parse().unwrap()));
    assert_eq!([passes(a), passes(b), passes(a), passes(b)], [true, true, false, false]);
    let counted = a.connection_limits[0].enter(Ipv4Addr::LOCALHOST.into()).unwrap();
    assert!(b.connection_limits[0].enter(Ipv4Addr::LOCALHOST.into()).is_none());
    drop(counted);
    assert!(b.connection_limits[0].enter(Ipv4Addr::LOCALHOST.into()).is_some());
    assert_eq!(tables.limiter_size().0, 1);
}

#[test]
fn counts_outlive_generations_also_where_routes_are_compiled_anew() {
    let first = governed(&["/a"], &policy(2, 2), None);
    let counted = route(&first, "/a").connection_limits[0].enter(Ipv4Addr::LOCALHOST.into());
    assert!(passes(route(&first, "/a")) && counted.is_some());
    let second = governed(&["/a", "/b"], &policy(2, 2), Some(&first));
    assert!(passes(route(&second, "/b")) && !passes(route(&second, "/a")) && !passes(route(&first, "/a")));
    // Gone for a while, and with another limit.
    let without = build(snapshot(&[("h", PREFIX, "/a", "s")]), Some(&second));
    let third = governed(&["/a"], &policy(5, 1), Some(&without));
    assert!(!passes(route(&third, "/a")));
    let limit = &route(&third, "/a").connection_limits[0];
    assert!(limit.enter(Ipv4Addr::LOCALHOST.into()).is_none());
    drop(counted);
    assert!(limit.enter(Ipv4Addr::LOCALHOST.into()).is_some());
}

#[test]
fn the_time_to_connect_is_the_backend_s_and_else_the_route_s() {
    let time = |of_backend| {
        let mut source = Backend::clone(&backend(&[1]));
        source.policy.connect_timeout = of_backend;
        let backends = BTreeMap::from([(backend_id("s"), Arc::new(source))]);
        let tables = build(Snapshot { backends, ..Snapshot::default() }, None);
        let route = RoutePolicy { connect_timeout: Duration::from_secs(7), ..RoutePolicy::default() };
        tables.backends[0].connect_timeout(&route).as_secs()
    };
    assert_eq!([time(Some(Duration::from_secs(2))), time(None)], [2, 7]);
}

#[test]
fn tries_again_are_a_share_of_what_was_counted() {
    let mut source = Backend::clone(&backend(&[1]));
    source.policy.retry.budget_percent = 50;
    let backends = BTreeMap::from([(backend_id("s"), Arc::new(source))]);
    let tables = build(Snapshot { backends, ..Snapshot::default() }, None);
    let backend = &tables.backends[0];
    (0..20).for_each(|_| backend.count_request(0));
    assert_eq!((0..20).filter(|_| backend.may_retry(0)).count(), 10);
}

#[test]
fn tables_that_are_no_one_s_next_generation_count_for_themselves() {
    let (one, other) = (governed(&["/a"], &policy(1, 1), None), governed(&["/a"], &policy(1, 1), None));
    assert!(passes(route(&one, "/a")) && passes(route(&other, "/a")) && !passes(route(&one, "/a")));
}

#[test]
fn allow_has_the_methods_that_are_served() {
    let all = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    for (methods, connect, allow) in [
        (None, false, all.to_owned()),
        (None, true, format!("{all}, CONNECT")),
        (Some(&["GET", "PUT", "TRACE"][..]), false, "GET, PUT".to_owned()),
        (Some(&["CONNECT", "GET"]), true, "CONNECT, GET".to_owned()),
        (Some(&["TRACE"]), false, String::new()),
    ] {
        let methods = methods.map(|methods| methods.iter().map(|method| method.to_string()).collect());
        let tables = governed(&["/a"], &RoutePolicy { methods, connect, ..RoutePolicy::default() }, None);
        assert_eq!(route(&tables, "/a").allow, allow.as_str());
    }
}

#[test]
fn a_sweep_goes_through_all_in_2048_turns() {
    let tables = governed(&["/a"], &policy(1, 1), None);
    assert!(passes(route(&tables, "/a")));
    (0..2_048).for_each(|turn| tables.sweep(turn, 1_000_000_000));
    assert_eq!(tables.limiter_size().0, 1);
    (2_048..4_096).for_each(|turn| tables.sweep(turn, 1_000_000_005));
    assert_eq!(tables.limiter_size().0, 0);
}
