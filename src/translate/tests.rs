//! The translator as a whole: what it remembers changes nothing but the cost. Rules of translation are fixtures, in
//! `tests/golden`; here are those that a folder does not let pass.

mod events;
mod memo;
mod plain;
mod policies;
mod policies_over_time;
mod refused;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::api::ProxyPolicy;
use crate::snapshot::{HostPattern, Reference};

/// PEM of a certificate and its key.
type Pem = (&'static str, &'static str);

const SHOP: Pem =
    (include_str!("../../tests/golden/certs/shop.crt"), include_str!("../../tests/golden/certs/shop.key"));
const RENEWED: Pem = (
    include_str!("../../tests/golden/certs/shop-renewed.crt"),
    include_str!("../../tests/golden/certs/shop-renewed.key"),
);
const RSA: Pem =
    (include_str!("../../tests/golden/certs/shop-rsa.crt"), include_str!("../../tests/golden/certs/shop-rsa.key"));
const WILDCARD: Pem =
    (include_str!("../../tests/golden/certs/wildcard.crt"), include_str!("../../tests/golden/certs/wildcard.key"));
const MISMATCH: Pem = (SHOP.0, WILDCARD.1);

fn name(name: &str) -> Reference {
    Reference::new("default", name)
}

fn object<T: DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn put<T: DeserializeOwned>(objects: &mut BTreeMap<Reference, Arc<T>>, key: &str, value: Value) {
    objects.insert(name(key), object(value));
}

/// `paths` by host, all of type Prefix to port 80 of a Service.
fn ingress(rules: &[(&str, &str, &str)]) -> Value {
    let rules = rules.iter().map(|(host, path, service)| {
        let backend = json!({"service": {"name": service, "port": {"number": 80}}});
        json!({"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}})
    });
    json!({"spec": {"rules": rules.collect::<Vec<_>>()}})
}

fn service() -> Value {
    json!({"spec": {"ports": [{"port": 80}]}})
}

fn slice(service: &str, addresses: &[&str]) -> Value {
    json!({
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": addresses.iter().map(|address| json!({"addresses": [address]})).collect::<Vec<_>>(),
    })
}

fn secret((certificate, key): Pem) -> Value {
    let bytes = |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap();
    json!({"type": "kubernetes.io/tls", "data": {"tls.crt": bytes(certificate), "tls.key": bytes(key)}})
}

/// A policy on one target, an Ingress or a Service.
fn policy(target: (&str, &str), fields: Value) -> Arc<PolicyObject> {
    let (kind, name) = target;
    let group = if kind == "Service" { "" } else { "networking.k8s.io" };
    let mut spec = json!({"targetRefs": [{"group": group, "kind": kind, "name": name}]});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let spec = serde_json::from_value(spec).unwrap();
    Arc::new(PolicyObject { policy: ProxyPolicy { spec, ..ProxyPolicy::default() }, illegible: Vec::new() })
}

fn translate(objects: &Objects) -> Translation {
    Translator::default().translate(objects, &Options::default())
}

/// `(field, reason)` of all problems.
fn problems(translation: &Translation) -> Vec<(&str, Reason)> {
    let problems = translation.reports.iter().flat_map(|report| &report.problems);
    problems.map(|problem| (problem.field.as_str(), problem.reason)).collect()
}

/// Translates before and after a change; the latter must equal a translation from scratch.
fn over(mut objects: Objects, change: impl FnOnce(&mut Objects)) -> (Translation, Translation) {
    let mut translator = Translator::default();
    let before = translator.translate(&objects, &Options::default());
    change(&mut objects);
    let after = translator.translate(&objects, &Options::default());
    assert_eq!(after, translate(&objects));
    (before, after)
}

#[test]
fn a_rule_that_lost_names_the_one_that_is_served() {
    let mut objects = Objects::default();
    put(
        &mut objects.ingresses,
        "a",
        ingress(&[("shop.example.com", "/a/", "shop"), ("shop.example.com", "/b", "shop")]),
    );
    put(
        &mut objects.ingresses,
        "b",
        ingress(&[("shop.example.com", "/a", "shop"), ("blog.example.com", "/a", "shop")]),
    );
    put(&mut objects.services, "shop", service());
    let translation = translate(&objects);
    let route = &translation.snapshot.hosts[&HostPattern::parse("shop.example.com").unwrap()].routes[0];
    let all = translation.reports.iter().flat_map(|report| &report.problems);
    let lost: Vec<_> = all.filter_map(|problem| Some((problem.field.as_str(), problem.lost_to.as_ref()?))).collect();
    let served = (HostPattern::parse("shop.example.com").unwrap(), route.path.clone());
    assert_eq!((route.path.path.as_str(), lost), ("/a/", vec![("spec.rules[0].http.paths[0]", &served)]));
}
