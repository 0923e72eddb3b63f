//! What is wrong with an object, told to its owner.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::snapshot::{HostPattern, PathMatch, Reference};

/// All that is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub object: ObjectRef,
    pub problems: Vec<Problem>,
}

/// One thing that is wrong: where, what, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Path of the field, as `spec.rules[0].http.paths[1].backend.service.port`.
    pub field: String,
    pub reason: Reason,
    /// A sentence that names the value, the effect and what to do.
    pub message: String,
    /// Host and path of the rule that serves the requests of the one in `field`.
    #[serde(skip)]
    pub lost_to: Option<(HostPattern, PathMatch)>,
}

/// A closed set, for events, metrics and scripts. Extend where a new kind of problem needs a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Reason {
    /// A value that cannot be understood.
    Invalid,
    /// The object asks for something we do not honour; it is served without.
    Unsupported,
    /// The object asks for protection that we do not honour; its routes answer 503.
    Denied,
    /// Honoured, but less safe than it looks (encrypted but not verified, everybody is trusted).
    Insecure,
    /// An older object has the same host and path, or the same certificate name.
    Conflict,
    ServiceNotFound,
    PortNotFound,
    SecretNotFound,
    InvalidCertificate,
    /// The Service has no usable endpoint.
    NoEndpoints,
    /// The object is of another class.
    OtherClass,
    /// A policy is about something that does not exist.
    TargetNotFound,
}

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    pub kind: ObjectKind,
    /// Empty for kinds without a namespace.
    pub namespace: String,
    pub name: String,
}

/// The kinds that can be reported on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ObjectKind {
    Ingress,
    IngressClass,
    Service,
    EndpointSlice,
    Secret,
    ConfigMap,
    ProxyPolicy,
    /// Of a cluster; nothing of it is looked at but its name.
    Namespace,
    Node,
    /// One of `[[backends]]` in a configuration file.
    Backend,
}

impl Problem {
    pub fn new(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Problem { field: field.into(), reason, message: message.into(), lost_to: None }
    }
}

/// A value from an object as messages show it: escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl ObjectRef {
    pub fn new(kind: ObjectKind, reference: &Reference) -> Self {
        ObjectRef { kind, namespace: reference.namespace.clone(), name: reference.name.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_cut_after_80_characters() {
        assert_eq!(quoted("a\n\"é"), "\"a\\n\\\"é\"");
        assert_eq!(quoted(&"é".repeat(80)), format!("\"{}\"", "é".repeat(80)));
        assert_eq!(quoted(&"é".repeat(81)), format!("\"{}\"…", "é".repeat(80)));
    }

    #[test]
    fn objects_without_namespace_show_none() {
        let class = ObjectRef { kind: ObjectKind::IngressClass, namespace: String::new(), name: "web".into() };
        assert_eq!(class.to_string(), "IngressClass web");
        let ingress = ObjectRef::new(ObjectKind::Ingress, &Reference::new("default", "shop"));
        assert_eq!(ingress.to_string(), "Ingress default/shop");
    }
}
