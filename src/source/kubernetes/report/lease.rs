//! The Lease whose holder tells. See <https://kubernetes.io/docs/concepts/architecture/leases/>.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use kube_lease_manager::{LeaseCreateMode, LeaseManager, LeaseManagerError, LeaseParams};
use serde_json::json;
use tokio::sync::watch as latest;
use tokio::task::JoinHandle;

use super::super::store::Store;
use super::super::trouble::chain;
use super::super::watch::Rests;
use super::Settings;
use crate::snapshot::Reference;

/// Holds what the leader wants the next one to know.
const NOTE: &str = "headgate.dev/published-addresses";

/// As messages have it.
const KIND: &str = "Lease";

/// Rest after the Lease could not be made.
const REST: Duration = Duration::from_secs(2);

/// How long giving it up may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// This process's part in the election.
pub(super) struct Lease {
    /// `None`: there is no election, and this process leads.
    api: Option<(Api<Object>, String)>,
    held: latest::Receiver<bool>,
    task: Option<JoinHandle<()>>,
    is_held: bool,
}

impl Lease {
    pub(super) fn compete(client: Client, settings: &Settings, store: Arc<Store>) -> Lease {
        let Some(name) = settings.lease.clone() else {
            let (_, held) = latest::channel(true);
            return Lease { api: None, held, task: None, is_held: false };
        };
        let (holds, held) = latest::channel(false);
        let api = (Api::namespaced(client.clone(), &name.namespace), name.name.clone());
        let ttl = settings.lease_ttl.as_secs().max(2);
        let lifetime = Duration::from_secs(ttl);
        let params = LeaseParams::new(&settings.identity, ttl, ttl.div_ceil(2));
        let task = tokio::spawn(async move {
            let trouble =
                |why: Option<&LeaseManagerError>| store.set_trouble(KIND, why.map(|why| explained(why, &name)));
            while !holds.is_closed() {
                let (client, params) = (client.clone(), params.clone());
                let manager =
                    LeaseManager::new(client, &name.name, &name.namespace, params, LeaseCreateMode::AutoCreate);
                match manager.await {
                    Ok(manager) => follow(&manager, lifetime, &holds, trouble).await,
                    Err(error) => {
                        trouble(Some(&error));
                        tokio::select! {
                            () = tokio::time::sleep(REST) => {}
                            () = holds.closed() => {}
                        }
                    }
                }
            }
        });
        Lease { api: Some(api), held, task: Some(task), is_held: false }
    }

    /// Whether it is held, each time that changes.
    pub(super) async fn changed(&mut self) -> bool {
        loop {
            let now = *self.held.borrow_and_update();
            if now != self.is_held {
                self.is_held = now;
                return now;
            }
            if self.held.changed().await.is_err() {
                pending().await
            }
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Waits until it is not held any more.
    pub(super) async fn lost(&self) {
        if self.held.clone().wait_for(|held| !held).await.is_err() {
            pending().await
        }
    }

    /// What an earlier holder noted; `None`: that cannot be read.
    pub(super) async fn note(&self) -> Option<String> {
        let Some((api, name)) = &self.api else { return Some(String::new()) };
        let lease = api.get_opt(name).await.ok()?;
        Some(lease.and_then(|lease| lease.metadata.annotations?.remove(NOTE)).unwrap_or_default())
    }

    /// `true`: it is noted.
    pub(super) async fn set_note(&self, note: &str) -> bool {
        let Some((api, name)) = &self.api else { return true };
        let annotations = BTreeMap::from([(NOTE, note)]);
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        api.patch(name, &PatchParams::default(), &patch).await.is_ok()
    }

    /// Gives it up, so that another need not wait for its end.
    pub(super) async fn release(self) {
        drop(self.held);
        if let Some(task) = self.task {
            drop(tokio::time::timeout(PATIENCE, task).await);
        }
    }
}

/// Passes on what the manager says until nobody listens; then gives the Lease up. Also ends when somebody deleted it, or
/// when it could not be renewed for half its lifetime: who cannot renew it does not lead.
async fn follow(
    manager: &LeaseManager,
    lifetime: Duration,
    holds: &latest::Sender<bool>,
    trouble: impl Fn(Option<&LeaseManagerError>),
) {
    let mut rests = Rests::default();
    // Since when, and when the last time.
    let mut failing: Option<(Instant, Instant)> = None;
    trouble(None);
    loop {
        let error = tokio::select! {
            () = holds.closed() => break,
            () = rests.over(lifetime) => { trouble(None); rests.end(); continue }
            held = manager.changed() => match held {
                Ok(held) => { _ = holds.send_replace(held); continue }
                Err(error) => error,
            },
        };
        if matches!(error, LeaseManagerError::NonexistentLease(_)) {
            _ = holds.send_replace(false);
            return;
        }
        trouble(Some(&error));
        let now = Instant::now();
        let since = failing.filter(|(_, last)| now - *last < lifetime).map_or(now, |(since, _)| since);
        failing = Some((since, now));
        if *holds.borrow() && now - since > lifetime / 2 {
            _ = holds.send_replace(false);
            return;
        }
        rests.rest().await;
    }
    if let Err(error) = manager.release().await {
        tracing::warn!("the Lease could not be given up: {}", chain(&error));
    }
}

/// What an error means to the one who runs the cluster.
fn explained(error: &LeaseManagerError, name: &Reference) -> String {
    match error {
        LeaseManagerError::KubeError(kube::Error::Api(status)) if status.code == 403 => format!(
            "the API server does not let this account take part in the election at {name}; grant it create, and get and \
             patch by that name, on leases.coordination.k8s.io (the chart does)"
        ),
        _ => chain(error),
    }
}
