//! Writes what is to be told: differences only, several at once, and what failed again.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use super::super::store::Store;
use super::account::{Account, EVENTS, INGRESSES, Outcome, POLICIES};
use super::events::{self, Told};
use super::lease::Lease;
use super::nodes::{self, Nodes};
use super::{Findings, Publish, Settings, ingress, policy};
use crate::api::ProxyPolicy;
use crate::snapshot::Reference;
use crate::translate::Objects;

#[cfg(test)]
mod tests;

/// What messages call the addresses of `--publish-service`.
const ADDRESSES: &str = "status of Ingresses";

/// Requests that are under way at once.
const AT_ONCE: usize = 16;

/// So many Events are written before statuses are looked at again: an owner with thousands of problems does not hold up
/// what all the others wait for.
const EVENTS_AT_ONCE: usize = 50;

/// How long other pods may take to be seen ending, when this one ends.
const OTHERS: Duration = Duration::from_secs(2);

/// How much of what is to be told is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// The rest has to wait for its turn.
    Partly,
    Failed,
}

pub(super) struct Writer {
    client: Client,
    store: Arc<Store>,
    pub(super) settings: Settings,
    account: Account,
    told: Told,
    nodes: Nodes,
    /// The addresses that we may have written, also before this process led; `None`: not known yet.
    written: Option<ingress::Addresses>,
    /// The Ingresses that we wrote them to, or an earlier leader may have.
    published: Arc<BTreeSet<Reference>>,
}

impl Writer {
    pub(super) fn new(client: Client, store: Arc<Store>, settings: Settings) -> Writer {
        let account = Account::new(store.clone());
        let (told, nodes, published) = Default::default();
        Writer { client, store, settings, account, told, nodes, written: None, published }
    }

    /// Takes part in the election. `by_force`: and wins it.
    pub(super) fn compete(&self, by_force: bool) -> Lease {
        Lease::compete(self.client.clone(), &self.settings, self.store.clone(), by_force)
    }

    /// It begins to lead, or ends: what an earlier leader wrote is to be asked for, and what stood in the way of this one
    /// does not any more.
    pub(super) fn begin(&mut self) {
        self.account.close();
        self.store.set_trouble_writing(ADDRESSES, None);
        self.told = Told::default();
        self.written = None;
        self.published = Arc::default();
    }

    /// Tells what it can at once.
    pub(super) async fn write(&mut self, findings: &Findings, lease: &Lease) -> Written {
        let objects = self.store.objects();
        let published = self.publish(&objects, &findings.served, lease).await;
        let statuses = policy::changes(&objects, &findings.policies, &self.settings.controller);
        let patched = run_all(statuses.into_iter().map(|change| self.patch_policy(change))).await;
        let mut events = self.told.fresh(&objects, &findings.reports, &self.settings, Instant::now());
        let later = events.split_off(events.len().min(EVENTS_AT_ONCE));
        let posts = events.into_iter().map(|(key, event)| async { (!self.post(event).await).then_some(key) });
        let failed: Vec<_> = stream::iter(posts).buffer_unordered(AT_ONCE).filter_map(ready).collect().await;
        failed.iter().chain(later.iter().map(|(key, _)| key)).for_each(|key| self.told.forget(key));
        self.account.tell();
        match (published && patched < Outcome::Failed && failed.is_empty(), later.is_empty()) {
            (false, _) => Written::Failed,
            (true, false) => Written::Partly,
            (true, true) => Written::All,
        }
    }

    /// Puts our addresses into the status of the Ingresses that are ours, and takes them out where one no longer is.
    pub(super) async fn publish(
        &mut self,
        objects: &Objects,
        served: &Arc<BTreeSet<Reference>>,
        lease: &Lease,
    ) -> bool {
        let Some(publish) = &self.settings.publish else { return true };
        let addresses = match &publish.pod {
            Some(pod) => self.nodes.addresses(&self.client, pod).await,
            None => publish.addresses(objects),
        };
        self.store.set_trouble_writing(ADDRESSES, addresses.as_ref().err().cloned());
        // Also of namespaces that do not count any more.
        let ingresses = self.store.ingresses();
        if self.written.is_none() {
            // Without it what an earlier leader wrote would be taken for somebody else's.
            let Some(note) = lease.note().await else { return false };
            let noted = ingress::Addresses::parse(&note);
            self.published = Arc::new(noted.holders(&ingresses));
            self.written = Some(noted);
        }
        let known = self.written.clone().unwrap_or_default();
        let none = ingress::Addresses::default();
        let lost = self.published.difference(served).cloned().collect();
        let Ok(addresses) = addresses else {
            self.patch_ingresses(ingress::changes(&ingresses, &lost, &known, &none)).await;
            return false;
        };
        let both = known.with(&addresses);
        // First, so that whoever leads after us knows what to take back.
        if both != known && !lease.set_note(&both.to_string()).await {
            return false;
        }
        self.written = Some(both.clone());
        let mut changes = ingress::changes(&ingresses, &lost, &both, &none);
        changes.extend(ingress::changes(&ingresses, served, &both, &addresses));
        match self.patch_ingresses(changes).await {
            Outcome::Written => {}
            // What may still show an address is remembered, and the note keeps that address.
            Outcome::Invalid => {
                self.published = Arc::new(self.published.union(served).cloned().collect());
                return true;
            }
            Outcome::Failed => return false,
        }
        self.published = served.clone();
        if both == addresses || lease.set_note(&addresses.to_string()).await {
            self.written = Some(addresses);
        }
        true
    }

    /// Takes our addresses out again.
    pub(super) async fn remove(&mut self, findings: &Findings) {
        let ours = self.published.union(&findings.served).cloned().collect();
        let written = self.written.clone().unwrap_or_default();
        let changes = ingress::changes(&self.store.ingresses(), &ours, &written, &ingress::Addresses::default());
        tracing::info!(ingresses = changes.len(), "the last replica ends: the addresses are taken out of their status");
        self.patch_ingresses(changes).await;
    }

    /// No other pod is ready of the Service or of those whose nodes are named, or the Service is gone.
    pub(super) async fn is_last(&self) -> bool {
        match &self.settings.publish {
            Some(Publish { service: Some(service), .. }) => {
                if self.store.objects().services.contains_key(service) {
                    tokio::time::sleep(OTHERS).await;
                }
                !ingress::has_other_pods(&self.store.objects(), service, &self.settings.identity)
            }
            Some(Publish { pod: Some(pod), .. }) => {
                tokio::time::sleep(OTHERS).await;
                !nodes::has_other_pods(&self.client, pod).await
            }
            _ => false,
        }
    }

    async fn patch_ingresses(&self, changes: Vec<(Reference, Value)>) -> Outcome {
        let done = run_all(changes.into_iter().map(|change| self.patch_ingress(change))).await;
        self.account.tell();
        done
    }

    async fn patch_ingress(&self, (name, status): (Reference, Value)) -> Outcome {
        let api: Api<Ingress> = Api::namespaced(self.client.clone(), &name.namespace);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(status));
        self.account.write(INGRESSES, &name, api.patch_status(&name.name, &parameters, &patch)).await
    }

    async fn patch_policy(&self, (name, status): (Reference, Value)) -> Outcome {
        let resource = ApiResource::erase::<ProxyPolicy>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(status));
        self.account.write(POLICIES, &name, api.patch_status(&name.name, &parameters, &patch)).await
    }

    /// `false`: it is to be tried again.
    async fn post(&self, event: Event) -> bool {
        let name = Reference::new(
            event.metadata.namespace.clone().unwrap_or_default(),
            event.metadata.name.clone().unwrap_or_default(),
        );
        let api: Api<Event> = Api::namespaced(self.client.clone(), &name.namespace);
        let post = async {
            match api.create(&PostParams::default(), &event).await {
                // Told before, by us or by an earlier leader: once more.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    api.patch(&name.name, &PatchParams::default(), &Patch::Merge(events::again(&event))).await
                }
                other => other,
            }
        };
        self.account.write(EVENTS, &name, post).await < Outcome::Failed
    }
}

/// What becomes of all of them.
async fn run_all(requests: impl Iterator<Item = impl Future<Output = Outcome>>) -> Outcome {
    stream::iter(requests).buffer_unordered(AT_ONCE).fold(Outcome::Written, async |all, one| all.max(one)).await
}
