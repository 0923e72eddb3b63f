//! What did not change keeps its pointer, and what did is what is made anew.

use super::*;
use crate::snapshot::{BackendId, HostPattern, ServicePort};

fn shop() -> Objects {
    let mut objects = Objects::default();
    let mut site = ingress(&[("shop.example.com", "/", "shop"), ("shop.example.com", "/cart", "cart")]);
    site["spec"]["tls"] = json!([{"hosts": ["shop.example.com"], "secretName": "shop"}]);
    put(&mut objects.ingresses, "shop", site);
    put(&mut objects.ingresses, "blog", ingress(&[("blog.example.com", "/", "blog")]));
    put(&mut objects.secrets, "shop", secret(SHOP));
    for service_name in ["shop", "cart", "blog"] {
        put(&mut objects.services, service_name, service());
        put(&mut objects.endpoint_slices, service_name, slice(service_name, &["10.0.0.1"]));
    }
    objects
}

fn host<'a>(translation: &'a Translation, name: &str) -> &'a Arc<crate::snapshot::Host> {
    &translation.snapshot.hosts[&HostPattern::parse(name).unwrap()]
}

fn backend<'a>(translation: &'a Translation, service: &str) -> &'a Arc<crate::snapshot::Backend> {
    let id = BackendId { namespace: "default".into(), service: service.into(), port: ServicePort::Number(80) };
    &translation.snapshot.backends[&id]
}

/// The shop before and after a change.
fn over_shop(change: impl FnOnce(&mut Objects)) -> (Translation, Translation) {
    over(shop(), change)
}

#[test]
fn nothing_new_keeps_every_part() {
    let (before, after) = over_shop(|_| {});
    assert_eq!(before, after);
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
    assert!(Arc::ptr_eq(&before.snapshot.certificates, &after.snapshot.certificates));
    assert!(Arc::ptr_eq(backend(&before, "shop"), backend(&after, "shop")));
}

#[test]
fn an_endpoint_slice_leaves_hosts_and_other_backends_alone() {
    let (before, after) = over_shop(|objects| {
        put(&mut objects.endpoint_slices, "cart", slice("cart", &["10.0.0.2"]));
    });
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
    assert!(Arc::ptr_eq(backend(&before, "shop"), backend(&after, "shop")));
    assert_eq!(backend(&after, "cart").endpoints, ["10.0.0.2:8080".parse().unwrap()]);
}

#[test]
fn an_address_that_the_own_service_gets_is_no_endpoint_any_more() {
    let options = Options { own_service: Some(Reference::new("default", "proxy")), ..Options::default() };
    let mut objects = shop();
    put(&mut objects.services, "proxy", service());
    let mut translator = Translator::default();
    let before = translator.translate(&objects, &options);
    put(&mut objects.services, "proxy", json!({"spec": {"externalIPs": ["10.0.0.1"], "ports": [{"port": 8080}]}}));
    let after = translator.translate(&objects, &options);
    let endpoints = |translation| backend(translation, "cart").endpoints.len();
    assert_eq!((endpoints(&before), endpoints(&after)), (1, 0));
}

#[test]
fn an_equal_endpoint_slice_keeps_its_backend() {
    let (before, after) = over_shop(|objects| {
        put(&mut objects.endpoint_slices, "cart", slice("cart", &["10.0.0.1"]));
    });
    assert!(Arc::ptr_eq(backend(&before, "cart"), backend(&after, "cart")));
}

#[test]
fn an_endpoint_slice_that_is_gone_takes_its_endpoints_along() {
    let (_, after) = over_shop(|objects| {
        objects.endpoint_slices.remove(&name("cart"));
    });
    assert!(backend(&after, "cart").endpoints.is_empty());
    assert_eq!(problems(&after), [("spec.ports[0]", Reason::NoEndpoints)]);
}

/// The node is told its zone, or the pod is moved.
#[test]
fn another_zone_has_other_endpoints() {
    let mut objects = shop();
    let mut hinted = slice("shop", &["10.0.0.1"]);
    hinted["endpoints"] = json!([
        {"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "a"}]}},
        {"addresses": ["10.0.0.2"], "hints": {"forZones": [{"name": "b"}]}},
    ]);
    put(&mut objects.endpoint_slices, "shop", hinted);
    let options = Options { node: Some("one".into()), ..Options::default() };
    let mut translator = Translator::default();
    let mut endpoints = |zone: Option<&str>| {
        let labels = zone.map(|zone| json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}}));
        objects.nodes = ByName::default();
        objects
            .nodes
            .extend(labels.map(|labels| ("one".to_owned(), Arc::new(serde_json::from_value(labels).unwrap()))));
        let translation = translator.translate(&objects, &options);
        backend(&translation, "shop").endpoints.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(endpoints(None), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    assert_eq!(endpoints(Some("a")), ["10.0.0.1:8080"]);
    assert_eq!(endpoints(Some("b")), ["10.0.0.2:8080"]);
}

#[test]
fn a_service_that_is_gone_leaves_its_routes() {
    let (before, after) = over_shop(|objects| {
        objects.services.remove(&name("cart"));
    });
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
    assert!(backend(&after, "cart").unresolved.is_some());
    assert_eq!(problems(&after), [("spec.rules[1].http.paths[0].backend.service.name", Reason::ServiceNotFound)]);
}

#[test]
fn an_ingress_leaves_hosts_that_it_does_not_name_alone() {
    let (before, after) = over_shop(|objects| {
        put(&mut objects.ingresses, "blog", ingress(&[("blog.example.com", "/new", "blog")]));
    });
    assert!(Arc::ptr_eq(host(&before, "shop.example.com"), host(&after, "shop.example.com")));
    assert!(!Arc::ptr_eq(host(&before, "blog.example.com"), host(&after, "blog.example.com")));
    assert!(Arc::ptr_eq(&before.snapshot.certificates, &after.snapshot.certificates));
}

#[test]
fn an_equal_ingress_keeps_its_hosts() {
    let (before, after) = over_shop(|objects| {
        put(&mut objects.ingresses, "blog", ingress(&[("blog.example.com", "/", "blog")]));
    });
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
}

#[test]
fn the_tls_of_another_ingress_makes_a_host_redirect() {
    let (before, after) = over_shop(|objects| {
        let tls = json!([{"hosts": ["blog.example.com"]}]);
        put(&mut objects.ingresses, "certs", json!({"spec": {"tls": tls, "rules": [{"host": "certs.example.com"}]}}));
    });
    assert!(!host(&before, "blog.example.com").tls && host(&after, "blog.example.com").tls);
    assert!(host(&after, "blog.example.com").routes[0].https_redirect);
    assert!(Arc::ptr_eq(host(&before, "shop.example.com"), host(&after, "shop.example.com")));
}

#[test]
fn a_certificate_for_other_names_moves_the_hosts_of_an_entry_that_lists_none() {
    let mut objects = shop();
    let mut site = ingress(&[("shop.example.com", "/", "shop"), ("blog.example.com", "/", "blog")]);
    site["spec"]["tls"] = json!([{"secretName": "shop"}]);
    put(&mut objects.ingresses, "shop", site);
    let mut translator = Translator::default();
    let tls = |translation: &Translation| ["shop.example.com", "blog.example.com"].map(|at| host(translation, at).tls);
    assert_eq!(tls(&translator.translate(&objects, &Options::default())), [true, false]);
    put(&mut objects.secrets, "shop", secret(WILDCARD));
    assert_eq!(tls(&translator.translate(&objects, &Options::default())), [true, true]);
}

#[test]
fn a_class_that_comes_to_be_ours_brings_its_ingresses() {
    let mut objects = shop();
    let mut blog = ingress(&[("blog.example.com", "/", "blog")]);
    blog["spec"]["ingressClassName"] = json!("web");
    put(&mut objects.ingresses, "blog", blog);
    let mut translator = Translator::default();
    let before = translator.translate(&objects, &Options::default());
    assert_eq!(problems(&before), [("spec.ingressClassName", Reason::OtherClass)]);
    let class = json!({"spec": {"controller": "headgate.dev/ingress-controller"}});
    objects.ingress_classes.insert("web".into(), object(class));
    let after = translator.translate(&objects, &Options::default());
    assert!(after.reports.is_empty() && after.snapshot.hosts.len() == before.snapshot.hosts.len() + 1);
}

#[test]
fn a_renewed_certificate_leaves_hosts_and_names_alone() {
    let (before, after) = over_shop(|objects| put(&mut objects.secrets, "shop", secret(RENEWED)));
    assert!(Arc::ptr_eq(&before.snapshot.hosts, &after.snapshot.hosts));
    assert!(Arc::ptr_eq(&before.snapshot.certificates, &after.snapshot.certificates));
    assert_ne!(before.snapshot.secrets, after.snapshot.secrets);
}

#[test]
fn a_secret_that_others_use_is_not_read_again() {
    let (before, after) = over_shop(|objects| put(&mut objects.secrets, "other", secret(MISMATCH)));
    assert!(Arc::ptr_eq(&before.snapshot.secrets[&name("shop")], &after.snapshot.secrets[&name("shop")]));
    assert!(after.reports.is_empty());
}

#[test]
fn a_backend_that_is_the_default_too_is_one() {
    let options = Options { default_backend: Some(name("cart")), ..Options::default() };
    let objects = shop();
    let mut translator = Translator::default();
    let before = translator.translate(&objects, &options);
    let after = translator.translate(&objects, &options);
    assert_eq!(
        after.snapshot.default_backend.as_ref(),
        before.snapshot.backends.keys().find(|id| id.service == "cart")
    );
    assert!(Arc::ptr_eq(backend(&before, "cart"), backend(&after, "cart")));
}

#[test]
fn new_defaults_reach_every_route_also_when_the_last_ingress_goes_with_them() {
    let options = Options { config_map: Some(name("headgate")), ..Options::default() };
    let mut objects = shop();
    let mut translator = Translator::default();
    translator.translate(&objects, &options);
    put(&mut objects.config_maps, "headgate", json!({"data": {"proxy-body-size": "1k"}}));
    let after = translator.translate(&objects, &options);
    assert_eq!(host(&after, "shop.example.com").routes[0].policy.max_body_size, Some(1024));
    put(&mut objects.config_maps, "headgate", json!({"data": {"proxy-body-size": "2k"}}));
    objects.ingresses.clear();
    assert!(translator.translate(&objects, &options).snapshot.hosts.is_empty());
}

#[test]
fn new_options_are_a_new_start() {
    let objects = shop();
    let mut translator = Translator::default();
    translator.translate(&objects, &Options::default());
    let options = Options { ingress_without_class: false, ..Options::default() };
    let after = translator.translate(&objects, &options);
    assert_eq!(after, Translator::default().translate(&objects, &options));
    assert!(after.snapshot.hosts.is_empty());
}

#[test]
fn a_resolved_name_is_followed_when_it_moves() {
    let options = Options { external_name: true, ..Options::default() };
    let mut objects = shop();
    put(&mut objects.services, "cart", json!({"spec": {"type": "ExternalName", "externalName": "cart.example.net"}}));
    let mut translator = Translator::default();
    let unresolved = translator.translate(&objects, &options);
    assert_eq!(unresolved.names_to_resolve, ["cart.example.net".to_owned()].into());
    assert!(backend(&unresolved, "cart").endpoints.is_empty());
    for address in ["192.0.2.1", "192.0.2.2"] {
        objects.addresses.insert("cart.example.net".into(), Arc::from([address.parse().unwrap()]));
        let resolved = translator.translate(&objects, &options);
        assert_eq!(backend(&resolved, "cart").endpoints, [format!("{address}:80").parse().unwrap()]);
        assert!(Arc::ptr_eq(&unresolved.snapshot.hosts, &resolved.snapshot.hosts));
    }
    objects.addresses.clear();
    assert!(backend(&translator.translate(&objects, &options), "cart").endpoints.is_empty());
}

#[test]
fn nothing_prints_a_key() {
    let mut objects = shop();
    put(&mut objects.secrets, "broken", secret(MISMATCH));
    let mut broken = ingress(&[("broken.example.com", "/", "shop")]);
    broken["spec"]["tls"] = json!([{"hosts": ["broken.example.com"], "secretName": "broken"}]);
    put(&mut objects.ingresses, "broken", broken);
    let mut translator = Translator::default();
    let translation = translator.translate(&objects, &Options::default());
    let printed = format!("{objects:?} {translator:?} {translation:?}");
    let key = SHOP.1.lines().nth(1).unwrap();
    let der = format!("{:?}", translation.snapshot.secrets[&name("shop")].key.der());
    assert!(!printed.contains(key) && !printed.contains("PRIVATE") && !printed.contains(der.trim_matches(['[', ']'])));
    assert!(printed.contains("ingresses: 3") && printed.contains("Translator"));
}
