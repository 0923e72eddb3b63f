//! The election: who holds the Lease, and how long that may be believed.
//!
//! Each candidate looks at the Lease three times in its lifetime, takes it when it is free, and renews it when it is its
//! own. For how long a holder has been silent, each tells by its own clock. Whoever cannot renew it does not lead any
//! more, and knows before another may take it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch as latest;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::trouble::chain;
use crate::snapshot::Reference;

#[cfg(test)]
mod tests;

/// A candidate.
pub(super) struct Election {
    pub(super) api: Api<Lease>,
    pub(super) name: Reference,
    pub(super) identity: String,
    /// How long the Lease counts when its holder is gone.
    pub(super) lifetime: Duration,
    /// Takes it the first time from whoever holds it.
    pub(super) by_force: bool,
}

/// Whoever holds it so took addresses back for an uninstall. It counts for those that it took the Lease from; one that
/// knows of no other holder was installed later.
pub(super) const WITHDRAWN: &str = "withdrawn by ";

/// What the Lease says, and since when it does.
type Seen = Option<(LeaseSpec, Instant)>;

/// Who holds the Lease.
enum Holder {
    Us,
    /// Another, who counts until then if nothing is heard of it.
    Other(Instant),
}

impl Election {
    /// Says whether this one holds the Lease until nobody listens; then gives it up. `trouble`: is told what stops it, or that
    /// nothing does.
    pub(super) async fn run(mut self, holds: latest::Sender<bool>, trouble: impl Fn(Option<String>)) {
        let third = self.lifetime / 3;
        let mut seen = Seen::default();
        // As long as it may be believed that it is ours: from before the renewal, so less than others wait.
        let mut until: Option<Instant> = None;
        let tell = |held: bool| holds.send_if_modified(|told| std::mem::replace(told, held) != held);
        loop {
            let begun = Instant::now();
            until = until.filter(|until| *until > begun);
            tell(until.is_some());
            let outcome = tokio::select! {
                () = holds.closed() => break,
                outcome = timeout_at(sooner(begun + third, until), self.turn(&mut seen)) => outcome,
            };
            let (failed, next) = match outcome {
                Ok(Ok(Holder::Us)) => {
                    until = Some(begun + third * 2);
                    self.by_force = false;
                    (None, begun + third)
                }
                Ok(Ok(Holder::Other(counts_until))) => {
                    until = None;
                    (None, counts_until.min(begun + third))
                }
                Ok(Err(error)) => (Some(self.explained(&error)), begun + third / 4),
                Err(_) => (Some("the API server does not answer in time".to_owned()), begun),
            };
            tell(until.is_some());
            trouble(failed);
            tokio::select! {
                () = holds.closed() => break,
                () = sleep_until(sooner(next, until)) => {}
            }
        }
        if let Err(error) = self.give_up().await {
            tracing::warn!("the Lease could not be given up: {}", chain(&error));
        }
    }

    /// Looks at the Lease, and takes or renews it if it may.
    async fn turn(&self, seen: &mut Seen) -> kube::Result<Holder> {
        loop {
            let Some(lease) = self.api.get_opt(&self.name.name).await? else {
                self.create().await?;
                continue;
            };
            let spec = lease.spec.unwrap_or_default();
            let holder = spec.holder_identity.as_deref().unwrap_or_default();
            if seen.is_none() && !holder.is_empty() {
                tracing::info!("the Lease {} is held by {holder:?}", self.name);
            }
            let is_past = seen.is_none() && holder.starts_with(WITHDRAWN);
            let since = match seen {
                Some((known, since)) if *known == spec => *since,
                _ => seen.insert((spec.clone(), Instant::now())).1,
            };
            match taken_until(&spec, &self.identity, since) {
                Some(until) if !self.by_force && !is_past && Instant::now() < until => return Ok(Holder::Other(until)),
                _ => {}
            }
            if self.patch(lease.metadata.resource_version, json!(self.renewed(&spec))).await? {
                return Ok(Holder::Us);
            }
        }
    }

    fn renewed(&self, spec: &LeaseSpec) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let is_ours = spec.holder_identity.as_ref() == Some(&self.identity);
        let transitions = spec.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            acquire_time: if is_ours { spec.acquire_time.clone() } else { now.clone() },
            renew_time: now,
            lease_duration_seconds: i32::try_from(self.lifetime.as_secs()).ok(),
            lease_transitions: Some(transitions.saturating_add(i32::from(!is_ours))),
            ..LeaseSpec::default()
        }
    }

    /// `false`: somebody else wrote to it since that version, or it is gone.
    async fn patch(&self, version: Option<String>, spec: serde_json::Value) -> kube::Result<bool> {
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": spec}));
        match self.api.patch(&self.name.name, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> kube::Result<()> {
        let metadata = ObjectMeta { name: Some(self.name.name.clone()), ..ObjectMeta::default() };
        match self.api.create(&PostParams::default(), &Lease { metadata, spec: None }).await {
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            created => created.map(drop),
        }
    }

    /// If it is ours, so that another need not wait for its end.
    async fn give_up(&self) -> kube::Result<()> {
        let Some(lease) = self.api.get_opt(&self.name.name).await? else { return Ok(()) };
        if lease.spec.is_some_and(|spec| spec.holder_identity.as_ref() == Some(&self.identity)) {
            self.patch(lease.metadata.resource_version, json!({"holderIdentity": null, "renewTime": null})).await?;
        }
        Ok(())
    }

    /// What an error means to the one who runs the cluster.
    fn explained(&self, error: &kube::Error) -> String {
        match error {
            kube::Error::Api(status) if status.code == 403 => format!(
                "the API server does not let this account take part in the election at {}; grant it create, and get and \
                 patch by that name, on leases.coordination.k8s.io (the chart does)",
                self.name
            ),
            _ => chain(error),
        }
    }
}

/// Until when the Lease is another's, who wrote to it last at `since`; `None`: it is ours or nobody's.
fn taken_until(spec: &LeaseSpec, identity: &str, since: Instant) -> Option<Instant> {
    let lifetime = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty() && *holder != identity);
    holder.and(lifetime).map(|lifetime| since + lifetime)
}

fn sooner(moment: Instant, other: Option<Instant>) -> Instant {
    other.map_or(moment, |other| moment.min(other))
}
