//! A namespace of a test's own. When the test is over it is deleted; when the test has failed, what there was in it is
//! shown before.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;

use crate::kubernetes::{Cluster, PATIENCE};

/// Who has a namespace reads; who disturbs the cluster writes.
static CLUSTER: RwLock<()> = RwLock::new(());

#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) cluster: &'static Cluster,
    pub(crate) name: String,
    _using: Using,
}

/// One of the two is held for the first namespace of a test.
type Using = (Option<RwLockReadGuard<'static, ()>>, Option<RwLockWriteGuard<'static, ()>>);

impl Namespace {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::using((Some(CLUSTER.read().unwrap_or_else(PoisonError::into_inner)), None))
    }

    /// For a test that disturbs the whole cluster: no other one runs meanwhile.
    #[track_caller]
    pub(crate) fn alone() -> Self {
        Self::using((None, Some(CLUSTER.write().unwrap_or_else(PoisonError::into_inner))))
    }

    /// A second one for the same test.
    #[track_caller]
    pub(crate) fn another(&self) -> Self {
        Self::using((None, None))
    }

    #[track_caller]
    fn using(using: Using) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::shared();
        // Another test process may use the same cluster.
        let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        cluster.kubectl(&["create", "namespace", &name]);
        let namespace = Namespace { cluster, name, _using: using };
        namespace.kubectl(&["wait", "--for=create", "serviceaccount/default", PATIENCE]);
        namespace
    }

    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[&["--namespace", &self.name], arguments].concat())
    }

    #[track_caller]
    pub(crate) fn object(&self, arguments: &[&str]) -> Value {
        self.cluster.object(&[&["--namespace", &self.name], arguments].concat())
    }

    /// Applies objects, which get this namespace.
    #[track_caller]
    pub(crate) fn apply(&self, objects: &[Value]) {
        self.cluster.apply(&self.own(objects));
    }

    /// What `kubectl apply` says of an object that is refused.
    #[track_caller]
    pub(crate) fn refused(&self, object: Value) -> String {
        self.cluster.refused(&["apply", "--filename", "-"], &self.own(&[object]))
    }

    /// Waits until the newest pods of a Deployment are ready, and no others are left.
    #[track_caller]
    pub(crate) fn rolled_out(&self, deployment: &str) {
        self.kubectl(&["rollout", "status", PATIENCE, "deployment", deployment]);
    }

    /// The same objects in this namespace.
    pub(crate) fn own(&self, objects: &[Value]) -> Vec<Value> {
        let own = |object: &Value| {
            let mut object = object.clone();
            object["metadata"]["namespace"] = self.name.as_str().into();
            object
        };
        objects.iter().map(own).collect()
    }

    fn show(&self) {
        let show = |arguments: &[&str]| {
            let output = self.cluster.run(&[&["--namespace", &self.name], arguments].concat(), &[]);
            eprintln!("--- kubectl {arguments:?}\n{}", String::from_utf8_lossy(&output.stdout));
        };
        show(&["get", "all,ingress,endpointslices,proxypolicies", "--output=wide"]);
        show(&["events"]);
        let pods = self.cluster.run(&["--namespace", &self.name, "get", "pods", "--output=name"], &[]);
        for pod in String::from_utf8_lossy(&pods.stdout).lines() {
            show(&["logs", pod, "--all-containers", "--tail=50"]);
            show(&["logs", pod, "--all-containers", "--tail=50", "--previous"]);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        self.cluster.run(&["delete", "namespace", &self.name, "--wait=false"], &[]);
        // What the chart has put outside of it.
        let of_chart = format!("{}-headgate", self.name);
        self.cluster.run(&["delete", "clusterrole,clusterrolebinding", &of_chart, "--ignore-not-found"], &[]);
        self.cluster.run(&["delete", "ingressclass", &self.name, "--ignore-not-found"], &[]);
    }
}
