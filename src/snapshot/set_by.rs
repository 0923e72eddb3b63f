//! Where values come from, for people: no request is decided by it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Reference;

/// The ProxyPolicies that set values, by the name that the value has beside this. Of `access` one for each list, else one,
/// or several that are enforced together. What flags, the ConfigMap and annotations say is not here, nor are limits, whose
/// scopes name their policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetBy(BTreeMap<&'static str, Vec<Reference>>);

impl SetBy {
    pub fn add(&mut self, value: &'static str, policy: &Reference) {
        self.0.entry(value).or_default().push(policy.clone());
    }

    /// Empty: no policy.
    pub fn of(&self, value: &str) -> &[Reference] {
        self.0.get(value).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
