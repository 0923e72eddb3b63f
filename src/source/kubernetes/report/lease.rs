//! The Lease whose holder tells. See <https://kubernetes.io/docs/concepts/architecture/leases/>.

use std::collections::BTreeMap;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch as latest;
use tokio::task::{JoinError, JoinHandle};

use super::super::store::Store;
use super::Settings;
use super::election::Election;

/// Holds what the leader wants the next one to know.
const NOTE: &str = "headgate.dev/published-addresses";

/// As messages have it.
const KIND: &str = "Lease";

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
    /// `by_force`: takes it from whoever holds it.
    pub(super) fn compete(client: Client, settings: &Settings, store: Arc<Store>, by_force: bool) -> Lease {
        let Some(name) = settings.lease.clone() else {
            let (_, held) = latest::channel(true);
            return Lease { api: None, held, task: None, is_held: false };
        };
        let (holds, held) = latest::channel(false);
        let api: Api<Object> = Api::namespaced(client, &name.namespace);
        let election = Election {
            api: api.clone(),
            name: name.clone(),
            identity: settings.identity.clone(),
            lifetime: settings.lease_ttl,
            by_force,
        };
        let task = tokio::spawn(election.run(holds, move |why| store.set_trouble_writing(KIND, why)));
        Lease { api: Some((api, name.name)), held, task: Some(task), is_held: false }
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
                self.no_more().await;
            }
        }
    }

    /// The election goes on as long as anybody listens. If a bug has ended it, that ends whoever asks, too.
    async fn no_more(&mut self) {
        let ended = match self.task.take() {
            Some(task) => task.await,
            None => pending().await,
        };
        if let Err(Ok(panic)) = ended.map_err(JoinError::try_into_panic) {
            resume_unwind(panic);
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Waits until it is not held any more, or that cannot be told.
    pub(super) async fn lost(&self) {
        if self.held.clone().wait_for(|held| !held).await.is_err() && self.task.is_none() {
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

    /// Leaves it held until its lifetime is over.
    pub(super) fn keep(self) {
        self.task.inspect(JoinHandle::abort);
    }

    /// Gives it up, so that another need not wait for its end.
    pub(super) async fn release(self) {
        drop(self.held);
        if let Some(task) = self.task {
            drop(tokio::time::timeout(PATIENCE, task).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bug_in_the_election_ends_the_one_who_asks_who_leads() {
        let (holds, held) = latest::channel(false);
        let task = tokio::spawn(async move {
            holds.send_replace(true);
            tokio::task::yield_now().await;
            panic!("for a test")
        });
        let mut lease = Lease { api: None, held, task: Some(task), is_held: false };
        assert!(lease.changed().await);
        lease.lost().await;
        let asks = tokio::spawn(async move { lease.changed().await });
        assert!(asks.await.unwrap_err().to_string().contains("for a test"));
    }
}
