//! One kind as it is followed: what comes of it is taken into the store, and what is wrong with it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use tokio::time::Instant;

use super::Scope;
use super::guard::Guard;
use super::kind::{Kind, OptionalIf};
use super::part::{Name, Part};
use super::store::Store;
use super::trouble::{explained, status};
use super::watch::{OVER, Rests};

#[cfg(test)]
mod tests;

/// So long it has to be forbidden to read a kind until it is done without.
const REFUSED: Duration = Duration::from_secs(5);

/// Whether an object of this name is kept.
type Wanted<K> = dyn Fn(&<K as Kind>::Name) -> bool + Send + Sync;

/// One kind as it is followed.
pub(super) struct Following<K: Kind> {
    store: Arc<Store>,
    pub(super) part: Part,
    /// What messages call it.
    what: String,
    wanted: Box<Wanted<K>>,
    optional: OptionalIf,
    guard: Guard<K::Name>,
    rests: Rests,
    /// Of a list that is being read.
    listed: BTreeMap<K::Name, Arc<K::Kept>>,
    /// Objects that cannot be read.
    illegible: BTreeSet<K::Name>,
    /// Those that could not before the list that is being read.
    illegible_before: BTreeSet<K::Name>,
    in_trouble: bool,
    in_doubt: bool,
    /// Only one namespace is watched, and classes count by their names.
    namespaced: bool,
    was_listed: bool,
    refused_since: Option<Instant>,
    is_done_without: bool,
    is_complete: bool,
}

/// An object as it is kept.
struct Read<K: Kind> {
    name: K::Name,
    kept: Arc<K::Kept>,
    /// `false`: it was there already.
    is_news: bool,
}

impl<K: Kind> Following<K> {
    /// Waits for the kind from here on, unless nothing depends on it. `wanted`: whether an object of this name is kept.
    pub(super) fn new(
        part: Part,
        scope: &Scope,
        store: Arc<Store>,
        optional: OptionalIf,
        wanted: impl Fn(&K::Name) -> bool + Send + Sync + 'static,
    ) -> Self {
        let is_complete = optional == OptionalIf::Always;
        store.watch::<K>(!is_complete);
        Following {
            store,
            wanted: Box::new(wanted),
            what: format!("{}{part}", K::NAME),
            part,
            optional,
            guard: Guard::new(scope.mass_delete_hold),
            rests: Rests::default(),
            listed: BTreeMap::new(),
            illegible: BTreeSet::new(),
            illegible_before: BTreeSet::new(),
            in_trouble: false,
            in_doubt: false,
            namespaced: scope.namespace.is_some() && scope.class_by_name,
            was_listed: false,
            refused_since: None,
            is_done_without: false,
            is_complete,
        }
    }

    /// What comes next of `events`, to be [taken](Self::take); `None`: they are to begin anew. Nothing is lost if it is
    /// cancelled, but for a rest.
    pub(super) async fn next(
        &mut self,
        events: &mut (impl Stream<Item = watcher::Result<Event<K::Watched>>> + Unpin),
    ) -> Option<Event<K::Watched>> {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = expiry(&self.guard) => {
                    self.ask_again();
                    return None;
                }
                () = self.rests.over(OVER) => {
                    self.recovered();
                    self.rests.end();
                    continue;
                }
            };
            match event {
                Some(Ok(event)) => return Some(event),
                Some(Err(error)) => {
                    self.failed(&error);
                    self.rests.rest().await;
                    if is_lost(&error) {
                        return None;
                    }
                }
                None => pending().await,
            }
        }
    }

    pub(super) fn take(&mut self, event: Event<K::Watched>) {
        match event {
            Event::Init => {
                self.listed.clear();
                self.illegible_before.append(&mut self.illegible);
            }
            Event::InitApply(object) => {
                // A list is the truth, also where its versions are older: a restored backup has such.
                if let Some(read) = self.read(object, |listed, known| listed == known) {
                    self.listed.insert(read.name, read.kept);
                }
            }
            Event::InitDone => {
                self.is_done_without = false;
                self.was_listed = true;
                self.replace();
                let before = std::mem::take(&mut self.illegible_before);
                before.difference(&self.illegible).for_each(|name| self.clear(name));
                self.recovered();
                self.complete();
            }
            Event::Apply(object) => {
                self.recovered();
                self.apply(object);
            }
            Event::Delete(object) => {
                self.recovered();
                self.delete(object.meta());
            }
        }
        self.tell_doubt();
    }

    /// An object is new or other than it was. One that was fetched may be ahead of the watch.
    pub(super) fn apply(&mut self, object: K::Watched) {
        let Some(Read { name, kept, is_news }) = self.read(object, |told, known| !is_newer(told, known)) else {
            return;
        };
        self.guard.told(&name);
        if is_news {
            self.store.change::<K>(|all| drop(all.insert(name, kept)));
        }
    }

    fn delete(&mut self, metadata: &ObjectMeta) {
        let name = K::name(metadata);
        let known =
            self.store.ask::<K, _>(|all| all.get(&name).map(|known| K::metadata(known).resource_version.clone()));
        // Made anew since, and fetched.
        if known.as_ref().is_some_and(|known| is_newer(known.as_deref(), metadata.resource_version.as_deref())) {
            return;
        }
        self.guard.told(&name);
        if self.illegible.remove(&name) {
            self.clear(&name);
        }
        if known.is_some() {
            self.store.change::<K>(|all| drop(all.remove(&name)));
        }
    }

    /// What is kept of an object. One that cannot be read is kept as it was; one that did not change keeps its `Arc`.
    /// `is_known`: the version of the object says nothing beyond the one that is known.
    fn read(&mut self, object: K::Watched, is_known: impl Fn(Option<&str>, Option<&str>) -> bool) -> Option<Read<K>> {
        let name = K::name(object.meta());
        if !(self.wanted)(&name) {
            return None;
        }
        let known = self.store.ask::<K, _>(|all| all.get(&name).cloned());
        let version = |metadata: &ObjectMeta| metadata.resource_version.clone();
        let of_object = version(object.meta());
        let says_nothing = |known: &K::Kept| is_known(of_object.as_deref(), version(K::metadata(known)).as_deref());
        if let Some(kept) = known.as_ref().filter(|known| says_nothing(known)) {
            return Some(Read { name, kept: kept.clone(), is_news: false });
        }
        // One object that the reader does not survive must not end the process.
        let kept = catch_unwind(AssertUnwindSafe(|| K::keep(object)));
        match kept.unwrap_or_else(|_| Err("the reader does not survive it".to_owned())) {
            Ok(kept) => {
                if self.illegible.remove(&name) {
                    self.clear(&name);
                }
                Some(Read { name, kept: Arc::new(kept), is_news: true })
            }
            Err(why) => {
                let counts = if known.is_some() { "what it said before counts" } else { "it is left out" };
                self.store.set_object_trouble(&name.of(K::KIND), Some(format!("{why}; {counts}")));
                self.illegible.insert(name.clone());
                known.map(|kept| Read { name, kept, is_news: false })
            }
        }
    }

    /// Drops what is not wanted any more.
    pub(super) fn forget_unwanted(&mut self) {
        let Following { wanted, part, store, .. } = self;
        let is_kept = |name: &K::Name| wanted(name) || !name.is_in(part);
        if store.ask::<K, _>(|all| !all.keys().all(is_kept)) {
            store.change::<K>(|all| all.retain(|name, _| is_kept(name)));
        }
        for illegible in [&mut self.illegible, &mut self.illegible_before] {
            illegible.retain(|name| {
                let is_wanted = wanted(name);
                if !is_wanted {
                    store.set_object_trouble(&name.of(K::KIND), None);
                }
                is_wanted
            });
        }
    }

    /// Nothing is wrong with this object any more.
    fn clear(&self, name: &K::Name) {
        self.store.set_object_trouble(&name.of(K::KIND), None);
    }

    /// The list is whole: what it lacks is gone, if that is credible.
    fn replace(&mut self) {
        let mut listed = std::mem::take(&mut self.listed);
        let Following { guard, store, part, .. } = self;
        let is_lacking = |name: &&K::Name| name.is_in(part) && !listed.contains_key(*name);
        let lacking = store.ask::<K, _>(|all| all.keys().filter(is_lacking).cloned().collect());
        let gone = guard.listed(lacking, |lost, doubted| store.is_much::<K>(lost, doubted), Instant::now());
        store.change::<K>(|all| {
            all.retain(|name, _| !gone.contains(name));
            all.append(&mut listed);
        });
    }

    /// What is doubted is a trouble for as long as it is.
    fn tell_doubt(&mut self) {
        let doubted = self.guard.doubted();
        if std::mem::replace(&mut self.in_doubt, doubted > 0) == self.in_doubt {
            return;
        }
        let trouble = self.in_doubt.then(|| {
            format!(
                "{doubted} of them are suddenly lacking, and much of what is served hangs on them: they are kept for a \
                 while (--mass-delete-hold), and then asked for again"
            )
        });
        self.store.set_trouble(&format!("{} (short list)", self.what), trouble);
    }

    /// What was doubted long enough is asked for again, by a list that is to begin.
    fn ask_again(&mut self) {
        tracing::warn!(kind = self.what, objects = self.guard.doubted(), "what the list lacked is asked for again");
        self.guard.ask_again();
    }

    fn failed(&mut self, error: &watcher::Error) {
        self.guard.failed();
        let status = status(error);
        let is_dispensable = match self.optional {
            OptionalIf::Never | OptionalIf::Always => false,
            OptionalIf::Undefined => status == Some(404),
            OptionalIf::Namespaced => status == Some(403) && self.namespaced && !self.was_listed,
        };
        if is_dispensable {
            return self.done_without(error);
        }
        self.store.count_error(K::NAME);
        // 410: the list is read again, which is all that it means, once.
        if status != Some(410) || self.rests.have_begun() {
            self.in_trouble = true;
            self.store.set_trouble(&self.what, Some(explained(error, K::RESOURCE)));
        }
    }

    /// There is none of the kind, or none that may be read: told once. An API server that has just started may refuse what it
    /// does not a moment later.
    fn done_without(&mut self, error: &watcher::Error) {
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        if self.optional == OptionalIf::Namespaced && since.elapsed() < REFUSED {
            return;
        }
        self.recovered();
        if !std::mem::replace(&mut self.is_done_without, true) {
            tracing::warn!(kind = self.what, "done without: {}", explained(error, K::RESOURCE));
        }
        self.complete();
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.in_trouble) {
            self.store.set_trouble(&self.what, None);
        }
    }

    fn complete(&mut self) {
        if !std::mem::replace(&mut self.is_complete, true) {
            self.store.complete(K::NAME);
        }
    }
}

async fn expiry<N: Ord + Clone>(guard: &Guard<N>) {
    match guard.until() {
        Some(until) => tokio::time::sleep_until(until).await,
        None => pending().await,
    }
}

/// The place where the watch was to begin is refused, as too old (410) or as none (400). The watcher would ask for it for ever.
fn is_lost(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && matches!(status(error), Some(400 | 410))
}

/// Versions are numbers that grow.
fn is_newer(one: Option<&str>, than: Option<&str>) -> bool {
    let number = |version: Option<&str>| version?.parse::<u64>().ok();
    match (number(one), number(than)) {
        (Some(one), Some(than)) => one > than,
        _ => one != than,
    }
}
