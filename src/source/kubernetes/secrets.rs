//! Follows the Secrets that are asked for, and keeps no other.
//!
//! The API server tells of every Secret; what nobody asks for is dropped as it comes. One that is newly asked for is
//! fetched by its name, beside the watch. Where many are at once, as at the start, the list is read again instead.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::watch as latest;

use super::Scope;
use super::following::Following;
use super::kind::{Kind, Secrets};
use super::part::{Name, Part};
use super::store::Store;
use super::trouble::chain;
use super::watch::{Rests, config, events};
use crate::snapshot::Reference;

/// More than these are not fetched one by one.
const FEW: usize = 20;

type Wanted = Arc<BTreeSet<Reference>>;
/// What is there by a name; `None`: nobody asks for it any more.
type Found = (Reference, Option<Vec<DeserializeGuard<Secret>>>);

/// To be spawned.
pub(super) fn watch(
    client: &Client,
    part: Part,
    scope: &Scope,
    store: &Arc<Store>,
    mut wanted: latest::Receiver<Option<Wanted>>,
) -> impl Future<Output = Infallible> + use<> {
    let names: Arc<Mutex<Wanted>> = Arc::default();
    let is_wanted = {
        let (names, part) = (names.clone(), part.clone());
        move |name: &Reference| name.is_in(&part) && now(&names).contains(name)
    };
    let following = Following::<Secrets>::new(part.clone(), scope, store.clone(), Secrets::OPTIONAL_IF, is_wanted);
    let (client, store) = (client.clone(), store.clone());
    let fetches = FuturesUnordered::new();
    let mut lookups = Lookups {
        following,
        client,
        part,
        store,
        names,
        unknown: BTreeSet::new(),
        listing: Some(Wanted::default()),
        fetches,
    };
    async move {
        // Nothing is asked for before it is known what for.
        let first = next(&mut wanted).await;
        lookups.want(first);
        loop {
            let mut events = std::pin::pin!(events::<Secrets>(&lookups.client, &lookups.part));
            lookups.begin();
            loop {
                let goes_on = tokio::select! {
                    event = lookups.following.next(&mut events) => event.is_some_and(|event| lookups.take(event)),
                    newest = next(&mut wanted) => lookups.want(newest),
                    Some((name, found)) = lookups.fetches.next() => {
                        lookups.found(&name, found);
                        true
                    }
                };
                if !goes_on {
                    break;
                }
            }
        }
    }
}

async fn next(wanted: &mut latest::Receiver<Option<Wanted>>) -> Wanted {
    loop {
        if wanted.changed().await.is_err() {
            pending().await
        }
        if let Some(wanted) = &*wanted.borrow_and_update() {
            return wanted.clone();
        }
    }
}

/// The Secrets that are asked for, and what is known of them. What its functions give: whether the watch is to go on; else it
/// has to begin anew, with a list.
struct Lookups {
    following: Following<Secrets>,
    client: Client,
    part: Part,
    store: Arc<Store>,
    names: Arc<Mutex<Wanted>>,
    /// Those that the watch has not told of and that were not fetched yet.
    unknown: BTreeSet<Reference>,
    /// What was asked for when the list began that is being read.
    listing: Option<Wanted>,
    fetches: FuturesUnordered<BoxFuture<'static, Found>>,
}

impl Lookups {
    /// A list is about to be read.
    fn begin(&mut self) {
        self.listing = Some(now(&self.names));
    }

    fn take(&mut self, event: Event<DeserializeGuard<Secret>>) -> bool {
        let (begins, is_whole) = (matches!(event, Event::Init), matches!(event, Event::InitDone));
        if begins {
            self.begin();
        }
        self.following.take(event);
        let Some(listed) = self.listing.take_if(|_| is_whole) else { return true };
        self.unknown.retain(|name| !listed.contains(name));
        self.tell();
        self.look_up(self.unknown.clone())
    }

    fn want(&mut self, newest: Wanted) -> bool {
        let before = std::mem::replace(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner), newest.clone());
        let fresh: BTreeSet<Reference> =
            newest.difference(&before).filter(|name| name.is_in(&self.part)).cloned().collect();
        self.following.forget_unwanted();
        self.unknown.retain(|name| newest.contains(name));
        self.unknown.extend(fresh.iter().cloned());
        self.tell();
        // The end of a list that is being read sees to it.
        self.listing.is_some() || self.look_up(fresh)
    }

    /// Begins to fetch these, unless they are too many.
    fn look_up(&mut self, fresh: BTreeSet<Reference>) -> bool {
        if fresh.len() > FEW {
            return false;
        }
        let fetches = fresh.into_iter().map(|name| fetch(self.client.clone(), name, self.names.clone()).boxed());
        self.fetches.extend(fetches);
        true
    }

    fn found(&mut self, name: &Reference, found: Option<Vec<DeserializeGuard<Secret>>>) {
        let Some(found) = found else { return };
        found.into_iter().for_each(|secret| self.following.apply(secret));
        // A list that is being read may have been past it.
        if self.listing.is_none() {
            self.unknown.remove(name);
            self.tell();
        }
    }

    /// Of which it is known whether they exist.
    fn tell(&self) {
        self.store.set_known_secrets(now(&self.names).difference(&self.unknown).cloned().collect());
    }
}

/// Fetches one by its name, which takes as many tries as it takes.
async fn fetch(client: Client, name: Reference, names: Arc<Mutex<Wanted>>) -> Found {
    let api: Api<DeserializeGuard<Secret>> = Api::namespaced(client, &name.namespace);
    // A list, which the account may ask for anyway.
    let field_selector = config::<Secrets>(&Part::Object(name.clone())).field_selector;
    let params = ListParams { field_selector, ..ListParams::default() };
    let mut rests = Rests::default();
    while now(&names).contains(&name) {
        match api.list(&params).await {
            Ok(found) => return (name, Some(found.items)),
            Err(error) => tracing::warn!(secret = %name, "cannot be fetched: {}", chain(&error)),
        }
        rests.rest().await;
    }
    (name, None)
}

fn now(names: &Mutex<Wanted>) -> Wanted {
    names.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
