//! Follows the Secrets that are asked for, and keeps no other.
//!
//! The API server tells of every Secret; what nobody asks for is dropped as it comes. One that is newly asked for is
//! fetched by its name. Where many are at once, as at the start, the list is read again instead.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
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
use super::watch::{config, events};
use crate::snapshot::Reference;

/// More than these are not fetched one by one.
const FEW: usize = 20;

/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(2);

type Wanted = Arc<BTreeSet<Reference>>;

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
    let mut following = Following::<Secrets>::new(part.clone(), scope, store.clone(), Secrets::OPTIONAL_IF, is_wanted);
    let (client, store) = (client.clone(), store.clone());
    async move {
        // Nothing is asked for before it is known what for.
        set(&names, next(&mut wanted).await);
        loop {
            let mut events = std::pin::pin!(events::<Secrets>(&client, &part));
            // What was asked for when the list began that is being read.
            let mut listing = Some(now(&names));
            loop {
                let event = tokio::select! {
                    event = following.next(&mut events) => event,
                    newest = next(&mut wanted) => {
                        let fresh: Vec<Reference> = newest.difference(&now(&names)).cloned().collect();
                        set(&names, newest.clone());
                        following.forget_unwanted();
                        store.narrow_known_secrets(&newest);
                        if listing.is_none() && !look_up(&client, &fresh, &part, &mut following, &store, newest).await {
                            break;
                        }
                        // Else the end of the list sees to it.
                        continue;
                    }
                };
                let Some(event) = event else { break };
                let is_whole = matches!(event, Event::InitDone);
                if matches!(event, Event::Init) {
                    listing = Some(now(&names));
                }
                following.take(event);
                if is_whole {
                    let (asked, newest) = (listing.take().unwrap_or_default(), now(&names));
                    let late: Vec<Reference> = newest.difference(&asked).cloned().collect();
                    if !look_up(&client, &late, &part, &mut following, &store, newest).await {
                        break;
                    }
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

/// Fetches `fresh`, those that the watch has not told of; then all of `wanted` are known. `false`: they are too many, or one
/// of them cannot be fetched: the list is to be read again.
async fn look_up(
    client: &Client,
    fresh: &[Reference],
    part: &Part,
    following: &mut Following<Secrets>,
    store: &Store,
    wanted: Wanted,
) -> bool {
    let fresh: Vec<Reference> = fresh.iter().filter(|name| name.is_in(part)).cloned().collect();
    if fresh.len() > FEW {
        return false;
    }
    let fetched = fresh.into_iter().map(|name| {
        let api: Api<DeserializeGuard<Secret>> = Api::namespaced(client.clone(), &name.namespace);
        async move {
            // A list, which the account may ask for anyway.
            let one = config::<Secrets>(&Part::Object(name.clone()));
            let found = api.list(&ListParams { field_selector: one.field_selector, ..ListParams::default() }).await;
            (name, found)
        }
    });
    let fetched = stream::iter(fetched).buffer_unordered(FEW).collect::<Vec<_>>();
    let Ok(fetched) = tokio::time::timeout(PATIENCE, fetched).await else { return false };
    for (name, found) in fetched {
        match found {
            Ok(found) => found.items.into_iter().for_each(|secret| following.apply(secret)),
            Err(error) => {
                tracing::warn!(secret = %name, "cannot be fetched: {}", chain(&error));
                return false;
            }
        }
    }
    store.set_known_secrets(wanted);
    true
}

fn now(names: &Mutex<Wanted>) -> Wanted {
    names.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set(names: &Mutex<Wanted>, to: Wanted) {
    *names.lock().unwrap_or_else(PoisonError::into_inner) = to;
}
