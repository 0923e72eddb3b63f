//! Several controllers: of two classes, and replicas of which one leads.

use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::{CHART, helm, succeed, values};
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::ingress;
use crate::serving::{HOST, self_signed, shop};
use crate::support::objects::policy;
use crate::support::wait::{stays, timed};

/// What `status` says of an Ingress that is served at the address of this Service.
fn published(namespace: &Namespace, service: &str) -> Value {
    json!({ "ingress": [{ "ip": namespace.object(&["service", service])["spec"]["clusterIP"] }] })
}

fn status(namespace: &Namespace, ingress: &str) -> Value {
    namespace.object(&["ingress", ingress])["status"]["loadBalancer"].clone()
}

/// Who has told something of a policy, and what has become of it where.
fn ancestors(namespace: &Namespace, policy: &str) -> Vec<(Value, Value)> {
    let status = namespace.object(&["pp", policy])["status"].clone();
    let ancestors = status["ancestors"].as_array().cloned().unwrap_or_default();
    ancestors.into_iter().map(|mut ancestor| (ancestor["controllerName"].take(), ancestor)).collect()
}

fn named(name: &str, mut object: Value) -> Value {
    object["metadata"]["name"] = name.into();
    object
}

#[test]
fn controllers_of_two_classes_leave_each_other_alone() {
    let namespace = Namespace::new();
    shop(&namespace, 1, &self_signed());
    let class = format!("{}-other", namespace.name);
    let mut values = values(&namespace);
    values["controller"]["ingressClassResource"] = json!({ "name": class, "controllerValue": format!("headgate.dev/{class}"), "parameters": {
            "apiGroup": "headgate.dev", "kind": "ProxyPolicy", "name": "theirs", "scope": "Namespace", "namespace": namespace.name,
        } });
    succeed(&helm(&namespace, &["install", "other", CHART, "--wait", "--timeout=90s"], Some(&values)));
    namespace.apply(&[
        policy("theirs", "IngressClass", &class, json!({ "connectionLimit": { "perClient": 500 } })),
        policy("both", "Service", "shop", json!({ "retry": { "attempts": 1 } })),
        named("other", ingress(&class, "other.example", "shop")),
    ]);

    let (ours, theirs) = (published(&namespace, "headgate"), published(&namespace, "other-headgate"));
    assert_ne!(ours, theirs);
    let right = || status(&namespace, "shop") == ours && status(&namespace, "other") == theirs;
    until("each its own address", || right().then_some(()));
    let told = || ["theirs", "both"].map(|policy| ancestors(&namespace, policy));
    let policies =
        until("each its own entries", || Some(told()).filter(|told| told.each_ref().map(Vec::len) == [1, 2]));
    assert_eq!(policies[0][0].0, format!("headgate.dev/{class}"));
    stays("each its own address and entries", Duration::from_secs(3), || right() && told() == policies);
    let events = namespace.kubectl(&["events"]);
    assert!(!events.contains("ProxyPolicy/"), "{events}");
    succeed(&helm(&namespace, &["uninstall", "other", "--wait", "--timeout=90s"], None));
}

#[test]
fn when_the_leader_is_lost_another_one_writes() {
    let namespace = Namespace::new();
    shop(&namespace, 1, &self_signed());
    let mut values = values(&namespace);
    values["controller"]["replicaCount"] = 2.into();
    succeed(&helm(&namespace, &["upgrade", "headgate", CHART, "--wait", "--timeout=90s"], Some(&values)));
    let lease = ["get", "lease", "headgate-leader", "--output=jsonpath={.spec.holderIdentity}"];
    let address = published(&namespace, "headgate");
    until("a leader", || (status(&namespace, "shop") == address).then_some(()));
    let leader = namespace.kubectl(&lease);
    let pod = namespace.kubectl(&["get", "pod", &leader, "--output=jsonpath={.status.podIP}"]);
    // It cannot give the Lease up.
    let separation = namespace.cluster.node().separate(pod.parse().unwrap());
    let ((), time) = timed(|| {
        namespace.apply(&[named("late", ingress(&namespace.name, HOST, "shop"))]);
        until("its address, by another leader", || (status(&namespace, "late") == address).then_some(()));
    });
    assert!(time < Duration::from_secs(15), "{time:?}");
    assert_ne!(namespace.kubectl(&lease), leader);
    drop(separation);
}
