//! One object of the kinds that are read.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::snapshot::Reference;
use crate::translate::{ObjectKind, ObjectRef, Objects, PolicyObject};

/// An object as the API server would hold it: it has a name, and a namespace where its kind has one.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Ingress(Arc<Ingress>),
    IngressClass(Arc<IngressClass>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    ProxyPolicy(Arc<PolicyObject>),
}

impl Object {
    pub fn reference(&self) -> ObjectRef {
        let metadata = self.metadata();
        ObjectRef {
            kind: self.kind(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    pub fn kind(&self) -> ObjectKind {
        match self {
            Object::Ingress(_) => ObjectKind::Ingress,
            Object::IngressClass(_) => ObjectKind::IngressClass,
            Object::Service(_) => ObjectKind::Service,
            Object::EndpointSlice(_) => ObjectKind::EndpointSlice,
            Object::Secret(_) => ObjectKind::Secret,
            Object::ConfigMap(_) => ObjectKind::ConfigMap,
            Object::ProxyPolicy(_) => ObjectKind::ProxyPolicy,
        }
    }

    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Object::Ingress(object) => &object.metadata,
            Object::IngressClass(object) => &object.metadata,
            Object::Service(object) => &object.metadata,
            Object::EndpointSlice(object) => &object.metadata,
            Object::Secret(object) => &object.metadata,
            Object::ConfigMap(object) => &object.metadata,
            Object::ProxyPolicy(object) => &object.policy.metadata,
        }
    }

    pub(super) fn insert_into(&self, objects: &mut Objects, id: &ObjectRef) {
        let reference = || Reference::new(id.namespace.as_str(), id.name.as_str());
        match self {
            Object::Ingress(object) => drop(objects.ingresses.insert(reference(), object.clone())),
            Object::IngressClass(object) => drop(objects.ingress_classes.insert(id.name.clone(), object.clone())),
            Object::Service(object) => drop(objects.services.insert(reference(), object.clone())),
            Object::EndpointSlice(object) => drop(objects.endpoint_slices.insert(reference(), object.clone())),
            Object::Secret(object) => drop(objects.secrets.insert(reference(), object.clone())),
            Object::ConfigMap(object) => drop(objects.config_maps.insert(reference(), object.clone())),
            Object::ProxyPolicy(object) => drop(objects.policies.insert(reference(), object.clone())),
        }
    }

    /// Equal by value; an object that is the same allocation costs no comparison.
    pub(super) fn is_equal(&self, other: &Object) -> bool {
        let same = match (self, other) {
            (Object::Ingress(a), Object::Ingress(b)) => Arc::ptr_eq(a, b),
            (Object::IngressClass(a), Object::IngressClass(b)) => Arc::ptr_eq(a, b),
            (Object::Service(a), Object::Service(b)) => Arc::ptr_eq(a, b),
            (Object::EndpointSlice(a), Object::EndpointSlice(b)) => Arc::ptr_eq(a, b),
            (Object::Secret(a), Object::Secret(b)) => Arc::ptr_eq(a, b),
            (Object::ConfigMap(a), Object::ConfigMap(b)) => Arc::ptr_eq(a, b),
            (Object::ProxyPolicy(a), Object::ProxyPolicy(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same || self == other
    }
}
