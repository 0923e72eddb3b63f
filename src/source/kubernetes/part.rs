//! Which objects of a kind one watch is about: all of them, or as few as a flag about one namespace leaves.

use std::fmt;

use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};

use crate::snapshot::Reference;
use crate::translate::{ObjectKind, ObjectRef};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// `--watch-namespace`.
    Namespace(String),
    /// One that a flag names, which may be in another namespace.
    Object(Reference),
    /// The EndpointSlices of a Service that a flag names.
    OfService(Reference),
    /// Those with these labels, of a kind without namespaces.
    Labelled(String),
}

/// The name of an object within its kind.
pub(super) trait Name: Ord + Clone + Send + Sync + 'static {
    /// Whether an object of this name can be one of `part`. Parts of one kind have none in common.
    fn is_in(&self, part: &Part) -> bool;

    fn of(&self, kind: ObjectKind) -> ObjectRef;
}

impl Name for Reference {
    fn is_in(&self, part: &Part) -> bool {
        match part {
            Part::All | Part::Labelled(_) => true,
            Part::Namespace(namespace) => self.namespace == *namespace,
            Part::Object(name) => self == name,
            Part::OfService(service) => self.namespace == service.namespace,
        }
    }

    fn of(&self, kind: ObjectKind) -> ObjectRef {
        ObjectRef::new(kind, self)
    }
}

/// Of a kind without namespaces.
impl Name for String {
    fn is_in(&self, _: &Part) -> bool {
        true
    }

    fn of(&self, kind: ObjectKind) -> ObjectRef {
        ObjectRef { kind, namespace: String::new(), name: self.clone() }
    }
}

impl Part {
    pub(super) fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self.namespace() {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Part::All | Part::Labelled(_) => None,
            Part::Namespace(namespace) => Some(namespace),
            Part::Object(name) | Part::OfService(name) => Some(&name.namespace),
        }
    }

    pub(super) fn config(&self) -> watcher::Config {
        let config = watcher::Config::default();
        match self {
            Part::All | Part::Namespace(_) => config,
            Part::Object(name) => config.fields(&format!("metadata.name={}", name.name)),
            Part::OfService(name) => config.labels(&format!("kubernetes.io/service-name={}", name.name)),
            Part::Labelled(selector) => config.labels(selector),
        }
    }
}

/// Behind the name of the kind.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::All | Part::Namespace(_) | Part::Labelled(_) => Ok(()),
            Part::Object(name) | Part::OfService(name) => write!(f, " {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_asks_for_no_more_than_is_in_it() {
        let (here, there) = (Reference::new("a", "x"), Reference::new("b", "x"));
        for (part, both, fields, labels, shown) in [
            (Part::All, (true, true), None, None, ""),
            (Part::Namespace("a".into()), (true, false), None, None, ""),
            (Part::Object(there.clone()), (false, true), Some("metadata.name=x"), None, " b/x"),
            (Part::Labelled("a=b".into()), (true, true), None, Some("a=b"), ""),
            (Part::OfService(there.clone()), (false, true), None, Some("kubernetes.io/service-name=x"), " b/x"),
        ] {
            assert_eq!((here.is_in(&part), there.is_in(&part)), both, "{part:?}");
            let config = part.config();
            assert_eq!((config.field_selector.as_deref(), config.label_selector.as_deref()), (fields, labels));
            assert_eq!(part.to_string(), shown);
        }
        assert!(!Reference::new("b", "y").is_in(&Part::Object(there)));
    }
}
