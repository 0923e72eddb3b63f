//! The namespaces that `--watch-namespace-selector` picks.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};

use super::store::Store;
use super::trouble::explained;
use super::watch::{OVER, Rests, WATCH_SECONDS};

const KIND: &str = "Namespace";

/// To be spawned.
pub(super) fn watch(client: &Client, selector: &str, store: &Arc<Store>) -> impl Future<Output = Infallible> + use<> {
    store.expect(KIND);
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let events = watcher(api, watcher::Config::default().labels(selector).timeout(WATCH_SECONDS));
    let store = store.clone();
    async move {
        let mut events = std::pin::pin!(events);
        let (mut rests, mut picked, mut listed) = (Rests::default(), BTreeSet::new(), BTreeSet::new());
        let mut is_complete = false;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = rests.over(OVER) => { store.set_trouble(KIND, None); rests.end(); continue }
            };
            match event {
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(namespace))) => drop(listed.insert(namespace.name_any())),
                Some(Ok(event)) => {
                    match event {
                        Event::Apply(namespace) => drop(picked.insert(namespace.name_any())),
                        Event::Delete(namespace) => drop(picked.remove(&namespace.name_any())),
                        _ => picked = std::mem::take(&mut listed),
                    }
                    store.set_namespaces(picked.clone());
                    store.set_trouble(KIND, None);
                    if !std::mem::replace(&mut is_complete, true) {
                        store.complete(KIND);
                    }
                }
                Some(Err(error)) => {
                    store.count_error(KIND);
                    store.set_trouble(KIND, Some(explained(&error, "namespaces")));
                    rests.rest().await;
                }
                None => pending().await,
            }
        }
    }
}
