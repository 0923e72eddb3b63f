//! What the controller tells those who wrote an object, in the API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::{CHART, helm, succeed, values};
use crate::kubernetes::{PATIENCE, until};
use crate::namespace::Namespace;
use crate::objects::ingress;
use crate::serving::{HOST, forgiving, self_signed, shop};
use crate::support::client::get;
use crate::support::objects::policy;
use crate::support::wait::stays;

#[test]
fn an_ingress_has_the_address_of_the_service_while_it_is_served() {
    let namespace = Namespace::new();
    shop(&namespace, 1, &self_signed());
    let address = namespace.object(&["service", "headgate"])["spec"]["clusterIP"].clone();
    let shown = || namespace.object(&["ingress", "shop"])["status"]["loadBalancer"].clone();
    until("its address", || (shown() == json!({ "ingress": [{ "ip": address }] })).then_some(()));
    namespace.kubectl(&["scale", "deployment", "headgate", "--replicas=0"]);
    until("no address", || (shown() == json!({})).then_some(()));
}

#[test]
fn kubectl_get_pp_tells_which_policies_count() {
    let namespace = Namespace::new();
    let lonely = policy("lonely", "Ingress", "nobody", json!({ "timeouts": { "idle": "5s" } }));
    namespace.apply(&[forgiving(), lonely]);
    shop(&namespace, 1, &self_signed());
    let condition = |kind: &str, status: &str| {
        format!("--for=jsonpath={{.status.ancestors[0].conditions[?(@.type==\"{kind}\")].status}}={status}")
    };
    namespace.kubectl(&["wait", &condition("Programmed", "True"), PATIENCE, "pp", "shop"]);
    namespace.kubectl(&["wait", &condition("Accepted", "False"), PATIENCE, "pp", "lonely"]);
    let table = namespace.kubectl(&["get", "pp", "--output=wide", "--no-headers"]);
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().take(5).collect()).collect();
    assert_eq!(
        rows,
        [["lonely", "nobody", "False", "False", "TargetNotFound"], ["shop", "shop", "True", "True", "Accepted"],]
    );
}

#[test]
fn an_ingress_that_cannot_be_served_gets_one_event_whoever_leads() {
    let namespace = Namespace::new();
    shop(&namespace, 1, &self_signed());
    namespace.apply(&[ingress(&namespace.name, "nowhere.example", "nowhere")]);
    let events = || namespace.object(&["events", "--field-selector=involvedObject.name=nowhere"])["items"].clone();
    until("an event", || events()[0]["type"].is_string().then_some(()));
    namespace.kubectl(&["rollout", "restart", "deployment", "headgate"]);
    namespace.rolled_out("headgate");
    let is_repeated = |event: &Value| event["series"].is_object();
    let events = until("the same by the next leader", || {
        Some(events()).filter(|events| events.as_array().is_some_and(|events| events.iter().any(is_repeated)))
    });
    assert_eq!(events.as_array().map(Vec::len), Some(1), "{events}");
    assert_eq!((&events[0]["type"], &events[0]["reason"]), (&"Warning".into(), &"ServiceNotFound".into()), "{events}");
}

#[test]
fn what_is_in_a_namespace_that_is_not_picked_any_more_is_given_back_and_left_alone() {
    let namespace = Namespace::new();
    let controller = shop(&namespace, 1, &self_signed());
    let mut values = values(&namespace);
    values["rbac"]["scope"] = false.into();
    values["controller"]["scope"]["namespaceSelector"] = "headgate.test/picked=yes".into();
    let label = |label: &str| namespace.cluster.kubectl(&["label", "namespace", &namespace.name, label]);
    label("headgate.test/picked=yes");
    succeed(&helm(&namespace, &["upgrade", "headgate", CHART, "--wait", "--timeout=90s"], Some(&values)));
    namespace.rolled_out("headgate");
    let shown = |name: &str| namespace.object(&["ingress", name])["status"]["loadBalancer"].clone();
    let status = || get(controller.http, HOST, "/").status;
    // Once the new pod leads.
    namespace.apply(&[ingress(&namespace.name, "late.example", "late")]);
    for name in ["shop", "late"] {
        until("its address", || shown(name)["ingress"].is_array().then_some(()));
    }
    assert_eq!(status(), 200);

    label("headgate.test/picked-");
    until("the end of the host", || (status() == 404).then_some(()));
    for name in ["shop", "late"] {
        until("no address", || (shown(name) == json!({})).then_some(()));
    }
    // Whoever else picks the namespace tells what becomes of it.
    namespace.apply(&[policy("shop", "Ingress", "shop", json!({ "timeouts": { "idle": "5s" } }))]);
    stays("no word about it", Duration::from_secs(3), || {
        namespace.object(&["pp", "shop"])["status"].is_null()
            && !namespace.kubectl(&["events"]).contains("TargetNotFound")
    });
}
