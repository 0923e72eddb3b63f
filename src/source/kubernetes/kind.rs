//! The kinds that are watched: how each is asked for, what is kept of an object, and where.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DeserializeGuard, DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};

use super::loss::Loss;
use super::part::{Name, Part};
use super::store::Seen;
use crate::api::ProxyPolicy;
use crate::snapshot::Reference;
use crate::source::folder::{Object, parse_documents};
use crate::translate::{ByName, Illegible, ObjectKind, PolicyObject};

/// Written by `kubectl apply`, which nobody else needs; as large as the object itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The objects of a kind as they are kept.
pub(super) type Map<K> = ByName<<K as Kind>::Name, <K as Kind>::Kept>;

/// When a kind can be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionalIf {
    Never,
    /// There can be none of it in this cluster.
    Undefined,
    /// Only one namespace is watched, and the kind has none; with `--ingress-class-by-name`.
    Namespaced,
    /// No request depends on it.
    Always,
}

/// One kind.
pub(super) trait Kind: Send + Sync + 'static {
    /// As the API server sends it.
    type Watched: Resource + Clone + Debug + DeserializeOwned + Send + 'static;
    /// As it is kept.
    type Kept: Send + Sync + Clone + 'static;
    type Name: Name;

    const KIND: ObjectKind;
    /// As messages have it.
    const NAME: &'static str;
    /// As roles name it.
    const RESOURCE: &'static str;
    const OPTIONAL_IF: OptionalIf = OptionalIf::Never;

    fn api(client: &Client, part: &Part) -> Api<Self::Watched>;

    fn name(metadata: &ObjectMeta) -> Self::Name;

    /// What is kept of it, or why it cannot be read.
    fn keep(watched: Self::Watched) -> Result<Self::Kept, String>;

    fn metadata(kept: &Self::Kept) -> &ObjectMeta;

    /// Where it is kept.
    fn all(seen: &mut Seen) -> &mut ByName<Self::Name, Self::Kept>;

    /// What hangs on these.
    fn loss(_seen: &Seen, _of: &BTreeSet<Self::Name>) -> Loss {
        Loss::Untold
    }
}

/// Drops what nobody reads.
fn slim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

fn reference(metadata: &ObjectMeta) -> Reference {
    Reference::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn routes_of(_: &Seen, ingresses: &BTreeSet<Reference>) -> Loss {
    Loss::Of(ingresses.clone())
}

fn routes_to(_: &Seen, services: &BTreeSet<Reference>) -> Loss {
    Loss::To(services.clone())
}

/// Those to the Services that have them.
fn routes_through(seen: &Seen, slices: &BTreeSet<Reference>) -> Loss {
    let slices = slices.iter().filter_map(|name| seen.objects.endpoint_slices.get(name));
    let service = |slice: &Arc<EndpointSlice>| {
        let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
        Some(Reference::new(slice.metadata.namespace.clone()?, &**name))
    };
    Loss::To(slices.filter_map(service).collect())
}

/// The kinds of Kubernetes itself.
macro_rules! kinds {
    ($($kind:ident: $object:ident ($resource:literal, $optional:ident)
       by $name:ident($of:expr) from $api:expr, in $field:ident $(, losing $loss:expr)?;)*) => {$(
        pub(super) enum $kind {}

        impl Kind for $kind {
            type Watched = DeserializeGuard<$object>;
            type Kept = $object;
            type Name = $name;

            const KIND: ObjectKind = ObjectKind::$object;
            const NAME: &'static str = stringify!($object);
            const RESOURCE: &'static str = $resource;
            const OPTIONAL_IF: OptionalIf = OptionalIf::$optional;

            fn api(client: &Client, part: &Part) -> Api<Self::Watched> {
                $api(part, client)
            }

            fn name(metadata: &ObjectMeta) -> $name {
                $of(metadata)
            }

            fn keep(watched: Self::Watched) -> Result<$object, String> {
                let mut object = watched.0.map_err(|invalid| invalid.error)?;
                slim(&mut object.metadata);
                // A decoder leaves spare room in each list, a clone none.
                Ok(object.clone())
            }

            fn metadata(kept: &$object) -> &ObjectMeta {
                &kept.metadata
            }

            fn all(seen: &mut Seen) -> &mut ByName<$name, $object> {
                &mut seen.objects.$field
            }

            $(fn loss(seen: &Seen, of: &BTreeSet<$name>) -> Loss {
                $loss(seen, of)
            })?
        }
    )*};
}

kinds! {
    Ingresses: Ingress ("ingresses.networking.k8s.io", Never)
        by Reference(reference) from Part::api, in ingresses, losing routes_of;
    IngressClasses: IngressClass ("ingressclasses.networking.k8s.io", Namespaced)
        by String(bare) from everywhere, in ingress_classes;
    Services: Service ("services", Never) by Reference(reference) from Part::api, in services, losing routes_to;
    EndpointSlices: EndpointSlice ("endpointslices.discovery.k8s.io", Never)
        by Reference(reference) from Part::api, in endpoint_slices, losing routes_through;
    Secrets: Secret ("secrets", Never) by Reference(reference) from Part::api, in secrets;
    ConfigMaps: ConfigMap ("configmaps", Never) by Reference(reference) from Part::api, in config_maps;
    Nodes: Node ("nodes", Never) by String(bare) from everywhere, in nodes;
}

/// ProxyPolicies, read from what they say rather than by their type: one that cannot be read whole must still guard.
pub(super) enum ProxyPolicies {}

impl Kind for ProxyPolicies {
    type Watched = DynamicObject;
    type Kept = PolicyObject;
    type Name = Reference;

    const KIND: ObjectKind = ObjectKind::ProxyPolicy;
    const NAME: &'static str = "ProxyPolicy";
    const RESOURCE: &'static str = "proxypolicies.headgate.dev";
    const OPTIONAL_IF: OptionalIf = OptionalIf::Undefined;

    fn api(client: &Client, part: &Part) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<ProxyPolicy>(&());
        match part.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }

    fn name(metadata: &ObjectMeta) -> Reference {
        reference(metadata)
    }

    fn keep(mut watched: DynamicObject) -> Result<PolicyObject, String> {
        slim(&mut watched.metadata);
        let metadata = watched.metadata;
        let kind = ApiResource::erase::<ProxyPolicy>(&());
        let head = json!({"name": metadata.name, "namespace": metadata.namespace});
        let spec = watched.data.get("spec");
        let text =
            json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": head, "spec": spec}).to_string();
        let mut object = read(&text).unwrap_or_else(|reason| illegible(spec, reason));
        object.policy.metadata = metadata;
        // No wish, but what controllers told before.
        object.policy.status = watched.data.get("status").cloned().and_then(|status| from_value(status).ok());
        Ok(object)
    }

    fn metadata(kept: &PolicyObject) -> &ObjectMeta {
        &kept.policy.metadata
    }

    fn all(seen: &mut Seen) -> &mut ByName<Reference, PolicyObject> {
        &mut seen.objects.policies
    }
}

/// The namespaces that `--watch-namespace-selector` picks, of which no more than the name counts.
pub(super) enum Namespaces {}

impl Kind for Namespaces {
    type Watched = PartialObjectMeta<Namespace>;
    type Kept = ObjectMeta;
    type Name = String;

    const KIND: ObjectKind = ObjectKind::Namespace;
    const NAME: &'static str = "Namespace";
    const RESOURCE: &'static str = "namespaces";

    fn api(client: &Client, part: &Part) -> Api<PartialObjectMeta<Namespace>> {
        everywhere(part, client)
    }

    fn name(metadata: &ObjectMeta) -> String {
        bare(metadata)
    }

    fn keep(watched: PartialObjectMeta<Namespace>) -> Result<ObjectMeta, String> {
        let ObjectMeta { name, resource_version, .. } = watched.metadata;
        Ok(ObjectMeta { name, resource_version, ..ObjectMeta::default() })
    }

    fn metadata(kept: &ObjectMeta) -> &ObjectMeta {
        kept
    }

    fn all(seen: &mut Seen) -> &mut ByName<String, ObjectMeta> {
        &mut seen.namespaces
    }
}

/// As in a folder, so that one from a newer version, or a broken one, still guards.
fn read(text: &str) -> Result<PolicyObject, String> {
    let parsed = parse_documents(Path::new("the API server"), text.as_bytes()).map_err(|problem| problem.reason)?;
    let objects = parsed.objects.into_iter().map(|located| located.object);
    let policy = objects.filter_map(|object| match object {
        Object::ProxyPolicy(policy) => Some(Arc::unwrap_or_clone(policy)),
        _ => None,
    });
    policy.last().ok_or_else(|| "it holds nothing that can be read".to_owned())
}

/// All that can be known of one is what it is about, which is denied.
fn illegible(spec: Option<&Value>, reason: String) -> PolicyObject {
    let mut policy = ProxyPolicy::default();
    let targets = spec.and_then(|spec| spec.get("targetRefs")).cloned();
    policy.spec.target_refs = targets.and_then(|targets| from_value(targets).ok()).unwrap_or_default();
    PolicyObject { policy, illegible: vec![Illegible { field: "spec".into(), reason }] }
}

fn bare(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

fn everywhere<K: Resource<DynamicType = ()>>(_: &Part, client: &Client) -> Api<K> {
    Api::all(client.clone())
}
