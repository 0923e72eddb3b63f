//! What goes wrong in a cluster: processes killed, the API server away.

use std::time::Duration;

use crate::load::Load;
use crate::namespace::Namespace;
use crate::serving::{HOST, answering, forgiving, self_signed, shop};
use crate::support::wait::{stays, until};

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

    node.stop("kube-apiserver");
    stays("readiness without an API server", absence(), || controller.is_ready());
    node.start("kube-apiserver");
    namespace.cluster.until_ready();
    load.goes_on();
    assert_eq!(controller.generation(), generation, "routes or endpoints changed, though nobody changed them");

    namespace.kubectl(&["scale", "deployment", "shop", "--replicas=4"]);
    namespace.rolled_out("shop");
    until("a fourth pod", || (controller.generation() > generation).then_some(()));
    answering(&controller, 4);
    load.end();
}
