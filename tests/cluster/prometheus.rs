//! Prometheus as its operator runs it, in a test's namespace, and what it says.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::kubernetes::PATIENCE;
use crate::namespace::Namespace;
use crate::support::client::get;
use crate::support::tools::tool;

/// By which the Prometheus of this module selects monitors and rules, as that of kube-prometheus-stack does.
pub(crate) const SELECTED: (&str, &str) = ("release", "prometheus");

#[derive(Debug)]
pub(crate) struct Prometheus {
    address: SocketAddr,
}

/// Starts the operator, for this namespace; from now on the cluster knows its kinds.
#[track_caller]
pub(crate) fn operator(namespace: &Namespace) {
    let node = namespace.cluster.node();
    for image in ["operator", "prometheus-config-reloader", "prometheus"] {
        node.load(image);
    }
    namespace.cluster.define(tool("prometheus-operator.yaml").to_str().unwrap());
    let container = json!({
        "name": "operator", "image": "headgate.test/operator:1", "imagePullPolicy": "Never",
        "args": [
            format!("--namespaces={}", namespace.name),
            "--prometheus-config-reloader=headgate.test/prometheus-config-reloader:1",
        ],
    });
    namespace.apply(&account("operator", "cluster-admin"));
    namespace.apply(&[json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "operator" },
        "spec": {
            "selector": { "matchLabels": { "app": "operator" } },
            "template": {
                "metadata": { "labels": { "app": "operator" } },
                "spec": { "serviceAccountName": "operator", "containers": [container] },
            },
        },
    })]);
    namespace.rolled_out("operator");
}

/// A ServiceAccount and what it may do in its namespace.
fn account(name: &str, role: &str) -> [Value; 2] {
    [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": name }],
        }),
    ]
}

impl Prometheus {
    /// Lets the operator make one for each kind of monitor (`service`, `pod`). They begin with the monitors and rules that
    /// there are.
    #[track_caller]
    pub(crate) fn start<const KINDS: usize>(namespace: &Namespace, kinds: [&str; KINDS]) -> [Self; KINDS] {
        let selector = json!({ "matchLabels": { SELECTED.0: SELECTED.1 } });
        namespace.apply(&account("prometheus", "view"));
        namespace.apply(&kinds.map(|kind| {
            json!({
                "apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": { "name": kind },
                "spec": {
                    "image": "headgate.test/prometheus:1", "imagePullPolicy": "Never", "version": "v3.11.3",
                    "serviceAccountName": "prometheus", "evaluationInterval": "1s",
                    format!("{kind}MonitorSelector"): selector, "ruleSelector": selector,
                },
            })
        }));
        kinds.map(|kind| {
            namespace.kubectl(&["wait", "--for=condition=Available", PATIENCE, "prometheus", kind]);
            let pod = format!("prometheus-{kind}-0");
            let address = namespace.kubectl(&["get", "pod", &pod, "--output=jsonpath={.status.podIP}"]);
            Prometheus { address: (address.parse::<IpAddr>().unwrap(), 9090).into() }
        })
    }

    /// What an expression gives now, an item for each set of labels.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.ask(&format!("query?query={}", escaped(expression)));
        data["result"].as_array().unwrap().clone()
    }

    /// The values of a label, as Grafana asks for those of a variable.
    #[track_caller]
    pub(crate) fn values(&self, selector: &str, label: &str) -> Vec<String> {
        let values = self.ask(&format!("label/{label}/values?match[]={}", escaped(selector)));
        values.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    /// The targets that are scraped.
    #[track_caller]
    pub(crate) fn targets(&self) -> Vec<Value> {
        self.ask("targets?state=active")["activeTargets"].as_array().unwrap().clone()
    }

    /// The alerting rules of a group, once it was evaluated.
    #[track_caller]
    pub(crate) fn rules(&self, group: &str) -> Option<Vec<Value>> {
        let groups = self.ask("rules?type=alert")["groups"].clone();
        let group = groups.as_array().unwrap().iter().find(|of| of["name"] == group)?;
        let rules = group["rules"].as_array().unwrap();
        rules.iter().all(|rule| rule["health"] != "unknown").then(|| rules.clone())
    }

    #[track_caller]
    fn ask(&self, question: &str) -> Value {
        let answer = get(self.address, "prometheus", &format!("/api/v1/{question}"));
        assert_eq!(answer.status, 200, "{question}: {}", answer.text());
        answer.json()["data"].clone()
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
