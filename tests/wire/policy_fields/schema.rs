//! The schema of `spec` as an API server reads it, without the rules (CEL), for which it takes a real one.

use regex::Regex;
use serde_json::{Value, json};

/// Who keeps a value out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Schema,
    Rule,
    /// Whoever translates it; the schema takes it.
    Folder,
}

pub(super) fn of_spec() -> Value {
    let definition: Value = serde_yaml::from_str(include_str!("../../../crds/proxypolicies.yaml")).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// All parts with their paths, from the whole of it (`""`) down to lists of texts.
pub(super) fn parts(schema: &Value) -> Vec<(String, &Value)> {
    let mut found = vec![(String::new(), schema)];
    let mut at = 0;
    while let Some((path, part)) = found.get(at).cloned() {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let properties = part["properties"].as_object().into_iter().flatten();
        found.extend(properties.map(|(name, part)| (below(name), part)));
        if part["items"]["type"] == "object" {
            found.push((format!("{path}[]"), &part["items"]));
        }
        at += 1;
    }
    found
}

/// It holds a value, not further fields.
pub(super) fn is_field(part: &Value) -> bool {
    part["type"] != "object" && part["items"]["type"] != "object"
}

/// Values that are right and values that are wrong, as far as the part tells them itself.
pub(super) fn edges(part: &Value) -> (Vec<Value>, Vec<Value>) {
    let (right, mut wrong) = match part["type"].as_str().unwrap() {
        "integer" => {
            let [least, most] = ["minimum", "maximum"].map(|edge| part[edge].as_f64().unwrap() as i64);
            (vec![json!(least), json!(most)], vec![json!(least - 1), json!(most + 1), json!("1")])
        }
        "boolean" => (vec![json!(true), json!(false)], vec![json!("yes"), json!(1)]),
        "array" => (vec![], vec![json!([])]),
        _ => (vec![], vec![json!(7)]),
    };
    let words = part["enum"].as_array().cloned().unwrap_or_default();
    wrong.extend(words.first().map(|word| json!(word.as_str().unwrap().to_lowercase())));
    wrong.push(if part["type"] == "object" { json!([]) } else { json!({}) });
    ([right, words].concat(), wrong)
}

/// Why a value is not of this schema.
pub(super) fn refused_by(schema: &Value, value: &Value) -> Option<String> {
    let unless = |fine: bool| (!fine).then(|| format!("{value} is not of {schema}"));
    let within = |least: &str, size: usize, most: &str| {
        let bound = |name: &str, none: u64| schema[name].as_u64().unwrap_or(none);
        unless((bound(least, 0)..=bound(most, u64::MAX)).contains(&(size as u64)))
    };
    let is_type = unless(schema["type"] == type_of(value));
    is_type.or_else(|| match value {
        Value::Object(fields) => {
            let mut required = schema["required"].as_array().into_iter().flatten();
            let missing = required.find(|name| !fields.contains_key(name.as_str().unwrap()));
            let below = |(name, value)| match schema["properties"].get(name) {
                Some(property) => refused_by(property, value),
                None => Some(format!("{name} is unknown")),
            };
            missing.map(|name| format!("{name} is missing")).or_else(|| fields.iter().find_map(below))
        }
        Value::Array(entries) => within("minItems", entries.len(), "maxItems")
            .or_else(|| entries.iter().find_map(|entry| refused_by(&schema["items"], entry))),
        Value::String(text) => {
            let matches = schema["pattern"].as_str().is_none_or(|pattern| Regex::new(pattern).unwrap().is_match(text));
            let listed = schema["enum"].as_array().is_none_or(|words| words.contains(value));
            within("minLength", text.chars().count(), "maxLength").or_else(|| unless(matches && listed))
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            let above = schema["minimum"].as_f64().is_none_or(|least| number >= least);
            unless(above && schema["maximum"].as_f64().is_none_or(|most| number <= most))
        }
        Value::Bool(_) | Value::Null => None,
    })
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether a rule stands at the field or at what holds it; of those of `spec` itself, one that looks into the field.
pub(super) fn has_rule_about(schema: &Value, field: &str) -> bool {
    let mut part = schema;
    field.split('.').skip(1).any(|step| {
        let name = step.split('[').next().unwrap();
        let mut of_spec = schema["x-kubernetes-validations"].as_array().unwrap().iter();
        let looks = of_spec.any(|rule| rule["rule"].as_str().unwrap().contains(&format!("self.{name}.")));
        let list = &part["properties"][name];
        part = if step == name { list } else { &list["items"] };
        looks || [list, part].iter().any(|part| part["x-kubernetes-validations"].is_array())
    })
}
