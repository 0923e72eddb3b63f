//! Texts of a folder, and values as an API server sends them: nothing panics, a good object beside a bad one is served, and
//! what is read is translated the same way twice.

use std::path::Path;

use headgate::source::folder::{View, parse_documents, view_of};
use headgate::tables::Tables;
use headgate::translate::{ObjectKind, Options, Translator};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::rules;

pub fn judge(data: &[u8]) {
    if let Err(problem) = parse_documents(Path::new("any"), data) {
        assert!(!problem.reason.is_empty());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let view = view_of([("any.yaml", text), ("good.json", &good().to_string())]);
    check_served(&view);
    // In one file with whatever can be read at all.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        typed(&value);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [value, good()]}).to_string();
        let parsed = parse_documents(Path::new("list"), list.as_bytes()).expect("JSON");
        let is_good = |kind, name: Option<&str>| kind == ObjectKind::Ingress && name == Some("the-good-one");
        let objects = parsed.objects.iter().map(|located| &located.object);
        assert!(objects.into_iter().any(|object| is_good(object.kind(), object.metadata().name.as_deref())));
    }
}

fn good() -> Value {
    let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "the-good-one", "namespace": "the-good-ones", "creationTimestamp": "1999-01-01T00:00:00Z"},
        "spec": {"rules": [{
            "host": "good.test",
            "http": {"paths": [{"path": "/good", "pathType": "Exact", "backend": backend}]},
        }]},
    })
}

/// What a watch decodes.
fn typed(value: &Value) {
    fn decode<T: DeserializeOwned>(value: &Value) {
        drop(serde_json::from_value::<T>(value.clone()));
    }
    decode::<Ingress>(value);
    decode::<IngressClass>(value);
    decode::<Service>(value);
    decode::<EndpointSlice>(value);
    decode::<Secret>(value);
    decode::<ConfigMap>(value);
    decode::<headgate::api::ProxyPolicy>(value);
}

/// Whatever else the folder holds: the good Ingress keeps its route, unless another is older, is its own next version or guards
/// it.
fn check_served(view: &View) {
    let options = Options::default();
    let translation = Translator::default().translate(&view.objects, &options);
    assert_eq!(translation, Translator::default().translate(&view.objects, &options));
    let tables: Tables = rules::live(translation.snapshot, None);
    if view.objects.ingresses.len() == 1 && view.objects.config_maps.is_empty() {
        let found = tables.routes.find("good.test", "/good").expect("a route");
        assert_eq!(found.ingress, "the-good-one");
    }
    for problem in translation.reports.iter().flat_map(|report| &report.problems) {
        assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
    }
}
