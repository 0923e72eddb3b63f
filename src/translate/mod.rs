//! From Kubernetes objects to a [`Snapshot`], and to a [`Report`] for every object that has something wrong.
//!
//! Pure and total: no I/O, no clock, no logging, no `Result`. What is wrong with an object is data.
//!
//! The way of the objects: `settings` reads flags and the ConfigMap; `ingress` reads each Ingress by itself (with
//! `annotations`, `target`, `tls`, `class`); `routing` puts them together (`certificates`, `hosts`); `backend` finds
//! what is behind the Service ports that they name (`service`, `endpoints`, `external_name`). `policy` reads each ProxyPolicy
//! and says what it changes about both. `plain` has nothing to do with any of them: it is for a file with `[[backends]]`.

mod annotations;
mod backend;
mod certificates;
mod class;
mod endpoints;
mod external_name;
mod hosts;
mod ingress;
mod memo;
mod names;
mod objects;
mod options;
mod own;
mod plain;
mod policy;
mod problem;
mod reports;
mod routing;
mod secret;
mod service;
mod settings;
mod target;
mod tls;
mod topology;
mod values;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use crate::snapshot::{BackendId, Certificate, Reference, Snapshot};
use backend::{Backends, Resolved, Sources};
use own::Own;
use policy::{Policies, StatusMemo, Statuses, Surroundings};
use reports::Reports;
use routing::{Routed, Routing};
use settings::ProcessSettings;
use topology::Here;

pub use class::class_of;
pub use objects::{ByName, Illegible, Objects, PolicyObject};
pub use options::Options;
pub use plain::{Place, Plain, PlainBackend};
pub use policy::{PolicyAncestor, PolicyCondition, PolicyReason, PolicyStatus};
pub use problem::{ObjectKind, ObjectRef, Problem, Reason, Report};

/// What comes out of a translation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    pub snapshot: Snapshot,
    /// Only objects that have a problem, sorted by object.
    pub reports: Vec<Report>,
    /// What became of each policy, sorted by policy.
    pub policies: Arc<[PolicyStatus]>,
    /// Host names of ExternalName Services in use; the source resolves them into [`Objects::addresses`].
    pub names_to_resolve: BTreeSet<String>,
    /// The Secrets that count, whether or not they exist: a source need not have others.
    pub secrets: Arc<BTreeSet<Reference>>,
    /// The Ingresses that are ours.
    pub served: Arc<BTreeSet<Reference>>,
}

/// A certificate chain and its key from PEM, each with the name that messages have for it; or what is wrong with them, a
/// part of a sentence without anything of the key.
pub fn certificate(chain: (&str, &[u8]), key: (&str, &[u8])) -> Result<Arc<Certificate>, String> {
    secret::pair(chain, key).map(|pair| pair.certificate)
}

/// A network or an address, as access lists have them.
pub fn network(text: &str) -> Option<IpNet> {
    policy::any_network(text)
}

/// Whether health checks can ask for that path.
pub fn is_check_path(text: &str) -> bool {
    policy::is_check_path(text)
}

/// Translates with memos carried from one call to the next, so that one changed object costs about one object. What
/// comes out is the same as from a new `Translator`, but parts that did not change keep their `Arc`.
#[derive(Default)]
pub struct Translator {
    /// What the memos below were made under.
    options: Option<Options>,
    around: (Own, Option<Here>),
    policies: Policies,
    routing: Routing,
    backends: Backends,
    statuses: StatusMemo,
}

impl Translator {
    pub fn translate(&mut self, objects: &Objects, options: &Options) -> Translation {
        if self.options.as_ref() != Some(options) {
            *self = Translator { options: Some(options.clone()), ..Translator::default() };
        }
        let config_map = options.config_map.as_ref().and_then(|name| objects.config_maps.get(name));
        let process = settings::read(options, config_map.map(|config_map| config_map.as_ref()));
        let new_policies = self.policies.update(objects);
        let rerouted = self.routing.update(objects, options, &process.defaults, (&self.policies, new_policies));
        let around = (Own::of(objects, options), Here::of(objects, options));
        if self.around != around {
            self.around = around;
            self.backends = Backends::default();
        }
        let (own, here) = &self.around;
        let default_backend = backend::default_backend(objects, options);
        let used = used(self.routing.routed(), default_backend.as_ref());
        self.backends.update(used, Sources { objects, options, policies: &self.policies, own, here: here.as_ref() });
        let mut of_backends = Reports::default();
        report_backends(self.routing.routed(), &self.backends, default_backend.as_ref(), &mut of_backends);
        let (classes, routed) = (self.routing.classes(), self.routing.routed());
        let around = Surroundings { objects, classes, options, routed, backends: &of_backends };
        self.statuses.update(&self.policies, new_policies || rerouted, around);
        self.assemble(process, default_backend, &of_backends)
    }

    fn assemble(
        &self,
        process: ProcessSettings,
        default_backend: Option<BackendId>,
        of_backends: &Reports,
    ) -> Translation {
        let (routed, backends) = (self.routing.routed(), &self.backends);
        let Statuses { statuses, reports: of_policies } = self.statuses.statuses();
        let mut reports = process.reports;
        for more in [&routed.reports, of_backends, of_policies] {
            reports.merge(more);
        }
        let served = reached(routed, backends, default_backend.as_ref());
        Translation {
            secrets: with(&routed.certificates.named, backends.named_secrets()),
            served: routed.served.clone(),
            names_to_resolve: backends.iter().filter_map(|(_, resolved)| resolved.name.clone()).collect(),
            snapshot: Snapshot {
                hosts: routed.hosts.served().clone(),
                backends: served.map(|(id, resolved)| (id.clone(), resolved.backend.clone())).collect(),
                certificates: routed.certificates.by_name.clone(),
                secrets: routed.certificates.secrets.clone(),
                default_certificate: routed.certificates.default.clone(),
                default_policy: default_backend.as_ref().map(|_| process.defaults.policy).unwrap_or_default(),
                default_backend,
                settings: process.settings,
            },
            reports: reports.into_vec(),
            policies: statuses.clone(),
        }
    }
}

/// Nothing of it is printed: it remembers Secrets.
impl fmt::Debug for Translator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translator").finish_non_exhaustive()
    }
}

fn with<T: Ord + Clone>(known: &Arc<BTreeSet<T>>, more: BTreeSet<&T>) -> Arc<BTreeSet<T>> {
    match more.iter().all(|one| known.contains(one)) {
        true => known.clone(),
        false => Arc::new(more.into_iter().chain(&**known).cloned().collect()),
    }
}

/// The backends that a route (also a denied one) or a flag names.
fn used(routed: &Routed, default: Option<&BackendId>) -> BTreeSet<BackendId> {
    routed.hosts.used().chain(default).cloned().collect()
}

/// The backends that a request can get to: by a route that is not denied, by a flag, or as part of a split.
fn reached<'a>(
    routed: &'a Routed,
    backends: &'a Backends,
    default: Option<&'a BackendId>,
) -> impl Iterator<Item = (&'a BackendId, &'a Resolved)> {
    let named = move |id: &BackendId| default == Some(id) || routed.hosts.uses(id).any(|place| !place.denied);
    let members = backends.iter().filter(|(id, _)| named(id)).flat_map(|(_, resolved)| &resolved.backend.split);
    let members: BTreeSet<&BackendId> = members.map(|member| &member.backend).collect();
    backends.iter().filter(move |(id, _)| named(id) || members.contains(id))
}

/// A backend that cannot be used is told to the owner of each route to it; where a flag names it, to its own.
fn report_backends(routed: &Routed, backends: &Backends, default: Option<&BackendId>, reports: &mut Reports) {
    for (id, resolved) in backends.iter() {
        reports.merge(&resolved.reports);
        report_split(resolved, backends, reports);
        let Some(refusal) = &resolved.refusal else { continue };
        for place in routed.hosts.uses(id) {
            let problem = std::iter::once_with(|| refusal.problem(id, &place.field));
            reports.extend(&ObjectRef::new(ObjectKind::Ingress, &place.owner), problem);
        }
        if default == Some(id) {
            let object =
                ObjectRef { kind: ObjectKind::Service, namespace: id.namespace.clone(), name: id.service.clone() };
            let problem = refusal.problem(id, "");
            reports.add(object, Problem { field: "--default-backend-service".to_owned(), ..problem });
        }
    }
}

/// Members of a split that cannot be used are told to the owner of the policy.
fn report_split(resolved: &Resolved, backends: &Backends, reports: &mut Reports) {
    let Some(policy) = &resolved.backend.split_by else { return };
    for (index, member) in resolved.backend.split.iter().enumerate() {
        let Some(refusal) = backends.find(&member.backend).and_then(|member| member.refusal.as_ref()) else { continue };
        let object = ObjectRef::new(ObjectKind::ProxyPolicy, policy);
        reports.add(object, refusal.of_member(&member.backend, &format!("spec.trafficSplit[{index}]")));
    }
}

#[cfg(test)]
mod tests;
