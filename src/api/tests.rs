//! What the schema must have for an API server to take it, and that the documented sample is a value of the types.

use serde_json::{Value, json};

use super::*;

fn spec_schema() -> Value {
    definition().unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Every schema below `part`, with its place.
fn schemas(at: String, part: &Value, found: &mut Vec<(String, Value)>) {
    found.push((at.clone(), part.clone()));
    for (name, property) in part["properties"].as_object().into_iter().flatten() {
        schemas(format!("{at}.{name}"), property, found);
    }
    if !part["items"].is_null() {
        schemas(format!("{at}[]"), &part["items"], found);
    }
}

#[test]
fn every_list_and_text_has_a_bound_and_nothing_may_be_null() {
    let mut found = Vec::new();
    schemas(String::new(), &spec_schema(), &mut found);
    assert!(found.len() > 60, "{}", found.len());
    for (at, schema) in found {
        match schema["type"].as_str() {
            Some("array") => assert!(schema["maxItems"].is_u64(), "{at}"),
            Some("string") => {
                let bounded = schema["maxLength"].is_u64() || schema["enum"].is_array();
                assert!(bounded || schema["format"] == "date-time", "{at}");
            }
            Some("integer") => assert!(["int32", "int64"].contains(&schema["format"].as_str().unwrap()), "{at}"),
            Some("object") => assert!(schema["properties"].is_object(), "{at}"),
            other => assert_eq!(other, Some("boolean"), "{at}"),
        }
        assert!(schema["nullable"].is_null(), "{at}");
        assert!(!schema["enum"].as_array().into_iter().flatten().any(Value::is_null), "{at}");
    }
}

#[test]
fn every_rule_has_a_message() {
    let mut found = Vec::new();
    schemas(String::new(), &spec_schema(), &mut found);
    let rules = found.iter().flat_map(|(at, schema)| {
        schema["x-kubernetes-validations"].as_array().into_iter().flatten().map(move |rule| (at, rule))
    });
    let rules: Vec<_> = rules.collect();
    assert!(rules.len() > 15, "{}", rules.len());
    for (at, rule) in rules {
        assert!(rule["message"].as_str().is_some_and(|message| !message.is_empty()), "{at}: {rule}");
    }
}

#[test]
fn only_what_has_no_default_is_required() {
    let mut found = Vec::new();
    schemas(String::new(), &spec_schema()["properties"]["spec"], &mut found);
    let required: Vec<String> = found
        .iter()
        .flat_map(|(at, schema)| {
            let names = schema["required"].as_array().into_iter().flatten();
            names.map(move |name| format!("{at}.{}", name.as_str().unwrap()))
        })
        .collect();
    let expected = [
        ".targetRefs",
        ".backendTLS.caSecret.name",
        ".backendTLS.clientCertSecret.name",
        ".connectionLimit.perClient",
        ".healthCheck.path",
        ".loadBalancer.algorithm",
        ".rateLimit.per",
        ".rateLimit.requests",
        ".rateLimit.key.type",
        ".targetRefs[].kind",
        ".targetRefs[].name",
        ".trafficSplit[].port",
        ".trafficSplit[].service",
        ".trafficSplit[].weight",
    ];
    assert_eq!(required, expected);
}

#[test]
fn names_columns_and_the_status_are_those_that_are_documented() {
    let definition = definition().unwrap();
    let names = &definition["spec"]["names"];
    assert_eq!(names["shortNames"], json!(["pp"]));
    assert_eq!(names["categories"], json!(["headgate"]));
    let version = &definition["spec"]["versions"][0];
    assert_eq!(version["name"], "v1alpha1");
    assert_eq!(version["subresources"], json!({"status": {}}));
    let columns = version["additionalPrinterColumns"].as_array().unwrap();
    let columns: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Target", "Accepted", "Programmed", "Reason", "Age"]);
    let schema = spec_schema();
    assert_eq!(schema["properties"]["status"]["properties"]["ancestors"]["maxItems"], 16);
    let targets = &schema["properties"]["spec"]["properties"]["targetRefs"];
    assert_eq!((&targets["minItems"], &targets["maxItems"]), (&json!(1), &json!(16)));
    assert_eq!(targets["x-kubernetes-list-type"], "atomic");
}

/// All fields, as the design has them.
const SAMPLE: &str = r#"
targetRefs:
- {group: networking.k8s.io, kind: Ingress, name: shop}
- {group: "", kind: Service, name: shop, sectionName: http}
access: {allow: [10.0.0.0/8, "2001:db8::/32"], deny: [10.9.0.0/16]}
rateLimit: {requests: 100, per: 1s, burst: 200, key: {type: ClientIP}, status: 429, headers: false}
connectionLimit: {perClient: 50}
request: {maxBodySize: 8Mi, methods: [GET, POST], requiredHeaders: [X-Api-Key]}
timeouts: {request: 30s, idle: 60s}
loadBalancer: {algorithm: RoundRobin}
trafficSplit: [{service: shop-v1, port: 80, weight: 9}, {service: shop-v2, port: 80, weight: 1}]
healthCheck:
  path: /_health
  host: shop.example.com
  port: 8081
  interval: 5s
  timeout: 3s
  healthyThreshold: 2
  unhealthyThreshold: 3
  expectedStatuses: ["200-299"]
outlier: {consecutiveErrors: 5, ejectionTime: 10s, disabled: false}
maxConnections: 100
protocol: HTTP1
backendTLS: {caSecret: {name: ca}, serverName: shop.internal, clientCertSecret: {name: client}}
connectTimeout: 5s
retry: {attempts: 2, on: [ConnectFailure, Reset, "502", "503"], budgetPercent: 20, nonIdempotent: true}
"#;

#[test]
fn every_field_is_read_and_written_as_it_is_documented() {
    let sample: Value = serde_yaml::from_str(SAMPLE).unwrap();
    let spec: ProxyPolicySpec = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), sample);
    let fields = spec_schema()["properties"]["spec"]["properties"].as_object().unwrap().len();
    assert_eq!(fields, sample.as_object().unwrap().len());
}

#[test]
fn unknown_fields_are_no_part_of_a_spec() {
    for text in ["{targetRefs: [], acess: {}}", "{targetRefs: [], access: {alow: []}}"] {
        assert!(serde_yaml::from_str::<ProxyPolicySpec>(text).unwrap_err().to_string().contains("unknown field"));
    }
}
