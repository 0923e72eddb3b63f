//! The chart's dashboard, as Grafana asks for it: its variables first, then each panel.

use serde_json::Value;

use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::prometheus::Prometheus;

/// What Grafana sets for a source that says nothing of its interval.
const RATE_INTERVAL: &str = "1m";

/// Waits until each question of each panel is answered with data that has the labels of its legend.
#[track_caller]
pub(crate) fn dashboard_gives_data(prometheus: &Prometheus, namespace: &Namespace) {
    let map = namespace.object(&["configmap", "headgate-dashboards"]);
    let dashboard: Value = serde_json::from_str(map["data"]["headgate.json"].as_str().unwrap()).unwrap();
    let mut questions = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = &panel["title"];
            let (expression, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            let legend = labels(legend);
            until(&format!("data of {title}: {expression}"), || {
                let data = prometheus.query(&substituted(expression, &variables(prometheus, &dashboard)));
                let shows = |label: &&str| data.iter().any(|series| series["metric"].get(label).is_some());
                let is_there = data.iter().any(|series| series["value"][1] != "NaN");
                (is_there && legend.iter().all(shows)).then_some(())
            });
            questions += 1;
        }
    }
    assert!(questions > 30, "{dashboard:#}");
}

/// All values of each variable, as its regular expression.
fn variables(prometheus: &Prometheus, dashboard: &Value) -> Vec<(String, String)> {
    let mut known = vec![("__rate_interval".to_owned(), RATE_INTERVAL.to_owned())];
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] != "query" {
            continue;
        }
        let question = substituted(variable["query"]["query"].as_str().unwrap(), &known);
        let (selector, label) = question
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|arguments| arguments.rsplit_once(", "))
            .unwrap_or_else(|| panic!("{question}"));
        let values = until(&question, || Some(prometheus.values(selector, label)).filter(|values| !values.is_empty()));
        known.push((variable["name"].as_str().unwrap().to_owned(), values.join("|")));
    }
    known
}

fn substituted(question: &str, variables: &[(String, String)]) -> String {
    let put = |text: String, (name, value): &(String, String)| text.replace(&format!("${name}"), value);
    variables.iter().fold(question.to_owned(), put)
}

/// The labels that a legend shows.
fn labels(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).map(|rest| rest.split_once("}}").unwrap().0).collect()
}
