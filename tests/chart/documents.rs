//! Files that say the same as others, and the file for kind.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::rendered::{Rendered, parse, read, root, tool};

#[test]
fn the_definition_in_the_chart_is_that_of_the_repository() {
    assert!(
        read("charts/headgate/files/proxypolicies.yaml") == read("crds/proxypolicies.yaml"),
        "`make crds` writes both"
    );
    let expected = parse(&read("crds/proxypolicies.yaml")).remove(0);
    let rendered = Rendered::with(&[]).one("CustomResourceDefinition").clone();
    assert!(
        with_reals(rendered["spec"].clone()) == with_reals(expected["spec"].clone()),
        "Helm renders another definition"
    );
    assert_eq!(rendered["metadata"]["name"], expected["metadata"]["name"]);
    for (label, value) in expected["metadata"]["labels"].as_object().unwrap() {
        assert_eq!(rendered["metadata"]["labels"][label], *value);
    }
}

/// The same with all numbers as Helm has them, to which 0.0 is 0.
fn with_reals(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.into_iter().map(with_reals).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, field)| (name, with_reals(field))).collect(),
        other => other,
    }
}

#[test]
fn the_definition_outlives_the_release_unless_it_is_not_to() {
    let policy = |set: &[&str]| {
        Rendered::with(set).one("CustomResourceDefinition")["metadata"]["annotations"]["helm.sh/resource-policy"]
            .clone()
    };
    assert_eq!(policy(&[]), "keep");
    assert_eq!(policy(&["crds.keep=false"]), Value::Null);
    assert_eq!(Rendered::with(&["crds.enabled=false"]).all("CustomResourceDefinition").count(), 0);
}

#[test]
fn the_manifests_are_what_the_chart_renders() {
    for variant in ["cloud", "kind", "bare-metal"] {
        let output = Command::new(root().join("deploy/render.sh")).arg(variant).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rendered = String::from_utf8(output.stdout).unwrap();
        let file = format!("deploy/{variant}/headgate.yaml");
        assert!(read(&file) == rendered, "{file} is not what deploy/render.sh prints; `make manifests` writes it");
        assert!(!rendered.contains("helm"), "{file} is for those who have no Helm");
    }
}

#[test]
fn the_chart_has_the_version_of_the_package() {
    let chart = parse(&read("charts/headgate/Chart.yaml")).remove(0);
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
}

/// Artifact Hub shows nothing of a list that it cannot read.
#[test]
fn the_changes_of_the_chart_are_a_list_for_artifact_hub() {
    let chart = parse(&read("charts/headgate/Chart.yaml")).remove(0);
    let changes = parse(chart["annotations"]["artifacthub.io/changes"].as_str().unwrap()).remove(0);
    let changes = changes.as_array().unwrap();
    assert!(!changes.is_empty());
    for change in changes {
        let kinds = ["added", "changed", "deprecated", "removed", "fixed", "security"];
        assert!(kinds.iter().any(|kind| change["kind"] == *kind), "{change}");
        assert!(change["description"].as_str().is_some_and(|text| !text.is_empty()), "{change}");
        assert_eq!(change.as_object().unwrap().len(), 2, "{change}");
    }
}

/// What kind's own module makes of a file for it, or why it refuses it.
fn kind(text: &str) -> Result<Value, String> {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let output = Command::new(tool("kind-config")).arg(file.path()).output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The ports that the machine gives the node are those that the pod takes there.
#[test]
fn kind_leads_to_the_pod() {
    let cluster = kind(&read("kind-config.yaml")).unwrap();
    let (node, other) = (&cluster["Nodes"][0], &cluster["Nodes"][1]);
    let rendered = Rendered::of(&root().join("deploy/kind/values.yaml"), &[]);
    let mapped = node["ExtraPortMappings"].as_array().unwrap().iter().map(|mapping| &mapping["ContainerPort"]);
    let taken = rendered.container()["ports"].as_array().unwrap().iter().map(|port| &port["hostPort"]);
    assert!(mapped.eq(taken.filter(|port| !port.is_null())));
    for (label, value) in rendered.pod()["nodeSelector"].as_object().unwrap() {
        assert!(node["Labels"][label] == *value || label == "kubernetes.io/os", "{label}");
    }
    assert_eq!((&node["Role"], &other["Role"]), (&json!("control-plane"), &json!("worker")));
    assert_eq!(rendered.pod()["tolerations"][0]["key"], "node-role.kubernetes.io/control-plane");
}

#[test]
fn kind_refuses_a_slip() {
    let text = read("kind-config.yaml");
    for (right, wrong, complaint) in [
        ("extraPortMappings", "extraPortMapping", "field extraPortMapping not found"),
        ("hostPort: 80,", "hostport: 80,", "field hostport not found"),
        ("role: worker", "role: wrker", r#""wrker" is not a valid node role"#),
        ("hostPort: 443", "hostPort: 70000", "invalid hostPort"),
        ("x-k8s.io/v1alpha4", "x-k8s.io/v1", "unknown apiVersion"),
    ] {
        assert!(text.contains(right), "{right}");
        let refused = kind(&text.replace(right, wrong)).unwrap_err();
        assert!(refused.contains(complaint), "{wrong}: {refused}");
    }
}
