//! What is kept of which objects.

use super::*;
use crate::source::kubernetes::fake::{Asked, Fault};

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_stops_no_other_of_its_kind() {
    for (resource, namespace, broken, right) in [
        ("ingressclasses", "", json!({"spec": 5}), json!({"spec": {"controller": "c"}})),
        ("ingresses", "n/", json!({"spec": "none"}), ingress("s")),
        ("services", "n/", json!({"spec": {"ports": [{"port": "http"}]}}), json!({"spec": {}})),
        ("endpointslices", "n/", json!({"addressType": "IPv4", "endpoints": 5}), slice("s")),
        ("secrets", "n/", json!({"data": {"tls.crt": "no base64"}}), json!({"data": {}})),
    ] {
        let server = server();
        let [first, second, third] = ["0", "1", "2"].map(|name| format!("{namespace}{name}"));
        server.put(resource, &first, broken.clone());
        server.put(resource, &second, right.clone());
        let mut watching = Watching::begin(&server);
        watching.cluster.want_secrets(&secrets(&["cert", "0", "1", "2"]));
        let listed: BTreeSet<String> = watching
            .there()
            .into_iter()
            .filter(|object| !object.starts_with(&format!("{resource} {first} ")))
            .collect();
        watching.until(resource, SOON, |cluster| seen(cluster) == listed && waits_for(cluster).is_empty()).await;
        server.put(resource, &second, broken);
        server.put(resource, &third, right.clone());
        let told = |cluster: &Cluster| {
            let objects = cluster.problems().iter().filter_map(|problem| problem.object.as_ref());
            objects.map(|object| object.name.clone()).collect::<Vec<_>>()
        };
        watching
            .until("third", SOON, |cluster| told(cluster) == ["0", "1"] && seen(cluster).len() > listed.len())
            .await;
        assert!(watching.seen().is_superset(&listed), "what it said before counts");
        [first, second].iter().for_each(|name| server.put(resource, name, right.clone()));
        watching.recovers(SOON).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_read_is_kept_as_one_and_stops_no_other() {
    let server = server();
    server.put("proxypolicies", "n/0", json!({"spec": 5}));
    let mut watching = Watching::whole(&server).await;
    server.put("proxypolicies", "n/1", json!({"spec": {"targetRefs": "all"}}));
    server.put("proxypolicies", "n/2", json!({"spec": {"targetRefs": []}}));
    watching.recovers(SOON).await;
    let policies = watching.cluster.objects().policies;
    let illegible = policies.iter().filter(|(_, policy)| !policy.illegible.is_empty());
    assert_eq!(illegible.map(|(name, _)| name.name.as_str()).collect::<Vec<_>>(), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_of_an_object_is_not_kept() {
    let server = server();
    let noted = json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "own": "yes"},
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]});
    for (resource, name) in [
        ("ingressclasses", "x"),
        ("ingresses", "n/x"),
        ("services", "n/x"),
        ("secrets", "n/cert"),
        ("proxypolicies", "n/x"),
        ("configmaps", "headgate/config"),
        ("nodes", "node"),
    ] {
        let spec = if resource == "ingressclasses" { json!({"controller": "c"}) } else { json!({}) };
        let whole = json!({"metadata": noted, "spec": spec});
        server.put(resource, name, whole);
    }
    server.put("endpointslices", "n/x", json!({"metadata": noted, "addressType": "IPv4", "endpoints": []}));
    let watching = Watching::whole(&server).await;
    let all = all(&watching.cluster);
    let own: Vec<_> = all.iter().filter_map(|(_, metadata)| metadata.annotations.as_ref()).collect();
    assert!(own.len() == 8 && own.iter().all(|annotations| annotations.keys().eq(["own"])), "{own:?}");
    assert!(all.iter().all(|(_, metadata)| metadata.managed_fields.is_none()), "{all:?}");
}

/// The names of those asked for one by one; `None`: a list.
fn asked_for(server: &ApiServer) -> Vec<Option<String>> {
    let of_secrets = |asked: &Asked| asked.resource == "secrets" && !asked.is_watch();
    server.asked().iter().filter(|asked| of_secrets(asked)).map(|asked| asked.name().map(str::to_owned)).collect()
}

#[tokio::test(start_paused = true)]
async fn only_secrets_that_count_are_kept_and_one_that_newly_does_is_fetched() {
    let server = server();
    let mut watching = Watching::whole(&server).await;
    assert_eq!(asked_for(&server), [None]);
    let kept = |cluster: &Cluster| cluster.objects().secrets.keys().map(|name| name.name.clone()).collect::<Vec<_>>();
    let knows = |cluster: &Cluster, names: &[&str]| cluster.known_secrets().unwrap() == secrets(names);
    // One that is there, and one that is not.
    watching.cluster.want_secrets(&secrets(&["cert", "other", "none"]));
    watching.until("knowledge", SOON, |cluster| knows(cluster, &["cert", "other", "none"])).await;
    assert_eq!(kept(&watching.cluster), ["cert", "other"]);
    let mut asked = asked_for(&server);
    asked.sort();
    assert_eq!(asked, [Some("none".to_owned()), Some("other".to_owned())]);
    server.put("secrets", "n/none", json!({}));
    watching.until("new one", SOON, |cluster| kept(cluster) == ["cert", "none", "other"]).await;
    server.delete("secrets", "n/cert");
    watching.until("end", SOON, |cluster| kept(cluster) == ["none", "other"]).await;
    watching.cluster.want_secrets(&secrets(&["other"]));
    watching.until("less", SOON, |cluster| kept(cluster) == ["other"] && knows(cluster, &["other"])).await;
    assert!(asked_for(&server).is_empty());
    // As many as one does not fetch one by one.
    let many: Vec<String> = (0..50).map(|index| index.to_string()).collect();
    many.iter().for_each(|name| server.put("secrets", &format!("n/{name}"), json!({})));
    watching.cluster.want_secrets(&secrets(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    watching.until("many", SOON, |cluster| kept(cluster).len() == 50).await;
    assert_eq!(asked_for(&server), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_hard_to_fetch_holds_up_neither_the_watch_nor_a_list() {
    let late = Fault::After(Duration::from_secs(30));
    for fault in [late, Fault::Status(500), Fault::Status(429), Fault::Refused, Fault::Torn] {
        let server = server();
        let mut watching = Watching::whole(&server).await;
        assert_eq!(asked_for(&server), [None]);
        server.err(move |asked| asked.name().is_some().then_some(fault));
        watching.cluster.want_secrets(&secrets(&["cert", "other"]));
        watching.stays("unknown", SOON * 20, |cluster| cluster.known_secrets().unwrap() == secrets(&["cert"])).await;
        server.put("secrets", "n/cert", json!({}));
        let there = watching.there();
        watching.until("change", SOON, |cluster| seen(cluster) == there).await;
        // Whoever asks for less meanwhile has no use for it any more.
        watching.cluster.want_secrets(&secrets(&["cert"]));
        watching.stays("unknown", SOON, |cluster| cluster.known_secrets().unwrap() == secrets(&["cert"])).await;
        watching.cluster.want_secrets(&secrets(&["cert", "other"]));
        server.err(|_| None);
        watching.until("knowledge", SOON * 30, |cluster| cluster.known_secrets().unwrap().len() == 2).await;
        assert_eq!(watching.cluster.objects().secrets.len(), 2, "{fault:?}");
        assert!(asked_for(&server).iter().all(|asked| asked.as_deref() == Some("other")), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ingress_classes_are_done_without_where_they_stay_forbidden_from_the_start() {
    let server = server();
    let forbidden = |asked: &Asked| (asked.resource == "ingressclasses").then_some(Fault::Status(403));
    let lacks_classes = |cluster: &Cluster| cluster.missing() == ["IngressClass"];
    let scope = Scope { namespace: Some("n".into()), class_by_name: true, ..Scope::default() };
    server.err(forbidden);
    // An API server that has just started refuses what it does not a moment later.
    let mut watching = Watching::with(&server, &scope);
    watching.until("rest", SOON, lacks_classes).await;
    watching.stays("waiting", SOON * 4, lacks_classes).await;
    server.err(|_| None);
    watching.until("class", LONG, |cluster| cluster.missing().is_empty()).await;
    assert_eq!(watching.cluster.objects().ingress_classes.len(), 1);
    server.err(forbidden);
    let tells = |cluster: &Cluster| cluster.problems().iter().any(|problem| problem.reason.contains("ingressclasses"));
    watching.until("word of what is forbidden later", SOON, tells).await;

    let mut watching = Watching::with(&server, &scope);
    watching.until("rest", SOON, lacks_classes).await;
    watching.stays("waiting", SOON * 4, lacks_classes).await;
    watching.until("resignation", LONG, |cluster| cluster.missing().is_empty()).await;
    assert!(watching.cluster.problems().is_empty(), "{:?}", watching.cluster.problems());
    server.err(|_| None);
    watching.until("class", LONG, |cluster| cluster.objects().ingress_classes.len() == 1).await;

    // Where any class may be ours there is no doing without.
    server.err(forbidden);
    let mut watching = Watching::with(&server, &Scope { class_by_name: false, ..scope });
    watching.until("rest", SOON, lacks_classes).await;
    watching.stays("waiting", LONG, lacks_classes).await;
}
