//! Follows one kind: lists it, then takes each change as it comes, for as long as the process lives.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use kube::core::ObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};

use super::Scope;
use super::guard::Guard;
use super::kind::{Kind, OptionalIf, Secrets};
use super::part::{Name, Part};
use super::store::Store;
use super::trouble::{explained, status};
use crate::translate::ObjectRef;

/// How long the API server lets a watch go on, after which it is taken up where it was. Also bounds how long a connection
/// that died without a word goes unnoticed.
pub(super) const WATCH_SECONDS: u32 = 60;

/// Rests after errors, doubled each time.
const SHORTEST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// An error is over when none has come for this long: longer than an API server is waited for that says nothing.
pub(super) const OVER: Duration = Duration::from_secs(80);

/// The watch of one kind, to be spawned.
pub(super) fn of<K: Kind>(
    client: &Client,
    part: Part,
    scope: &Scope,
    store: &Arc<Store>,
) -> impl Future<Output = Infallible> + use<K> {
    let events = events::<K>(client, &part);
    let client = client.clone();
    let mut following = Following::<K>::new(part, scope, store.clone(), |_| true);
    async move {
        let mut events = std::pin::pin!(events);
        let mut rests = Rests::default();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = following.expiry() => {
                    following.ask_again();
                    events.set(self::events::<K>(&client, &following.part));
                    continue;
                }
                () = rests.over(OVER) => { following.recovered(); rests.end(); continue }
            };
            match event {
                Some(Ok(event)) => following.take(event),
                Some(Err(error)) => {
                    following.failed(&error);
                    rests.rest().await;
                }
                None => pending().await,
            }
        }
    }
}

/// Of no use to anybody here, large and many.
const NO_SECRETS: [&str; 2] = ["type!=helm.sh/release.v1", "type!=kubernetes.io/service-account-token"];

/// What the API server tells of the kind.
pub(super) fn events<K: Kind>(
    client: &Client,
    part: &Part,
) -> impl Stream<Item = watcher::Result<Event<K::Watched>>> + Send + use<K> {
    let mut config = part.config().timeout(WATCH_SECONDS);
    if K::NAME == Secrets::NAME {
        let own = config.field_selector.take();
        config = config.fields(&Vec::from_iter(own.as_deref().into_iter().chain(NO_SECRETS)).join(","));
    }
    watcher(K::api(client, part), config)
}

/// Whether an object of this name is kept.
type Wanted<K> = dyn Fn(&<K as Kind>::Name) -> bool + Send + Sync;

/// One kind as it is followed.
pub(super) struct Following<K: Kind> {
    store: Arc<Store>,
    part: Part,
    /// What messages call it.
    what: String,
    wanted: Box<Wanted<K>>,
    guard: Guard<K::Name>,
    /// Of a list that is being read.
    listed: BTreeMap<K::Name, Arc<K::Kept>>,
    /// Only one namespace is watched, and classes count by their names.
    namespaced: bool,
    is_done_without: bool,
    is_complete: bool,
}

impl<K: Kind> Following<K> {
    /// Waits for the kind from here on. `wanted`: whether an object of this name is kept.
    pub(super) fn new(
        part: Part,
        scope: &Scope,
        store: Arc<Store>,
        wanted: impl Fn(&K::Name) -> bool + Send + Sync + 'static,
    ) -> Self {
        store.expect(K::NAME);
        Following {
            store,
            wanted: Box::new(wanted),
            what: format!("{}{part}", K::NAME),
            part,
            guard: Guard::new(scope.mass_delete_hold),
            listed: BTreeMap::new(),
            namespaced: scope.namespace.is_some() && scope.class_by_name,
            is_done_without: false,
            is_complete: false,
        }
    }

    pub(super) fn take(&mut self, event: Event<K::Watched>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                // A list is the truth, also where its versions are older: a restored backup has such.
                if let Some((name, kept)) = self.read(object, |listed, known| listed == known) {
                    self.listed.insert(name, kept);
                }
            }
            Event::InitDone => {
                self.is_done_without = false;
                self.replace();
                self.recovered();
                self.complete();
            }
            Event::Apply(object) => {
                self.recovered();
                // One that was fetched may be ahead of the watch.
                if let Some((name, kept)) = self.read(object, |told, known| !is_newer(told, known)) {
                    self.guard.told(&name);
                    self.store.change::<K>(|all| drop(all.insert(name, kept)));
                }
            }
            Event::Delete(object) => {
                self.recovered();
                let name = K::name(object.meta());
                self.guard.told(&name);
                self.forget(object.meta());
                self.store.change::<K>(|all| drop(all.remove(&name)));
            }
        }
    }

    /// What is kept of an object. One that cannot be read is kept as it was; one that did not change keeps its `Arc`.
    /// `is_known`: the version of the object says nothing beyond the one that is known.
    fn read(
        &mut self,
        object: K::Watched,
        is_known: impl Fn(Option<&str>, Option<&str>) -> bool,
    ) -> Option<(K::Name, Arc<K::Kept>)> {
        let name = K::name(object.meta());
        if !(self.wanted)(&name) {
            return None;
        }
        let known = self.store.ask::<K, _>(|all| all.get(&name).cloned());
        let version = |metadata: &ObjectMeta| metadata.resource_version.clone();
        let of_object = version(object.meta());
        let says_nothing = |known: &K::Kept| is_known(of_object.as_deref(), version(K::metadata(known)).as_deref());
        if let Some(known) = known.as_ref().filter(|known| says_nothing(known)) {
            return Some((name, known.clone()));
        }
        let reference = reference::<K>(object.meta());
        // One object that the reader does not survive must not end the process.
        let kept = catch_unwind(AssertUnwindSafe(|| K::keep(object)));
        match kept.unwrap_or_else(|_| Err("the reader does not survive it".to_owned())) {
            Ok(kept) => {
                self.store.set_object_trouble(&reference, None);
                Some((name, Arc::new(kept)))
            }
            Err(why) => {
                let counts = if known.is_some() { "what it said before counts" } else { "it is left out" };
                self.store.set_object_trouble(&reference, Some(format!("{why}; {counts}")));
                known.map(|known| (name, known))
            }
        }
    }

    /// The list is whole: what it lacks is gone, if that is credible.
    fn replace(&mut self) {
        let mut listed = std::mem::take(&mut self.listed);
        let Following { guard, store, part, .. } = self;
        store.change::<K>(|all| {
            let known = all.keys().filter(|name| name.is_in(part));
            let (known, lacking) = (known.clone().count(), known.filter(|name| !listed.contains_key(*name)));
            let gone = guard.listed(known, lacking.cloned().collect(), Instant::now());
            all.retain(|name, _| !gone.contains(name));
            all.append(&mut listed);
        });
        if self.guard.doubted() > 0 {
            tracing::error!(
                kind = K::NAME,
                objects = self.guard.doubted(),
                "a list of the API server suddenly lacks most of what was there: what it lacks is kept for a while \
                 (--mass-delete-hold); delete objects one by one, or wait, if they are really gone"
            );
        }
    }

    pub(super) async fn expiry(&self) {
        match self.guard.until() {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => pending().await,
        }
    }

    /// What was doubted long enough is asked for again, by a list that the caller begins.
    pub(super) fn ask_again(&mut self) {
        tracing::warn!(kind = self.what, objects = self.guard.doubted(), "what the list lacked is asked for again");
        self.guard.ask_again();
    }

    pub(super) fn failed(&mut self, error: &watcher::Error) {
        let status = status(error);
        let is_dispensable = match K::OPTIONAL_IF {
            OptionalIf::Never => false,
            OptionalIf::Undefined => status == Some(404),
            OptionalIf::Namespaced => status == Some(403) && self.namespaced,
        };
        if is_dispensable {
            return self.done_without(error);
        }
        self.store.count_error(K::NAME);
        // 410: the list is read again, which is all that it means.
        if status != Some(410) {
            self.store.set_trouble(&self.what, Some(explained(error, K::RESOURCE)));
        }
    }

    /// There is none of the kind, or none that may be read: told once.
    fn done_without(&mut self, error: &watcher::Error) {
        if !std::mem::replace(&mut self.is_done_without, true) {
            tracing::warn!(kind = self.what, "done without: {}", explained(error, K::RESOURCE));
        }
        self.complete();
    }

    pub(super) fn recovered(&mut self) {
        self.store.set_trouble(&self.what, None);
    }

    fn complete(&mut self) {
        if !std::mem::replace(&mut self.is_complete, true) {
            self.store.complete(K::NAME);
        }
    }

    fn forget(&self, metadata: &ObjectMeta) {
        self.store.set_object_trouble(&reference::<K>(metadata), None);
    }
}

/// Versions are numbers that grow.
fn is_newer(one: Option<&str>, than: Option<&str>) -> bool {
    let number = |version: Option<&str>| version?.parse::<u64>().ok();
    match (number(one), number(than)) {
        (Some(one), Some(than)) => one > than,
        _ => one != than,
    }
}

fn reference<K: Kind>(metadata: &ObjectMeta) -> ObjectRef {
    ObjectRef {
        kind: K::KIND,
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// The rests between errors.
#[derive(Default)]
pub(super) struct Rests {
    errors: u32,
    last: Option<Instant>,
}

impl Rests {
    pub(super) async fn rest(&mut self) {
        let longest = SHORTEST_REST.saturating_mul(1 << self.errors.min(10)).min(LONGEST_REST);
        self.errors += 1;
        tokio::time::sleep(longest.mul_f64(fastrand::f64().mul_add(0.5, 0.5))).await;
        self.last = Some(Instant::now());
    }

    /// Waits until no error has come for `quiet`, given that one has.
    pub(super) async fn over(&self, quiet: Duration) {
        match self.last {
            Some(last) => tokio::time::sleep_until((last + quiet).into()).await,
            None => pending().await,
        }
    }

    pub(super) fn end(&mut self) {
        *self = Rests::default();
    }
}
