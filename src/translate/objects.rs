//! Everything the translator may look at.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use crate::api::ProxyPolicy;
use crate::snapshot::Reference;

/// The objects of one moment. Sources hand out `Arc`s and keep the same `Arc` for an object that did not change: the
/// translator's memos are keyed by that pointer. Every object has a name, and a namespace where its kind has one.
#[derive(Clone, Default)]
pub struct Objects {
    pub ingresses: ByName<Reference, Ingress>,
    /// The kind has no namespace.
    pub ingress_classes: ByName<String, IngressClass>,
    pub services: ByName<Reference, Service>,
    pub endpoint_slices: ByName<Reference, EndpointSlice>,
    pub secrets: ByName<Reference, Secret>,
    pub config_maps: ByName<Reference, ConfigMap>,
    pub policies: ByName<Reference, PolicyObject>,
    /// The kind has no namespace.
    pub nodes: ByName<String, Node>,
    /// Addresses of the host names in [`super::Translation::names_to_resolve`], sorted; absent: not resolved (yet).
    pub addresses: BTreeMap<String, Arc<[IpAddr]>>,
}

/// The objects of one kind. A clone shares the map until one of the two is changed, so that a source can hand out all
/// of them for the cost of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByName<K, V>(Arc<BTreeMap<K, Arc<V>>>);

/// A ProxyPolicy as far as its source can read it. A source that cannot read all of one hands out what it can, above all
/// the targets: what the policy is about is then denied where it could be guarded, never opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyObject {
    pub policy: ProxyPolicy,
    /// What could not be read; absent in `policy`.
    pub illegible: Vec<Illegible>,
}

/// A part of an object that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegible {
    /// As `spec.access.allow[0]`.
    pub field: String,
    /// With the way out.
    pub reason: String,
}

impl<K, V> Default for ByName<K, V> {
    fn default() -> Self {
        ByName(Arc::default())
    }
}

impl<K, V> Deref for ByName<K, V> {
    type Target = BTreeMap<K, Arc<V>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Ord + Clone, V> DerefMut for ByName<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

/// Counts only: Secrets print their content.
impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("ingresses", &self.ingresses.len())
            .field("ingress_classes", &self.ingress_classes.len())
            .field("services", &self.services.len())
            .field("endpoint_slices", &self.endpoint_slices.len())
            .field("secrets", &self.secrets.len())
            .field("config_maps", &self.config_maps.len())
            .field("policies", &self.policies.len())
            .field("nodes", &self.nodes.len())
            .field("addresses", &self.addresses)
            .finish()
    }
}
