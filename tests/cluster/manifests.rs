//! The manifests for those who have no Helm, as the API server reads them.

use serde::Deserialize;
use serde_json::Value;

use crate::kubernetes::until;
use crate::namespace::Namespace;

const NAMESPACE: &str = "headgate";

/// In the namespace of the test, for theirs is made by the same manifest.
fn objects(namespace: &Namespace, variant: &str) -> Vec<Value> {
    let file = format!("{}/deploy/{variant}/headgate.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text);
    let mut objects: Vec<Value> = documents.map(|document| Value::deserialize(document).unwrap()).collect();
    for object in &mut objects {
        let is_namespace = object["kind"] == "Namespace";
        let name = &mut object["metadata"][if is_namespace { "name" } else { "namespace" }];
        if *name == NAMESPACE {
            *name = namespace.name.as_str().into();
        }
    }
    objects
}

#[test]
fn the_api_server_takes_every_manifest() {
    let namespace = Namespace::new();
    let apply = ["apply", "--server-side", "--dry-run=server", "--filename", "-"];
    for variant in ["cloud", "kind", "bare-metal"] {
        let objects = objects(&namespace, variant);
        assert!(objects.len() > 8, "{variant}: {objects:#?}");
        let output = until("the ports of the node to be free", || {
            let output = namespace.cluster.run(&apply, &objects);
            let is_taken = String::from_utf8_lossy(&output.stderr).contains("provided port is already allocated");
            (!is_taken).then_some(output)
        });
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{variant}");
        let taken = String::from_utf8(output.stdout).unwrap();
        assert_eq!(taken.lines().filter(|line| line.ends_with(" (server dry run)")).count(), objects.len(), "{taken}");
    }
    let mut wrong = objects(&namespace, "cloud");
    let role = wrong.iter_mut().find(|object| object["kind"] == "ClusterRole").unwrap();
    role["rules"][0]["verb"] = role["rules"][0]["verbs"].take();
    namespace.cluster.refused(&apply, &wrong);
}
