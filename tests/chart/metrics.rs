//! The rules and the dashboard ask for metrics and labels that there are. That each expression gives data, Prometheus itself
//! says in `tests/cluster`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::rendered::{Rendered, ci, read};
use crate::support::objects::{policy, tls_site};
use crate::support::tools::tool;
use crate::support::{Backend, Headgate, TestCertificate, get, ports::ClosedPort};

/// Only a process in a cluster has them, by these labels.
const OF_A_CLUSTER: [(&str, &[&str]); 4] = [
    ("headgate_leader", &[]),
    ("headgate_source_synced", &["kind"]),
    ("headgate_source_objects", &["kind"]),
    ("headgate_watch_errors_total", &["kind"]),
];

/// Where an expression comes from, and itself.
type Expression = (String, String);

#[test]
fn there_is_every_metric_that_is_asked_for() {
    let expressions = [alerts(), panels()].concat();
    assert!(expressions.len() > 30, "{expressions:#?}");
    let missing = |(_, of): &&Expression| names(of).iter().any(|name| !SCRAPED.contains_key(name));
    let wrong: Vec<_> = expressions.iter().filter(missing).collect();
    assert!(wrong.is_empty(), "{wrong:#?} of {:?}", SCRAPED.keys());
}

/// A label that no metric of the expression has makes the expression empty, or groups by nothing.
#[test]
fn there_is_every_label_that_is_asked_for() {
    for (place, expression) in [alerts(), panels()].concat() {
        let of_target = ["job", "pod", "controller_namespace"].map(str::to_owned);
        let known: BTreeSet<_> = names(&expression)
            .iter()
            .filter_map(|name| SCRAPED.get(name))
            .flatten()
            .cloned()
            .chain(of_target)
            .collect();
        let unknown: Vec<_> = labels(&expression).into_iter().filter(|label| !known.contains(label)).collect();
        assert!(unknown.is_empty(), "{place}: {unknown:?} in {expression}");
    }
}

/// The rules are about the job and the namespace that the monitors make, and the dashboard asks for them by its variables.
#[test]
fn the_job_is_the_release() {
    for (file, monitor) in [("metrics", "ServiceMonitor"), ("networkpolicy", "PodMonitor")] {
        let rendered = Rendered::of(&ci(file), &[]);
        let spec = &rendered.one(monitor)["spec"];
        assert_eq!(spec["jobLabel"], "app.kubernetes.io/instance");
        let endpoint = spec.get("endpoints").or(spec.get("podMetricsEndpoints")).unwrap();
        let own = json!({ "sourceLabels": ["__meta_kubernetes_namespace"], "targetLabel": "controller_namespace" });
        assert_eq!(endpoint[0]["relabelings"][0], own);
    }
    for (place, expression) in alerts().into_iter().filter(|(place, _)| place != "Mine") {
        let own = "job=\"release\",controller_namespace=\"space\"";
        assert_eq!(expression.matches(own).count(), names(&expression).len(), "{place}: {expression}");
        assert!(!expression.contains("by (") || expression.contains("by (job, controller_namespace"), "{place}");
    }
    for (place, expression) in panels() {
        let own = "{job=~\"$job\", controller_namespace=~\"$controller_namespace\"";
        assert_eq!(expression.matches(own).count(), names(&expression).len(), "{place}: {expression}");
    }
}

#[test]
fn the_monitor_selects_the_service_for_metrics_only() {
    let rendered = Rendered::of(&ci("metrics"), &[]);
    let monitor = &rendered.one("ServiceMonitor")["spec"];
    let selector = monitor["selector"]["matchLabels"].as_object().unwrap();
    let is_selected =
        |service: &&Value| selector.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value);
    let selected: Vec<_> = rendered.all("Service").filter(is_selected).collect();
    assert_eq!(selected.len(), 1);
    assert_eq!(selected[0]["spec"]["ports"][0]["name"], monitor["endpoints"][0]["port"]);
    assert_eq!(monitor["namespaceSelector"], json!({ "matchNames": ["space"] }));
    let of_pods = Rendered::of(&ci("networkpolicy"), &[]);
    assert_eq!(of_pods.one("PodMonitor")["metadata"]["namespace"], "monitoring");
    assert_eq!(of_pods.one("PodMonitor")["spec"]["namespaceSelector"], json!({ "matchNames": ["space"] }));
    let port = &of_pods.one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"];
    assert!(of_pods.container()["ports"].as_array().unwrap().iter().any(|of| of["name"] == *port));
}

#[test]
fn thresholds_and_rules_of_the_user_are_in_the_rule() {
    let alert = |set: &[&str], name: &str| {
        let rendered = Rendered::of(&ci("metrics"), set);
        rendered.one("PrometheusRule")["spec"]["groups"][0]["rules"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["alert"] == name)
            .cloned()
    };
    let expression = |set: &[&str], name: &str| alert(set, name).unwrap()["expr"].as_str().unwrap().to_owned();
    let threshold = |name: &str, value: &str| format!("controller.metrics.prometheusRule.thresholds.{name}={value}");
    assert!(expression(&[], "HeadgateErrorRatio").ends_with("> 0.01"), "as the file says");
    assert!(expression(&[&threshold("errorRatio", "0.2")], "HeadgateErrorRatio").ends_with("> 0.2"));
    assert!(expression(&[&threshold("p99Seconds", "2.5")], "HeadgateSlow").ends_with("> 2.5"));
    assert!(expression(&[&threshold("certificateDays", "20")], "HeadgateCertificateExpires").ends_with("< 20 * 86400"));
    assert_eq!(alert(&[], "Mine").unwrap()["expr"], "up == 0");
    assert!(alert(&[], "HeadgateLeaderMissing").is_some());
    assert_eq!(alert(&["controller.disableLeaderElection=true"], "HeadgateLeaderMissing"), None);
}

#[test]
fn the_dashboard_is_where_the_sidecar_looks() {
    let rendered = Rendered::of(&ci("metrics"), &[]);
    let map = rendered.named("ConfigMap", "release-headgate-dashboards");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "yes", "as the file says");
    assert_eq!(map["metadata"]["namespace"], "monitoring");
    let shown: Value = serde_json::from_str(map["data"]["headgate.json"].as_str().unwrap()).unwrap();
    assert_eq!(shown, dashboard());
    let by_default = Rendered::with(&["controller.metrics.dashboards.enabled=true"]);
    let map = by_default.named("ConfigMap", "release-headgate-dashboards");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
}

/// Where there is none, an expression is to say so.
#[test]
fn no_expression_makes_data_up() {
    let made_up: Vec<_> = [alerts(), panels()].concat().into_iter().filter(|(_, of)| of.contains("vector(")).collect();
    assert!(made_up.is_empty(), "{made_up:#?}");
}

#[test]
fn each_panel_says_what_it_shows() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let says = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"], json!({ "type": "prometheus", "uid": "${datasource}" }), "{panel:#}");
        assert!(says(&panel["title"]) && says(&panel["description"]), "{panel:#}");
        assert!(says(&panel["fieldConfig"]["defaults"]["unit"]), "{panel:#}");
        let targets = panel["targets"].as_array().unwrap();
        let is_named = |target: &Value| panel["type"] != "timeseries" || says(&target["legendFormat"]);
        assert!(!targets.is_empty() && targets.iter().all(is_named), "{panel:#}");
    }
}

/// What Grafana's own schema finds wrong with a dashboard.
fn wrong(dashboard: &str) -> String {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), dashboard).unwrap();
    let output = Command::new(tool("grafana-schema")).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_dashboard_is_of_grafanas_schema() {
    let text = read("charts/headgate/dashboards/headgate.json");
    assert_eq!(wrong(&text), "");
    for (right, slip, complaint) in [
        ("\"schemaVersion\"", "\"schemaversion\"", "unexpected field 'schemaversion'"),
        ("\"showLegend\"", "\"legend\"", "unexpected field 'legend'"),
        ("\"min\": 0", "\"least\": 0", "unexpected field 'least'"),
        ("\"expr\"", "\"query\"", "unexpected field 'query'"),
    ] {
        assert!(text.contains(right), "{right}");
        let found = wrong(&text.replace(right, slip));
        assert!(found.contains(complaint), "{slip}: {found}");
    }
}

fn alerts() -> Vec<Expression> {
    let rendered = Rendered::of(&ci("metrics"), &[]);
    let rules = rendered.one("PrometheusRule")["spec"]["groups"][0]["rules"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules.iter().map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

fn panels() -> Vec<Expression> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (panel["title"].as_str().unwrap().to_owned(), target["expr"].as_str().unwrap().to_owned()))
    });
    targets.collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("charts/headgate/dashboards/headgate.json")).unwrap()
}

/// The metrics in an expression, as often as they are there.
fn names(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| ["proxy_", "headgate_", "process_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(ours).map(str::to_owned).collect()
}

/// The labels by which an expression selects (`{a="b"}`) and groups (`by (a, b)`).
fn labels(expression: &str) -> BTreeSet<String> {
    let between = |open: &str, close: char| -> Vec<String> {
        expression.split(open).skip(1).map(|rest| rest.split(close).next().unwrap().to_owned()).collect()
    };
    let selected = between("{", '}');
    let selected = selected.iter().flat_map(|list| list.split(',')).map(|pair| pair.split(['=', '!']).next().unwrap());
    let grouped = between("by (", ')');
    let grouped = grouped.iter().flat_map(|list| list.split(','));
    selected.chain(grouped).map(|label| label.trim().to_owned()).collect()
}

/// The names of all metrics and their labels, after requests that were served, refused, tried again and counted out.
static SCRAPED: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let (backend, dead) = (Backend::answering("x"), ClosedPort::new());
    let mut objects =
        tls_site("a.example", &[dead.address, backend.address], &TestCertificate::for_names(&["a.example"]));
    objects.push(policy("limit", "Ingress", "a", json!({ "rateLimit": { "requests": 3, "per": "1h" } })));
    objects.push(policy("eager", "Service", "a", json!({ "outlier": { "consecutiveErrors": 1 } })));
    objects.push(policy("lost", "Ingress", "absent", json!({ "timeouts": { "idle": "1s" } })));
    let headgate = Headgate::with(&objects).flag("--ssl-redirect", "false").start();
    for _ in 0..6 {
        get(headgate.http, "a.example", "/");
    }
    headgate.counted("proxy_rate_limit_exceeded_total", &[], 3.0);
    headgate.counted("proxy_ejections_total", &[], 1.0);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in headgate.metrics().series() {
        found.entry(series.name.clone()).or_default().extend(series.labels.keys().cloned());
    }
    found
        .extend(OF_A_CLUSTER.map(|(name, labels)| (name.to_owned(), labels.iter().map(|l| (*l).to_owned()).collect())));
    found
});
