//! Makers of what tests apply: plain JSON values, as in `support::objects`, of which these are the ones that run.

use serde_json::{Value, json};

use crate::support::objects::{self, rule, with_tls};

pub(crate) const IMAGE: &str = "headgate.test/headgate:1";

/// A Deployment of `headgate echo` and its Service, whose port 80 is named `http`.
pub(crate) fn echo(name: &str, replicas: u32) -> Vec<Value> {
    vec![deployment(name, replicas), service(name)]
}

pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [container(name)] },
            },
        },
    })
}

fn container(service: &str) -> Value {
    json!({
        "name": "echo", "image": IMAGE, "imagePullPolicy": "Never",
        "args": ["echo", "--bind-address=0.0.0.0", "--port=8080", format!("--service={service}")],
        "env": [
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
        ],
        "ports": [{ "name": "web", "containerPort": 8080 }],
        "readinessProbe": { "httpGet": { "path": "/", "port": "web" }, "periodSeconds": 1 },
    })
}

/// For the pods of the Deployment that is named like it.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name },
        "spec": {
            "selector": { "app": name },
            "ports": [{ "name": "http", "port": 80, "targetPort": "web" }],
        },
    })
}

/// An Ingress of this class, all paths of the host to the Service.
pub(crate) fn ingress(class: &str, host: &str, service: &str) -> Value {
    of_class(class, objects::ingress(service, &[rule(host, "/", "Prefix", service)]))
}

/// The same with a certificate in the Secret that is named like the Service.
pub(crate) fn tls_ingress(class: &str, host: &str, service: &str) -> Value {
    with_tls(ingress(class, host, service), &[host], service)
}

pub(crate) fn of_class(class: &str, mut ingress: Value) -> Value {
    ingress["spec"]["ingressClassName"] = class.into();
    ingress
}
