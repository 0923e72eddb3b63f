//! What the policies in a file might guard that cannot be read at all.
//!
//! A file that was readable before keeps its policies. One that never was would open what it should guard, so each
//! Ingress that it seems to name gets a policy that cannot be understood, and is denied for that. A word in the file
//! is enough: too much is denied rather than too little, until the file is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::head::seems_policy;
use super::object::Object;
use crate::api::{ProxyPolicy, ProxyPolicySpec, TargetRef};
use crate::snapshot::Reference;
use crate::translate::{Illegible, PolicyObject};

/// The words of a file that seems to hold policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    words: BTreeSet<String>,
}

impl Guess {
    /// `None`: no policy is in sight.
    pub(super) fn of(bytes: &[u8]) -> Option<Guess> {
        let text = String::from_utf8_lossy(bytes);
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let words = text.split(|c| !is_name(c)).filter(|word| !word.is_empty());
        seems_policy(&text).then(|| Guess { words: words.map(str::to_owned).collect() })
    }

    /// Policies without meaning, one a namespace, on the Ingresses whose name and namespace are in the file. The
    /// namespace `default` needs no word.
    pub(super) fn policies(&self, path: &Path, ingresses: &BTreeMap<Reference, Arc<Ingress>>) -> Vec<Object> {
        let mut targets: BTreeMap<&str, Vec<TargetRef>> = BTreeMap::new();
        for Reference { namespace, name } in ingresses.keys() {
            if self.words.contains(name) && (namespace == "default" || self.words.contains(namespace)) {
                targets.entry(namespace).or_default().push(TargetRef {
                    group: "networking.k8s.io".into(),
                    kind: "Ingress".into(),
                    name: name.clone(),
                    section_name: None,
                });
            }
        }
        let policies = targets.into_iter().map(|(namespace, target_refs)| PolicyObject {
            policy: ProxyPolicy {
                metadata: ObjectMeta {
                    name: Some(format!("in {}", path.display())),
                    namespace: Some(namespace.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: ProxyPolicySpec { target_refs, ..ProxyPolicySpec::default() },
                status: None,
            },
            illegible: vec![Illegible { field: "spec".into(), reason: "the file cannot be read".into() }],
        });
        policies.map(|policy| Object::ProxyPolicy(Arc::new(policy))).collect()
    }
}
