//! Tells owners in the cluster what became of their objects: addresses in the status of Ingresses, conditions of
//! ProxyPolicies, Events for problems.
//!
//! Every replica serves, one tells: the holder of the Lease (`lease`). It writes differences only, and leaves alone what
//! others wrote. `ingress` has the addresses, `policy` the conditions, `events` the Events; each says what to write, purely,
//! and `Writer` here writes it.

mod events;
mod ingress;
mod lease;
mod policy;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch as latest;
use tokio::task::JoinHandle;

use super::Cluster;
use super::store::Store;
use super::trouble::chain;
use crate::api::ProxyPolicy;
use crate::snapshot::Reference;
use crate::translate::{Objects, PolicyStatus, Report};
use events::Told;
pub use ingress::Publish;
use lease::Lease;

/// After telling, others are gathered for so long.
const REST: Duration = Duration::from_millis(200);

/// When everything is looked at again, so that what somebody else broke is mended.
const RESYNC: Duration = Duration::from_secs(60);

/// When what could not be written is tried again; doubled each time, up to [`RESYNC`].
const RETRY: Duration = Duration::from_secs(1);

/// Requests that are under way at once.
const AT_ONCE: usize = 16;

/// As roles name it.
const EVENTS: &str = "events.events.k8s.io";

/// How long the pods of the Service may take to be seen ending, when this one ends.
const OTHERS: Duration = Duration::from_secs(2);

/// What the newest translation led to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub reports: Arc<[Report]>,
    pub policies: Arc<[PolicyStatus]>,
    /// The Ingresses that are ours.
    pub served: Arc<BTreeSet<Reference>>,
}

/// Who tells, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As `spec.controller` of our IngressClass.
    pub controller: String,
    /// The name of this pod.
    pub identity: String,
    /// The Lease that elects who tells; `None`: this process does.
    pub lease: Option<Reference>,
    /// How long a holder counts that does not show itself.
    pub lease_ttl: Duration,
    /// The addresses of Ingresses; `None`: their status is left alone.
    pub publish: Option<Publish>,
    /// Addresses are removed when the last replica ends.
    pub remove_on_shutdown: bool,
}

/// The task that tells. Dropping it ends it at once.
#[derive(Debug)]
pub struct Reporter {
    findings: latest::Sender<Option<Findings>>,
    leave: latest::Sender<bool>,
    leader: latest::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Reporter {
    /// Needs a runtime around it.
    pub fn start(client: Client, cluster: &Cluster, settings: Settings) -> Reporter {
        let (findings, newest) = latest::channel(None);
        let (leave, leaving) = latest::channel(false);
        let (leads, leader) = latest::channel(false);
        let writer = Writer {
            client,
            store: cluster.store.clone(),
            settings,
            told: Told::default(),
            written: None,
            published: Arc::default(),
        };
        let task = tokio::spawn(run(writer, newest, leaving, leads));
        Reporter { findings, leave, leader, task }
    }

    pub fn tell(&self, findings: Findings) {
        self.findings.send_replace(Some(findings));
    }

    /// Asked at any time, whether this process is the one that tells.
    pub fn leads(&self) -> impl Fn() -> bool + Send + use<> {
        let leader = self.leader.clone();
        move || *leader.borrow()
    }

    /// Gives up the Lease. [`ended`](Self::ended) tells when that is done.
    pub fn leave(&self) {
        self.leave.send_replace(true);
    }

    pub async fn ended(&mut self) {
        // A panic in it has been logged, and ends nothing but itself.
        drop((&mut self.task).await);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut writer: Writer,
    mut newest: latest::Receiver<Option<Findings>>,
    mut leaving: latest::Receiver<bool>,
    leads: latest::Sender<bool>,
) {
    let mut lease = Lease::compete(writer.client.clone(), &writer.settings, writer.store.clone());
    let mut again = RESYNC;
    loop {
        tokio::select! {
            () = asked(&mut leaving) => break,
            is_leader = lease.changed() => {
                leads.send_replace(is_leader);
                if is_leader {
                    writer.begin();
                }
            }
            changed = newest.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again) => {}
        }
        // Before anything was translated there is nothing to tell, and nothing to take back.
        let findings = newest.borrow_and_update().clone();
        if let Some(findings) = findings.filter(|_| lease.is_held()) {
            tokio::select! {
                done = writer.write(&findings, &lease) => {
                    again = match done {
                        true => RESYNC,
                        false if again == RESYNC => RETRY,
                        false => (again * 2).min(RESYNC),
                    };
                    tokio::time::sleep(REST).await;
                }
                () = asked(&mut leaving) => break,
                () = lease.lost() => {}
            }
        }
    }
    if lease.is_held() && writer.settings.remove_on_shutdown && writer.is_last().await {
        let findings = newest.borrow().clone().unwrap_or_default();
        writer.remove(&findings).await;
    }
    lease.release().await;
    leads.send_replace(false);
}

/// Waits until it is to end.
async fn asked(leaving: &mut latest::Receiver<bool>) {
    drop(leaving.wait_for(|leaving| *leaving).await);
}

/// Writes what is to be told.
struct Writer {
    client: Client,
    store: Arc<Store>,
    settings: Settings,
    told: Told,
    /// The addresses that we may have written, also before this process led; `None`: not known yet.
    written: Option<ingress::Addresses>,
    /// The Ingresses that we wrote them to.
    published: Arc<BTreeSet<Reference>>,
}

impl Writer {
    /// What an earlier leader wrote is to be asked for.
    fn begin(&mut self) {
        self.told = Told::default();
        self.written = None;
        self.published = Arc::default();
    }

    /// `true`: all is told.
    async fn write(&mut self, findings: &Findings, lease: &Lease) -> bool {
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
    async fn publish(&mut self, objects: &Objects, served: &Arc<BTreeSet<Reference>>, lease: &Lease) -> bool {
        const TROUBLE: &str = "status of Ingresses";
        let Some(publish) = &self.settings.publish else { return true };
        let addresses = publish.addresses(objects);
        self.store.set_trouble(TROUBLE, addresses.as_ref().err().cloned());
        let known = match self.written.take() {
            Some(known) => Some(known),
            None => lease.note().await.map(|note| ingress::Addresses::parse(&note)),
        };
        // Without it what an earlier leader wrote would be taken for somebody else's.
        let (Ok(addresses), Some(known)) = (addresses, known) else { return false };
        let both = known.with(&addresses);
        // First, so that whoever leads after us knows what to take back.
        if both != known && !lease.set_note(&both.to_string()).await {
            self.written = Some(known);
            return false;
        }
        let lost = self.published.difference(served).cloned().collect();
        let taken = ingress::changes(objects, &lost, &both, &ingress::Addresses::default());
        let given = ingress::changes(objects, served, &both, &addresses);
        let changes = taken.into_iter().chain(given);
        let done = run_all(changes.map(|(name, status)| self.patch_ingress(name, status))).await;
        if done {
            self.published = served.clone();
        }
        let is_noted = both == addresses || done && lease.set_note(&addresses.to_string()).await;
        self.written = Some(if is_noted { addresses } else { both });
        done
    }

    /// Takes our addresses out again.
    async fn remove(&mut self, findings: &Findings) {
        let objects = self.store.objects();
        let ours = self.published.union(&findings.served).cloned().collect();
        let written = self.written.clone().unwrap_or_default();
        let changes = ingress::changes(&objects, &ours, &written, &ingress::Addresses::default());
        tracing::info!(ingresses = changes.len(), "the last replica ends: the addresses are taken out of their status");
        run_all(changes.into_iter().map(|(name, status)| self.patch_ingress(name, status))).await;
    }

    /// No other pod of the Service is ready, or the Service is gone.
    async fn is_last(&self) -> bool {
        let Some(publish) = &self.settings.publish else { return false };
        let Some(service) = publish.service() else { return false };
        tokio::time::sleep(OTHERS).await;
        !ingress::has_other_pods(&self.store.objects(), service, &self.settings.identity)
    }

    async fn patch_ingress(&self, name: Reference, status: Value) -> bool {
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
