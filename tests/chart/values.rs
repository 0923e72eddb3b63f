//! `values.yaml`, its schema, and the table of the chart's README, which is made of both the names and the comments.

use std::sync::LazyLock;

use serde_json::Value;

use crate::rendered::{ci, parse, read, root, template, value_files};

const README: &str = "charts/headgate/README.md";
const BEGIN: &str = "<!-- values: `make golden` writes this table -->\n";
const END: &str = "<!-- end of values -->\n";

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&read("charts/headgate/values.schema.json")).unwrap());

/// `make golden` rewrites it.
#[test]
fn the_table_of_the_readme_is_that_of_the_values() {
    let readme = read(README);
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var("HEADGATE_GOLDEN").is_ok_and(|wish| wish == "rewrite") {
        std::fs::write(root().join(README), &expected).unwrap();
    } else {
        assert!(readme == expected, "{README} does not show values.yaml; `make golden` writes it");
    }
}

fn table() -> String {
    let text = read("charts/headgate/values.yaml");
    let values = parse(&text).remove(0);
    let rows = described(&text).into_iter().map(|(path, text)| {
        let default = values.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or_else(|| panic!("no {path}"));
        format!("| `{path}` | {} | `{default}` |\n", text.replace('|', "\\|"))
    });
    std::iter::once("| value | what it says | default |\n|---|---|---|\n".to_owned()).chain(rows).collect()
}

/// The keys that have a comment with two dashes, with that comment, in their order.
fn described(text: &str) -> Vec<(String, String)> {
    let mut path: Vec<&str> = Vec::new();
    let mut comment = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let content = line.trim_start();
        if let Some(text) = content.strip_prefix("# -- ") {
            comment = Some(text.to_owned());
        } else if let Some((key, _)) = content.split_once(':').filter(|_| !content.starts_with('#')) {
            path.truncate((line.len() - content.len()) / 2);
            path.push(key);
            found.extend(comment.take().map(|text| (path.join("."), text)));
        }
    }
    found
}

/// A value that nobody explains, or that the schema does not have, is one that nobody finds.
#[test]
fn every_value_is_described_and_in_the_schema() {
    let text = read("charts/headgate/values.yaml");
    let described: Vec<String> = described(&text).into_iter().map(|(path, _)| path).collect();
    let values = parse(&text).remove(0);
    let mut wrong = Vec::new();
    compare("", &values, &SCHEMA, &described, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(path: &str, value: &Value, schema: &Value, described: &[String], wrong: &mut Vec<String>) {
    // What has a comment is one value, whatever is in it.
    if described.iter().any(|known| known == path) {
        return;
    }
    let shared = schema["$ref"].as_str().map(|name| SCHEMA.pointer(name.trim_start_matches('#')).unwrap());
    let schema = shared.unwrap_or(schema);
    let (Some(values), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return wrong.push(format!("{path}: has no comment"));
    };
    // Each key of the first Service may stand there, and the schema has them.
    let inherits = path == "controller.service.internal";
    for key in known.keys().filter(|key| !values.contains_key(*key) && !inherits) {
        wrong.push(format!("{path}.{key}: only the schema has it"));
    }
    for (key, value) in values {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match known.get(key) {
            Some(schema) => compare(&path, value, schema, described, wrong),
            None => wrong.push(format!("{path}: only values.yaml has it")),
        }
    }
}

/// Written twice, since Helm before 3.18 knows no `unevaluatedProperties` and would take what is misspelt.
#[test]
fn what_is_alike_is_so_in_the_schema() {
    let known = |path: &str, own: &[&str]| {
        let mut properties = SCHEMA.pointer(path).unwrap()["properties"].as_object().unwrap().clone();
        properties.retain(|key, _| !own.contains(&key.as_str()));
        properties
    };
    let (service, metrics) = ("/properties/controller/properties/service", "/properties/controller/properties/metrics");
    let internal = known(&format!("{service}/properties/internal"), &["enabled"]);
    assert_eq!(known(service, &["enabled", "external", "internal"]), internal);
    let [of_service, of_pods] = ["serviceMonitor", "podMonitor"]
        .map(|monitor| known(&format!("{metrics}/properties/{monitor}"), &["targetLabels", "podTargetLabels"]));
    assert_eq!(of_service, of_pods);
    assert!(internal.len() > 20 && of_pods.len() > 10);
}

/// What no file sets is rendered by no test, and seen by no schema of Kubernetes.
#[test]
fn every_value_is_set_by_some_file() {
    let files: Vec<Value> =
        value_files().iter().map(|file| parse(&std::fs::read_to_string(file).unwrap()).remove(0)).collect();
    let text = read("charts/headgate/values.yaml");
    let paths = described(&text).into_iter().map(|(path, _)| path);
    let is_set =
        |path: &String| files.iter().any(|file| file.pointer(&format!("/{}", path.replace('.', "/"))).is_some());
    let never: Vec<_> = paths.filter(|path| !is_set(path)).collect();
    assert!(never.is_empty(), "{never:#?}");
}

#[test]
fn a_wrong_value_is_refused_by_its_name() {
    for (set, names) in [
        ("controler={}", &["controler"][..]),
        ("controller.replicas=2", &["/controller", "replicas"]),
        ("controller.service.externalTrafficPolice=\"Local\"", &["/controller/service", "externalTrafficPolice"]),
        ("controller.service.internal.anotations={}", &["/controller/service/internal", "anotations"]),
        ("controller.kind=\"StatefulSet\"", &["/controller/kind", "DaemonSet"]),
        ("controller.replicaCount=\"two\"", &["/controller/replicaCount", "integer"]),
        ("controller.containerPort.http=70000", &["/controller/containerPort/http", "want 65,535"]),
        ("controller.defaultBackendService=\"errors\"", &["/controller/defaultBackendService"]),
        ("controller.admissionWebhooks.enabled=false", &["admissionWebhooks"]),
        ("controller.metrics.prometheusRule.thresholds.errorRatio=5", &["thresholds/errorRatio"]),
        ("tcp={}", &["tcp"]),
    ] {
        let output = template(&ci("default"), &[set]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{set} is taken");
        assert!(names.iter().all(|name| message.contains(name)), "{set}: {message}");
    }
}

#[test]
fn a_parent_chart_may_say_what_it_likes_under_global() {
    let output = template(&ci("default"), &["global.other={\"a\":1}"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
