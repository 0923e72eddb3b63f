//! The chart in a cluster: installed, upgraded under load, uninstalled.

use serde_json::{Value, json};

use crate::controller::{CHART, helm, succeed, values};
use crate::load::Load;
use crate::namespace::Namespace;
use crate::serving::{HOST, self_signed, shop};
use crate::support::wait::until;

fn with(mut values: Value, key: &str, value: Value) -> Value {
    values["controller"][key] = value;
    values
}

#[test]
fn nobody_notices_an_upgrade_of_two_replicas() {
    let namespace = Namespace::new();
    let controller = shop(&namespace, 2, &self_signed());
    let upgrade = |values: &Value| {
        succeed(&helm(&namespace, &["upgrade", "headgate", CHART, "--wait", "--timeout=90s"], Some(values)));
        namespace.rolled_out("headgate");
    };
    let two = with(values(&namespace), "replicaCount", json!(2));
    upgrade(&two);
    let load = Load::start(HOST, Some(controller.http), Some(controller.https));
    upgrade(&with(two, "podAnnotations", json!({ "upgraded": "yes" })));
    load.goes_on();
    load.end();
}

/// What the status of the shop's Ingress says.
fn shown(namespace: &Namespace) -> Value {
    namespace.object(&["ingress", "shop"])["status"]["loadBalancer"]["ingress"].clone()
}

/// Also not the addresses, though Helm takes the Service, the class and the rights of the pods away before their end.
#[test]
fn nothing_of_a_release_stays_behind() {
    let namespace = Namespace::new();
    shop(&namespace, 1, &self_signed());
    until("an address", || shown(&namespace).is_array().then_some(()));
    let of_release = |kinds: &str, part: &str| {
        let found = namespace.kubectl(&["get", kinds, "--output=name"]);
        found.lines().filter(|name| name.contains(part)).map(str::to_owned).collect::<Vec<_>>()
    };
    let inside = "deployments,daemonsets,pods,services,serviceaccounts,configmaps,secrets,roles,rolebindings,\
        poddisruptionbudgets,horizontalpodautoscalers,networkpolicies";
    let outside = "clusterroles,clusterrolebindings,ingressclasses";
    let before = (of_release(inside, "headgate").len(), of_release(outside, &namespace.name).len());
    assert!(before.0 > 5 && before.1 == 3, "{before:?}");
    succeed(&helm(&namespace, &["uninstall", "headgate", "--wait", "--timeout=90s"], None));
    assert_eq!(of_release(outside, &namespace.name), [""; 0]);
    assert_eq!(shown(&namespace), Value::Null);
    until("the end of all that is in the namespace", || of_release(inside, "headgate").is_empty().then_some(()));
}

#[test]
fn helm_test_tells_whether_the_proxy_answers() {
    let namespace = Namespace::new();
    let mut values = values(&namespace);
    values["test"] = json!({ "image": { "repository": "headgate.test/busybox", "tag": "1", "pullPolicy": "Never" } });
    succeed(&helm(&namespace, &["install", "headgate", CHART, "--wait", "--timeout=90s"], Some(&values)));
    let test = || helm(&namespace, &["test", "headgate", "--logs", "--timeout=90s"], None);
    let passed = test();
    succeed(&passed);
    let said = String::from_utf8_lossy(&passed.stdout);
    assert!(said.contains("HTTP/1.1 404 Not Found"), "{said}");

    namespace.kubectl(&["scale", "deployment", "headgate", "--replicas=0"]);
    until("no endpoint", || {
        let slices = namespace.object(&["endpointslices"]);
        slices["items"][0]["endpoints"].is_null().then_some(())
    });
    assert!(!test().status.success());
    let said = namespace.kubectl(&["logs", "headgate-test"]);
    assert!(said.contains("Connection refused"), "{said}");
}

#[test]
fn an_uninstall_takes_stated_addresses_back_from_two_replicas() {
    let namespace = Namespace::new();
    shop(&namespace, 1, &self_signed());
    let stated = with(values(&namespace), "extraArgs", json!({ "publish-status-address": "192.0.2.7,lb.example" }));
    let two = with(stated, "replicaCount", json!(2));
    succeed(&helm(&namespace, &["upgrade", "headgate", CHART, "--wait", "--timeout=90s"], Some(&two)));
    let both = json!([{ "ip": "192.0.2.7" }, { "hostname": "lb.example" }]);
    until("the stated addresses", || (shown(&namespace) == both).then_some(()));
    succeed(&helm(&namespace, &["uninstall", "headgate", "--wait", "--timeout=90s"], None));
    assert_eq!(shown(&namespace), Value::Null);
}
