//! What was seen of the cluster, shared by the watches that write it and the one who reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::Notify;

use super::kind::{Ingresses, Kind, Namespaces, ProxyPolicies, Secrets};
use super::trouble::Troubles;
use crate::snapshot::Reference;
use crate::source::folder::SourceProblem;
use crate::translate::{ByName, ObjectRef, Objects, PolicyObject};

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

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) objects: Objects,
    /// Those that count, if only some do.
    pub(super) namespaces: ByName<String, ObjectMeta>,
}

#[derive(Debug, Default)]
struct State {
    seen: Seen,
    /// Only Ingresses and policies of `seen.namespaces` count.
    picks: bool,
    /// Those, as long as nothing of it changes.
    picked: Option<(ByName<Reference, Ingress>, ByName<Reference, PolicyObject>)>,
    /// All kinds that are watched.
    watched: BTreeMap<&'static str, Watched>,
    /// The Secrets that were looked up, whether or not they exist.
    known_secrets: Arc<BTreeSet<Reference>>,
    troubles: Troubles,
}

/// The watches of a kind.
#[derive(Debug)]
struct Watched {
    /// How many are waited for that did not list it yet.
    missing: usize,
    errors: u64,
    count: fn(&mut Seen) -> usize,
}

impl Store {
    /// `picks`: only Ingresses and policies of namespaces that are seen count.
    pub(super) fn new(picks: bool) -> Self {
        Store { state: Mutex::new(State { picks, ..State::default() }), changed: Notify::new() }
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The Ingresses and policies of namespaces that count, and all else, which is only looked at if they name it.
    pub(super) fn objects(&self) -> Objects {
        let State { seen, picks, picked, .. } = &mut *self.state();
        let mut objects = seen.objects.clone();
        if *picks {
            (objects.ingresses, objects.policies) = picked.get_or_insert_with(|| seen.picked()).clone();
        }
        objects
    }

    /// Those of all namespaces.
    pub(super) fn ingresses(&self) -> ByName<Reference, Ingress> {
        self.state().seen.objects.ingresses.clone()
    }

    /// The kinds that are waited for, but for Secrets.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let state = self.state();
        let missing = state.watched.iter().filter(|(kind, watched)| watched.missing > 0 && **kind != Secrets::NAME);
        missing.map(|(kind, _)| *kind).collect()
    }

    /// What cannot be read.
    pub(super) fn problems(&self) -> Vec<SourceProblem> {
        self.state().troubles.of_reading()
    }

    /// What cannot be written.
    pub(super) fn problems_of_writing(&self) -> Vec<SourceProblem> {
        self.state().troubles.of_writing()
    }

    /// The Secrets that were looked up; `None`: they were not listed yet.
    pub(super) fn known_secrets(&self) -> Option<Arc<BTreeSet<Reference>>> {
        let state = self.state();
        let are_listed = state.watched.get(Secrets::NAME).is_none_or(|watched| watched.missing == 0);
        are_listed.then(|| state.known_secrets.clone())
    }

    /// One more watch of the kind begins. `is_needed`: and is to be waited for.
    pub(super) fn watch<K: Kind>(&self, is_needed: bool) {
        let mut state = self.state();
        let none = Watched { missing: 0, errors: 0, count: |seen| K::all(seen).len() };
        state.watched.entry(K::NAME).or_insert(none).missing += usize::from(is_needed);
    }

    /// One watch of `kind` has listed it, or it can be done without.
    pub(super) fn complete(&self, kind: &'static str) {
        if let Some(watched) = self.state().watched.get_mut(kind) {
            watched.missing = watched.missing.saturating_sub(1);
        }
        self.changed.notify_one();
    }

    /// A list or a watch of `kind` was not answered as asked.
    pub(super) fn count_error(&self, kind: &'static str) {
        if let Some(watched) = self.state().watched.get_mut(kind) {
            watched.errors += 1;
        }
    }

    pub(super) fn figures(&self) -> Vec<Figures> {
        let State { seen, watched, troubles, .. } = &mut *self.state();
        let figures = |(kind, watched): (&&'static str, &Watched)| Figures {
            kind,
            synced: watched.missing == 0 && !troubles.of(kind),
            objects: (watched.count)(seen),
            errors: watched.errors,
        };
        watched.iter().map(figures).collect()
    }

    /// Changes the objects of one kind.
    pub(super) fn change<K: Kind>(&self, change: impl FnOnce(&mut super::kind::Map<K>)) {
        let State { seen, picked, .. } = &mut *self.state();
        change(K::all(seen));
        if [Ingresses::NAME, ProxyPolicies::NAME, Namespaces::NAME].contains(&K::NAME) {
            *picked = None;
        }
        self.changed.notify_one();
    }

    /// Asks about the objects of one kind.
    pub(super) fn ask<K: Kind, T>(&self, question: impl FnOnce(&super::kind::Map<K>) -> T) -> T {
        question(K::all(&mut self.state().seen))
    }

    /// Whether it is hardly credible that `lost` are gone, apart from `doubted`.
    pub(super) fn is_much<K: Kind>(&self, lost: &BTreeSet<K::Name>, doubted: &BTreeSet<K::Name>) -> bool {
        let seen = &self.state().seen;
        K::loss(seen, lost).is_much(&K::loss(seen, doubted), &seen.objects.ingresses)
    }

    /// Of which Secrets it is known whether they exist. Less is no news.
    pub(super) fn set_known_secrets(&self, known: BTreeSet<Reference>) {
        let mut state = self.state();
        let is_news = !known.is_subset(&state.known_secrets);
        state.known_secrets = Arc::new(known);
        if is_news {
            self.changed.notify_one();
        }
    }

    /// What stops `kind`, or a part of it, from being read, if anything does. Told in the application log when it is new
    /// or gone.
    pub(super) fn set_trouble(&self, kind: &str, trouble: Option<String>) {
        if self.state().troubles.set(kind, trouble.clone()) {
            self.tell(kind, trouble);
        }
    }

    /// The same of what is to be written.
    pub(super) fn set_trouble_writing(&self, kind: &str, trouble: Option<String>) {
        if self.state().troubles.set_writing(kind, trouble.clone()) {
            self.tell(kind, trouble);
        }
    }

    fn tell(&self, kind: &str, trouble: Option<String>) {
        match trouble {
            Some(trouble) => tracing::warn!(kind, "trouble: {trouble}"),
            None => tracing::info!(kind, "the trouble is over"),
        }
        self.changed.notify_one();
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

impl Seen {
    /// The Ingresses and policies of the namespaces that count.
    fn picked(&self) -> (ByName<Reference, Ingress>, ByName<Reference, PolicyObject>) {
        let (mut ingresses, mut policies) = (self.objects.ingresses.clone(), self.objects.policies.clone());
        let counts = |name: &Reference| self.namespaces.contains_key(&name.namespace);
        // That of a class may be anywhere; what others are about is not seen.
        let is_of_class =
            |policy: &PolicyObject| policy.policy.spec.target_refs.iter().any(|target| target.kind == "IngressClass");
        ingresses.retain(|name, _| counts(name));
        policies.retain(|name, policy| counts(name) || is_of_class(policy));
        (ingresses, policies)
    }
}
