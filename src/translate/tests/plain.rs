//! What a file with `[[backends]]` is served as.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::snapshot::{
    Access, Action, Algorithm, BackendPolicy, EndpointTerms, HealthCheck, HostPattern, LimitKey, PathKind, Rate,
    Reference, RoutePolicy,
};
use crate::translate::network;

fn backend(name: &str, place: Place) -> PlainBackend {
    PlainBackend { name: name.to_owned(), place, weight: 1, max_connections: None }
}

fn at(address: &str) -> Place {
    Place::Address(address.parse().unwrap())
}

fn named(name: &str) -> Place {
    Place::Name(name.to_owned(), 80)
}

fn known(names: &[(&str, &[&str])]) -> BTreeMap<String, Arc<[IpAddr]>> {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    names.iter().map(|(name, texts)| ((*name).to_owned(), addresses(texts))).collect()
}

fn translated(backends: Vec<PlainBackend>, addresses: &[(&str, &[&str])]) -> Translation {
    Plain { backends, ..Plain::default() }.translate(&known(addresses), &Options::default())
}

/// The only backend: its endpoints and what they are called.
fn endpoints(translation: &Translation) -> Vec<(String, String)> {
    let backend = translation.snapshot.backends.values().next().unwrap();
    assert_eq!(backend.endpoints.len(), backend.terms.len());
    let all = backend.endpoints.iter().zip(&backend.terms);
    all.map(|(endpoint, terms)| (endpoint.to_string(), terms.name.clone())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

/// `backend: field: reason: message`.
fn told(translation: &Translation) -> Vec<String> {
    let of_one = |report: &Report| {
        let object = report.object.clone();
        let line =
            move |problem: &Problem| format!("{object}: {}: {:?}: {}", problem.field, problem.reason, problem.message);
        report.problems.iter().map(line).collect::<Vec<_>>()
    };
    translation.reports.iter().flat_map(of_one).collect()
}

#[test]
fn everything_goes_to_one_backend_whose_endpoints_have_terms() {
    let first = PlainBackend { weight: 9, max_connections: Some(5), ..backend("first", at("10.0.0.2:80")) };
    let translation = translated(vec![first, backend("second", at("10.0.0.1:80"))], &[]);
    let Translation { snapshot, reports, names_to_resolve, .. } = &translation;
    assert!(reports.is_empty() && names_to_resolve.is_empty());
    let [(HostPattern::Any, host)] = snapshot.hosts.iter().collect::<Vec<_>>()[..] else { panic!("{snapshot:?}") };
    let [route] = &host.routes[..] else { panic!("{host:?}") };
    assert_eq!((route.path.kind, route.path.path.as_str()), (PathKind::Prefix, "/"));
    assert_eq!(route.owner, Reference::new("", ""));
    assert_eq!(route.owner.to_string(), "");
    let policy = RoutePolicy { request_timeout: Some(Duration::from_secs(30)), ..RoutePolicy::default() };
    assert_eq!(*route.policy, policy);
    let [(id, backend)] = snapshot.backends.iter().collect::<Vec<_>>()[..] else { panic!("{snapshot:?}") };
    assert_eq!(route.action, Action::Forward(id.clone()));
    assert_eq!((id.to_string(), serde_json::to_value(id).unwrap()), ("backends".to_owned(), "backends".into()));
    let terms = |name: &str, address: &str, weight, max_connections| EndpointTerms {
        name: name.to_owned(),
        authority: address.to_owned(),
        weight,
        max_connections,
    };
    let sorted: [SocketAddr; 2] = ["10.0.0.1:80", "10.0.0.2:80"].map(|text| text.parse().unwrap());
    assert_eq!(backend.endpoints, sorted);
    assert_eq!(backend.terms, [terms("second", "10.0.0.1:80", 1, None), terms("first", "10.0.0.2:80", 9, Some(5))]);
    assert_eq!((&backend.policy, &backend.unresolved), (&BackendPolicy::default(), &None));
    assert!(!host.tls && snapshot.secrets.is_empty() && snapshot.default_certificate.is_none());
}

#[test]
fn what_the_tables_say_holds_for_the_route_or_its_backend() {
    let rate = Rate {
        requests: 1,
        per: Duration::from_secs(1),
        burst: 2,
        key: LimitKey::ClientIp,
        status: 429,
        headers: false,
    };
    let check = HealthCheck {
        path: "/".into(),
        host: None,
        port: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(3),
        healthy_threshold: 2,
        unhealthy_threshold: 3,
        expected: vec![(200, 299)],
    };
    let access = Arc::new(Access { allow: None, deny: vec!["10.0.0.0/8".parse().unwrap()] });
    let plain = Plain {
        backends: vec![backend("a", at("[::1]:80"))],
        algorithm: Algorithm::IpHash,
        health_check: Some(check.clone()),
        rate_limit: Some(rate.clone()),
        access: Some(access.clone()),
        certificate: None,
    };
    let options = Options { request_timeout: Some(Duration::from_secs(7)), connect_tunnel: true, ..Options::default() };
    let snapshot = plain.translate(&BTreeMap::new(), &options).snapshot;
    let policy = &snapshot.hosts[&HostPattern::Any].routes[0].policy;
    assert_eq!(policy.access, [access]);
    let [limit] = &policy.rate_limits[..] else { panic!("{policy:?}") };
    assert_eq!((&limit.rate, limit.scope.policy.to_string().as_str()), (&rate, "rate_limit"));
    assert_eq!((policy.request_timeout, policy.connect), (Some(Duration::from_secs(7)), true));
    let backend = snapshot.backends.values().next().unwrap();
    assert_eq!((backend.policy.algorithm, &backend.policy.health_check), (Algorithm::IpHash, &Some(check)));
    assert_eq!(backend.terms[0].authority, "[::1]:80");
}

#[test]
fn each_address_of_a_name_is_an_endpoint_on_its_terms() {
    let addresses: &[(&str, &[&str])] = &[("app", &["10.0.0.1", "::1"]), ("other", &["10.0.0.9"])];
    let translation = translated(vec![backend("a", named("app")), backend("b", at("10.0.0.5:80"))], addresses);
    assert_eq!(endpoints(&translation), pairs(&[("10.0.0.1:80", "a"), ("10.0.0.5:80", "b"), ("[::1]:80", "a")]));
    assert_eq!(translation.names_to_resolve, ["app".to_owned()].into());
    assert!(told(&translation).is_empty());
    let terms = &translation.snapshot.backends.values().next().unwrap().terms;
    assert_eq!(terms[0].authority, "app:80");
}

#[test]
fn a_name_that_does_not_resolve_is_told_and_the_others_serve() {
    let lost = "Backend gone: addr: NoEndpoints: gone:80 does not resolve (yet): it gets no requests; correct it or its DNS \
                entry";
    let both = translated(vec![backend("gone", named("gone")), backend("b", at("10.0.0.5:80"))], &[]);
    assert_eq!(endpoints(&both), pairs(&[("10.0.0.5:80", "b")]));
    assert_eq!(told(&both), [lost]);
    let alone = translated(vec![backend("gone", named("gone"))], &[("gone", &[])]);
    assert_eq!(told(&alone), [lost]);
    let unresolved = alone.snapshot.backends.values().next().unwrap().unresolved.clone();
    assert_eq!(unresolved.as_deref(), Some("no backend has an address (yet)"));
}

#[test]
fn an_address_of_two_backends_stays_the_first_one_s() {
    let backends = vec![backend("a", at("10.0.0.1:80")), backend("b", named("app"))];
    let translation = translated(backends, &[("app", &["10.0.0.1", "10.0.0.2"])]);
    assert_eq!(endpoints(&translation), pairs(&[("10.0.0.1:80", "a"), ("10.0.0.2:80", "b")]));
    let conflict = "Backend b: addr: Conflict: 10.0.0.1:80 is also a, whose it stays; remove one of them";
    assert_eq!(told(&translation), [conflict]);
}

#[test]
fn an_address_of_many_hosts_is_not_used() {
    let translation = translated(vec![backend("a", at("0.0.0.0:80")), backend("b", at("127.0.0.1:80"))], &[]);
    assert_eq!(endpoints(&translation), pairs(&[("127.0.0.1:80", "b")]));
    let what = "Backend a: addr: Invalid: 0.0.0.0:80 is not the address of one host: it is not used; correct it";
    assert_eq!(told(&translation), [what]);
}

#[test]
fn flags_of_the_process_hold_but_hsts_has_to_be_asked_for() {
    let plain = Plain { backends: vec![backend("a", at("10.0.0.1:80"))], ..Plain::default() };
    let settings = |options: Options| plain.translate(&BTreeMap::new(), &options).snapshot.settings;
    let bare = settings(Options::default());
    assert_eq!((bare.hsts, bare.proxy_protocol, bare.trusted_proxies), (None, false, Vec::new()));
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    let said = settings(Options {
        hsts: Some(true),
        proxy_protocol: Some(true),
        trusted_proxies: Some(networks.clone()),
        config_map: Some(Reference::new("n", "not-there")),
        ..Options::default()
    });
    assert!(said.hsts.is_some() && said.proxy_protocol);
    assert_eq!(said.trusted_proxies, networks);
}

#[test]
fn a_certificate_serves_all_names() {
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let certificate = certificate(("c", leaf.pem().as_bytes()), ("k", key.serialize_pem().as_bytes())).unwrap();
    let plain = Plain { certificate: Some(certificate.clone()), ..Plain::default() };
    let snapshot = plain.translate(&BTreeMap::new(), &Options::default()).snapshot;
    assert!(snapshot.hosts[&HostPattern::Any].tls);
    let default = snapshot.default_certificate.unwrap();
    assert_eq!(*snapshot.secrets, BTreeMap::from([(default, certificate)]));
    assert!(snapshot.certificates.is_empty());
}

#[test]
fn a_network_is_read_as_policies_read_it() {
    assert_eq!(network("10.0.0.0/8"), Some("10.0.0.0/8".parse().unwrap()));
    assert_eq!(network("10.0.0.1"), Some("10.0.0.1/32".parse().unwrap()));
    assert_eq!(network("nowhere"), None);
}
