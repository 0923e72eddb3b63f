//! What goes wrong in a cluster: processes killed, the API server away.

use std::time::Duration;

use crate::kubernetes::until;
use crate::load::Load;
use crate::namespace::Namespace;
use crate::objects::ingress;
use crate::serving::{HOST, answering, forgiving, self_signed, shop};
use crate::support::client::get;
use crate::support::wait::{self, stays};

/// How long the API server is away.
fn absence() -> Duration {
    Duration::from_secs(if std::env::var_os("E2E_LONG").is_some() { 300 } else { 30 })
}

#[test]
fn killed_pods_cost_no_request_that_may_be_sent_twice() {
    let namespace = Namespace::new();
    namespace.apply(&[forgiving()]);
    let controller = shop(&namespace, 3, &self_signed());
    let pods =
        namespace.kubectl(&["get", "pods", "--selector=app=shop", "--output=jsonpath={.items[*].metadata.name}"]);
    let load = Load::start(HOST, Some(controller.http), Some(controller.https));
    for pod in pods.split(' ') {
        namespace.cluster.node().kill(pod);
        let restarted = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
        namespace.kubectl(&["wait", restarted, "--timeout=90s", "pod", pod]);
        namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod", pod]);
        answering(&controller, 3);
    }
    load.end();
}

#[test]
fn nobody_notices_that_the_api_server_is_away_and_comes_back() {
    let namespace = Namespace::alone();
    let node = namespace.cluster.node();
    let controller = shop(&namespace, 3, &self_signed());
    let load = Load::start(HOST, Some(controller.http), Some(controller.https));
    let generation = controller.generation();

    let synced = || {
        let metrics = controller.metrics();
        metrics.matching("headgate_source_synced", &[]).map(|kind| kind.value).collect::<Vec<_>>()
    };
    node.stop("kube-apiserver");
    stays("readiness without an API server", absence(), || controller.is_ready());
    until("the trouble of each watch", || synced().iter().all(|kind| *kind == 0.0).then_some(()));
    node.start("kube-apiserver");
    namespace.cluster.until_ready();
    until("the end of the trouble of each watch", || synced().iter().all(|kind| *kind == 1.0).then_some(()));
    load.goes_on();
    assert_eq!(controller.generation(), generation, "routes or endpoints changed, though nobody changed them");

    namespace.kubectl(&["scale", "deployment", "shop", "--replicas=4"]);
    // Each of the controllers, the scheduler and the kubelet asks again up to a minute later, after minutes without answer.
    namespace.kubectl(&["rollout", "status", "--timeout=5m", "deployment", "shop"]);
    until("a fourth pod", || (controller.generation() > generation).then_some(()));
    answering(&controller, 4);
    load.end();
}

/// Also no connection ends, and no watch.
#[test]
fn an_api_server_that_hangs_is_told_in_time_and_the_leader_steps_down() {
    let namespace = Namespace::alone();
    let controller = shop(&namespace, 1, &self_signed());
    let leads = || controller.metrics().value("headgate_leader", &[]) == 1.0;
    let in_trouble = || {
        let metrics = controller.metrics();
        ["headgate_source_errors", "headgate_write_errors"].iter().any(|errors| metrics.value(errors, &[]) > 0.0)
    };
    until("a leader", || (leads() && !in_trouble()).then_some(()));
    let load = Load::start(HOST, Some(controller.http), Some(controller.https));

    let frozen = namespace.cluster.node().freeze("kube-apiserver");
    wait::until("the trouble", || in_trouble().then_some(()));
    wait::until("the end of its lead", || (!leads()).then_some(()));
    load.goes_on();
    drop(frozen);
    until("a leader again", || leads().then_some(()));
    until("the end of the trouble", || (!in_trouble()).then_some(()));
    load.end();
}

/// What was changed meanwhile is not told again: it has to be listed.
#[test]
fn a_controller_that_is_cut_off_while_history_is_lost_finds_what_changed() {
    let namespace = Namespace::alone();
    let node = namespace.cluster.node();
    let controller = shop(&namespace, 3, &self_signed());
    let named = |host: &str, name: &str| {
        let mut ingress = ingress(&namespace.name, host, "shop");
        ingress["metadata"]["name"] = name.into();
        ingress
    };
    let status = |host: &str| get(controller.http, host, "/").status;
    namespace.apply(&[named("old.example", "old")]);
    until("the old host", || (status("old.example") == 200).then_some(()));
    let load = Load::start(HOST, Some(controller.http), Some(controller.https));
    let generation = controller.generation();

    let restart = || {
        node.stop("kube-apiserver");
        node.start("kube-apiserver");
        namespace.cluster.until_ready();
    };
    let separation = node.separate(controller.admin.ip());
    // Ends its connections.
    restart();
    namespace.apply(&[named("new.example", "new")]);
    namespace.kubectl(&["delete", "ingress", "old"]);
    node.compact();
    restart();
    load.goes_on();
    assert_eq!(controller.generation(), generation, "something changed, though nothing could be read");
    assert_eq!((status("old.example"), status("new.example")), (200, 404));

    drop(separation);
    until("the new host", || (status("new.example") == 200).then_some(()));
    until("the end of the old one", || (status("old.example") == 404).then_some(()));
    namespace.apply(&[named("newest.example", "newest")]);
    until("the newest host", || (status("newest.example") == 200).then_some(()));
    load.end();
}

/// Nor between its replicas, each of which could send a request to the other.
#[test]
fn an_ingress_to_the_controller_itself_is_503_and_no_loop() {
    let namespace = Namespace::new();
    let controller = shop(&namespace, 1, &self_signed());
    namespace.apply(&[ingress(&namespace.name, "own.example", "headgate")]);
    let status = || get(controller.http, "own.example", "/").status;
    let asked = || controller.metrics().value("proxy_requests_total", &[("ingress", "headgate")]);
    until("503", || (status() == 503).then_some(()));
    assert_eq!([(); 20].map(|()| status()), [503; 20]);
    // Each is counted after its last byte.
    until("all of them to be counted", || (asked() >= 21.0).then_some(()));
    stays("no request that came back", Duration::from_secs(2), || asked() == 21.0);
    let events = until("an event", || {
        let events = namespace.kubectl(&["events"]);
        events.contains("is this proxy itself").then_some(events)
    });
    assert!(events.contains("EndpointSlice/headgate"), "{events}");

    namespace.kubectl(&["scale", "deployment", "headgate", "--replicas=2"]);
    namespace.rolled_out("headgate");
    assert_eq!([(); 40].map(|()| status()), [503; 40]);
}
