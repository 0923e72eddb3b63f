//! What files of values that say much give, as it was reviewed. `make golden` rewrites it.

use serde_json::Value;

use crate::rendered::{Rendered, ci, read, root};

/// Of which file which kinds; none: all but the definition.
const REVIEWED: [(&str, &[&str]); 5] = [
    ("autoscaling", &["HorizontalPodAutoscaler", "PodDisruptionBudget"]),
    ("extra", &[]),
    ("internal-service", &["Service"]),
    ("metrics", &["ServiceMonitor", "PrometheusRule"]),
    ("networkpolicy", &["NetworkPolicy", "PodMonitor"]),
];

#[test]
fn what_is_rendered_is_what_was_reviewed() {
    for (name, kinds) in REVIEWED {
        let rendered = Rendered::of(&ci(name), &["crds.enabled=false"]);
        let is_shown = |object: &&Value| kinds.is_empty() || kinds.iter().any(|kind| object["kind"] == *kind);
        let shown = rendered.iter().filter(is_shown);
        let text: String = shown.map(|object| format!("---\n{}", serde_yaml::to_string(object).unwrap())).collect();
        let file = format!("tests/chart/golden/{name}.yaml");
        if std::env::var("HEADGATE_GOLDEN").is_ok_and(|wish| wish == "rewrite") {
            std::fs::write(root().join(&file), text).unwrap();
        } else {
            assert!(read(&file) == text, "{file} differs; `make golden` writes it, for review with git diff");
        }
    }
}
