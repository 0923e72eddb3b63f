//! Makers of the Kubernetes objects that tests serve. Each gives plain JSON values, so a test may change any field.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{TestAuthority, TestCertificate};

pub type Objects = Vec<Value>;

/// All that is needed to serve `host` (`""`: any host) from these addresses: Ingress, Service `name`, EndpointSlices.
/// The name is the host's first label.
pub fn site(host: &str, addresses: &[SocketAddr]) -> Objects {
    let name = name_of(host);
    let mut objects = vec![ingress(&name, &[rule(host, "/", "Prefix", &name)])];
    objects.extend(service(&name, addresses));
    objects
}

/// As [`site`], with a certificate for the host in its `tls:`.
pub fn tls_site(host: &str, addresses: &[SocketAddr], certificate: &TestCertificate) -> Objects {
    let name = name_of(host);
    let mut objects = vec![with_tls(ingress(&name, &[rule(host, "/", "Prefix", &name)]), &[host], &name)];
    objects.extend(service(&name, addresses));
    objects.push(tls_secret(&name, certificate));
    objects
}

/// A Service with port 80 named `http` and its endpoints.
pub fn service(name: &str, addresses: &[SocketAddr]) -> Objects {
    service_speaking(name, addresses, None)
}

/// As [`service`], with an `appProtocol` on its port.
pub fn service_speaking(name: &str, addresses: &[SocketAddr], app_protocol: Option<&str>) -> Objects {
    let mut port = json!({ "name": "http", "port": 80 });
    if let Some(protocol) = app_protocol {
        port["appProtocol"] = protocol.into();
    }
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "ports": [port] },
    })];
    objects.extend(slices(name, addresses));
    objects
}

/// EndpointSlices of a Service: one per port number, for all endpoints of a slice share their ports.
pub fn slices(service: &str, addresses: &[SocketAddr]) -> Objects {
    let mut by_port: BTreeMap<u16, Vec<SocketAddr>> = BTreeMap::new();
    for address in addresses {
        by_port.entry(address.port()).or_default().push(*address);
    }
    by_port.into_iter().map(|(port, addresses)| slice(service, port, &addresses)).collect()
}

/// One rule with one path to port 80 of a Service.
pub fn rule(host: &str, path: &str, kind: &str, service: &str) -> Value {
    rule_to(host, path, kind, json!({ "service": { "name": service, "port": { "number": 80 } } }))
}

/// One rule with one path to whatever backend.
pub fn rule_to(host: &str, path: &str, kind: &str, backend: Value) -> Value {
    let mut rule = json!({ "http": { "paths": [{ "path": path, "pathType": kind, "backend": backend }] } });
    if !host.is_empty() {
        rule["host"] = host.into();
    }
    rule
}

pub fn ingress(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "rules": rules },
    })
}

/// Adds an entry to the `tls:` of an Ingress.
pub fn with_tls(mut ingress: Value, hosts: &[&str], secret: &str) -> Value {
    let entry = json!({ "hosts": hosts, "secretName": secret });
    match ingress["spec"]["tls"].as_array_mut() {
        Some(entries) => entries.push(entry),
        None => ingress["spec"]["tls"] = json!([entry]),
    }
    ingress
}

pub fn with_annotation(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"][key] = value.into();
    object
}

pub fn tls_secret(name: &str, certificate: &TestCertificate) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": name, "namespace": "default" },
        "stringData": { "tls.crt": certificate.pem, "tls.key": certificate.key_pem },
    })
}

/// A Secret that says whose certificates are trusted.
pub fn authority_secret(name: &str, authority: &TestAuthority) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": "default" },
        "stringData": { "ca.crt": authority.pem() },
    })
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": data,
    })
}

/// A ProxyPolicy about one object of `kind` (Ingress or Service), with these fields of `spec`.
pub fn policy(name: &str, kind: &str, target: &str, fields: Value) -> Value {
    let group = if kind == "Service" { "" } else { "networking.k8s.io" };
    let mut spec = fields;
    spec["targetRefs"] = json!([{ "group": group, "kind": kind, "name": target }]);
    json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "ProxyPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })
}

/// As [`site`], with a policy named `policy` on the Ingress.
pub fn site_with_policy(host: &str, addresses: &[SocketAddr], fields: Value) -> Objects {
    let mut objects = site(host, addresses);
    objects.push(policy("policy", "Ingress", &name_of(host), fields));
    objects
}

/// As [`site`], with a policy named `policy` on the Service.
pub fn site_with_backend_policy(host: &str, addresses: &[SocketAddr], fields: Value) -> Objects {
    let mut objects = site(host, addresses);
    objects.push(policy("policy", "Service", &name_of(host), fields));
    objects
}

fn slice(service: &str, port: u16, addresses: &[SocketAddr]) -> Value {
    let ip_version = if addresses[0].is_ipv6() { "IPv6" } else { "IPv4" };
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|a| json!({ "addresses": [a.ip().to_string()], "conditions": { "ready": true } }))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{port}"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": ip_version,
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
    })
}

fn name_of(host: &str) -> String {
    match host.trim_start_matches("*.").split('.').next() {
        Some(label) if !label.is_empty() => label.to_owned(),
        _ => "any".to_owned(),
    }
}
