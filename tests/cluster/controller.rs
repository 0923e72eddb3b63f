//! Headgate in the cluster, as its chart installs it, with a NodePort Service, for the Ingresses of one namespace.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::IMAGE;
use crate::support::client::get;
use crate::support::metrics::Metrics;
use crate::support::tools::tool;

pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/headgate");

/// Addresses that clients outside use.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// Of its pod, for where pods can be reached from outside.
    pub(crate) admin: SocketAddr,
}

impl Controller {
    /// Installs it and waits until it is ready. Its class has the namespace's name.
    #[track_caller]
    pub(crate) fn start(namespace: &Namespace) -> Self {
        Self::with(namespace, &values(namespace))
    }

    /// The same with these values.
    #[track_caller]
    pub(crate) fn with(namespace: &Namespace, values: &Value) -> Self {
        succeed(&helm(namespace, &["install", "headgate", CHART, "--wait", "--timeout=90s"], Some(values)));
        let ports = namespace.object(&["service", "headgate"])["spec"]["ports"].clone();
        let node = node_address(namespace);
        let port = |at: usize| SocketAddr::new(node, ports[at]["nodePort"].as_u64().unwrap().try_into().unwrap());
        let name = "--selector=app.kubernetes.io/name=headgate";
        let pod = namespace.kubectl(&["get", "pods", name, "--output=jsonpath={.items[0].status.podIP}"]);
        let controller =
            Controller { http: port(0), https: port(1), admin: (pod.parse::<IpAddr>().unwrap(), 10254).into() };
        // The node refuses connections until its rules are written, a moment after the pod is ready.
        for address in [controller.http, controller.https] {
            until("a way through the node", || TcpStream::connect(address).is_ok().then_some(()));
        }
        controller
    }

    /// Of its pod.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&get(self.admin, "admin", "/metrics").text())
    }

    /// Of the tables that its pod uses.
    #[track_caller]
    pub(crate) fn generation(&self) -> u64 {
        self.metrics().value("headgate_generation", &[]) as u64
    }

    pub(crate) fn is_ready(&self) -> bool {
        get(self.admin, "admin", "/readyz").status == 200
    }
}

/// The chart's values for a controller of this namespace only.
pub(crate) fn values(namespace: &Namespace) -> Value {
    let name = namespace.name.as_str();
    let (repository, tag) = IMAGE.rsplit_once(':').unwrap();
    json!({
        "crds": { "enabled": false },
        "rbac": { "scope": true },
        "controller": {
            "image": { "repository": repository, "tag": tag, "pullPolicy": "Never" },
            "ingressClassResource": { "name": name, "controllerValue": format!("headgate.dev/{name}") },
            "scope": { "enabled": true },
            "service": { "type": "NodePort" },
        },
    })
}

/// Helm in this namespace, with these values if it takes any.
pub(crate) fn helm(namespace: &Namespace, arguments: &[&str], values: Option<&Value>) -> Output {
    let file = NamedTempFile::new().unwrap();
    let mut helm = Command::new(tool("helm"));
    helm.env("KUBECONFIG", &namespace.cluster.kubeconfig).args(["--namespace", &namespace.name]).args(arguments);
    if let Some(values) = values {
        std::fs::write(file.path(), values.to_string()).unwrap();
        helm.arg("--values").arg(file.path());
    }
    helm.output().unwrap()
}

#[track_caller]
pub(crate) fn succeed(output: &Output) {
    assert!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr));
}

fn node_address(namespace: &Namespace) -> IpAddr {
    let nodes = namespace.object(&["nodes"]);
    let addresses = nodes["items"][0]["status"]["addresses"].as_array().unwrap();
    let internal = addresses.iter().find(|address| address["type"] == "InternalIP").unwrap();
    internal["address"].as_str().unwrap().parse().unwrap()
}
