//! Lists that came back short.

use super::*;
use crate::source::kubernetes::fake::{Asked, Fault};

/// One Ingress has so many routes.
fn with_routes(routes: usize) -> Arc<ApiServer> {
    let server = server();
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let path = json!({"pathType": "Prefix", "backend": backend});
    server.put("ingresses", "n/a", json!({"spec": {"rules": [{"http": {"paths": vec![path; routes]}}]}}));
    server
}

/// From now on lists of this kind are empty, and are asked for.
fn lose(server: &ApiServer, resource: &'static str) {
    server.err(move |asked: &Asked| (asked.resource == resource && !asked.is_watch()).then_some(Fault::Short(0)));
    server.forget();
}

fn tells(cluster: &Cluster) -> bool {
    cluster.problems().iter().any(|problem| problem.reason.contains("(short list)"))
}

fn mend(server: &ApiServer) {
    server.err(|_| None);
    server.forget();
}

#[tokio::test(start_paused = true)]
async fn what_a_list_suddenly_lacks_is_kept_until_the_hold_is_over_and_another_list_lacks_it() {
    for resource in [
        "ingresses",
        "services",
        "endpointslices",
        "ingressclasses",
        "proxypolicies",
        "namespaces",
        "secrets",
        "configmaps",
        "nodes",
    ] {
        let server = with_routes(30);
        let mut watching = Watching::whole(&server).await;
        let before = watching.seen();
        lose(&server, resource);
        watching.until("word of it", SOON, tells).await;
        watching.stays(resource, HOLD - SOON * 3, |cluster| seen(cluster) == before && tells(cluster)).await;
        watching.until(&format!("belief in the lack of {resource}"), SOON * 4, |cluster| seen(cluster) != before).await;
        mend(&server);
        watching.recovers(SOON).await;
        // A list that came back short, and then one that did not.
        lose(&server, resource);
        watching.stays(resource, HOLD / 2, |cluster| seen(cluster) == before).await;
        mend(&server);
        watching.stays(resource, HOLD * 2, |cluster| seen(cluster) == before).await;
        assert!(!tells(&watching.cluster));
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_few_routes_may_go_at_once() {
    for resource in ["ingresses", "services", "endpointslices"] {
        let server = with_routes(19);
        server.put("ingresses", "n/c", ingress("t"));
        server.put("services", "n/t", json!({"spec": {"ports": [{"port": 80}]}}));
        server.put("endpointslices", "n/t-1", slice("t"));
        let mut watching = Watching::whole(&server).await;
        let before = watching.seen();
        server.err(move |asked: &Asked| (asked.resource == resource && !asked.is_watch()).then_some(Fault::Short(1)));
        server.forget();
        watching.until(&format!("belief in the lack of {resource}"), SOON, |cluster| seen(cluster) != before).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_after_an_outage_is_doubted_as_long_as_the_first() {
    let server = with_routes(30);
    let mut watching = Watching::whole(&server).await;
    let before = watching.seen();
    lose(&server, "ingresses");
    watching.stays("kept", HOLD - SOON, |cluster| seen(cluster) == before).await;
    server.err(|_| Some(Fault::Refused));
    watching.stays("kept while there is nobody to ask", HOLD * 5, |cluster| seen(cluster) == before).await;
    lose(&server, "ingresses");
    watching.stays("kept after the outage", HOLD, |cluster| seen(cluster) == before).await;
    watching.until("belief", SOON * 8, |cluster| seen(cluster) != before).await;
}
