//! Writes what is to be told: differences only, several at once, and what failed again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use super::super::Cluster;
use super::super::store::Store;
use super::super::trouble::chain;
use super::events::{self, Told};
use super::lease::Lease;
use super::{Findings, Publish, Settings, ingress, policy};
use crate::api::ProxyPolicy;
use crate::snapshot::Reference;
use crate::translate::Objects;

/// Requests that are under way at once.
const AT_ONCE: usize = 16;

/// As roles name it.
const EVENTS: &str = "events.events.k8s.io";

/// How long the pods of the Service may take to be seen ending, when this one ends.
const OTHERS: Duration = Duration::from_secs(2);

pub(super) struct Writer {
    client: Client,
    store: Arc<Store>,
    pub(super) settings: Settings,
    told: Told,
    /// The addresses that we may have written, also before this process led; `None`: not known yet.
    written: Option<ingress::Addresses>,
    /// The Ingresses that we wrote them to.
    published: Arc<BTreeSet<Reference>>,
}

impl Writer {
    pub(super) fn new(client: Client, cluster: &Cluster, settings: Settings) -> Writer {
        let store = cluster.store.clone();
        Writer { client, store, settings, told: Told::default(), written: None, published: Arc::default() }
    }

    /// Takes part in the election. `by_force`: and wins it.
    pub(super) fn compete(&self, by_force: bool) -> Lease {
        Lease::compete(self.client.clone(), &self.settings, self.store.clone(), by_force)
    }

    /// What an earlier leader wrote is to be asked for.
    pub(super) fn begin(&mut self) {
        self.told = Told::default();
        self.written = None;
        self.published = Arc::default();
    }

    /// `true`: all is told.
    pub(super) async fn write(&mut self, findings: &Findings, lease: &Lease) -> bool {
        let objects = self.store.objects();
        let published = self.publish(&objects, &findings.served, lease).await;
        let statuses = policy::changes(&objects, &findings.policies, &self.settings.controller);
        let patched = run_all(statuses.into_iter().map(|change| self.patch_policy(change))).await;
        let events = self.told.fresh(&objects, &findings.reports, &self.settings);
        let mut all_posted = true;
        let mut posts = stream::iter(events.into_iter().map(|(key, event)| async { (key, self.post(event).await) }))
            .buffer_unordered(AT_ONCE);
        let mut failed = Vec::new();
        while let Some((key, posted)) = posts.next().await {
            all_posted &= posted;
            failed.extend((!posted).then_some(key));
        }
        drop(posts);
        failed.iter().for_each(|key| self.told.forget(key));
        published && patched && all_posted
    }

    /// Puts our addresses into the status of the Ingresses that are ours, and takes them out where one no longer is.
    pub(super) async fn publish(
        &mut self,
        objects: &Objects,
        served: &Arc<BTreeSet<Reference>>,
        lease: &Lease,
    ) -> bool {
        const TROUBLE: &str = "status of Ingresses";
        let Some(publish) = &self.settings.publish else { return true };
        let addresses = publish.addresses(objects);
        self.store.set_trouble(TROUBLE, addresses.as_ref().err().cloned());
        let known = match self.written.take() {
            Some(known) => Some(known),
            None => lease.note().await.map(|note| ingress::Addresses::parse(&note)),
        };
        // Without it what an earlier leader wrote would be taken for somebody else's.
        let Some(known) = known else { return false };
        let lost = self.published.difference(served).cloned().collect();
        let Ok(addresses) = addresses else {
            let taken = ingress::changes(objects, &lost, &known, &ingress::Addresses::default());
            self.written = Some(known);
            self.patch_ingresses(taken).await;
            return false;
        };
        let both = known.with(&addresses);
        // First, so that whoever leads after us knows what to take back.
        if both != known && !lease.set_note(&both.to_string()).await {
            self.written = Some(known);
            return false;
        }
        let mut changes = ingress::changes(objects, &lost, &both, &ingress::Addresses::default());
        changes.extend(ingress::changes(objects, served, &both, &addresses));
        let done = self.patch_ingresses(changes).await;
        if done {
            self.published = served.clone();
        }
        let is_noted = both == addresses || done && lease.set_note(&addresses.to_string()).await;
        self.written = Some(if is_noted { addresses } else { both });
        done
    }

    /// Takes our addresses out again.
    pub(super) async fn remove(&mut self, findings: &Findings) {
        let objects = self.store.objects();
        let ours = self.published.union(&findings.served).cloned().collect();
        let written = self.written.clone().unwrap_or_default();
        let changes = ingress::changes(&objects, &ours, &written, &ingress::Addresses::default());
        tracing::info!(ingresses = changes.len(), "the last replica ends: the addresses are taken out of their status");
        self.patch_ingresses(changes).await;
    }

    /// No other pod of the Service is ready, or the Service is gone.
    pub(super) async fn is_last(&self) -> bool {
        let Some(Publish { service: Some(service), .. }) = &self.settings.publish else { return false };
        if self.store.objects().services.contains_key(service) {
            tokio::time::sleep(OTHERS).await;
        }
        !ingress::has_other_pods(&self.store.objects(), service, &self.settings.identity)
    }

    async fn patch_ingresses(&self, changes: Vec<(Reference, Value)>) -> bool {
        run_all(changes.into_iter().map(|change| self.patch_ingress(change))).await
    }

    async fn patch_ingress(&self, (name, status): (Reference, Value)) -> bool {
        let api: Api<Ingress> = Api::namespaced(self.client.clone(), &name.namespace);
        let patched = api.patch_status(&name.name, &PatchParams::default(), &Patch::Merge(status)).await;
        self.account("ingresses.networking.k8s.io/status", &name, patched.map(drop))
    }

    async fn patch_policy(&self, (name, status): (Reference, Value)) -> bool {
        let resource = ApiResource::erase::<ProxyPolicy>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let patched = api.patch_status(&name.name, &PatchParams::default(), &Patch::Merge(status)).await;
        self.account("proxypolicies.headgate.dev/status", &name, patched.map(drop))
    }

    async fn post(&self, event: Event) -> bool {
        let name = Reference::new(
            event.metadata.namespace.clone().unwrap_or_default(),
            event.metadata.name.clone().unwrap_or_default(),
        );
        let api: Api<Event> = Api::namespaced(self.client.clone(), &name.namespace);
        let posted = api.create(&PostParams::default(), &event).await;
        let posted = match posted {
            // Told before, by us or by an earlier leader: once more.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let again = Patch::Merge(events::again(&event));
                api.patch(&name.name, &PatchParams::default(), &again).await
            }
            other => other,
        };
        self.account(EVENTS, &name, posted.map(drop))
    }

    /// `true`: written, or there is nothing left to write to.
    fn account(&self, resource: &'static str, name: &Reference, outcome: kube::Result<()>) -> bool {
        let code = match &outcome {
            Err(kube::Error::Api(status)) => status.code,
            _ => 0,
        };
        match outcome {
            Ok(()) => {
                self.store.set_trouble(resource, None);
                true
            }
            // Gone, or changed in the meantime, of which the watch will tell.
            Err(_) if code == 404 => true,
            // Nothing is written in a namespace that is being deleted.
            Err(kube::Error::Api(status)) if status.message.contains("being terminated") => true,
            Err(_) if code == 409 => false,
            Err(_) if code == 403 => {
                let verb = if resource == EVENTS { "create and patch" } else { "patch" };
                let why = format!("the API server does not let this account write them; grant it {verb} on {resource}");
                self.store.set_trouble(resource, Some(why));
                false
            }
            Err(error) => {
                tracing::warn!(resource, object = %name, "cannot be written: {}", chain(&error));
                false
            }
        }
    }
}

/// Whether all of them succeeded.
async fn run_all(requests: impl Iterator<Item = impl Future<Output = bool>>) -> bool {
    stream::iter(requests).buffer_unordered(AT_ONCE).fold(true, async |all, one| all && one).await
}
