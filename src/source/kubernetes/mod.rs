//! The objects of a cluster, as its API server has them.
//!
//! [`Cluster::open`] starts one watch per kind. The owner then loops as with a folder: translates
//! [`Cluster::objects`], says which Secrets that asks for ([`Cluster::want_secrets`]) and waits for [`Cluster::changed`].
//!
//! Nothing is shown before every kind was listed once ([`Cluster::missing`]), and nothing is forgotten because the API
//! server is away, slow or refuses: what was seen last counts until it says otherwise.
//!
//! `connect` finds the API server; `kind` says what is read of each kind, `part` which objects of it; `watch` asks for one
//! kind and `following` takes what comes, `secrets` does so for the Secrets that are asked for; `store` is what they write
//! to; `guard` doubts a list that came back short, by what is lost with it (`loss`); `trouble` remembers what cannot be
//! read. `report` is the way back: it tells the owners of objects what became of them.

mod connect;
#[cfg(test)]
mod fake;
mod following;
mod guard;
mod kind;
mod loss;
mod part;
mod report;
mod secrets;
mod store;
mod trouble;
mod watch;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch as latest;
use tokio::task::{JoinError, JoinSet};

use super::folder::SourceProblem;
use crate::snapshot::Reference;
use crate::translate::Objects;
pub use connect::{NoCluster, connect};
use part::{Name, Part};
pub use report::{Findings, Publish, Reporter, Settings as ReportSettings, withdraw};
pub use store::Figures;
use store::Store;

#[cfg(test)]
mod tests;

/// What of a cluster is watched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only Ingresses of namespaces with these labels.
    pub namespace_selector: Option<String>,
    /// The one ConfigMap that counts.
    pub config_map: Option<Reference>,
    /// The node that this process runs on, where that counts.
    pub node: Option<String>,
    /// Objects that flags name, which may be in another namespace: a Secret, a Service that is forwarded to, and the one
    /// whose addresses are published.
    pub default_certificate: Option<Reference>,
    pub default_backend: Option<Reference>,
    pub publish_service: Option<Reference>,
    /// `--ingress-class-by-name`: what is served can be told without IngressClasses.
    pub class_by_name: bool,
    /// How long objects that a list lacks all at once are kept; zero: not at all.
    pub mass_delete_hold: Duration,
}

/// A watched cluster. Dropping it ends the watches.
#[derive(Debug)]
pub struct Cluster {
    store: Arc<Store>,
    wanted_secrets: latest::Sender<Option<Arc<BTreeSet<Reference>>>>,
    problems: Vec<SourceProblem>,
    problems_of_writing: Vec<SourceProblem>,
    watches: JoinSet<Infallible>,
}

/// A watch has ended, which only a bug in it can lead to.
#[derive(Debug, thiserror::Error)]
#[error("a watch of the cluster has ended")]
pub struct WatchEnded(#[from] JoinError);

impl Cluster {
    /// Begins to watch. Needs a runtime around it.
    pub fn open(client: &Client, scope: &Scope) -> Cluster {
        let store = Arc::new(Store::new(scope.namespace_selector.is_some()));
        let (wanted_secrets, wanted) = latest::channel(None);
        let (problems, problems_of_writing) = Default::default();
        let mut cluster = Cluster { store, wanted_secrets, problems, problems_of_writing, watches: JoinSet::new() };
        let store = &cluster.store.clone();
        let main = || scope.namespace.clone().map_or(Part::All, Part::Namespace);
        cluster.spawn(watch::of::<kind::IngressClasses>(client, Part::All, scope, store));
        cluster.spawn(watch::of::<kind::Ingresses>(client, main(), scope, store));
        cluster.spawn(watch::of::<kind::Services>(client, main(), scope, store));
        cluster.spawn(watch::of::<kind::EndpointSlices>(client, main(), scope, store));
        cluster.spawn(watch::of::<kind::ProxyPolicies>(client, main(), scope, store));
        cluster.spawn(secrets::watch(client, main(), scope, store, wanted));
        if let Some(name) = &scope.config_map {
            cluster.spawn(watch::of::<kind::ConfigMaps>(client, Part::Object(name.clone()), scope, store));
        }
        if let Some(selector) = &scope.namespace_selector {
            cluster.spawn(watch::of::<kind::Namespaces>(client, Part::Labelled(selector.clone()), scope, store));
        }
        if let Some(node) = &scope.node {
            cluster.spawn(watch::of::<kind::Nodes>(client, Part::Object(Reference::new("", node)), scope, store));
        }
        let elsewhere = |name: &&Reference| !name.is_in(&main());
        if let Some(name) = scope.default_certificate.as_ref().filter(elsewhere) {
            cluster.spawn(watch::of::<kind::Secrets>(client, Part::Object(name.clone()), scope, store));
        }
        if let Some(name) = scope.default_backend.as_ref().filter(elsewhere) {
            cluster.spawn(watch::of::<kind::EndpointSlices>(client, Part::OfService(name.clone()), scope, store));
            cluster.spawn(watch::of::<kind::Services>(client, Part::Object(name.clone()), scope, store));
        }
        let is_watched = |name: &&Reference| scope.default_backend.as_ref() == Some(*name);
        if let Some(name) = scope.publish_service.as_ref().filter(elsewhere).filter(|name| !is_watched(name)) {
            cluster.spawn(watch::beside::<kind::Services>(client, Part::Object(name.clone()), scope, store));
        }
        cluster
    }

    fn spawn(&mut self, watch: impl Future<Output = Infallible> + Send + 'static) {
        self.watches.spawn(watch);
    }

    /// Waits until something is other than it was. Nothing is lost if it is cancelled.
    pub async fn changed(&mut self) -> Result<(), WatchEnded> {
        tokio::select! {
            () = self.store.changed() => {}
            Some(ended) = self.watches.join_next() => match ended { Err(error) => return Err(error.into()) },
        }
        self.problems = self.store.problems();
        self.problems_of_writing = self.store.problems_of_writing();
        Ok(())
    }

    /// What is there now. Objects that did not change keep their `Arc`s.
    pub fn objects(&self) -> Objects {
        self.store.objects()
    }

    /// The kinds that were not listed yet, but for Secrets, which are read once it is known which are asked for.
    pub fn missing(&self) -> Vec<&'static str> {
        self.store.missing()
    }

    /// The Secrets of which it is known whether they exist; `None`: not of any yet. To be asked before
    /// [`objects`](Self::objects), which then have them.
    pub fn known_secrets(&self) -> Option<Arc<BTreeSet<Reference>>> {
        self.store.known_secrets()
    }

    /// Says which Secrets count.
    pub fn want_secrets(&self, wanted: &Arc<BTreeSet<Reference>>) {
        self.wanted_secrets.send_if_modified(|current| {
            let is_new = current.as_ref().is_none_or(|current| !Arc::ptr_eq(current, wanted) && current != wanted);
            if is_new {
                *current = Some(wanted.clone());
            }
            is_new
        });
    }

    /// Asked at any time, how the watches stand.
    pub fn figures(&self) -> impl Fn() -> Vec<Figures> + Send + use<> {
        let store = self.store.clone();
        move || store.figures()
    }

    /// What cannot be read at present.
    pub fn problems(&self) -> &[SourceProblem] {
        &self.problems
    }

    /// What cannot be written at present.
    pub fn problems_of_writing(&self) -> &[SourceProblem] {
        &self.problems_of_writing
    }
}
