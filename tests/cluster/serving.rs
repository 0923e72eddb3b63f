//! A controller in the cluster: from an Ingress to answers outside, while pods come and go.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use http::Request;
use serde_json::{Value, json};
use tokio::join;

use crate::controller::Controller;
use crate::kubernetes::{PATIENCE, until};
use crate::load::Load;
use crate::namespace::Namespace;
use crate::objects::{echo, of_class, tls_ingress};
use crate::support::client::get;
use crate::support::h2_client::H2Client;
use crate::support::objects::{ingress, policy, rule_to, tls_secret, with_annotation, with_tls};
use crate::support::tls::{Tls, certificate};
use crate::support::{Client, TestCertificate, in_full};

pub(crate) const HOST: &str = "shop.example";

/// A controller that answers for `HOST`, over HTTP and HTTPS, from these pods.
#[track_caller]
pub(crate) fn shop(namespace: &Namespace, pods: u32, certificate: &TestCertificate) -> Controller {
    namespace.apply(&echo("shop", pods));
    let ingress = tls_ingress(&namespace.name, HOST, "shop");
    let ingress = with_annotation(ingress, "nginx.ingress.kubernetes.io/ssl-redirect", "false");
    namespace.apply(&[tls_secret("shop", certificate), ingress]);
    let controller = Controller::start(namespace);
    namespace.rolled_out("shop");
    answering(&controller, usize::try_from(pods).unwrap());
    controller
}

/// Waits until this many pods answer, and no other does.
#[track_caller]
pub(crate) fn answering(controller: &Controller, pods: usize) {
    until(&format!("answers of {pods} pods"), || {
        let answers = (0..4 * pods).map(|_| get(controller.http, HOST, "/"));
        let answers = answers.map(|answer| (answer.status == 200).then(|| answer.json()["pod"].to_string()));
        (answers.collect::<Option<BTreeSet<_>>>()?.len() == pods).then_some(())
    });
}

/// Sends a request again whose connection is reset, to another pod.
pub(crate) fn forgiving() -> Value {
    policy("shop", "Service", "shop", json!({ "retry": { "attempts": 2, "on": ["ConnectFailure", "Reset"] } }))
}

pub(crate) fn self_signed() -> TestCertificate {
    TestCertificate::for_names(&[HOST])
}

#[test]
fn an_ingress_to_three_pods_is_answered_outside() {
    let namespace = Namespace::new();
    let shown = self_signed();
    let controller = shop(&namespace, 3, &shown);
    let mut safe = Tls::to(HOST).connect(controller.https);
    assert_eq!(certificate(&safe), shown.der);
    let answer = safe.get(HOST, "/cart?x=1").json();
    assert_eq!((&answer["path"], &answer["service"]), (&json!("/cart?x=1"), &json!("shop")));
    assert_eq!(answer["headers"]["x-forwarded-proto"], json!(["https"]));
    assert_eq!(get(controller.http, "other.example", "/").status, 404);
}

#[test]
fn a_change_of_the_config_map_counts_without_a_restart() {
    let namespace = Namespace::new();
    let controller = shop(&namespace, 1, &self_signed());
    let mut safe =
        with_tls(crate::objects::ingress(&namespace.name, "safe.example", "shop"), &["safe.example"], "shop");
    safe["metadata"]["name"] = "safe".into();
    namespace.apply(&[safe]);
    let status = || get(controller.http, "safe.example", "/").status;
    let set = |value: &str| {
        let patch = json!({ "data": { "ssl-redirect": value } }).to_string();
        namespace.kubectl(&["patch", "configmap", "headgate", "--type=merge", "--patch", &patch]);
    };
    until("the redirect", || (status() == 308).then_some(()));
    set("false");
    until("the end of the redirect", || (status() == 200).then_some(()));
    set("true");
    until("the redirect again", || (status() == 308).then_some(()));
}

/// Pods end in the middle of requests, as those do that leave SIGTERM to its default.
#[test]
fn nobody_notices_rolling_restarts() {
    let namespace = Namespace::new();
    namespace.apply(&[forgiving()]);
    let controller = shop(&namespace, 3, &self_signed());
    let load = Load::start(HOST, Some(controller.http), Some(controller.https));
    for _ in 0..if in_full() { 20 } else { 5 } {
        namespace.kubectl(&["rollout", "restart", "deployment", "shop"]);
        namespace.rolled_out("shop");
        load.goes_on();
    }
    load.end();
}

#[test]
fn scaling_up_is_seen_and_to_nothing_and_back_too() {
    let namespace = Namespace::new();
    let controller = shop(&namespace, 1, &self_signed());
    let scale = |pods: usize| {
        namespace.kubectl(&["scale", "deployment", "shop", &format!("--replicas={pods}")]);
        namespace.rolled_out("shop");
    };
    let load = Load::start(HOST, Some(controller.http), None);
    scale(10);
    answering(&controller, 10);
    load.end();
    scale(0);
    until("503 without pods", || (get(controller.http, HOST, "/").status == 503).then_some(()));
    scale(3);
    answering(&controller, 3);
}

#[test]
fn a_renewed_certificate_is_shown_and_no_connection_dropped() {
    let namespace = Namespace::new();
    let (old, renewed) = (self_signed(), self_signed());
    let controller = shop(&namespace, 1, &old);
    let shown = || certificate(&Tls::to(HOST).connect(controller.https));
    let load = Load::start(HOST, None, Some(controller.https));
    assert_eq!(shown(), old.der);
    namespace.apply(&[tls_secret("shop", &renewed)]);
    until("the renewed certificate", || (shown() == renewed.der).then_some(()));
    load.goes_on();
    assert_eq!(shown(), renewed.der);
    load.end();
}

/// What cert-manager makes while a certificate is being asked for: since 1.18 with the path type Exact, before, or by a
/// feature gate, with the other one.
#[test]
fn solvers_of_acme_challenges_are_served_beside_a_redirecting_host() {
    let namespace = Namespace::new();
    namespace.apply(&echo("shop", 1));
    namespace.apply(&[tls_secret("shop", &self_signed()), tls_ingress(&namespace.name, HOST, "shop")]);
    let controller = Controller::start(&namespace);
    until("the redirect", || (get(controller.http, HOST, "/").status == 308).then_some(()));

    for (token, path_type) in [("LoqXcYV8q5ONbJQxbmR7", "Exact"), ("SCTNo3tiAXDfowyjxAjE", "ImplementationSpecific")] {
        let challenge = format!("/.well-known/acme-challenge/{token}");
        assert_eq!(get(controller.http, HOST, &challenge).status, 308);
        let solver = format!("cm-acme-http-solver-{}", path_type.to_lowercase());
        namespace.apply(&solver_objects(&namespace.name, &solver, &challenge, path_type));
        namespace.rolled_out(&solver);
        let answer = until("the solver's answer", || {
            Some(get(controller.http, HOST, &challenge)).filter(|answer| answer.status == 200)
        });
        assert_eq!((&answer.json()["service"], &answer.json()["path"]), (&solver.into(), &challenge.clone().into()));
        let below = get(controller.http, HOST, &format!("{challenge}/x")).status;
        assert_eq!(below, if path_type == "Exact" { 308 } else { 200 }, "{path_type}");
        assert_eq!(get(controller.http, HOST, "/").status, 308);
    }
}

/// The Service has port 8089 and is of type NodePort; the Ingress lets everybody in.
fn solver_objects(class: &str, solver: &str, challenge: &str, path_type: &str) -> Vec<Value> {
    let [deployment, mut service]: [Value; 2] = echo(solver, 1).try_into().unwrap();
    service["spec"]["type"] = "NodePort".into();
    service["spec"]["ports"][0]["port"] = 8089.into();
    let backend = json!({ "service": { "name": solver, "port": { "number": 8089 } } });
    let ingress = of_class(class, ingress(solver, &[rule_to(HOST, challenge, path_type, backend)]));
    let everybody = "0.0.0.0/0,::/0";
    let ingress = with_annotation(ingress, "nginx.ingress.kubernetes.io/whitelist-source-range", everybody);
    vec![deployment, service, ingress]
}

/// As the README has it: an Ingress with TLS and a ProxyPolicy on both of its sides.
#[tokio::test]
async fn every_protocol_comes_through_the_port_of_the_node_as_the_policy_says() {
    let namespace = Namespace::new();
    let mut both = policy("shop", "Ingress", "shop", json!({ "request": { "methods": ["GET"] } }));
    let backend = forgiving();
    both["spec"]["targetRefs"].as_array_mut().unwrap().push(backend["spec"]["targetRefs"][0].clone());
    both["spec"]["retry"] = backend["spec"]["retry"].clone();
    namespace.apply(&[both]);
    let controller = shop(&namespace, 3, &self_signed());
    let programmed = "--for=jsonpath={.status.ancestors[0].conditions[?(@.type==\"Programmed\")].status}=True";
    namespace.kubectl(&["wait", programmed, PATIENCE, "proxypolicy", "shop"]);

    is_limited_to_get(Client::connect(controller.http));
    is_limited_to_get(Tls::to(HOST).connect(controller.https));
    let client = H2Client::tls(controller.https, HOST).await;
    let answers = join!(client.get("https://shop.example/one"), client.get("https://shop.example/two"));
    for (answer, path) in [(answers.0, "/one"), (answers.1, "/two")] {
        let answer: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!((&answer["path"], &answer["service"]), (&json!(path), &json!("shop")));
    }
    let refused = client.request(Request::post("https://shop.example/three").body(()).unwrap(), b"").await;
    assert_eq!(refused.status, 405);
    is_echoed(Client::connect(controller.http));
    is_echoed(Tls::to(HOST).connect(controller.https));
}

fn is_limited_to_get<S: Read + Write>(mut client: Client<S>) {
    assert_eq!(client.get(HOST, "/cart").json()["service"], "shop");
    client.send(format!("POST /cart HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n"));
    let refused = client.response();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET")));
}

/// A handshake, and then a masked frame, which comes back unmasked.
fn is_echoed<S: Read + Write>(mut client: Client<S>) {
    client.send(format!(
        "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    let switched = client.response();
    assert_eq!((switched.status, switched.header("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    client.send(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(client.exactly(7), b"\x81\x05Hello");
}
