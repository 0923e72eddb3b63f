//! The addresses of the nodes that pods like this one run on (`--report-node-internal-ip-address`), as the status of the pods
//! has them: no node is asked for. Pods are listed when somebody asks, not watched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};

use super::super::trouble::chain;
use super::ingress::Addresses;
use crate::snapshot::Reference;

/// What was listed is not asked for again for so long.
const KEPT: Duration = Duration::from_secs(10);

/// Labels in which pods of one workload differ while a new version of it is rolled out.
const OF_VERSION: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

#[derive(Default)]
pub(super) struct Nodes {
    known: Option<(Addresses, Instant)>,
}

impl Nodes {
    /// The addresses of now, or why they are not known. `pod`: this one.
    pub(super) async fn addresses(&mut self, client: &Client, pod: &Reference) -> Result<Addresses, String> {
        if let Some((addresses, since)) = &self.known
            && since.elapsed() < KEPT
        {
            return Ok(addresses.clone());
        }
        let pods = alike(client, pod).await.map_err(|error| explained(&error, pod))?;
        let addresses = of_nodes(&pods, pod)?;
        self.known = Some((addresses.clone(), Instant::now()));
        Ok(addresses)
    }
}

/// Whether another pod like `pod` is ready; also where that cannot be known.
pub(super) async fn has_other_pods(client: &Client, pod: &Reference) -> bool {
    let is_other = |other: &Pod| is_ready(other) && other.metadata.name.as_ref() != Some(&pod.name);
    alike(client, pod).await.map_or(true, |pods| pods.iter().any(is_other))
}

/// The pods with the labels of this one; it is one of them, if it is there.
async fn alike(client: &Client, pod: &Reference) -> kube::Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    // Not by `get`, so that one verb is enough.
    let named = ListParams::default().fields(&format!("metadata.name={}", pod.name));
    let own = api.list(&named).await?.items;
    match own.first().and_then(|own| own.metadata.labels.as_ref()).and_then(selector) {
        Some(selector) => Ok(api.list(&ListParams::default().labels(&selector)).await?.items),
        None => Ok(own),
    }
}

/// What selects the pods of any version; `None`: they have nothing in common.
fn selector(labels: &BTreeMap<String, String>) -> Option<String> {
    let common = labels.iter().filter(|(label, _)| !OF_VERSION.contains(&label.as_str()));
    let common: Vec<_> = common.map(|(label, value)| format!("{label}={value}")).collect();
    (!common.is_empty()).then(|| common.join(","))
}

/// Those of the nodes of pods that are ready, and of this one, which serves before that is known of it.
fn of_nodes(pods: &[Pod], pod: &Reference) -> Result<Addresses, String> {
    let is_own = |other: &&Pod| other.metadata.name.as_ref() == Some(&pod.name);
    if !pods.iter().any(|other| is_own(&other)) {
        return Err(format!(
            "pod {pod} is not there, of whose node --report-node-internal-ip-address is to tell: the addresses stay as they \
             are; let POD_NAME and POD_NAMESPACE name this pod"
        ));
    }
    let serving = pods.iter().filter(|pod| is_own(pod) || is_ready(pod));
    Ok(serving.filter_map(|pod| pod.status.as_ref()?.host_ip.clone()).collect())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

fn explained(error: &kube::Error, pod: &Reference) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "the API server does not let this account list the pods in namespace {}; grant it list on pods (the chart does)",
            pod.namespace
        ),
        _ => format!("pods cannot be read: {}", chain(error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn own() -> Reference {
        Reference::new("n", "own")
    }

    fn pod(name: &str, node: Option<&str>, ready: &str) -> Pod {
        let conditions = json!([{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}]);
        from_value(json!({"metadata": {"name": name}, "status": {"hostIP": node, "conditions": conditions}})).unwrap()
    }

    fn ending(mut pod: Pod) -> Pod {
        pod.metadata.deletion_timestamp = from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        pod
    }

    #[test]
    fn nodes_count_that_have_a_ready_pod_or_this_one() {
        let pods = [
            pod("own", Some("10.0.0.1"), "False"),
            pod("beside", Some("10.0.0.2"), "True"),
            pod("again", Some("10.0.0.2"), "True"),
            pod("starting", Some("10.0.0.3"), "False"),
            pod("pending", None, "False"),
            ending(pod("ending", Some("10.0.0.4"), "True")),
        ];
        assert_eq!(of_nodes(&pods, &own()).unwrap(), Addresses::parse("10.0.0.1,10.0.0.2"));
        assert!(of_nodes(&pods[1..], &own()).unwrap_err().contains("pod n/own is not there"));
    }

    #[test]
    fn pods_of_another_version_are_selected_too() {
        let labels = |labels| from_value(labels).unwrap();
        let all = json!({"app": "a", "pod-template-hash": "1", "helm.sh/chart": "headgate-1", "team": "t"});
        assert_eq!(selector(&labels(all)).as_deref(), Some("app=a,team=t"));
        assert_eq!(selector(&labels(json!({"pod-template-hash": "1"}))), None, "not all pods of the namespace");
    }
}
