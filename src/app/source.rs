//! What `serve` reads from: a folder of objects, a cluster, or a configuration file with `[[backends]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use kube::Client;

use super::control::Wanted;
use super::found;
use crate::config::{self, Config};
use crate::snapshot::Reference;
use crate::source::file::{ConfigFile, Settings};
use crate::source::folder::{Folder, OpenError, SourceProblem};
use crate::source::kubernetes::{
    Cluster, Figures, Findings, NoCluster, Publish, ReportSettings, Reporter, Scope, connect,
};
use crate::telemetry::{Metrics, WatchedKind};
use crate::translate::{Objects, Options, Report};

pub(super) enum Source {
    Folder(Folder),
    File(ConfigFile),
    Cluster(Cluster, Reporter),
}

impl Source {
    /// `file`: what that of `--config` says.
    pub(super) async fn open(config: &Config, file: Option<Settings>) -> anyhow::Result<Self> {
        match &config.source {
            config::Source::Folder(dir) => Ok(Source::Folder(Folder::open(dir).map_err(no_folder)?)),
            config::Source::File(path) => {
                let said = file.and_then(|file| Some((file.server, file.plain?)));
                let (server, plain) = said.expect("only what it says makes it the source");
                Ok(Source::File(ConfigFile::open(path, server, plain)?))
            }
            config::Source::Cluster(cluster) => {
                let client = client(cluster).await.context("the cluster cannot be served")?;
                let settings = report_settings(cluster, &client, &config.translate);
                let watched = Cluster::open(&client, &scope(cluster, &config.translate));
                let reporter = Reporter::start(client, &watched, settings);
                Ok(Source::Cluster(watched, reporter))
            }
        }
    }

    /// What is to be served, as of the last [`changed`](Self::changed). `addresses`: what is known of host names by now.
    pub(super) fn wanted(&self, addresses: BTreeMap<String, Arc<[IpAddr]>>) -> Wanted {
        match self {
            Source::Folder(folder) => Wanted::Objects(Objects { addresses, ..folder.objects() }),
            Source::Cluster(cluster, _) => Wanted::Objects(Objects { addresses, ..cluster.objects() }),
            Source::File(file) => {
                let mut known = file.view().addresses.clone();
                known.extend(addresses);
                Wanted::Plain(file.view().plain.clone(), known)
            }
        }
    }

    /// The kinds that were not read yet, but for Secrets.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        match self {
            Source::Folder(_) | Source::File(_) => Vec::new(),
            Source::Cluster(cluster, _) => cluster.missing(),
        }
    }

    /// Says which Secrets count.
    pub(super) fn want_secrets(&self, secrets: &Arc<BTreeSet<Reference>>) {
        if let Source::Cluster(cluster, _) = self {
            cluster.want_secrets(secrets);
        }
    }

    /// Tells of Secrets whether it is known if they exist; to be asked before [`wanted`](Self::wanted), which then has them.
    pub(super) fn knowledge(&self) -> impl Fn(&BTreeSet<Reference>) -> bool + use<> {
        let known = match self {
            Source::Folder(_) | Source::File(_) => None,
            Source::Cluster(cluster, _) => Some(cluster.known_secrets()),
        };
        move |secrets| match &known {
            None => true,
            Some(known) => known.as_ref().is_some_and(|known| secrets.is_subset(known)),
        }
    }

    /// Tells the owners of objects, where there is a way to.
    pub(super) fn report(&self, findings: Findings) {
        if let Source::Cluster(_, reporter) = self {
            reporter.tell(findings);
        }
    }

    /// Lets `metrics` ask how a cluster stands, if one is served.
    pub(super) fn show_in(&self, metrics: &Metrics) {
        let Source::Cluster(cluster, reporter) = self else { return };
        let (figures, leads) = (cluster.figures(), reporter.leads());
        let shown = |Figures { kind, synced, objects, errors }| WatchedKind { kind, synced, objects, errors };
        metrics.control().watch_cluster(move || (leads(), figures().into_iter().map(shown).collect()));
    }

    /// Stops telling, so that another process does.
    pub(super) fn leave(&self) {
        if let Source::Cluster(_, reporter) = self {
            reporter.leave();
        }
    }

    /// Waits until what [`leave`](Self::leave) asked for is done.
    pub(super) async fn left(&mut self) {
        if let Source::Cluster(_, reporter) = self {
            reporter.ended().await;
        }
    }

    /// Nothing is lost if it is cancelled.
    pub(super) async fn changed(&mut self) -> anyhow::Result<()> {
        match self {
            Source::Folder(folder) => Ok(folder.changed().await?),
            Source::Cluster(cluster, reporter) => tokio::select! {
                changed = cluster.changed() => Ok(changed?),
                ended = reporter.failed() => Err(ended.into()),
            },
            Source::File(file) => Ok(file.changed().await?),
        }
    }

    pub(super) fn reload(&self) {
        match self {
            Source::Folder(folder) => folder.reload(),
            Source::File(file) => file.reload(),
            // It tells of every change by itself.
            Source::Cluster(..) => {}
        }
    }

    /// What is broken.
    pub(super) fn problems(&self) -> &[SourceProblem] {
        match self {
            Source::Folder(folder) => &folder.view().problems,
            Source::Cluster(cluster, _) => cluster.problems(),
            Source::File(file) => &file.view().problems,
        }
    }

    /// What owners of objects cannot be told.
    pub(super) fn problems_of_writing(&self) -> &[SourceProblem] {
        match self {
            Source::Folder(_) | Source::File(_) => &[],
            Source::Cluster(cluster, _) => cluster.problems_of_writing(),
        }
    }

    /// What is passed over.
    pub(super) fn notes(&self) -> &[SourceProblem] {
        match self {
            Source::Folder(folder) => &folder.view().notes,
            Source::File(file) => &file.view().notes,
            Source::Cluster(..) => &[],
        }
    }

    /// Says in the application log what the start found to serve.
    pub(super) fn tell(&self, config: &config::Source, reports: &[Report], hosts: usize) {
        match (self, config) {
            (Source::Folder(folder), config::Source::Folder(dir)) => found::tell(dir, folder.view(), reports, hosts),
            (Source::File(file), _) => tracing::info!("{} backends are served", file.view().plain.backends.len()),
            // The line of each publication says it.
            _ => {}
        }
    }
}

/// A client of the cluster that flags name.
pub async fn client(cluster: &config::Cluster) -> Result<Client, NoCluster> {
    connect(cluster.kubeconfig.as_deref(), cluster.server.as_ref(), cluster.authority.as_deref()).await
}

/// Who tells owners what, and how.
pub fn report_settings(cluster: &config::Cluster, client: &Client, options: &Options) -> ReportSettings {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let namespace = variable("POD_NAMESPACE").unwrap_or_else(|| client.default_namespace().to_owned());
    let identity = variable("POD_NAME").unwrap_or_else(|| format!("headgate-{:016x}", fastrand::u64(..)));
    let (service, addresses) = (cluster.publish_service.clone(), cluster.publish_addresses.clone());
    let of_nodes = cluster.publish_nodes && service.is_none() && addresses.is_empty();
    let pod = of_nodes.then(|| Reference::new(namespace.as_str(), identity.as_str()));
    let publish = Publish { service, addresses, pod };
    // Of others the account may not have the right.
    let event_namespaces = cluster.namespace.clone().map(|watched| [watched, namespace.clone()]);
    ReportSettings {
        event_namespaces,
        controller: options.controller_class.clone(),
        identity,
        lease: cluster.election_id.as_ref().map(|name| Reference::new(namespace, name.as_str())),
        lease_ttl: cluster.election_ttl,
        publish: cluster.update_status.then_some(publish),
        remove_on_shutdown: cluster.update_status_on_shutdown,
    }
}

/// What of the cluster is watched.
pub fn scope(cluster: &config::Cluster, options: &Options) -> Scope {
    Scope {
        namespace: cluster.namespace.clone(),
        namespace_selector: cluster.namespace_selector.clone(),
        config_map: options.config_map.clone(),
        node: options.node.clone(),
        default_certificate: options.default_certificate.clone(),
        default_backend: options.default_backend.clone(),
        publish_service: cluster.publish_service.clone(),
        class_by_name: options.class_by_name,
        mass_delete_hold: cluster.mass_delete_hold,
    }
}

fn no_folder(error: OpenError) -> anyhow::Error {
    let OpenError { path, source } = error;
    anyhow!("--dir cannot read {}: {source}; give a folder or a file of YAML or JSON that can be read", path.display())
}
