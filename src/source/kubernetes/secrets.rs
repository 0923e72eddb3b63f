//! Follows the Secrets that are asked for, and keeps no other.
//!
//! The API server tells of every Secret; what nobody asks for is dropped as it comes. One that is newly asked for is
//! fetched by its name. Where many are at once, as at the start, the list is read again instead.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::watch as latest;

use super::Scope;
use super::kind::Secrets;
use super::part::{Name, Part};
use super::store::Store;
use super::trouble::chain;
use super::watch::{Following, Rests, events};
use crate::snapshot::Reference;

/// More than these are not fetched one by one.
const FEW: usize = 20;

/// How long one Secret may take.
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
    let mut following = Following::<Secrets>::new(part.clone(), scope, store.clone(), is_wanted);
    let (client, store) = (client.clone(), store.clone());
    async move {
        let mut rests = Rests::default();
        // Nothing is asked for before it is known what for.
        set(&names, next(&mut wanted).await);
        loop {
            let mut events = std::pin::pin!(events::<Secrets>(&client, &part));
            let mut listed = false;
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    newest = next(&mut wanted) => {
                        let fresh: Vec<Reference> = newest.difference(&now(&names)).cloned().collect();
                        set(&names, newest.clone());
                        forget_all_but(&newest, &part, &store);
                        let fresh = Vec::from_iter(fresh.into_iter().filter(|name| name.is_in(&part)));
                        if !listed || fresh.len() > FEW || !fetch(&client, &fresh, &mut following).await {
                            break;
                        }
                        store.set_known_secrets(BTreeSet::clone(&newest));
                        continue;
                    }
                    () = following.expiry() => { following.expire(); continue }
                    () = rests.over() => { following.recovered(); rests.end(); continue }
                };
                match event {
                    Some(Ok(event)) => {
                        let is_whole = matches!(event, Event::InitDone);
                        following.take(event);
                        if is_whole {
                            listed = true;
                            let known = BTreeSet::clone(&now(&names));
                            store.set_known_secrets(known);
                        }
                    }
                    Some(Err(error)) => {
                        following.failed(&error);
                        rests.rest().await;
                    }
                    None => pending().await,
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

fn forget_all_but(wanted: &Wanted, part: &Part, store: &Store) {
    let is_kept = |name: &Reference| wanted.contains(name) || !name.is_in(part);
    if store.ask::<Secrets, _>(|all| !all.keys().all(is_kept)) {
        store.change::<Secrets>(|all| all.retain(|name, _| is_kept(name)));
    }
}

/// Fetches these one by one; `false`: one of them could not be, and it is not known whether it exists.
async fn fetch(client: &Client, names: &[Reference], following: &mut Following<Secrets>) -> bool {
    for name in names {
        let api: Api<DeserializeGuard<Secret>> = Api::namespaced(client.clone(), &name.namespace);
        // A list, which the account may ask for anyway.
        let one = ListParams::default().fields(&format!("metadata.name={}", name.name));
        match tokio::time::timeout(PATIENCE, api.list(&one)).await {
            Ok(Ok(found)) => found.items.into_iter().for_each(|secret| following.take(Event::Apply(secret))),
            Ok(Err(error)) => {
                tracing::warn!(secret = %name, "cannot be fetched: {}", chain(&error));
                return false;
            }
            Err(_) => return false,
        }
    }
    true
}

fn now(names: &Mutex<Wanted>) -> Wanted {
    names.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set(names: &Mutex<Wanted>, to: Wanted) {
    *names.lock().unwrap_or_else(PoisonError::into_inner) = to;
}
