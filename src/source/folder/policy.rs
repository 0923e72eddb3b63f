//! Reads a ProxyPolicy, also where parts of it cannot be read.
//!
//! Of any other kind a broken object is left out. A policy guards something: left out, it would open what it should
//! guard. So whatever can be known of it is taken, above all its targets, each part that cannot be read is named beside
//! (see [`PolicyObject`]), and the translator denies what the policy is about.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::admit::{Refused, identify};
use super::decode::{Finding, decode};
use super::node::{Key, Node, Value};
use crate::api::{ProxyPolicy, ProxyPolicySpec, TargetRef};
use crate::translate::{Illegible, PolicyObject};

/// A policy, and what was found on the way.
pub(super) struct Read {
    pub(super) object: PolicyObject,
    /// The places of `object.illegible`, and what to tell of them.
    pub(super) flaws: Vec<Finding>,
    /// Fields that are unknown and guard nothing.
    pub(super) unknown: Vec<Finding>,
}

/// `head`: what is wrong with its apiVersion or kind; `unnamed`: what it is called if it has no name.
pub(super) fn read(node: Node<'_>, head: Option<Finding>, unnamed: &str) -> Read {
    let (at, name_at) = (node.at, node.locate("metadata.name"));
    let entries = if let Value::Map(entries) = node.value { entries } else { Vec::new() };
    let mut reading = Reading { flaws: Vec::from_iter(head), ..Reading::default() };
    let mut policy = ProxyPolicy::default();
    let (mut has_metadata, mut has_spec) = (false, false);
    for (key, value) in entries {
        match key.name.as_ref() {
            // What a controller wrote is no wish.
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                has_metadata = true;
                policy.metadata = reading.metadata((key, value));
            }
            "spec" => {
                has_spec = true;
                policy.spec = reading.spec(value);
            }
            _ => {
                let field = key.name.to_string();
                let reason = "is not a field of this kind; what a policy asks for stands in spec";
                reading.flaws.push(Finding { field, at: key.at, reason: reason.into() });
                // What it says of targets counts.
                match key.name.as_ref() {
                    name if !has_metadata && name.eq_ignore_ascii_case("metadata") => {
                        policy.metadata = reading.metadata((Key { name: "metadata".into(), ..key }, value));
                    }
                    name if name.eq_ignore_ascii_case("spec") => drop(reading.spec(value)),
                    name => reading.guess_targets(name, key.at, value),
                }
            }
        }
    }
    if !has_spec {
        reading.flaws.push(Finding { field: "spec".into(), at, reason: "is required".into() });
    }
    if let Err(refused) = identify(&mut policy.metadata, true, false) {
        reading.refused(&mut policy.metadata, refused, name_at, unnamed);
    }
    let Reading { flaws, unknown, targets, guessed } = reading;
    policy.spec.target_refs = targets.into_iter().chain(guessed).collect();
    let illegible = |flaw: &Finding| Illegible { field: flaw.field.clone(), reason: flaw.reason.clone() };
    let object = PolicyObject { illegible: flaws.iter().map(illegible).collect(), policy };
    Read { object, flaws, unknown }
}

#[derive(Default)]
struct Reading {
    flaws: Vec<Finding>,
    unknown: Vec<Finding>,
    targets: Vec<TargetRef>,
    /// Those of fields that seem to mean targetRefs.
    guessed: Vec<TargetRef>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl Reading {
    fn metadata(&mut self, entry: (Key<'_>, Node<'_>)) -> ObjectMeta {
        let text = |name| entry.1.text(name).map(str::to_owned);
        let bare = ObjectMeta { name: text("name"), namespace: text("namespace"), ..ObjectMeta::default() };
        match decode::<Head>(&Node { at: entry.0.at, value: Value::Map(vec![entry]) }) {
            Ok(decoded) => {
                self.unknown.extend(decoded.unknown);
                decoded.value.metadata
            }
            Err(finding) => {
                self.flaws.push(finding);
                bare
            }
        }
    }

    /// A name that no API server takes still says which policy is meant.
    fn refused(&mut self, metadata: &mut ObjectMeta, (field, reason): Refused, at: Option<usize>, unnamed: &str) {
        if metadata.name.as_deref().unwrap_or_default().is_empty() {
            metadata.name = Some(unnamed.to_owned());
        }
        metadata.namespace.get_or_insert_with(|| "default".into());
        self.flaws.push(Finding { field, at, reason });
    }

    /// Each field is read by itself, so that one that is broken does not take the others along.
    fn spec(&mut self, node: Node<'_>) -> ProxyPolicySpec {
        let Value::Map(entries) = node.value else {
            let reason = "must be a mapping with targetRefs and what the policy asks for".into();
            self.flaws.push(Finding { field: "spec".into(), at: node.at, reason });
            return ProxyPolicySpec::default();
        };
        let mut legible = Vec::new();
        let mut targeted = false;
        for (key, mut value) in entries {
            match key.name.as_ref() {
                "targetRefs" => {
                    targeted = true;
                    let targets = self.target_refs("targetRefs", key.at, value);
                    self.targets.extend(targets);
                }
                // A way of writing it that other policies have, or a slip: it tells what is meant, and is refused.
                name if seems_target_refs(name) => {
                    targeted = true;
                    let reason = "is not a field of a ProxyPolicy; write a list, targetRefs".into();
                    self.flaws.push(Finding { field: format!("spec.{name}"), at: key.at, reason });
                    self.guess_targets(name, key.at, value);
                }
                _ => {
                    if key.name == "retry" {
                        name_on(&mut value);
                    }
                    legible.extend(self.field(key, value));
                }
            }
        }
        if !targeted {
            let reason = "is required: name an Ingress or a Service".into();
            self.flaws.push(Finding { field: "spec.targetRefs".into(), at: node.at, reason });
        }
        let spec = decode::<Spec>(&Node { at: node.at, value: Value::Map(vec![(spec_key(), map(legible))]) });
        spec.map(|decoded| decoded.value.spec).unwrap_or_default()
    }

    /// The field, if it is one and legible.
    fn field<'t>(&mut self, key: Key<'t>, value: Node<'t>) -> Option<(Key<'t>, Node<'t>)> {
        let (name, at) = (key.name.to_string(), key.at);
        let alone = Node { at, value: Value::Map(vec![(spec_key(), map(vec![(key, value)]))]) };
        match decode::<Spec>(&alone) {
            Ok(_) => {
                let Value::Map(mut spec) = alone.value else { return None };
                let Value::Map(mut fields) = spec.pop()?.1.value else { return None };
                fields.pop()
            }
            Err(mut finding) => {
                if finding.field == "spec" {
                    finding.field = format!("spec.{name}");
                    finding.at = at.or(finding.at);
                }
                self.flaws.push(finding);
                None
            }
        }
    }

    fn guess_targets(&mut self, name: &str, at: Option<usize>, node: Node<'_>) {
        if seems_target_refs(name) {
            let targets = self.target_refs(name, at, node);
            self.guessed.extend(targets);
        }
    }

    fn target_refs(&mut self, name: &str, at: Option<usize>, node: Node<'_>) -> Vec<TargetRef> {
        let elements = match node.value {
            Value::List(elements) => elements,
            value @ (Value::Map(_) | Value::String(_)) => {
                if name == "targetRefs" {
                    let reason = "must be a list of targets; begin the entry with `-`".into();
                    self.flaws.push(Finding { field: format!("spec.{name}"), at, reason });
                }
                vec![Node { at: node.at, value }]
            }
            _ => {
                let reason = "must be a list of targets".into();
                self.flaws.push(Finding { field: format!("spec.{name}"), at, reason });
                Vec::new()
            }
        };
        let read = |(index, element)| self.target_ref(&format!("spec.{name}[{index}]"), at, element);
        elements.iter().enumerate().map(read).collect()
    }

    /// What is legible of a target is kept, so that what it means is guarded.
    fn target_ref(&mut self, field: &str, at: Option<usize>, element: &Node<'_>) -> TargetRef {
        decode::<TargetRef>(element).map(|decoded| decoded.value).unwrap_or_else(|mut finding| {
            finding.field = match finding.field.as_str() {
                "" => field.to_owned(),
                inner => format!("{field}.{inner}"),
            };
            finding.at = finding.at.or(at);
            self.flaws.push(finding);
            let [group, kind, name] = ["group", "kind", "name"].map(|name| word(element, name).unwrap_or_default());
            let name = match &element.value {
                // As `shop` or `Ingress/shop`.
                Value::String(text) => text.rsplit('/').next().unwrap_or_default().to_owned(),
                _ => name,
            };
            TargetRef { group, kind, name, section_name: word(element, "sectionName") }
        })
    }
}

/// Whether a field may be targetRefs misspelt.
fn seems_target_refs(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("target") || name.contains("ref")
}

/// What stands under `name`, whose letters may be of the other case, also if it has no quotes and needs them.
fn word(node: &Node<'_>, name: &str) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let spelt = entries.iter().filter(|(key, _)| key.name.eq_ignore_ascii_case(name));
    match &spelt.max_by_key(|(key, _)| key.name == name)?.1.value {
        Value::String(text) => Some(text.to_string()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Bool(_, word) => Some((*word).to_owned()),
        _ => None,
    }
}

/// A spec of which only some fields are there.
#[derive(Deserialize)]
struct Spec {
    spec: ProxyPolicySpec,
}

fn spec_key() -> Key<'static> {
    Key { at: None, name: "spec".into() }
}

/// With targets, which are always required; the true ones are read apart.
fn map<'t>(mut entries: Vec<(Key<'t>, Node<'t>)>) -> Node<'t> {
    let none = Node { at: None, value: Value::List(Vec::new()) };
    entries.insert(0, (Key { at: None, name: "targetRefs".into() }, none));
    Node { at: None, value: Value::Map(entries) }
}

/// `on` without quotes is a boolean in YAML 1.1, as a key too. What is meant is plain, there is no field `true`.
fn name_on(retry: &mut Node<'_>) {
    let Value::Map(entries) = &mut retry.value else { return };
    if let Some((key, _)) = entries.iter_mut().find(|(key, _)| key.name == "true") {
        key.name = "on".into();
    }
}

#[cfg(test)]
mod tests;
