//! ProxyPolicies: what they ask for, what they are about, and who wins.
//!
//! `read` (with `values`, `client`, `backend`, `target`) reads each policy by itself; this module finds those of one
//! target, the oldest first; `treat` makes them rules of an Ingress's routes, `govern` a backend's; `status` (with `judge`)
//! is what their owners are told of each target. A policy on an Ingress counts field by field before the one that its
//! class names, and one on a port before one on all of the Service.

mod backend;
mod client;
mod govern;
mod judge;
mod read;
mod status;
mod target;
mod treat;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::memo::Memo;
use super::objects::{Objects, PolicyObject};
use super::problem::ObjectKind;
use crate::snapshot::Reference;

pub(super) use govern::{govern, secrets, split_of};
pub(super) use read::{Policy, is_client_field};
pub use status::{PolicyAncestor, PolicyCondition, PolicyReason, PolicyStatus};
pub(super) use status::{StatusMemo, Statuses, Surroundings};
pub(super) use treat::{Attached, treat};
pub(super) use values::{any_network, is_check_path};

/// The policies of one moment, by what they are about.
#[derive(Default)]
pub(super) struct Policies {
    policies: Memo<Reference, PolicyObject, Policy>,
    /// Oldest first, as in the maps below.
    all: Vec<Arc<Policy>>,
    of_ingresses: BTreeMap<Reference, Vec<Arc<Policy>>>,
    of_services: BTreeMap<Reference, Vec<OnService>>,
}

/// A policy on a Service.
struct OnService {
    /// The name of a port; `None`: all ports.
    section: Option<String>,
    policy: Arc<Policy>,
}

impl Policies {
    /// `true` if any differs from the last time.
    pub(super) fn update(&mut self, objects: &Objects) -> bool {
        if self.policies.update(&*objects.policies, read::read).is_empty() {
            return false;
        }
        self.all = self.policies.outputs().cloned().collect();
        self.all.sort_by(|one, other| one.age.cmp(&other.age));
        self.of_ingresses.clear();
        self.of_services.clear();
        for policy in &self.all {
            for target in &policy.targets {
                let name = Reference::new(&policy.age.owner.namespace, &target.name);
                match target.kind {
                    ObjectKind::Ingress => self.of_ingresses.entry(name).or_default().push(policy.clone()),
                    ObjectKind::Service => {
                        let on = OnService { section: target.section.clone(), policy: policy.clone() };
                        self.of_services.entry(name).or_default().push(on);
                    }
                    _ => {}
                }
            }
        }
        true
    }

    pub(super) fn find(&self, name: &Reference) -> Option<&Arc<Policy>> {
        self.policies.find(name)
    }

    pub(super) fn any_on_services(&self) -> bool {
        !self.of_services.is_empty()
    }

    pub(super) fn on_ingress(&self, name: &Reference) -> &[Arc<Policy>] {
        self.of_ingresses.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those whose target is the Service with this port, or with none. Oldest first.
    fn on_section<'a>(&'a self, service: &Reference, section: Option<&'a str>) -> impl Iterator<Item = &'a Policy> {
        let all = self.of_services.get(service).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(move |on| on.section.as_deref() == section).map(|on| on.policy.as_ref())
    }

    /// Those on a port of the Service, then those on all of it, each oldest first.
    pub(super) fn on_port(&self, service: &Reference, port: Option<&str>) -> Vec<Arc<Policy>> {
        let all = self.of_services.get(service).map(Vec::as_slice).unwrap_or_default();
        let on_section = all.iter().filter(|on| on.section.is_some() && on.section.as_deref() == port);
        let on_all = all.iter().filter(|on| on.section.is_none());
        let mut policies: Vec<Arc<Policy>> = Vec::new();
        for on in on_section.chain(on_all) {
            // One policy may name the port and the Service too.
            if !policies.iter().any(|known| Arc::ptr_eq(known, &on.policy)) {
                policies.push(on.policy.clone());
            }
        }
        policies
    }
}

/// A policy as messages name it.
pub(super) fn shown(policy: &Policy) -> String {
    format!("ProxyPolicy {}", policy.age.owner)
}

#[cfg(test)]
mod tests;
