//! The Lease whose holder tells. See <https://kubernetes.io/docs/concepts/architecture/leases/>.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use serde_json::json;
use tokio::sync::watch as latest;
use tokio::task::JoinHandle;

use super::super::trouble::chain;
use super::Settings;

/// Holds what the leader wants the next one to know.
const NOTE: &str = "headgate.dev/published-addresses";

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
    pub(super) fn compete(client: Client, settings: &Settings) -> Lease {
        let Some(name) = settings.lease.clone() else {
            let (_, held) = latest::channel(true);
            return Lease { api: None, held, task: None, is_held: false };
        };
        let (holds, held) = latest::channel(false);
        let api = (Api::namespaced(client.clone(), &name.namespace), name.name.clone());
        let ttl = settings.lease_ttl.as_secs().max(2);
        let identity = settings.identity.clone();
        let task = tokio::spawn(async move {
            let manager = loop {
                let builder = LeaseManagerBuilder::new(client.clone(), &name.name)
                    .with_namespace(&name.namespace)
                    .with_identity(&identity)
                    .with_duration(ttl)
                    .with_grace(ttl.div_ceil(2));
                match builder.build().await {
                    Ok(manager) => break manager,
                    Err(error) => tracing::warn!(lease = %name, "cannot be taken part in: {}", chain(&error)),
                }
                tokio::select! {
                    () = tokio::time::sleep(REST) => {}
                    () = holds.closed() => return,
                }
            };
            follow(manager, &holds).await;
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

    /// What an earlier holder noted.
    pub(super) async fn note(&self) -> String {
        let Some((api, name)) = &self.api else { return String::new() };
        let lease = api.get_opt(name).await.ok().flatten();
        lease.and_then(|lease| lease.metadata.annotations?.remove(NOTE)).unwrap_or_default()
    }

    pub(super) async fn set_note(&self, note: &str) {
        let Some((api, name)) = &self.api else { return };
        let annotations = BTreeMap::from([(NOTE, note)]);
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        if let Err(error) = api.patch(name, &PatchParams::default(), &patch).await {
            tracing::warn!(lease = %name, "cannot be written: {}", chain(&error));
        }
    }

    /// Gives it up, so that another need not wait for its end.
    pub(super) async fn release(self) {
        drop(self.held);
        if let Some(task) = self.task {
            drop(tokio::time::timeout(PATIENCE, task).await);
        }
    }
}

/// Passes on what the manager says until nobody listens; then gives the Lease up.
async fn follow(manager: LeaseManager, holds: &latest::Sender<bool>) {
    let (mut held, task) = manager.watch().await;
    loop {
        holds.send_replace(*held.borrow_and_update());
        tokio::select! {
            changed = held.changed() => if changed.is_err() { break },
            () = holds.closed() => break,
        }
    }
    drop(held);
    if let Ok(Err(error)) = task.await {
        tracing::warn!("the Lease could not be given up: {}", chain(&error));
    }
}
