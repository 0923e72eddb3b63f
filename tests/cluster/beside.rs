//! Several controllers: of two classes, and replicas of which one leads.

use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::{CHART, helm, succeed, values};
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::ingress;
use crate::serving::{HOST, self_signed, shop};
use crate::support::wait::stays;

/// What `status` says of an Ingress that is served at the address of this Service.
fn published(namespace: &Namespace, service: &str) -> Value {
    json!({ "ingress": [{ "ip": namespace.object(&["service", service])["spec"]["clusterIP"] }] })
}

fn status(namespace: &Namespace, ingress: &str) -> Value {
    namespace.object(&["ingress", ingress])["status"]["loadBalancer"].clone()
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
    values["controller"]["ingressClassResource"] =
        json!({ "name": class, "controllerValue": format!("headgate.dev/{class}") });
    succeed(&helm(&namespace, &["install", "other", CHART, "--wait", "--timeout=90s"], Some(&values)));
    namespace.apply(&[named("other", ingress(&class, "other.example", "shop"))]);

    let (ours, theirs) = (published(&namespace, "headgate"), published(&namespace, "other-headgate"));
    assert_ne!(ours, theirs);
    let right = || status(&namespace, "shop") == ours && status(&namespace, "other") == theirs;
    until("each its own address", || right().then_some(()));
    stays("each its own address", Duration::from_secs(3), right);
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
    let leader = namespace.kubectl(&lease);
    namespace.kubectl(&["delete", "pod", &leader, "--force", "--grace-period=0"]);
    namespace.apply(&[named("late", ingress(&namespace.name, HOST, "shop"))]);
    let address = published(&namespace, "headgate");
    until("its address, by another leader", || (status(&namespace, "late") == address).then_some(()));
    assert_ne!(namespace.kubectl(&lease), leader);
}
