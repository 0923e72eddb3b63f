//! The chart in a cluster: installed, upgraded under load, uninstalled.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::controller::{CHART, Controller, helm, succeed, values};
use crate::kubernetes::until;
use crate::load::Load;
use crate::namespace::Namespace;
use crate::objects::{echo, ingress, tls_ingress};
use crate::serving::{HOST, forgiving, self_signed, shop};
use crate::support::objects::tls_secret;
use crate::support::tls::Tls;

const CRD: &str = "proxypolicies.headgate.dev";

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

/// The addresses go, too, though Helm takes the Service, the class and the rights of the pods away before their end.
#[test]
fn an_uninstalled_release_leaves_nothing() {
    let namespace = Namespace::new();
    let all = |scope: &str| {
        let kinds = namespace.kubectl(&["api-resources", scope, "--verbs=list", "--output=name"]);
        // Events go by themselves, and metrics are no objects.
        let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let found = namespace.kubectl(&["get", &kinds.join(","), "--output=name", "--ignore-not-found"]);
        found.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let inside = || all("--namespaced=true").into_iter().filter(|name| name.contains("headgate")).collect::<Vec<_>>();
    let outside = || {
        let own = [namespace.name.clone(), format!("{}-headgate", namespace.name)];
        let of_test = |name: &String| {
            name.split_once('/').is_some_and(|(kind, name)| kind != "namespace" && own.iter().any(|own| own == name))
        };
        all("--namespaced=false").into_iter().filter(of_test).collect::<Vec<_>>()
    };
    shop(&namespace, 1, &self_signed());
    until("an address", || shown(&namespace).is_array().then_some(()));
    assert!(inside().len() > 8 && outside().len() == 3, "{:?} {:?}", inside(), outside());

    succeed(&helm(&namespace, &["uninstall", "headgate", "--wait", "--timeout=90s"], None));
    assert_eq!(outside(), [""; 0]);
    assert_eq!(shown(&namespace), Value::Null);
    until("the end of all", || inside().is_empty().then_some(()));
}

/// As the chart is by itself: Ingresses of all namespaces, read by a ClusterRole. Events of classes are in `default`.
#[test]
fn by_default_the_whole_cluster_is_served() {
    let namespace = Namespace::alone();
    let elsewhere = namespace.another();
    let mut values = values(&namespace);
    values["rbac"] = json!({});
    values["controller"]["scope"] = json!({});
    let controller = Controller::with(&namespace, &values);
    elsewhere.apply(&echo("shop", 1));
    let nowhere = ingress(&namespace.name, "nowhere.example", "nowhere");
    elsewhere.apply(&[tls_secret("shop", &self_signed()), tls_ingress(&namespace.name, HOST, "shop"), nowhere]);
    let answer = until("an answer", || {
        let mut safe = Tls::to(HOST).connect(controller.https);
        let answer = safe.get(HOST, "/");
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!((&answer["service"], &answer["namespace"]), (&json!("shop"), &json!(elsewhere.name)));
    until("an address", || shown(&elsewhere).is_array().then_some(()));

    let lost = json!({ "apiGroup": "headgate.dev", "kind": "ProxyPolicy", "name": "lost", "scope": "Namespace", "namespace": elsewhere.name });
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": elsewhere.name },
        "spec": { "controller": values["controller"]["ingressClassResource"]["controllerValue"], "parameters": lost },
    });
    namespace.cluster.apply(&[class]);
    for (events_of, object) in
        [(&*elsewhere.name, "ingress/nowhere"), ("default", &*format!("ingressclass/{}", elsewhere.name))]
    {
        let events = ["--namespace", events_of, "events", &format!("--for={object}")];
        until(object, || namespace.cluster.kubectl(&events).contains("Warning").then_some(()));
    }
}

#[test]
fn a_restricted_namespace_takes_it_without_a_warning() {
    let namespace = Namespace::new();
    let level = |mode: &str| format!("pod-security.kubernetes.io/{mode}=restricted");
    namespace.kubectl(&["label", "namespace", &namespace.name, &level("enforce"), &level("warn")]);
    let mut values = values(&namespace);
    values["test"] = json!({ "image": { "repository": "headgate.test/busybox", "tag": "1", "pullPolicy": "Never" } });
    let complaints = |arguments: &[&str], values: &Value| {
        let output = helm(&namespace, arguments, Some(values));
        succeed(&output);
        String::from_utf8(output.stderr).unwrap()
    };
    let install = ["install", "headgate", CHART, "--wait", "--timeout=90s"];
    assert_eq!(complaints(&install, &values), "");
    succeed(&helm(&namespace, &["test", "headgate", "--timeout=90s"], None));

    values["controller"]["containerSecurityContext"] = json!({ "allowPrivilegeEscalation": true });
    let complaint = complaints(&["upgrade", "headgate", CHART], &values);
    assert!(complaint.contains("would violate PodSecurity"), "{complaint}");
}

/// The definition, and with it all policies; put back for other tests, whatever becomes of this one.
struct Definition<'a>(&'a Namespace);

impl Definition<'_> {
    fn is_there(&self) -> bool {
        !self.0.kubectl(&["get", "crd", CRD, "--ignore-not-found", "--output=name"]).is_empty()
    }
}

impl Drop for Definition<'_> {
    fn drop(&mut self) {
        self.0.cluster.run(&["delete", "crd", CRD, "--ignore-not-found"], &[]);
        self.0.cluster.apply_crds();
    }
}

#[test]
fn policies_outlive_the_release_unless_they_are_not_to() {
    let namespace = Namespace::alone();
    let definition = Definition(&namespace);
    namespace.kubectl(&["delete", "crd", CRD]);
    let mut values = values(&namespace);
    values["crds"] = json!({});
    values["controller"]["replicaCount"] = 0.into();
    let release = |arguments: &[&str], values: Option<&Value>| {
        succeed(&helm(&namespace, &[arguments, &["--wait", "--timeout=90s"]].concat(), values));
    };
    release(&["install", "headgate", CHART], Some(&values));
    until("the definition's use", || {
        let applied = namespace.cluster.run(&["apply", "--filename", "-"], &namespace.own(&[forgiving()]));
        applied.status.success().then_some(())
    });
    release(&["uninstall", "headgate"], None);
    assert_eq!(namespace.kubectl(&["get", "pp", "--output=name"]).trim_end(), "proxypolicy.headgate.dev/shop");

    values["crds"] = json!({ "keep": false });
    release(&["install", "headgate", CHART], Some(&values));
    assert_eq!(namespace.kubectl(&["get", "pp", "--output=name"]).trim_end(), "proxypolicy.headgate.dev/shop");
    release(&["uninstall", "headgate"], None);
    until("the end of the definition", || (!definition.is_there()).then_some(()));
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
