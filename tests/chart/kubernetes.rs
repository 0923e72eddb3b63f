//! Which fields objects may have: the OpenAPI document of Kubernetes and the definitions of the Prometheus Operator, as far as
//! they tell a typing error. A real API server says more of an object; `tests/cluster` asks one.

use std::sync::LazyLock;

use serde_json::Value;

use crate::rendered::{parse, tool};

/// Names, groups and fields of all kinds of Kubernetes.
static KUBERNETES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(&std::fs::read(tool("kubernetes.json")).unwrap()).unwrap());

/// The CustomResourceDefinitions of the Prometheus Operator.
static OPERATOR: LazyLock<Vec<Value>> =
    LazyLock::new(|| parse(&std::fs::read_to_string(tool("prometheus-operator.yaml")).unwrap()));

/// What is wrong with an object, one line each.
pub(crate) fn complaints(object: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    match definition(object) {
        Some(schema) => check(schema, object, &format!("{}:", object["kind"]), &mut wrong),
        None => wrong.push(format!("{} {} is unknown", object["apiVersion"], object["kind"])),
    }
    wrong
}

fn definition(object: &Value) -> Option<&'static Value> {
    let api_version = object["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let of_kubernetes = KUBERNETES["definitions"].as_object()?.values().find(|schema| {
        schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| {
            kinds.iter().any(|k| k["group"] == group && k["version"] == version && k["kind"] == object["kind"])
        })
    });
    of_kubernetes.or_else(|| {
        let custom = OPERATOR
            .iter()
            .find(|crd| crd["spec"]["group"] == group && crd["spec"]["names"]["kind"] == object["kind"])?;
        let versions = custom["spec"]["versions"].as_array()?;
        Some(&versions.iter().find(|of| of["name"] == version)?["schema"]["openAPIV3Schema"])
    })
}

fn check(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        return check(&KUBERNETES["definitions"][name.trim_start_matches("#/definitions/")], value, at, wrong);
    }
    if schema["x-kubernetes-int-or-string"] == true || schema["format"] == "int-or-string" {
        return expect(value.is_u64() || value.is_string(), value, "a number or a string", at, wrong);
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        wrong.push(format!("{at} {value} is none of {}", schema["enum"]));
    }
    match schema["type"].as_str() {
        Some("object") => check_object(schema, value, at, wrong),
        Some("array") => {
            expect(value.is_array(), value, "a list", at, wrong);
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                check(&schema["items"], item, &format!("{at}[{index}]"), wrong);
            }
        }
        Some("string") => expect(value.is_string(), value, "a string", at, wrong),
        Some("integer") => expect(value.is_i64(), value, "a whole number", at, wrong),
        Some("number") => expect(value.is_number(), value, "a number", at, wrong),
        Some("boolean") => expect(value.is_boolean(), value, "true or false", at, wrong),
        _ => {}
    }
}

fn check_object(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(fields) = value.as_object() else {
        return expect(false, value, "an object", at, wrong);
    };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            wrong.push(format!("{at} {name} is missing"));
        }
    }
    let known = &schema["properties"];
    let others = &schema["additionalProperties"];
    let is_open = known.is_null() && others.is_null() || schema["x-kubernetes-preserve-unknown-fields"] == true;
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match (&known[name], others) {
            (Value::Null, Value::Null) if is_open => {}
            (Value::Null, Value::Null) => wrong.push(format!("{at} is no field")),
            (Value::Null, others) => check(others, field, &at, wrong),
            (schema, _) => check(schema, field, &at, wrong),
        }
    }
}

fn expect(holds: bool, value: &Value, what: &str, at: &str, wrong: &mut Vec<String>) {
    if !holds {
        wrong.push(format!("{at} {value} is not {what}"));
    }
}

#[test]
fn a_misspelt_field_is_seen() {
    let service = |spec: Value| serde_json::json!({ "apiVersion": "v1", "kind": "Service", "spec": spec });
    for (spec, complaint) in [
        (serde_json::json!({ "sellector": {} }), "\"Service\":.spec.sellector is no field"),
        (serde_json::json!({ "selector": { "a": 1 } }), "\"Service\":.spec.selector.a 1 is not a string"),
        (serde_json::json!({ "ports": [{ "name": "a" }] }), "\"Service\":.spec.ports[0] port is missing"),
        (serde_json::json!({ "ports": {} }), "\"Service\":.spec.ports {} is not a list"),
        (serde_json::json!({ "ports": [{ "port": 1, "targetPort": true }] }), "true is not a number or a string"),
    ] {
        let wrong = complaints(&service(spec)).join("\n");
        assert!(wrong.contains(complaint), "{wrong}");
    }
    let unknown = serde_json::json!({ "apiVersion": "apps/v2", "kind": "Deployment" });
    assert_eq!(complaints(&unknown), ["\"apps/v2\" \"Deployment\" is unknown"]);
}
