//! What was seen of the cluster, shared by the watches that write it and the one who reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::kind::{Kind, Secrets};
use super::trouble::Troubles;
use crate::snapshot::Reference;
use crate::source::folder::SourceProblem;
use crate::translate::{ObjectRef, Objects, PolicyObject};

#[derive(Debug, Default)]
pub(super) struct Store {
    state: Mutex<State>,
    changed: Notify,
}

/// How the watch of one kind stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub kind: &'static str,
    /// It was listed once, and nothing stops it from being read.
    pub synced: bool,
    pub objects: usize,
    /// Lists and watches that were not answered as asked.
    pub errors: u64,
}

#[derive(Debug, Default)]
struct State {
    objects: Objects,
    /// The namespaces that count; `None`: all.
    namespaces: Option<BTreeSet<String>>,
    /// Kinds that were not listed yet, and how many watches of them are at it.
    missing: BTreeMap<&'static str, usize>,
    /// All kinds that are watched.
    errors: BTreeMap<&'static str, u64>,
    /// The Secrets that were looked up, whether or not they exist.
    known_secrets: Arc<BTreeSet<Reference>>,
    troubles: Troubles,
}

impl Store {
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The Ingresses and policies of namespaces that count, and all else, which is only looked at if they name it.
    pub(super) fn objects(&self) -> Objects {
        let State { objects, namespaces, .. } = &*self.state();
        let mut objects = objects.clone();
        if let Some(namespaces) = namespaces {
            objects.ingresses.retain(|name, _| namespaces.contains(&name.namespace));
            // That of a class may be anywhere; what others are about is not seen.
            let is_of_class = |policy: &PolicyObject| {
                policy.policy.spec.target_refs.iter().any(|target| target.kind == "IngressClass")
            };
            objects.policies.retain(|name, policy| namespaces.contains(&name.namespace) || is_of_class(policy));
        }
        objects
    }

    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.state().missing.keys().copied().filter(|kind| *kind != Secrets::NAME).collect()
    }

    pub(super) fn problems(&self) -> Vec<SourceProblem> {
        self.state().troubles.problems()
    }

    /// The Secrets that were looked up; `None`: they were not listed yet.
    pub(super) fn known_secrets(&self) -> Option<Arc<BTreeSet<Reference>>> {
        let state = self.state();
        (!state.missing.contains_key(Secrets::NAME)).then(|| state.known_secrets.clone())
    }

    /// `kind` is to be waited for.
    pub(super) fn expect(&self, kind: &'static str) {
        let mut state = self.state();
        *state.missing.entry(kind).or_default() += 1;
        state.errors.insert(kind, 0);
    }

    /// One watch of `kind` has listed it, or it can be done without.
    pub(super) fn complete(&self, kind: &'static str) {
        let missing = &mut self.state().missing;
        match missing.get_mut(kind) {
            Some(watches) if *watches > 1 => *watches -= 1,
            _ => drop(missing.remove(kind)),
        }
        self.changed.notify_one();
    }

    /// A list or a watch of `kind` was not answered as asked.
    pub(super) fn count_error(&self, kind: &'static str) {
        *self.state().errors.entry(kind).or_default() += 1;
    }

    pub(super) fn figures(&self) -> Vec<Figures> {
        let State { objects, namespaces, missing, errors, troubles, .. } = &*self.state();
        let count = |kind| match kind {
            "Ingress" => objects.ingresses.len(),
            "IngressClass" => objects.ingress_classes.len(),
            "Service" => objects.services.len(),
            "EndpointSlice" => objects.endpoint_slices.len(),
            "Secret" => objects.secrets.len(),
            "ConfigMap" => objects.config_maps.len(),
            "ProxyPolicy" => objects.policies.len(),
            _ => namespaces.as_ref().map_or(0, BTreeSet::len),
        };
        let figures = |(kind, errors): (&&'static str, &u64)| Figures {
            kind,
            synced: !missing.contains_key(kind) && !troubles.of(kind),
            objects: count(kind),
            errors: *errors,
        };
        errors.iter().map(figures).collect()
    }

    /// Changes the objects of one kind.
    pub(super) fn change<K: Kind>(&self, change: impl FnOnce(&mut super::kind::Map<K>)) {
        change(K::all(&mut self.state().objects));
        self.changed.notify_one();
    }

    /// Asks about the objects of one kind.
    pub(super) fn ask<K: Kind, T>(&self, question: impl FnOnce(&super::kind::Map<K>) -> T) -> T {
        question(K::all(&mut self.state().objects))
    }

    pub(super) fn set_namespaces(&self, namespaces: BTreeSet<String>) {
        self.state().namespaces = Some(namespaces);
        self.changed.notify_one();
    }

    pub(super) fn set_known_secrets(&self, known: Arc<BTreeSet<Reference>>) {
        self.state().known_secrets = known;
        self.changed.notify_one();
    }

    /// What stops `kind`, or a part of it, from being read or written, if anything does. Told in the application
    /// log when it is new or gone.
    pub(super) fn set_trouble(&self, kind: &str, trouble: Option<String>) {
        if self.state().troubles.set(kind, trouble.clone()) {
            match trouble {
                Some(trouble) => tracing::warn!(kind, "trouble: {trouble}"),
                None => tracing::info!(kind, "the trouble is over"),
            }
            self.changed.notify_one();
        }
    }

    /// What stops one object from being read, if anything does.
    pub(super) fn set_object_trouble(&self, object: &ObjectRef, trouble: Option<String>) {
        if self.state().troubles.set_object(object.clone(), trouble.clone()) {
            match trouble {
                Some(trouble) => tracing::warn!(%object, "cannot be read: {trouble}"),
                None => tracing::info!(%object, "can be read again, or is gone"),
            }
            self.changed.notify_one();
        }
    }

    /// Nothing is left half-written under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
