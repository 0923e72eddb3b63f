//! Every field of a ProxyPolicy: which tests show its effect, and that the schema and a folder take and refuse the same
//! values of it. `table.yaml` has both, and is held to the schema, so that no field can be left out.

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use self::schema::{Refusal, refused_by};
use crate::support::objects::{self, authority_secret, tls_secret};
use crate::support::{Backend, Client, Headgate, Objects, TestAuthority};

/// What the table says of a field.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Row {
    right: Vec<Value>,
    wrong: Vec<Value>,
    ruled: Vec<Value>,
    told: Vec<Value>,
    shown: Vec<String>,
}

/// A policy with one value under test.
#[derive(Debug)]
struct Case {
    /// As problems name it.
    field: String,
    spec: Value,
    refused: Option<Refusal>,
}

fn table() -> BTreeMap<String, Row> {
    serde_yaml::from_str(include_str!("table.yaml")).unwrap()
}

/// Values that are right, by the fields of `spec`. Of a list, the last entry is the one that is changed.
fn sample() -> Value {
    json!({
        "targetRefs": [
            { "group": "networking.k8s.io", "kind": "Ingress", "name": "a" },
            { "group": "", "kind": "Service", "name": "a", "sectionName": "http" },
        ],
        "access": { "allow": ["127.0.0.0/8"], "deny": ["10.9.0.0/16"] },
        "rateLimit": {
            "requests": 100, "per": "1s", "burst": 200, "key": { "type": "Header", "name": "X-A" }, "status": 429,
            "headers": false,
        },
        "connectionLimit": { "perClient": 50 },
        "request": { "maxBodySize": "8Mi", "methods": ["GET"], "requiredHeaders": ["Host"] },
        "timeouts": { "request": "30s", "idle": "60s" },
        "loadBalancer": { "algorithm": "RoundRobin" },
        "trafficSplit": [
            { "service": "a", "port": 80, "weight": 1 }, { "service": "b", "port": 80, "weight": 1 },
        ],
        "healthCheck": {
            "path": "/", "host": "a.example", "port": 8081, "interval": "5s", "timeout": "1ms", "healthyThreshold": 2,
            "unhealthyThreshold": 3, "expectedStatuses": ["200-299"],
        },
        "outlier": { "consecutiveErrors": 5, "ejectionTime": "10s", "disabled": false },
        "maxConnections": 100,
        "protocol": "HTTP1",
        "backendTLS": {
            "caSecret": { "name": "ca" }, "serverName": "a.example", "clientCertSecret": { "name": "client" },
        },
        "connectTimeout": "5s",
        "retry": { "attempts": 2, "on": ["503"], "budgetPercent": 20, "nonIdempotent": true },
    })
}

/// The targets and the field that `path` is a part of, with a value at `path`; `None` takes it out.
fn case(path: &str, value: Option<Value>, refused: Option<Refusal>) -> Case {
    let sample = sample();
    let top = path.split(['.', '[']).next().unwrap();
    let mut spec = json!({ "targetRefs": sample["targetRefs"] });
    if !top.is_empty() {
        spec[top] = sample[top].clone();
    }
    if top == "backendTLS" {
        spec["protocol"] = "HTTPS".into();
    }
    let (mut place, mut field) = (&mut spec, "spec".to_owned());
    let mut steps = path.split('.').filter(|step| !step.is_empty()).peekable();
    while let Some(step) = steps.next() {
        let name = step.trim_end_matches("[]");
        field = format!("{field}.{name}");
        if steps.peek().is_none() && value.is_none() {
            place.as_object_mut().unwrap().remove(name);
            return Case { field: field.rsplit_once('.').unwrap().0.to_owned(), spec, refused };
        }
        place = &mut place[name];
        if step != name {
            let last = place.as_array().unwrap().len() - 1;
            field = format!("{field}[{last}]");
            place = &mut place[last];
        }
    }
    *place = value.unwrap();
    Case { field, spec, refused }
}

fn cases() -> Vec<Case> {
    let schema = schema::of_spec();
    let table = table();
    let mut cases = Vec::new();
    for (path, part) in schema::parts(&schema) {
        let row = table.get(&path);
        let listed = |values: fn(&Row) -> &Vec<Value>| row.map(|row| values(row).clone()).unwrap_or_default();
        let (right, wrong) = schema::edges(part);
        let mut add = |values: Vec<Value>, refused| {
            cases.extend(values.into_iter().map(|value| case(&path, Some(value), refused)));
        };
        add([right, listed(|row| &row.right)].concat(), None);
        add([wrong, listed(|row| &row.wrong)].concat(), Some(Refusal::Schema));
        add(listed(|row| &row.ruled), Some(Refusal::Rule));
        add(listed(|row| &row.told), Some(Refusal::Folder));
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let required = part["required"].as_array().into_iter().flatten();
        cases.extend(required.map(|name| case(&below(name.as_str().unwrap()), None, Some(Refusal::Schema))));
        if part["type"] == "object" {
            let Case { field, spec, refused } = case(&below("extra"), Some(json!(1)), Some(Refusal::Schema));
            cases.push(Case { field: field.trim_end_matches(".extra").to_owned(), spec, refused });
        }
    }
    cases
}

#[test]
fn every_field_has_tests_of_its_effect_that_are_there() {
    let schema = schema::of_spec();
    let parts = schema::parts(&schema);
    let fields: BTreeSet<_> = parts.iter().filter(|(_, part)| schema::is_field(part)).map(|(path, _)| path).collect();
    let known: BTreeSet<_> = parts.iter().map(|(path, _)| path).collect();
    let table = table();
    for path in table.keys() {
        assert!(known.contains(path), "{path} is no field");
    }
    for path in fields {
        let shown = table.get(path).map_or(&[][..], |row| &row.shown);
        assert!(!shown.is_empty(), "{path} has no test of its effect");
        for test in shown {
            let (file, name) = test.split_once("::").unwrap();
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/{file}.rs"));
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {test}: {error}"));
            let before = text.split(&format!("fn {name}(")).next().filter(|before| before.len() < text.len());
            let attribute = before.and_then(|before| before.trim_end_matches("async ").trim_end().lines().last());
            let is_test = attribute.is_some_and(|line| line == "#[test]" || line == "#[tokio::test]");
            assert!(is_test, "{path}: there is no test {test}");
            let field = path.rsplit('.').next().unwrap();
            assert!(text.contains(field), "{path}: nothing in the file of {test} has this field");
        }
    }
}

#[test]
fn each_value_is_taken_or_refused_by_the_schema() {
    let schema = schema::of_spec();
    for Case { field, spec, refused } in cases() {
        let by_schema = refused_by(&schema, &spec);
        assert_eq!(by_schema.is_some(), refused == Some(Refusal::Schema), "{field}: {spec}: {by_schema:?}");
        if refused == Some(Refusal::Rule) {
            assert!(schema::has_rule_about(&schema, &field), "{field}: no rule refuses {spec}");
        }
    }
}

/// One proxy serves all cases, each under a host of its own.
#[test]
fn each_value_is_taken_or_told_and_what_it_may_guard_is_denied() {
    let backend = Backend::answering("ok");
    let cases = cases();
    let proxy = Headgate::serve(&site(&backend, &cases));
    let problems = crate::support::get(proxy.admin, "admin", "/debug/problems").json();
    let mut client = Client::connect(proxy.http);
    let mut wrong = Vec::new();
    for (number, Case { field, spec, refused }) in cases.iter().enumerate() {
        let told = told(&problems, number);
        let is_told = told.iter().any(|told| told.starts_with(field));
        if is_told != refused.is_some() {
            wrong.push(format!("{field}: {spec}: {refused:?}, told of {told:?}"));
        }
        if refused.is_some() && !field.starts_with("spec.targetRefs") {
            let guards = ["access", "rateLimit", "connectionLimit", "request", "backendTLS"];
            let top = field.split('.').nth(1).unwrap_or_default();
            let denies = guards.contains(&top) || spec.get("extra").is_some();
            let status = client.get(&format!("c{number}.example"), "/").status;
            if status != if denies { 503 } else { 200 } {
                wrong.push(format!("{field}: {spec}: status {status}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The fields of the policy of this case that are said to be invalid.
fn told(problems: &Value, number: usize) -> Vec<&str> {
    let owner = format!("ProxyPolicy default/c{number}");
    let reports = problems["reports"].as_array().unwrap().iter().filter(|report| report["object"] == *owner);
    let problems = reports.flat_map(|report| report["problems"].as_array().unwrap());
    let invalid = problems.filter(|problem| problem["reason"] == "Invalid");
    invalid.map(|problem| problem["field"].as_str().unwrap()).collect()
}

fn site(backend: &Backend, cases: &[Case]) -> Objects {
    let authority = TestAuthority::named("ours");
    let mut objects =
        vec![authority_secret("ca", &authority), tls_secret("client", &authority.sign(&["client.example"]))];
    for name in ["a", "b"] {
        objects.extend(objects::service(name, &[backend.address]));
    }
    for (number, case) in cases.iter().enumerate() {
        let name = format!("c{number}");
        let mut policy = objects::policy(&name, "Ingress", &name, json!({}));
        policy["spec"] = case.spec.clone();
        for target in policy.pointer_mut("/spec/targetRefs").and_then(Value::as_array_mut).into_iter().flatten() {
            if target["name"] == "a" {
                target["name"] = name.as_str().into();
            }
        }
        objects.extend(objects::site(&format!("{name}.example"), &[backend.address]));
        objects.push(policy);
    }
    objects
}
