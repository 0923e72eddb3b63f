//! `KUBECONFIG_E2E`: tests in a cluster that somebody else has started. Here that is the one of this process, under another
//! name, for another process.

use std::process::{Command, Output};

use crate::namespace::Namespace;

/// This executable's test of that name, in the cluster of a kubeconfig in which only a name is other.
fn run(namespace: &Namespace, test: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("another");
    let text = namespace.kubectl(&["config", "view", "--raw", "--flatten"]);
    std::fs::write(&kubeconfig, text.replace(": test\n", ": another\n")).unwrap();
    // Who starts a cluster instead waits for the end of this one.
    let mut tests = Command::new("timeout");
    tests.arg("300").arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    tests.env("KUBECONFIG_E2E", kubeconfig).output().unwrap()
}

#[test]
fn the_cluster_of_kubeconfig_e2e_is_used() {
    let namespace = Namespace::new();
    let output = run(&namespace, "node::the_binary_runs_in_an_image_from_scratch");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_test_that_needs_the_inside_of_the_node_says_so() {
    let namespace = Namespace::new();
    let output = run(&namespace, "faults::nobody_notices_that_the_api_server_is_away_and_comes_back");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let why = "KUBECONFIG_E2E names the cluster, and this test needs the inside of its node";
    assert!(said.contains(why), "{said}");
}
