//! A policy that changes moves what hangs on it, and nothing else.

use super::*;
use crate::snapshot::{Backend, BackendId, Host, HostPattern, ServicePort};

/// An Ingress and a Service each of the names, every one with a policy.
fn sites(names: &[&str]) -> Objects {
    let mut objects = Objects::default();
    for site in names {
        put(&mut objects.ingresses, site, ingress(&[(&format!("{site}.example.com"), "/", site)]));
        put(&mut objects.services, site, service());
        put(&mut objects.endpoint_slices, site, slice(site, &["10.0.0.1"]));
        limit(&mut objects, site, 5);
        full(&mut objects, site, 5);
    }
    objects
}

fn limit(objects: &mut Objects, site: &str, most: u32) {
    let fields = json!({"connectionLimit": {"perClient": most}});
    objects.policies.insert(name(&format!("{site}-clients")), policy(("Ingress", site), fields));
}

fn full(objects: &mut Objects, site: &str, most: u32) {
    let fields = json!({"maxConnections": most});
    objects.policies.insert(name(&format!("{site}-backend")), policy(("Service", site), fields));
}

fn host<'a>(translation: &'a Translation, site: &str) -> &'a Arc<Host> {
    &translation.snapshot.hosts[&HostPattern::parse(&format!("{site}.example.com")).unwrap()]
}

fn id(service: &str) -> BackendId {
    BackendId { namespace: "default".into(), service: service.into(), port: ServicePort::Number(80) }
}

fn backend<'a>(translation: &'a Translation, service: &str) -> &'a Arc<Backend> {
    &translation.snapshot.backends[&id(service)]
}

fn per_client(translation: &Translation, site: &str) -> Vec<u32> {
    host(translation, site).routes[0].policy.connection_limits.iter().map(|limit| limit.per_client).collect()
}

#[test]
fn nothing_new_keeps_every_part() {
    let (before, after) = over(sites(&["shop", "blog"]), |_| {});
    assert_eq!(before, after);
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
    assert!(Arc::ptr_eq(backend(&before, "shop"), backend(&after, "shop")));
    assert!(Arc::ptr_eq(&before.policies, &after.policies));
}

#[test]
fn a_policy_of_an_ingress_moves_its_hosts_alone() {
    let (before, after) = over(sites(&["shop", "blog"]), |objects| limit(objects, "shop", 6));
    assert_eq!((per_client(&before, "shop"), per_client(&after, "shop")), (vec![5], vec![6]));
    assert!(Arc::ptr_eq(host(&before, "blog"), host(&after, "blog")));
    assert!(Arc::ptr_eq(&before.snapshot.certificates, &after.snapshot.certificates));
    assert!(Arc::ptr_eq(backend(&before, "shop"), backend(&after, "shop")));
}

#[test]
fn a_policy_of_a_service_moves_its_backend_alone() {
    let (before, after) = over(sites(&["shop", "blog"]), |objects| full(objects, "shop", 6));
    assert_eq!(backend(&before, "shop").policy.max_connections, Some(5));
    assert_eq!(backend(&after, "shop").policy.max_connections, Some(6));
    assert!(Arc::ptr_eq(backend(&before, "blog"), backend(&after, "blog")));
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
}

#[test]
fn an_equal_policy_changes_nothing() {
    let (before, after) = over(sites(&["shop"]), |objects| {
        limit(objects, "shop", 5);
        full(objects, "shop", 5);
    });
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
    assert!(Arc::ptr_eq(backend(&before, "shop"), backend(&after, "shop")));
    assert!(Arc::ptr_eq(&before.policies, &after.policies));
}

#[test]
fn a_value_that_another_policy_sets_now_is_told_to_be_of_that() {
    let (before, after) = over(sites(&["shop"]), |objects| {
        objects.policies.remove(&name("shop-backend"));
        objects.policies.insert(name("renamed"), policy(("Service", "shop"), json!({"maxConnections": 5})));
    });
    let set_by = |translation| backend(translation, "shop").set_by.of("max_connections").to_vec();
    assert_eq!((set_by(&before), set_by(&after)), (vec![name("shop-backend")], vec![name("renamed")]));
    assert_eq!(backend(&after, "shop").policy, backend(&before, "shop").policy);
}

#[test]
fn a_policy_that_is_gone_takes_its_rules_along() {
    let (_, after) = over(sites(&["shop", "blog"]), |objects| {
        objects.policies.remove(&name("shop-clients"));
        objects.policies.remove(&name("shop-backend"));
    });
    assert!(per_client(&after, "shop").is_empty());
    assert_eq!(backend(&after, "shop").policy.max_connections, None);
    assert_eq!((per_client(&after, "blog"), after.policies.len()), (vec![5], 2));
}

#[test]
fn a_policy_of_a_field_that_others_have_leaves_the_host_as_it_is() {
    let (before, after) = over(sites(&["shop"]), |objects| {
        objects.policies.insert(name("z"), policy(("Ingress", "shop"), json!({"connectionLimit": {"perClient": 5}})));
    });
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
    assert_eq!(problems(&after), [("spec.connectionLimit", Reason::Conflict)]);
}

#[test]
fn an_ingress_that_changes_keeps_its_policy() {
    let (_, after) = over(sites(&["shop"]), |objects| {
        put(&mut objects.ingresses, "shop", ingress(&[("shop.example.com", "/new", "shop")]));
    });
    assert_eq!(per_client(&after, "shop"), [5]);
}

#[test]
fn an_endpoint_slice_leaves_statuses_alone() {
    let (before, after) = over(sites(&["shop", "blog"]), |objects| {
        put(&mut objects.endpoint_slices, "shop", slice("shop", &["10.0.0.2"]));
    });
    assert!(Arc::ptr_eq(&before.policies, &after.policies));
    assert_eq!(backend(&after, "shop").policy.max_connections, Some(5));
}

#[test]
fn a_service_that_comes_ends_its_absence() {
    let mut objects = sites(&["shop"]);
    objects.services.remove(&name("shop"));
    let (before, after) = over(objects, |objects| put(&mut objects.services, "shop", service()));
    let accepted = |translation: &Translation| translation.policies[0].ancestors[0].accepted.reason;
    assert_eq!((accepted(&before), accepted(&after)), (PolicyReason::TargetNotFound, PolicyReason::Accepted));
}

#[test]
fn a_secret_that_a_policy_names_moves_its_backend() {
    let mut objects = sites(&["shop", "blog"]);
    let fields = json!({"protocol": "HTTPS", "backendTLS": {"caSecret": {"name": "ca"}}});
    objects.policies.insert(name("shop-backend"), policy(("Service", "shop"), fields));
    let authority = |pem: Pem| {
        let bytes = serde_json::to_value(ByteString(pem.0.as_bytes().to_vec())).unwrap();
        json!({"data": {"ca.crt": bytes}})
    };
    let (before, missing) = over(objects.clone(), |objects| put(&mut objects.secrets, "other", authority(SHOP)));
    assert!(Arc::ptr_eq(backend(&before, "shop"), backend(&missing, "shop")));
    assert!(backend(&before, "shop").unresolved.is_some());
    let (_, found) = over(objects.clone(), |objects| put(&mut objects.secrets, "ca", authority(SHOP)));
    let tls = |translation: &Translation| backend(translation, "shop").policy.tls.clone().unwrap();
    assert!(backend(&found, "shop").unresolved.is_none());
    assert_eq!((tls(&found).authorities.len(), &*tls(&found).server_name.to_str()), (1, "shop.default.svc"));
    put(&mut objects.secrets, "ca", authority(SHOP));
    let (before, renewed) = over(objects.clone(), |objects| put(&mut objects.secrets, "ca", authority(RENEWED)));
    assert_ne!(tls(&before).authorities, tls(&renewed).authorities);
    let (_, gone) = over(objects, |objects| drop(objects.secrets.remove(&name("ca"))));
    assert!(backend(&gone, "shop").unresolved.is_some());
    let programmed = &gone.policies[2].ancestors[0].programmed;
    assert!(!programmed.status && programmed.message.contains("does not exist"), "{programmed:?}");
}

#[test]
fn a_split_brings_its_members_and_takes_them_along() {
    let mut objects = sites(&["shop", "v1"]);
    objects.ingresses.remove(&name("v1"));
    let alone = objects.clone();
    let split = json!({"trafficSplit": [{"service": "v1", "port": 80, "weight": 1}]});
    let split = policy(("Service", "shop"), split);
    let (before, with) = over(alone, |objects| drop(objects.policies.insert(name("split"), split.clone())));
    assert!(!before.snapshot.backends.contains_key(&id("v1")));
    assert_eq!(backend(&with, "v1").endpoints.len(), 1);
    objects.policies.insert(name("split"), split);
    let (_, without) = over(objects.clone(), |objects| drop(objects.policies.remove(&name("split"))));
    assert!(!without.snapshot.backends.contains_key(&id("v1")));
    let (before, moved) = over(objects, |objects| {
        put(&mut objects.endpoint_slices, "v1", slice("v1", &["10.0.0.9"]));
    });
    assert!(Arc::ptr_eq(backend(&before, "shop"), backend(&moved, "shop")));
    assert_eq!(backend(&moved, "v1").endpoints, ["10.0.0.9:8080".parse().unwrap()]);
}

#[test]
fn a_class_that_comes_to_name_a_policy_moves_its_ingresses() {
    let mut objects = sites(&["shop"]);
    objects.policies.remove(&name("shop-clients"));
    objects
        .policies
        .insert(name("defaults"), policy(("IngressClass", "headgate"), json!({"timeouts": {"request": "5s"}})));
    let class = |policy: &str| {
        let kind = json!({"apiGroup": "headgate.dev", "kind": "ProxyPolicy", "name": policy});
        let mut parameters = kind;
        parameters["scope"] = json!("Namespace");
        parameters["namespace"] = json!("default");
        json!({"spec": {"controller": "headgate.dev/ingress-controller", "parameters": parameters}})
    };
    let (before, after) = over(objects.clone(), |objects| {
        objects.ingress_classes.insert("headgate".into(), object(class("defaults")));
    });
    let timeout = |translation: &Translation| host(translation, "shop").routes[0].policy.request_timeout;
    assert_eq!((timeout(&before), timeout(&after).map(|timeout| timeout.as_secs())), (None, Some(5)));
    objects.ingress_classes.insert("headgate".into(), object(class("defaults")));
    let (_, gone) = over(objects.clone(), |objects| drop(objects.policies.remove(&name("defaults"))));
    assert!(matches!(host(&gone, "shop").routes[0].action, crate::snapshot::Action::Deny(_)));
    objects.ingress_classes.insert("headgate".into(), object(class("none")));
    let (denied, served) = over(objects, |objects| {
        objects.ingress_classes.insert("headgate".into(), object(class("defaults")));
    });
    assert!(matches!(host(&denied, "shop").routes[0].action, crate::snapshot::Action::Deny(_)));
    assert_eq!(timeout(&served).map(|timeout| timeout.as_secs()), Some(5));
}

#[test]
fn a_list_is_shared_by_all_routes_of_an_ingress() {
    let mut objects = Objects::default();
    put(&mut objects.ingresses, "shop", ingress(&[("a.example.com", "/", "shop"), ("b.example.com", "/", "shop")]));
    objects.policies.insert(name("shop"), policy(("Ingress", "shop"), json!({"access": {"deny": ["10.0.0.0/8"]}})));
    let translation = translate(&objects);
    let lists: Vec<_> = translation.snapshot.hosts.values().map(|host| &host.routes[0].policy.access[0]).collect();
    assert!(lists.len() == 2 && Arc::ptr_eq(lists[0], lists[1]));
}
