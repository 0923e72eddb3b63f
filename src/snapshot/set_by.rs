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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_policies_in_the_order_in_which_they_were_added() {
        let [one, two] = ["one", "two"].map(|name| Reference::new("shop", name));
        let mut set_by = SetBy::default();
        assert!(set_by.is_empty());
        set_by.add("methods", &two);
        set_by.add("access", &one);
        set_by.add("methods", &one);
        assert!(!set_by.is_empty());
        assert_eq!(set_by.of("methods"), [two, one.clone()]);
        assert_eq!(set_by.of("access"), [one]);
        assert!(set_by.of("retry").is_empty());
    }
}
