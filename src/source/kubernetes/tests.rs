//! The whole watch of a cluster, on a paused clock, against an API server that errs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::fake::ApiServer;
use super::*;

mod answers;
mod lists;
mod objects;

/// Longer than any rest, and than an answer is waited for.
const LONG: Duration = Duration::from_secs(100);
const SOON: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_secs(60);

struct Watching {
    server: Arc<ApiServer>,
    cluster: Cluster,
}

fn secrets(names: &[&str]) -> Arc<BTreeSet<Reference>> {
    Arc::new(names.iter().map(|name| Reference::new("n", *name)).collect())
}

/// One object of each kind, and two Ingresses; what nobody is to see is there as well.
fn server() -> Arc<ApiServer> {
    let server = ApiServer::new();
    server.put("ingressclasses", "c", json!({"spec": {"controller": "c"}}));
    for name in ["n/a", "n/b"] {
        server.put("ingresses", name, ingress("s"));
    }
    server.put("services", "n/s", json!({"spec": {"ports": [{"port": 80}]}}));
    server.put("endpointslices", "n/s-1", slice("s"));
    server.put("secrets", "n/cert", json!({"data": {}}));
    server.put("secrets", "n/other", json!({"data": {}}));
    server.put("configmaps", "headgate/config", json!({"data": {}}));
    server.put("configmaps", "headgate/other", json!({"data": {}}));
    server.put("proxypolicies", "n/p", json!({"spec": {"targetRefs": []}}));
    server.put("namespaces", "n", json!({"metadata": {"labels": {"pick": "yes"}}}));
    server.put("nodes", "node", json!({}));
    server.put("nodes", "other", json!({}));
    server
}

fn ingress(service: &str) -> Value {
    json!({"spec": {"defaultBackend": {"service": {"name": service, "port": {"number": 80}}}}})
}

fn slice(service: &str) -> Value {
    let metadata = json!({"labels": {"kubernetes.io/service-name": service}});
    json!({"metadata": metadata, "addressType": "IPv4", "endpoints": []})
}

impl Watching {
    /// Each kind is watched.
    fn begin(server: &Arc<ApiServer>) -> Self {
        let scope = Scope {
            namespace_selector: Some("pick=yes".into()),
            config_map: Some(Reference::new("headgate", "config")),
            node: Some("node".into()),
            mass_delete_hold: HOLD,
            ..Scope::default()
        };
        Watching::with(server, &scope)
    }

    fn with(server: &Arc<ApiServer>, scope: &Scope) -> Self {
        let cluster = Cluster::open(&server.client(), scope);
        cluster.want_secrets(&secrets(&["cert"]));
        Watching { server: server.clone(), cluster }
    }

    async fn whole(server: &Arc<ApiServer>) -> Self {
        let mut watching = Watching::begin(server);
        watching.until("the whole", SOON, |cluster| waits_for(cluster).is_empty()).await;
        assert_eq!(watching.seen(), watching.there());
        watching
    }

    /// `fact` comes about, in so long.
    async fn until(&mut self, what: &str, within: Duration, fact: impl Fn(&Cluster) -> bool) {
        let end = Instant::now() + within;
        while !fact(&self.cluster) {
            let left = end - Instant::now();
            assert!(!left.is_zero(), "no {what}; {:?} {:?}", waits_for(&self.cluster), self.cluster.problems());
            if let Ok(changed) = timeout(left.min(SOON), self.cluster.changed()).await {
                changed.unwrap();
            }
        }
    }

    /// `fact` is so for all of this time.
    async fn stays(&mut self, what: &str, span: Duration, fact: impl Fn(&Cluster) -> bool) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            assert!(fact(&self.cluster), "not {what}, {:?} before the end", end - Instant::now());
            if let Ok(changed) = timeout(SOON, self.cluster.changed()).await {
                changed.unwrap();
            }
        }
    }

    fn seen(&self) -> BTreeSet<String> {
        seen(&self.cluster)
    }

    /// What the API server has of what is asked for.
    fn there(&self) -> BTreeSet<String> {
        let mut there = self.server.versions();
        there.retain(|object| !object.contains("other") && !object.starts_with("namespaces "));
        there
    }

    /// What is seen becomes what is there, and nothing is wrong any more.
    async fn recovers(&mut self, within: Duration) {
        let there = self.there();
        self.until("change", within, |cluster| seen(cluster) == there).await;
        self.until("end of the trouble", LONG, |cluster| cluster.problems().is_empty()).await;
        assert!(self.cluster.figures()().iter().all(|figures| figures.synced), "{:?}", self.cluster.figures()());
    }
}

/// All kinds that are not complete.
fn waits_for(cluster: &Cluster) -> Vec<&'static str> {
    let mut kinds = cluster.missing();
    if cluster.known_secrets().is_none_or(|known| !secrets(&["cert"]).is_subset(&known)) {
        kinds.push("Secret");
    }
    kinds
}

/// The metadata of each object, by the name of its kind for the API server.
fn all(cluster: &Cluster) -> Vec<(&'static str, ObjectMeta)> {
    let objects = cluster.objects();
    let mut all = Vec::new();
    macro_rules! tell {
        ($($resource:literal: $field:ident $($policy:ident)?;)*) => {
            $(all.extend(objects.$field.values().map(|object| ($resource, object.$($policy.)?metadata.clone())));)*
        };
    }
    tell! {
        "ingressclasses": ingress_classes; "ingresses": ingresses; "services": services; "nodes": nodes;
        "endpointslices": endpoint_slices; "secrets": secrets; "configmaps": config_maps; "proxypolicies": policies policy;
    }
    all
}

/// Each object, with its version.
fn seen(cluster: &Cluster) -> BTreeSet<String> {
    let shown = |(resource, metadata): (&str, ObjectMeta)| {
        let namespace = metadata.namespace.map(|namespace| namespace + "/").unwrap_or_default();
        format!("{resource} {namespace}{} {}", metadata.name.unwrap(), metadata.resource_version.unwrap())
    };
    all(cluster).into_iter().map(shown).collect()
}
