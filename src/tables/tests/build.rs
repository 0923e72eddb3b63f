use std::sync::atomic::Ordering;

use super::*;
use crate::snapshot::{EndpointTerms, Hsts, Protocol, Settings};
use crate::tables::{LiveAction, LiveBackend};

fn id(service: &str) -> BackendId {
    backend_id(service)
}

fn live<'a>(tables: &'a Tables, service: &str) -> &'a Arc<LiveBackend> {
    tables.backends().find(|(id, ..)| id.service == service).unwrap().2
}

fn is_retired(tables: &Tables, service: &str) -> Vec<bool> {
    live(tables, service).endpoints.iter().map(|endpoint| endpoint.retired.load(Ordering::Relaxed)).collect()
}

/// The Services that the routes of host `h` lead to, by path.
fn leads(tables: &Tables, path: &str) -> String {
    let LiveAction::Forward(slot) = tables.routes.find("h", path).unwrap().action else { panic!("denied") };
    tables.backends[slot].name.clone()
}

#[test]
fn an_endpoint_change_leaves_everything_else_as_it_is() {
    let mut wanted = snapshot(&[("h", PREFIX, "/a", "a"), ("h", PREFIX, "/b", "b")]);
    wanted.backends.insert(id("a"), backend(&[1, 2, 4]));
    wanted.backends.insert(id("b"), backend(&[5]));
    let first = build(wanted.clone(), None);
    wanted.backends.insert(id("a"), backend(&[2, 3, 4]));
    let second = build(wanted, Some(&first));

    assert_eq!((first.generation, second.generation), (1, 2));
    assert!(Arc::ptr_eq(&first.routes, &second.routes));
    assert!(Arc::ptr_eq(&first.certs, &second.certs));
    assert!(Arc::ptr_eq(live(&first, "b"), live(&second, "b")));
    let [_, kept, other] = &*live(&first, "a").endpoints else { panic!() };
    let [still, fresh, too] = &*live(&second, "a").endpoints else { panic!() };
    assert!(Arc::ptr_eq(kept, still) && Arc::ptr_eq(other, too));
    assert!(fresh.id > live(&first, "b").endpoints[0].id);
    assert_eq!(is_retired(&first, "a"), [true, false, false]);
    assert_eq!(is_retired(&second, "a"), [false; 3]);
}

#[test]
fn another_protocol_is_another_endpoint() {
    let wanted = |protocol| {
        let backend = Backend { protocol, ..Backend::clone(&backend(&[1])) };
        Snapshot { backends: BTreeMap::from([(id("s"), Arc::new(backend))]), ..Snapshot::default() }
    };
    let first = build(wanted(Protocol::Http1), None);
    let second = build(wanted(Protocol::H2c), Some(&first));
    assert_ne!(live(&first, "s").endpoints[0].id, live(&second, "s").endpoints[0].id);
    assert_eq!((is_retired(&first, "s"), is_retired(&second, "s")), (vec![true], vec![false]));
    assert_eq!(live(&second, "s").protocol, Protocol::H2c);
    assert_eq!(live(&second, "s").endpoints[0].protocol, Protocol::H2c);
}

#[test]
fn an_endpoint_that_comes_back_is_a_new_one() {
    let wanted =
        |ports: &[u16]| Snapshot { backends: BTreeMap::from([(id("s"), backend(ports))]), ..Snapshot::default() };
    let first = build(wanted(&[1]), None);
    let third = build(wanted(&[1]), Some(&build(wanted(&[]), Some(&first))));
    assert_ne!(live(&first, "s").endpoints[0].id, live(&third, "s").endpoints[0].id);
    assert_eq!((is_retired(&first, "s"), is_retired(&third, "s")), (vec![true], vec![false]));
}

#[test]
fn a_backend_that_goes_retires_its_endpoints_and_leaves_the_others_routes_right() {
    let rows: [Row; 3] = [("h", PREFIX, "/a", "a"), ("h", PREFIX, "/b", "b"), ("h", PREFIX, "/c", "c")];
    let mut wanted = snapshot(&rows);
    ["a", "b", "c"]
        .into_iter()
        .zip(1..)
        .for_each(|(service, port)| drop(wanted.backends.insert(id(service), backend(&[port]))));
    let first = build(wanted.clone(), None);
    let mut fewer = snapshot(&rows[1..]);
    fewer.backends.extend(["b", "c"].map(|service| (id(service), wanted.backends[&id(service)].clone())));
    let second = build(fewer, Some(&first));
    assert_eq!(is_retired(&first, "a"), [true]);
    assert!(Arc::ptr_eq(live(&first, "c"), live(&second, "c")));
    assert_eq!((leads(&second, "/b"), leads(&second, "/c")), ("ns-b-80".into(), "ns-c-80".into()));
    assert_eq!(second.backends.len(), 2);
}

#[test]
fn a_new_host_compiles_only_that_host() {
    let first = build(snapshot(&[("h", PREFIX, "/", "m")]), None);
    let mut wanted = snapshot(&[("h", PREFIX, "/", "m"), ("new", PREFIX, "/", "a")]);
    wanted.backends.insert(id("z"), backend(&[]));
    let second = build(wanted, Some(&first));
    let route = |tables: &Tables, host| Arc::as_ptr(tables.routes.find(host, "/").unwrap());
    assert_eq!(route(&first, "h"), route(&second, "h"));
    assert_eq!(leads(&second, "/"), "ns-m-80");
    let names: Vec<_> = second.backends().map(|(id, _, live)| (id.to_string(), live.name.clone())).collect();
    assert_eq!(names, ["ns-a-80", "ns-m-80", "ns-z-80"].map(|name| (name.to_owned(), name.to_owned())));
}

#[test]
fn a_changed_route_is_compiled_anew() {
    let first = build(snapshot(&[("h", PREFIX, "/", "s"), ("other", PREFIX, "/", "s")]), None);
    let mut wanted = BTreeMap::clone(&first.snapshot.hosts);
    wanted.entry(HostPattern::parse("h").unwrap()).and_modify(|host| Arc::make_mut(host).tls = true);
    let second = build(Snapshot { hosts: Arc::new(wanted), ..Snapshot::clone(&first.snapshot) }, Some(&first));
    assert!(!Arc::ptr_eq(&first.routes, &second.routes));
    assert!(second.routes.find("h", "/").unwrap().tls);
    let other = |tables: &Tables| Arc::as_ptr(tables.routes.find("other", "/").unwrap());
    assert_eq!(other(&first), other(&second));
    assert!(Arc::ptr_eq(&first.routes.find("h", "/").unwrap().metrics, &second.routes.find("h", "/").unwrap().metrics));
}

#[test]
fn the_default_backend_may_come_and_go() {
    let mut wanted = snapshot(&[("h", PREFIX, "/a", "a")]);
    wanted.backends.insert(id("d"), backend(&[1]));
    let without = build(wanted.clone(), None);
    wanted.default_backend = Some(id("d"));
    let with = build(wanted.clone(), Some(&without));
    assert!(with.routes.find("x", "/").is_ok() && leads(&with, "/b") == "ns-d-80");
    Arc::make_mut(&mut wanted.default_policy).connect = true;
    let treated = build(wanted.clone(), Some(&with));
    let treatment = |tables: &Tables| {
        let route = tables.routes.find("x", "/").unwrap();
        (route.policy.connect, route.allow.to_str().unwrap().contains("CONNECT"))
    };
    assert_eq!([treatment(&with), treatment(&treated)], [(false, false), (true, true)]);
    wanted.default_backend = None;
    assert!(build(wanted, Some(&treated)).routes.find("x", "/").is_err());
}

#[test]
fn settings_are_ready_for_use() {
    let settings = Settings {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        proxy_protocol: true,
        client_only_forwarded_for: true,
        hsts: Some(Hsts::default()),
    };
    let live = build(Snapshot { settings: settings.clone(), ..Snapshot::default() }, None).settings;
    assert_eq!(*live.trusted_proxies, *settings.trusted_proxies);
    assert!(live.proxy_protocol && live.client_only_forwarded_for);
    assert_eq!(live.hsts.unwrap(), "max-age=31536000; includeSubDomains");
    assert_eq!(build(Snapshot::default(), None).settings.hsts, None);
}

#[test]
fn one_endpoint_among_5000_backends_makes_one_backend_new() {
    let services: Vec<String> = (0..5_000).map(|number| format!("service-{number:04}")).collect();
    let host = |service: &String| {
        let host = Host { routes: vec![route(PREFIX, "/", service)], tls: false };
        (HostPattern::parse(&format!("{service}.example.com")).unwrap(), Arc::new(host))
    };
    let mut wanted = Snapshot {
        hosts: Arc::new(services.iter().map(host).collect()),
        backends: services.iter().map(|service| (id(service), backend(&[1, 2]))).collect(),
        ..Snapshot::default()
    };
    let first = build(wanted.clone(), None);
    wanted.backends.insert(id("service-2500"), backend(&[1, 3]));
    let second = build(wanted, Some(&first));
    let same = |at: &usize| Arc::ptr_eq(&first.backends[*at], &second.backends[*at]);
    assert_eq!((0..5_000).filter(same).count(), 4_999);
    assert!(Arc::ptr_eq(&first.routes, &second.routes));
}

#[test]
fn logs_name_the_endpoint_where_it_has_a_name_and_else_the_backend() {
    let named = |name: &str| EndpointTerms { name: name.to_owned(), weight: 1, ..EndpointTerms::default() };
    let plain = BackendId { namespace: String::new(), service: String::new(), port: ServicePort::Name("all".into()) };
    let terms = vec![named("one"), named("two")];
    let backends = BTreeMap::from([
        (plain, Arc::new(Backend { terms, ..Backend::clone(&backend(&[1, 2])) })),
        (backend_id("s"), backend(&[1])),
    ]);
    let tables = build(Snapshot { backends, ..Snapshot::default() }, None);
    let name = |at: usize, port| tables.backends[at].name_at(Some(SocketAddr::from(([127, 0, 0, 1], port)))).to_owned();
    assert_eq!([name(0, 1), name(0, 2), name(0, 3), name(1, 1)], ["one", "two", "", "ns-s-80"]);
    assert_eq!([0, 1].map(|at| tables.backends[at].name_at(None)), ["", "ns-s-80"]);
    assert_eq!(tables.backends[0].name, "all");
    let endpoint = SocketAddr::from(([127, 0, 0, 1], 2));
    let ids: Vec<_> = tables.backends().map(|(id, ..)| id.clone()).chain([backend_id("gone")]).collect();
    let names = ids.iter().map(|id| tables.name_at(id, endpoint)).collect::<Vec<_>>();
    assert_eq!(names, ["two", "ns-s-80", "ns-gone-80"]);
}
