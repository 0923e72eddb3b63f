//! The cluster that all tests of a process share: started at the first question, gone when the process is, however that
//! ends. `KUBECONFIG_E2E` names another one, whose nodes have the images `headgate.test/headgate:1` and
//! `headgate.test/busybox:1`; what needs the inside of the node then says so.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::folder::to_yaml;
use crate::support::wait::within;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster");

/// How long a fact of the cluster may take to come about: pods that start, a Lease that is left.
const LONGEST: Duration = Duration::from_secs(90);

/// The same, as `kubectl` takes it.
pub(crate) const PATIENCE: &str = "--timeout=90s";

/// As that of `support::wait`, for facts of the cluster.
#[track_caller]
pub(crate) fn until<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    within(LONGEST, fact).unwrap_or_else(|| panic!("waited {LONGEST:?} for {what}"))
}

#[derive(Debug)]
pub(crate) struct Cluster {
    kubectl: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    /// Of a cluster of our own.
    node: Option<Node>,
}

#[derive(Debug)]
pub(crate) struct Node {
    /// The folder that `cluster.sh` calls STATE.
    state: PathBuf,
    /// `cluster.sh run`, which takes the cluster down when its stdin is closed, so when this process is gone.
    _script: Child,
}

impl Cluster {
    /// The one cluster, which knows our kinds. From now on the calling thread, and whatever it starts, is outside the node.
    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| match std::env::var_os("KUBECONFIG_E2E") {
            Some(kubeconfig) => Self::named(kubeconfig.into()),
            None => Self::start(),
        });
        let cluster = cluster.as_ref().unwrap_or_else(|why| panic!("{why}"));
        if cluster.node.is_some() {
            enter("headgate-client");
        }
        static KINDS: Once = Once::new();
        KINDS.call_once(|| cluster.apply_crds());
        cluster
    }

    fn named(kubeconfig: PathBuf) -> Result<Self, String> {
        let kube = Command::new(format!("{SCRIPTS}/build.sh")).arg("kube").stderr(Stdio::inherit()).output().unwrap();
        if !kube.status.success() {
            return Err("kubectl could not be built".to_owned());
        }
        let kubectl = Path::new(text(&kube.stdout).trim_end()).join("kubectl");
        Ok(Cluster { kubectl, kubeconfig, node: None })
    }

    fn start() -> Result<Self, String> {
        let mut script = Command::new(format!("{SCRIPTS}/cluster.sh"));
        script.args(["run", env!("CARGO_BIN_EXE_headgate")]);
        // Ctrl-C is for the tests; the script ends after them.
        script.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let Some(state) = said.trim_end().strip_prefix("ready ").map(PathBuf::from) else {
            let status = script.wait().unwrap();
            return Err(format!("cluster.sh run: {status} {said}"));
        };
        let (kubectl, kubeconfig) = (state.join("kube/kubectl"), state.join("kubeconfig"));
        Ok(Cluster { kubectl, kubeconfig, node: Some(Node { state, _script: script }) })
    }

    pub(crate) fn apply_crds(&self) {
        self.define(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"));
    }

    /// Applies definitions of kinds, from a file or a folder of them, and waits until they can be used.
    #[track_caller]
    pub(crate) fn define(&self, kinds: &str) {
        self.kubectl(&["apply", "--server-side", "--filename", kinds]);
        // It fails at once where there are no conditions yet.
        let established = ["wait", "--for=condition=Established", PATIENCE, "--filename", kinds];
        until(kinds, || self.run(&established, &[]).status.success().then_some(()));
    }

    /// The inside of the node.
    #[track_caller]
    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("KUBECONFIG_E2E names the cluster, and this test needs the inside of its node")
    }

    /// Waits for the API server.
    #[track_caller]
    pub(crate) fn until_ready(&self) {
        until("the API server", || self.run(&["get", "--raw", "/readyz"], &[]).status.success().then_some(()));
    }

    /// What a successful `kubectl` printed.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        succeeded(arguments, self.run(arguments, &[]))
    }

    /// What `kubectl` complained of.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str], objects: &[Value]) -> String {
        let output = self.run(arguments, objects);
        assert!(!output.status.success(), "kubectl {arguments:?} did not fail: {}", text(&output.stdout));
        text(&output.stderr)
    }

    #[track_caller]
    pub(crate) fn apply(&self, objects: &[Value]) {
        let arguments = ["apply", "--filename", "-"];
        succeeded(&arguments, self.run(&arguments, objects));
    }

    /// What a `kubectl get` of one object gives.
    #[track_caller]
    pub(crate) fn object(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get", "--output=json"], arguments].concat())).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        kubectl
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &[Value]) -> Output {
        let mut kubectl = self.command(arguments);
        kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kubectl = kubectl.spawn().unwrap();
        kubectl.stdin.take().unwrap().write_all(to_yaml(input).as_bytes()).unwrap();
        kubectl.wait_with_output().unwrap()
    }
}

/// Moves the calling thread, and whatever it starts, into this network namespace.
fn enter(network: &str) {
    let network = File::open(format!("/run/netns/{network}")).unwrap();
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

impl Node {
    /// Lets etcd forget what was before now, so that nobody can go on where it was.
    #[track_caller]
    pub(crate) fn compact(&self) {
        self.inside(|| {
            let ask = |what: &str, body: &Value| {
                let (etcd, body) = (([127, 0, 0, 1], 2379).into(), body.to_string());
                let head = format!("POST /v3/kv/{what} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}", body.len());
                let answer = request(etcd, format!("{head}\r\nConnection: close\r\n\r\n{body}"));
                assert_eq!(answer.status, 200, "{}", answer.text());
                answer.json()
            };
            let revision = ask("range", &json!({ "key": "AA==" }))["header"]["revision"].clone();
            ask("compaction", &json!({ "revision": revision, "physical": true }));
        });
    }

    /// Lets nothing from this address of a pod to the API server, until that is dropped.
    #[track_caller]
    pub(crate) fn separate(&self, pod: IpAddr) -> Separation<'_> {
        let separation = Separation { node: self, pod };
        separation.rule("--insert");
        separation
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            enter("headgate-node");
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// Kills a component.
    #[track_caller]
    pub(crate) fn stop(&self, component: &str) {
        self.script("stop", component);
    }

    #[track_caller]
    pub(crate) fn start(&self, component: &str) {
        self.script("start", component);
    }

    /// Lets a component take what is sent to it and say nothing, until that is dropped.
    #[track_caller]
    pub(crate) fn freeze<'a>(&'a self, component: &'a str) -> Frozen<'a> {
        self.script("freeze", component);
        Frozen { node: self, component }
    }

    /// Kills the process of a pod whose environment has its name.
    #[track_caller]
    pub(crate) fn kill(&self, pod: &str) {
        let name = format!("POD_NAME={pod}");
        let is_it = |process: &Path| {
            std::fs::read(process.join("environ"))
                .is_ok_and(|variables| variables.split(|byte| *byte == 0).any(|variable| variable == name.as_bytes()))
        };
        let processes = std::fs::read_dir("/proc").unwrap().map(|process| process.unwrap().path());
        let process = processes.into_iter().find(|process| is_it(process)).unwrap();
        let pid = process.file_name().unwrap().to_str().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// Gives it an image that is built for it.
    #[track_caller]
    pub(crate) fn load(&self, image: &str) {
        self.script("load", image);
    }

    #[track_caller]
    fn script(&self, command: &str, component: &str) {
        let mut script = Command::new(format!("{SCRIPTS}/cluster.sh"));
        let status = script.args([command, component]).env("STATE", &self.state).status().unwrap();
        assert!(status.success(), "cluster.sh {command} {component}: {status}");
    }
}

/// A component that says nothing.
#[derive(Debug)]
pub(crate) struct Frozen<'a> {
    node: &'a Node,
    component: &'a str,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.node.script("thaw", self.component);
    }
}

/// A pod that cannot reach the API server.
#[derive(Debug)]
pub(crate) struct Separation<'a> {
    node: &'a Node,
    pod: IpAddr,
}

impl Separation<'_> {
    fn rule(&self, change: &str) {
        let from = self.pod.to_string();
        let rule = ["INPUT", "--source", &from, "--protocol", "tcp", "--dport", "6443"];
        let refuse = ["--jump", "REJECT", "--reject-with", "tcp-reset"];
        self.node.inside(|| {
            let mut iptables = Command::new("iptables");
            let status = iptables.args(["--wait", change]).args(rule).args(refuse).status().unwrap();
            assert!(status.success(), "iptables {change}: {status}");
        });
    }
}

impl Drop for Separation<'_> {
    fn drop(&mut self) {
        self.rule("--delete");
    }
}

#[track_caller]
fn succeeded(arguments: &[&str], output: Output) -> String {
    assert!(output.status.success(), "kubectl {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
