//! apiVersion and kind of an object: which kind that is here, if it is any.

use crate::translate::ObjectKind;

/// What an item of a typed list (`IngressList`) is when it does not say so itself.
#[derive(Clone, Debug)]
pub(super) struct Type {
    pub(super) api_version: String,
    pub(super) kind: String,
}

pub(super) enum Unread {
    /// Of no interest here.
    Kind,
    /// A kind that is read, but for this field of its head; with the way out.
    Field(ObjectKind, &'static str, String),
}

pub(super) fn kind_of(of: &Type) -> Result<ObjectKind, Unread> {
    let (kind, version, removed_in) = match of.kind.as_str() {
        "ProxyPolicy" => (ObjectKind::ProxyPolicy, "headgate.dev/v1alpha1", ""),
        other if is_ours(&of.api_version) => {
            let reason = format!("{other:?} is no kind of headgate.dev; write ProxyPolicy");
            return Err(Unread::Field(ObjectKind::ProxyPolicy, "kind", reason));
        }
        "Ingress" => (ObjectKind::Ingress, "networking.k8s.io/v1", "1.22"),
        "IngressClass" => (ObjectKind::IngressClass, "networking.k8s.io/v1", "1.22"),
        "EndpointSlice" => (ObjectKind::EndpointSlice, "discovery.k8s.io/v1", "1.25"),
        "Service" => (ObjectKind::Service, "v1", ""),
        "Secret" => (ObjectKind::Secret, "v1", ""),
        "ConfigMap" => (ObjectKind::ConfigMap, "v1", ""),
        _ => return Err(Unread::Kind),
    };
    let found = of.api_version.as_str();
    match found {
        _ if found == version => Ok(kind),
        "extensions/v1beta1" | "networking.k8s.io/v1beta1" | "discovery.k8s.io/v1beta1" if !removed_in.is_empty() => {
            Err(Unread::Field(
                kind,
                "apiVersion",
                format!(
                    "Kubernetes {removed_in} removed {found}; \
                     convert the file with `kubectl convert -f FILE --output-version {version}`"
                ),
            ))
        }
        // Another group may well have a kind of that name, as Knative has a Service. None that is known has a ProxyPolicy:
        // there the group is the slip, and to skip it would open what it guards.
        _ if kind != ObjectKind::ProxyPolicy
            && found.contains('/')
            && !group_of(found).eq_ignore_ascii_case(group_of(version)) =>
        {
            Err(Unread::Kind)
        }
        _ => Err(Unread::Field(kind, "apiVersion", format!("{} is read in {version}, not in {found:?}", of.kind))),
    }
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Our group, also where a letter is of the other case or the version is missing.
pub(super) fn is_ours(api_version: &str) -> bool {
    api_version.split('/').next().is_some_and(|group| group.eq_ignore_ascii_case("headgate.dev"))
}

/// A ProxyPolicy, also misspelt as `proxypolicies`.
pub(super) fn seems_policy(text: &str) -> bool {
    text.to_ascii_lowercase().contains("proxypolic")
}
