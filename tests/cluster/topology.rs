//! Hints of EndpointSlices: endpoints of the pod's own zone or node before others.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::controller::{CHART, Controller, helm, succeed, values};
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::{echo, ingress};
use crate::serving::HOST;
use crate::support::client::get;

const ZONE: &str = "topology.kubernetes.io/zone";

/// Which Services' pods answer.
fn answering(controller: &Controller) -> Option<BTreeSet<String>> {
    let answers = (0..8).map(|_| get(controller.http, HOST, "/"));
    answers
        .map(|answer| (answer.status == 200).then(|| answer.json()["service"].as_str().unwrap().to_owned()))
        .collect()
}

/// The endpoints of a Service without a selector: a pod of each of these Deployments, with these hints.
fn slice(namespace: &Namespace, pods: [(&str, Value); 2]) -> Value {
    let endpoint = |(name, hints): (&str, Value)| {
        let select = format!("--selector=app={name}");
        let address = namespace.kubectl(&["get", "pods", &select, "--output=jsonpath={.items[0].status.podIP}"]);
        json!({ "addresses": [address], "conditions": { "ready": true }, "hints": hints })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "both", "labels": { "kubernetes.io/service-name": "both" } },
        "ports": [{ "name": "http", "port": 8080 }],
        "endpoints": pods.map(endpoint),
    })
}

#[test]
fn endpoints_that_hints_give_to_the_zone_or_node_of_the_pod_are_used() {
    let namespace = Namespace::alone();
    for name in ["here", "there"] {
        namespace.apply(&echo(name, 1));
        namespace.rolled_out(name);
    }
    let both = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "both" },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    });
    let zone = |name: &str| json!({ "forZones": [{ "name": name }] });
    let hinted = slice(&namespace, [("here", zone("a")), ("there", zone("b"))]);
    namespace.apply(&[both, hinted, ingress(&namespace.name, HOST, "both")]);
    let controller = Controller::start(&namespace);
    let become_these = |names: &[&str]| {
        let names = names.iter().map(ToString::to_string).collect();
        until(&format!("answers of {names:?}"), || (answering(&controller)? == names).then_some(()));
    };
    become_these(&["here", "there"]);

    let mut values = values(&namespace);
    values["controller"]["enableTopologyAwareRouting"] = true.into();
    succeed(&helm(&namespace, &["upgrade", "headgate", CHART, "--wait", "--timeout=90s"], Some(&values)));
    namespace.rolled_out("headgate");
    become_these(&["here", "there"]);
    let label =
        |change: &str| namespace.kubectl(&["label", "--overwrite", "nodes", "--all", &format!("{ZONE}{change}")]);
    label("=a");
    become_these(&["here"]);
    label("=b");
    become_these(&["there"]);
    let node = namespace.kubectl(&["get", "nodes", "--output=jsonpath={.items[0].metadata.name}"]);
    let of = |node: &str, zone: &str| json!({ "forNodes": [{ "name": node }], "forZones": [{ "name": zone }] });
    namespace.apply(&[slice(&namespace, [("here", of(&node, "a")), ("there", of("another", "b"))])]);
    become_these(&["here"]);
    label("-");
}
