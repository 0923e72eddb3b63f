//! Flags about the addresses in the status of Ingresses.

use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::{CHART, helm, succeed, values};
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::ingress;
use crate::serving::{HOST, self_signed, shop};
use crate::support::wait::stays;

/// A shop, and a controller with these values beside the others.
fn shop_with(namespace: &Namespace, more: &[(&str, Value)]) {
    shop(namespace, 1, &self_signed());
    let mut values = values(namespace);
    for (key, value) in more {
        values["controller"][key] = value.clone();
    }
    succeed(&helm(namespace, &["upgrade", "headgate", CHART, "--wait", "--timeout=90s"], Some(&values)));
    namespace.rolled_out("headgate");
}

/// The addresses that an Ingress has.
fn shown(namespace: &Namespace, ingress: &str) -> Value {
    namespace.object(&["ingress", ingress])["status"]["loadBalancer"]["ingress"].clone()
}

fn scale(namespace: &Namespace, replicas: &str) {
    namespace.kubectl(&["scale", "deployment", "headgate", &format!("--replicas={replicas}")]);
    let pods = ["get", "pods", "--selector=app.kubernetes.io/name=headgate", "--output=name"];
    until("its pods", || (namespace.kubectl(&pods).lines().count().to_string() == replicas).then_some(()));
}

fn with_class(mut ingress: Value, class: &str, name: &str) -> Value {
    ingress["metadata"]["name"] = name.into();
    ingress["spec"]["ingressClassName"] = class.into();
    ingress
}

#[test]
fn a_status_that_is_not_to_be_written_stays_as_it_is() {
    let namespace = Namespace::new();
    shop_with(&namespace, &[("extraArgs", json!({ "update-status": "false" }))]);
    let kept = json!([{ "ip": "192.0.2.9" }]);
    for (name, status) in [("late", Value::Null), ("kept", kept.clone())] {
        namespace.apply(&[with_class(ingress(&namespace.name, HOST, "nowhere"), &namespace.name, name)]);
        let patch = json!({ "status": { "loadBalancer": { "ingress": status } } }).to_string();
        namespace.kubectl(&["patch", "ingress", name, "--subresource=status", "--type=merge", "--patch", &patch]);
    }
    // So it leads, and has looked at them.
    for name in ["late", "kept"] {
        let told =
            || namespace.kubectl(&["events", &format!("--for=ingress/{name}")]).contains("Warning").then_some(());
        until("an event", told);
    }
    stays("the status", Duration::from_secs(3), || {
        shown(&namespace, "late") == Value::Null && shown(&namespace, "kept") == kept
    });
}

/// And who leads next gives back what it does not serve any more.
#[test]
fn addresses_that_are_to_stay_outlive_the_controller_unless_their_ingress_went_to_another() {
    let namespace = Namespace::new();
    shop_with(&namespace, &[("extraArgs", json!({ "update-status-on-shutdown": "false" }))]);
    let gone = |class: &str| with_class(ingress(class, "gone.example", "shop"), class, "gone");
    namespace.apply(&[gone(&namespace.name)]);
    let address = json!([{ "ip": namespace.object(&["service", "headgate"])["spec"]["clusterIP"] }]);
    let both = |addresses: [&Value; 2]| {
        until("these addresses", || {
            let now = ["shop", "gone"].map(|name| shown(&namespace, name));
            (now.each_ref() == addresses).then_some(())
        });
    };
    both([&address, &address]);

    scale(&namespace, "0");
    assert_eq!(shown(&namespace, "shop"), address);
    namespace.apply(&[gone("another-class")]);
    assert_eq!(shown(&namespace, "gone"), address);
    scale(&namespace, "1");
    both([&address, &Value::Null]);
}

#[test]
fn addresses_are_those_of_nodes_that_have_a_pod_where_no_service_is_published() {
    let namespace = Namespace::new();
    let no_service = ("publishService", json!({ "enabled": false }));
    shop_with(&namespace, &[no_service, ("reportNodeInternalIp", true.into())]);
    let is_internal = "{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
    let node = namespace.kubectl(&["get", "nodes", &format!("--output=jsonpath={is_internal}")]);
    let address = json!([{ "ip": node }]);
    until("the node's address", || (shown(&namespace, "shop") == address).then_some(()));
    let is_there = || shown(&namespace, "shop") == address;
    // The old pod knows of the new one.
    namespace.kubectl(&["rollout", "restart", "deployment", "headgate"]);
    stays("the address", Duration::from_secs(10), is_there);
    namespace.rolled_out("headgate");
    assert!(is_there());

    // Once the new pod leads.
    namespace.apply(&[with_class(ingress(&namespace.name, HOST, "shop"), &namespace.name, "late")]);
    until("its address", || (shown(&namespace, "late") == address).then_some(()));
    scale(&namespace, "0");
    until("no address", || (shown(&namespace, "shop") == Value::Null).then_some(()));
    scale(&namespace, "1");
    until("the address again", || is_there().then_some(()));
    succeed(&helm(&namespace, &["uninstall", "headgate", "--wait", "--timeout=90s"], None));
    assert_eq!(shown(&namespace, "shop"), Value::Null);
}
