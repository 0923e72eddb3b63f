//! Tells owners in the cluster what became of their objects: addresses in the status of Ingresses, conditions of
//! ProxyPolicies, Events for problems.
//!
//! Every replica serves, one tells: the holder of the Lease (`lease`, `election`). It writes differences only, and leaves
//! alone what others wrote. `ingress` has the addresses, `nodes` those of nodes, `policy` the conditions, `events` the
//! Events; each says what to write, purely but for `nodes`, and `writer` writes it; `account` has what came of that.

mod account;
mod election;
mod events;
mod ingress;
mod lease;
mod nodes;
mod policy;
mod writer;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch as latest;
use tokio::task::{JoinError, JoinSet};

use super::Cluster;
use crate::snapshot::Reference;
use crate::translate::{PolicyStatus, Report};
use election::WITHDRAWN;
pub use ingress::Publish;
use writer::{Writer, Written};

/// After telling, others are gathered for so long.
const REST: Duration = Duration::from_millis(200);

/// When everything is looked at again, so that what somebody else broke is mended.
const RESYNC: Duration = Duration::from_secs(60);

/// When what could not be written is tried again; doubled each time, up to [`RESYNC`].
const RETRY: Duration = Duration::from_secs(1);

/// How long an uninstall may take to end the other pods, once addresses were taken back.
const HOLD: Duration = Duration::from_secs(60);

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
    /// `--watch-namespace` and that of this pod, if only Events of these may be written.
    pub event_namespaces: Option<[String; 2]>,
    /// How long a holder counts that does not show itself.
    pub lease_ttl: Duration,
    /// The addresses of Ingresses; `None`: their status is left alone. If there are none, what an earlier leader wrote is
    /// taken back.
    pub publish: Option<Publish>,
    /// Addresses are removed when the last replica ends.
    pub remove_on_shutdown: bool,
}

/// The task that tells. Dropping this ends it at once.
#[derive(Debug)]
pub struct Reporter {
    findings: latest::Sender<Option<Findings>>,
    leave: latest::Sender<bool>,
    leader: latest::Receiver<bool>,
    /// One, until it has ended.
    task: JoinSet<()>,
}

/// It has ended unasked, which only a bug in it can lead to.
#[derive(Debug, thiserror::Error)]
#[error("what tells owners in the cluster about their objects has ended")]
pub struct ReporterEnded(#[from] JoinError);

impl Reporter {
    /// Needs a runtime around it.
    pub fn start(client: Client, cluster: &Cluster, settings: Settings) -> Reporter {
        let (findings, newest) = latest::channel(None);
        let (leave, leaving) = latest::channel(false);
        let (leads, leader) = latest::channel(false);
        let writer = Writer::new(client, cluster.store.clone(), settings);
        let mut task = JoinSet::new();
        task.spawn(run(writer, newest, leaving, leads));
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
        while self.task.join_next().await.is_some() {}
    }

    /// Waits until a bug has ended it. Nothing is lost if it is cancelled.
    pub async fn failed(&mut self) -> ReporterEnded {
        match self.task.join_next().await {
            Some(Err(error)) => error.into(),
            _ => pending().await,
        }
    }
}

async fn run(
    mut writer: Writer,
    mut newest: latest::Receiver<Option<Findings>>,
    mut leaving: latest::Receiver<bool>,
    leads: latest::Sender<bool>,
) {
    let mut lease = writer.compete(false);
    let mut again = RESYNC;
    loop {
        tokio::select! {
            () = asked(&mut leaving) => break,
            is_leader = lease.changed() => {
                leads.send_replace(is_leader);
                writer.begin();
            }
            Ok(()) = newest.changed() => {}
            () = tokio::time::sleep(again) => {}
        }
        // Before anything was translated there is nothing to tell, and nothing to take back.
        let findings = newest.borrow_and_update().clone();
        if let Some(findings) = findings.filter(|_| lease.is_held()) {
            tokio::select! {
                done = writer.write(&findings, &lease) => {
                    again = match done {
                        Written::All => RESYNC,
                        Written::Partly => Duration::ZERO,
                        Written::Failed if again < RETRY || again == RESYNC => RETRY,
                        Written::Failed => (again * 2).min(RESYNC),
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

/// Takes the addresses out of the status of `served`, the Ingresses that are ours, before an uninstall. Takes the Lease from
/// whoever holds it, and leaves it held for [`HOLD`]: nobody writes them again before that is over.
pub async fn withdraw(client: Client, cluster: &Cluster, settings: Settings, served: Arc<BTreeSet<Reference>>) {
    // In this time whoever held it has seen that, or could not renew it.
    let others = settings.lease_ttl * 2 / 3;
    let identity = format!("{WITHDRAWN}{}", settings.identity);
    let settings = Settings { identity, lease_ttl: HOLD, publish: Some(Publish::default()), ..settings };
    let mut writer = Writer::new(client, cluster.store.clone(), settings);
    let mut lease = writer.compete(true);
    while !lease.changed().await {}
    tokio::time::sleep(others).await;
    while !writer.publish(&cluster.objects(), &served, &lease).await {
        tokio::time::sleep(RETRY).await;
    }
    lease.keep();
}

/// Waits until it is to end.
async fn asked(leaving: &mut latest::Receiver<bool>) {
    drop(leaving.wait_for(|leaving| *leaving).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reporter(task: impl Future<Output = ()> + Send + 'static) -> Reporter {
        let mut tasks = JoinSet::new();
        tasks.spawn(task);
        let (findings, leave, leader) = (latest::channel(None).0, latest::channel(false).0, latest::channel(false).1);
        Reporter { findings, leave, leader, task: tasks }
    }

    #[tokio::test]
    async fn a_bug_in_it_is_told_but_not_its_due_end() {
        let failed = reporter(async { panic!("for a test") }).failed().await;
        let source = std::error::Error::source(&failed).unwrap();
        assert!(source.to_string().contains("for a test"), "{source}");

        let mut reporter = reporter(async {});
        for _ in 0..2 {
            assert!(tokio::time::timeout(Duration::from_millis(10), reporter.failed()).await.is_err());
        }
        reporter.ended().await;
    }
}
