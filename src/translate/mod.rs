//! From Kubernetes objects to a [`Snapshot`], and to a [`Report`] for every object that has something wrong.
//!
//! Pure and total: no I/O, no clock, no logging, no `Result`. What is wrong with an object is data.
//!
//! The way of the objects: `settings` reads flags and the ConfigMap; `ingress` reads each Ingress by itself (with
//! `annotations`, `target`, `tls`, `class`); `routing` puts them together (`certificates`, `hosts`); `backend` finds
//! what is behind the Service ports that they name (`service`, `endpoints`, `external_name`).

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
mod problem;
mod reports;
mod routing;
mod secret;
mod service;
mod settings;
mod target;
mod tls;
mod values;

use std::collections::BTreeSet;
use std::fmt;

use crate::snapshot::{BackendId, Snapshot};
use backend::Backends;
use reports::Reports;
use routing::{Routed, Routing};
use settings::ProcessSettings;

pub use class::class_of;
pub use objects::Objects;
pub use options::Options;
pub use problem::{ObjectKind, ObjectRef, Problem, Reason, Report};

/// What comes out of a translation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    pub snapshot: Snapshot,
    /// Only objects that have a problem, sorted by object.
    pub reports: Vec<Report>,
    /// Host names of ExternalName Services in use; the source resolves them into [`Objects::addresses`].
    pub names_to_resolve: BTreeSet<String>,
}

/// Translates with memos carried from one call to the next, so that one changed object costs about one object. What
/// comes out is the same as from a new `Translator`, but parts that did not change keep their `Arc`.
#[derive(Default)]
pub struct Translator {
    /// What the memos below were made under.
    options: Option<Options>,
    routing: Routing,
    backends: Backends,
}

impl Translator {
    pub fn translate(&mut self, objects: &Objects, options: &Options) -> Translation {
        if self.options.as_ref() != Some(options) {
            *self = Translator { options: Some(options.clone()), ..Translator::default() };
        }
        let config_map = options.config_map.as_ref().and_then(|name| objects.config_maps.get(name));
        let process = settings::read(options, config_map.map(|config_map| config_map.as_ref()));
        let routed = self.routing.update(objects, options, &process.defaults);
        let default_backend = backend::default_backend(objects, options);
        self.backends.update(&used(routed, default_backend.as_ref()), objects, options);
        assemble(process, routed, &self.backends, default_backend)
    }
}

/// Nothing of it is printed: it remembers Secrets.
impl fmt::Debug for Translator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translator").finish_non_exhaustive()
    }
}

fn assemble(
    process: ProcessSettings,
    routed: &Routed,
    backends: &Backends,
    default_backend: Option<BackendId>,
) -> Translation {
    let mut reports = process.reports;
    reports.merge(&routed.reports);
    report_backends(routed, backends, default_backend.as_ref(), &mut reports);
    let names = backends.iter().filter_map(|(_, resolved)| resolved.name.clone());
    let reached = |id: &BackendId| {
        default_backend.as_ref() == Some(id)
            || routed.uses.get(id).is_some_and(|uses| uses.iter().any(|place| !place.denied))
    };
    let served = backends.iter().filter(|(id, _)| reached(id));
    Translation {
        names_to_resolve: names.collect(),
        snapshot: Snapshot {
            hosts: routed.hosts.clone(),
            backends: served.map(|(id, resolved)| (id.clone(), resolved.backend.clone())).collect(),
            certificates: routed.certificates.clone(),
            secrets: routed.secrets.clone(),
            default_certificate: routed.default_certificate.clone(),
            default_backend,
            settings: process.settings,
        },
        reports: reports.into_vec(),
    }
}

/// The backends that a route (also a denied one) or a flag names, in order.
fn used<'a>(routed: &'a Routed, default: Option<&'a BackendId>) -> Vec<&'a BackendId> {
    let mut used: Vec<_> = routed.uses.keys().collect();
    if let Some(default) = default
        && let Err(place) = used.binary_search(&default)
    {
        used.insert(place, default);
    }
    used
}

/// A backend that cannot be used is told to the owner of each route to it; where a flag names it, to its own.
fn report_backends(routed: &Routed, backends: &Backends, default: Option<&BackendId>, reports: &mut Reports) {
    for (id, resolved) in backends.iter() {
        reports.merge(&resolved.reports);
        let Some(refusal) = &resolved.refusal else { continue };
        for place in routed.uses.get(id).into_iter().flatten() {
            let problem = refusal.problem(id, &place.field);
            reports.add(ObjectRef::new(ObjectKind::Ingress, &place.owner), problem);
        }
        if default == Some(id) {
            let object =
                ObjectRef { kind: ObjectKind::Service, namespace: id.namespace.clone(), name: id.service.clone() };
            let problem = refusal.problem(id, "");
            reports.add(object, Problem { field: "--default-backend-service".to_owned(), ..problem });
        }
    }
}

#[cfg(test)]
mod tests;
