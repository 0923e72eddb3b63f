//! What an API server would refuse, and a folder refuses as a whole: should it get here all the same, its routes are
//! denied and its owner is told.

use super::*;
use crate::snapshot::{Action, HostPattern, PathKind, Route};

/// The one Ingress, its routes and its problems.
fn of(spec: Value) -> (Vec<Route>, Vec<(String, Reason)>) {
    let mut objects = Objects::default();
    put(&mut objects.ingresses, "shop", json!({"spec": spec}));
    put(&mut objects.services, "shop", service());
    put(&mut objects.endpoint_slices, "shop", slice("shop", &["10.0.0.1"]));
    let translation = translate(&objects);
    let routes = translation.snapshot.hosts.values().flat_map(|host| host.routes.clone()).collect();
    (routes, problems(&translation).into_iter().map(|(field, reason)| (field.to_owned(), reason)).collect())
}

fn path(path: Value) -> Value {
    json!({"rules": [{"host": "shop.example.com", "http": {"paths": [path]}}]})
}

fn denied(backend: Value, field: &str) {
    let (routes, told) = of(path(json!({"path": "/a", "pathType": "Exact", "backend": backend})));
    assert!(matches!(routes[..], [Route { action: Action::Deny(_), .. }]), "{backend}: {routes:?}");
    assert_eq!(told, [(format!("spec.rules[0].http.paths[0].backend{field}"), Reason::Invalid)]);
}

#[test]
fn a_backend_needs_a_service_with_a_name_and_a_port() {
    denied(json!({}), "");
    denied(json!({"service": {"name": "", "port": {"number": 80}}}), ".service.name");
    denied(json!({"service": {"name": "shop"}}), ".service.port");
    denied(json!({"service": {"name": "shop", "port": {}}}), ".service.port");
    denied(json!({"service": {"name": "shop", "port": {"number": 0, "name": ""}}}), ".service.port");
    denied(json!({"service": {"name": "shop", "port": {"number": -1}}}), ".service.port");
    denied(json!({"service": {"name": "shop", "port": {"number": 65536}}}), ".service.port");
}

#[test]
fn the_outermost_ports_are_ports() {
    for number in [1, 65535] {
        let backend = json!({"service": {"name": "none", "port": {"number": number}}});
        let (routes, _) = of(path(json!({"path": "/", "pathType": "Prefix", "backend": backend})));
        assert!(matches!(routes[..], [Route { action: Action::Forward(_), .. }]), "{routes:?}");
    }
}

#[test]
fn a_path_needs_its_type() {
    let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
    let (routes, told) = of(path(json!({"path": "/a", "backend": backend})));
    assert_eq!(routes[0].path.kind, PathKind::ImplementationSpecific);
    assert!(matches!(routes[0].action, Action::Deny(_)));
    assert_eq!(told, [("spec.rules[0].http.paths[0].pathType".to_owned(), Reason::Invalid)]);
}

#[test]
fn a_path_without_type_and_path_denies_the_host() {
    let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
    let (routes, _) = of(path(json!({"backend": backend})));
    assert_eq!(routes[0].path.path.as_str(), "/");
    assert!(matches!(routes[0].action, Action::Deny(_)));
}

#[test]
fn an_ingress_needs_rules_or_a_default_backend() {
    assert_eq!(of(json!({})).1, [("spec".to_owned(), Reason::Invalid)]);
    assert_eq!(of(json!({"rules": []})).1, [("spec".to_owned(), Reason::Invalid)]);
    assert_eq!(of(json!({"rules": [{"host": "a.example.com"}]})).1, []);
    let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
    assert_eq!(of(json!({"rules": [], "defaultBackend": backend})).1, []);
    let mut objects = Objects::default();
    put(&mut objects.ingresses, "shop", json!({}));
    assert_eq!(problems(&translate(&objects)), [("spec", Reason::Invalid)]);
}

#[test]
fn http_needs_paths() {
    let (routes, told) = of(json!({"rules": [{"host": "shop.example.com", "http": {"paths": []}}]}));
    assert_eq!(routes, []);
    assert_eq!(told, [("spec.rules[0].http.paths".to_owned(), Reason::Invalid)]);
}

#[test]
fn a_slice_needs_its_address_type() {
    let mut objects = Objects::default();
    put(&mut objects.ingresses, "shop", ingress(&[("", "/", "shop")]));
    put(&mut objects.services, "shop", service());
    let mut untyped = slice("shop", &["10.0.0.1"]);
    untyped["addressType"] = json!("");
    put(&mut objects.endpoint_slices, "shop", untyped);
    let translation = translate(&objects);
    assert_eq!(problems(&translation), [("spec.ports[0]", Reason::NoEndpoints), ("addressType", Reason::Invalid)]);
}

#[test]
fn an_external_name_needs_a_port_other_than_0() {
    let mut objects = Objects::default();
    let backend = json!({"service": {"name": "shop", "port": {"name": "web"}}});
    put(&mut objects.ingresses, "shop", json!({"spec": {"defaultBackend": backend}}));
    let ports = json!([{"name": "web", "port": 0}]);
    put(
        &mut objects.services,
        "shop",
        json!({"spec": {"type": "ExternalName", "externalName": "192.0.2.1", "ports": ports}}),
    );
    let options = Options { external_name: true, ..Options::default() };
    let translation = Translator::default().translate(&objects, &options);
    assert_eq!(problems(&translation), [("spec.defaultBackend.service.port", Reason::PortNotFound)]);
}

#[test]
fn objects_without_anything_harm_nobody() {
    let mut objects = Objects::default();
    put(&mut objects.ingresses, "shop", ingress(&[("shop.example.com", "/", "shop"), ("", "/", "blog")]));
    put(&mut objects.services, "shop", json!({}));
    put(&mut objects.services, "blog", json!({"spec": {"type": "ExternalName"}}));
    put(&mut objects.endpoint_slices, "shop", json!({}));
    put(&mut objects.secrets, "shop", json!({}));
    put(&mut objects.config_maps, "shop", json!({}));
    objects.ingress_classes.insert("shop".into(), object(json!({})));
    let options = Options {
        external_name: true,
        config_map: Some(name("shop")),
        default_certificate: Some(name("shop")),
        ..Options::default()
    };
    let translation = Translator::default().translate(&objects, &options);
    assert_eq!(translation.snapshot.hosts.len(), 2);
    assert!(translation.snapshot.hosts.contains_key(&HostPattern::Any));
    assert!(translation.snapshot.backends.values().all(|backend| backend.unresolved.is_some()));
}
