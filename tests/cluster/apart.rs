//! Roles of namespaces only, without the right to read IngressClasses: one namespace is served from another.

use serde_json::{Value, json};

use crate::controller::{Controller, helm, succeed, values};
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::{echo, ingress};
use crate::serving::{HOST, self_signed};
use crate::support::client::get;
use crate::support::objects::{self, rule, tls_secret};
use crate::support::tls::{Tls, certificate};

const NAMESPACED: &str = include_str!("../../charts/headgate/ci/namespaced-values.yaml");

/// The example of the chart, for `shop`, with a default backend and certificate beside the release.
fn apart(namespace: &Namespace, shop: &Namespace) -> Value {
    let mut apart: Value = serde_yaml::from_str(NAMESPACED).unwrap();
    let controller = &mut apart["controller"];
    controller["scope"]["namespace"] = shop.name.as_str().into();
    controller["image"] = values(namespace)["controller"]["image"].clone();
    controller["ingressClassResource"]["name"] = namespace.name.as_str().into();
    controller["service"] = json!({ "type": "NodePort" });
    controller["config"] = json!({ "no-such-key": "1" });
    controller["defaultBackendService"] = format!("{}/errors", namespace.name).into();
    controller["extraArgs"] = json!({ "default-ssl-certificate": format!("{}/wildcard", namespace.name) });
    apart
}

#[test]
fn another_namespace_is_served_by_roles_of_both() {
    let namespace = Namespace::new();
    let shop = namespace.another();
    let wildcard = self_signed();
    namespace.apply(&echo("errors", 1));
    namespace.apply(&[tls_secret("wildcard", &wildcard)]);
    shop.apply(&echo("shop", 1));
    let unclassed = objects::ingress("nowhere", &[rule("no.example", "/", "Prefix", "nowhere")]);
    shop.apply(&[ingress(&namespace.name, HOST, "shop"), unclassed]);
    namespace.rolled_out("errors");
    shop.rolled_out("shop");

    let controller = Controller::with(&namespace, &apart(&namespace, &shop));
    let outside = namespace.kubectl(&["get", "clusterroles", "--output=name"]);
    assert!(!outside.contains(&format!("{}-headgate", namespace.name)), "{outside}");
    let answers = |host: &'static str, service: &'static str| {
        until(service, || {
            let answer = get(controller.http, host, "/");
            (answer.status == 200 && answer.json()["service"] == service).then_some(())
        });
    };
    answers(HOST, "shop");
    answers("other.example", "errors");
    assert_eq!(certificate(&Tls::to(HOST).connect(controller.https)), wildcard.der);

    let told = |namespace: &Namespace, object: &str| {
        let events = || namespace.kubectl(&["events", &format!("--for={object}")]).contains("Warning").then_some(());
        until(&format!("an event of {object}"), events);
    };
    told(&shop, "ingress/nowhere");
    told(&namespace, "configmap/headgate");
    let shown = || shop.object(&["ingress", "shop"])["status"]["loadBalancer"]["ingress"].clone();
    let address = namespace.object(&["service", "headgate"])["spec"]["clusterIP"].clone();
    until("its address", || (shown() == json!([{ "ip": address }])).then_some(()));
    for errors in ["headgate_source_errors", "headgate_write_errors"] {
        assert_eq!(controller.metrics().value(errors, &[]), 0.0, "{errors}");
    }

    succeed(&helm(&namespace, &["uninstall", "headgate", "--wait", "--timeout=90s"], None));
    assert_eq!(shown(), Value::Null);
}
