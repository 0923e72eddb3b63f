//! Events of a cluster in any order, some of them twice, with lists in between: translation and tables that remember are those
//! of what is there in the end, made from nothing.

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use headgate::snapshot::Reference;
use headgate::tables::{NoRoute, Tables};
use headgate::translate::{ByName, Objects, Options, PolicyObject, Translation, Translator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::rules;

const NAMES: [&str; 3] = ["shop", "blog", "cart"];
const HOSTS: [&str; 6] = ["a.x", "*.x", "", "b.a.x", "a b", "A.X"];
const PATHS: [&str; 7] = ["/", "/a", "/a/", "/a/b", "", "/a/../b", "/%zz"];
const KINDS: [&str; 4] = ["Prefix", "Exact", "ImplementationSpecific", ""];
const CREATED: [Option<&str>; 3] = [None, Some("2024-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z")];
const ADDRESSES: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.0.0.256", "127.0.0.1", ""];

pub fn judge(data: &[u8]) {
    // An error is an input that ends too soon.
    _ = judge_events(&mut Unstructured::new(data));
}

fn judge_events(input: &mut Unstructured<'_>) -> Result<()> {
    let options = Options { config_map: Some(name("shop")), ..Options::default() };
    let mut objects = Objects::default();
    let mut translator = Translator::default();
    let mut live: Option<Tables> = None;
    for _ in 0..40 {
        if input.is_empty() {
            break;
        }
        // A few at a time, as they are applied.
        for _ in 0..input.int_in_range(1..=4)? {
            take(&mut objects, input)?;
        }
        let translation = translator.translate(&objects, &options);
        let fresh = Translator::default().translate(&objects, &options);
        assert_eq!(translation, fresh);
        let tables = rules::live(translation.snapshot, live.as_ref());
        check_same(&tables, &rules::live(fresh.snapshot, None));
        live = Some(tables);
    }
    let again = relisted(&objects);
    let translation: Translation = translator.translate(&again, &options);
    assert_eq!(translation, Translator::default().translate(&objects, &options), "a list says the same as its events");
    Ok(())
}

/// Tables that were carried on serve as those do that were made from nothing.
fn check_same(carried: &Tables, fresh: &Tables) {
    let listed = |tables: &Tables| {
        let lines = tables
            .routes
            .iter()
            .map(|listed| format!("{} {} {:?}", listed.host, listed.live.label, listed.live.policy));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(listed(carried), listed(fresh));
    for host in ["a.x", "c.x", "b.a.x", "y"] {
        for path in ["/", "/a", "/a/b", "/ab", "/a%2Fb"] {
            let found =
                |tables: &Tables| -> Result2 { tables.routes.find(host, path).map(|route| route.label.clone()) };
            assert_eq!(found(carried), found(fresh), "{host}{path}");
        }
    }
    let endpoints = |tables: &Tables| {
        let all = tables.backends().map(|(id, _, live)| {
            (id.to_string(), live.endpoints.iter().map(|endpoint| endpoint.address).collect::<Vec<_>>())
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(endpoints(carried), endpoints(fresh));
    assert!(carried.backends().all(|(_, _, live)| live.endpoints.iter().all(|endpoint| !is_retired(endpoint))));
}

type Result2 = std::result::Result<String, NoRoute>;

fn is_retired(endpoint: &headgate::tables::LiveEndpoint) -> bool {
    endpoint.retired.load(std::sync::atomic::Ordering::Relaxed)
}

fn name(name: &str) -> Reference {
    Reference::new("default", name)
}

fn put<T: DeserializeOwned>(objects: &mut ByName<Reference, T>, key: &str, value: Value) {
    objects.insert(name(key), Arc::new(serde_json::from_value(value).expect("an object of its kind")));
}

/// The same objects in other allocations.
fn relisted(objects: &Objects) -> Objects {
    fn copy<K: Ord + Clone, V: Clone>(from: &ByName<K, V>) -> ByName<K, V> {
        let mut to = ByName::default();
        to.extend(from.iter().map(|(key, value)| (key.clone(), Arc::new(V::clone(value)))));
        to
    }
    Objects {
        ingresses: copy(&objects.ingresses),
        ingress_classes: copy(&objects.ingress_classes),
        services: copy(&objects.services),
        endpoint_slices: copy(&objects.endpoint_slices),
        secrets: copy(&objects.secrets),
        config_maps: copy(&objects.config_maps),
        policies: copy(&objects.policies),
        nodes: copy(&objects.nodes),
        addresses: objects.addresses.clone(),
    }
}

/// One event.
fn take(objects: &mut Objects, input: &mut Unstructured<'_>) -> Result<()> {
    let key = *input.choose(&NAMES)?;
    match input.int_in_range(0..=12)? {
        0..4 => put(&mut objects.ingresses, key, ingress(input)?),
        4 => drop(objects.ingresses.remove(&name(key))),
        5 => put(&mut objects.services, key, service(input)?),
        6 => drop(objects.services.remove(&name(key))),
        7 => put(&mut objects.endpoint_slices, key, slice(input)?),
        8 => drop(objects.endpoint_slices.remove(&name(key))),
        9 => {
            objects.policies.insert(name(key), policy(input)?);
        }
        10 => drop(objects.policies.remove(&name(key))),
        11 => {
            let switch = *input.choose(&["true", "false", "x"])?;
            put(
                &mut objects.config_maps,
                key,
                json!({"data": {"ssl-redirect": switch, "use-forwarded-headers": switch}}),
            );
        }
        _ => *objects = relisted(objects),
    }
    Ok(())
}

fn ingress(input: &mut Unstructured<'_>) -> Result<Value> {
    let mut rules = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let backend =
            json!({"service": {"name": input.choose(&NAMES)?, "port": {"number": input.choose(&[80, 81, 0])?}}});
        let path = json!({"path": input.choose(&PATHS)?, "pathType": input.choose(&KINDS)?, "backend": backend});
        rules.push(json!({"host": input.choose(&HOSTS)?, "http": {"paths": [path]}}));
    }
    let tls =
        if input.ratio(1, 4)? { json!([{"hosts": [input.choose(&HOSTS)?], "secretName": "shop"}]) } else { json!([]) };
    Ok(json!({"metadata": {"creationTimestamp": input.choose(&CREATED)?}, "spec": {"rules": rules, "tls": tls}}))
}

fn service(input: &mut Unstructured<'_>) -> Result<Value> {
    let protocol = input.choose(&[None, Some("https"), Some("kubernetes.io/h2c")])?;
    Ok(json!({"spec": {"ports": [{"port": input.choose(&[80, 81])?, "appProtocol": protocol}]}}))
}

fn slice(input: &mut Unstructured<'_>) -> Result<Value> {
    let mut endpoints = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let ready = input.choose(&[None, Some(true), Some(false)])?;
        endpoints.push(json!({"addresses": [input.choose(&ADDRESSES)?], "conditions": {"ready": ready}}));
    }
    Ok(json!({
        "metadata": {"labels": {"kubernetes.io/service-name": input.choose(&NAMES)?}},
        "addressType": "IPv4",
        "ports": [{"port": input.choose(&[8080, 0, -1])?}],
        "endpoints": endpoints,
    }))
}

fn policy(input: &mut Unstructured<'_>) -> Result<Arc<PolicyObject>> {
    let kind = *input.choose(&["Ingress", "Service"])?;
    let group = if kind == "Service" { "" } else { "networking.k8s.io" };
    let mut spec = json!({"targetRefs": [{"group": group, "kind": kind, "name": input.choose(&NAMES)?}]});
    match input.int_in_range(0..=3)? {
        0 => spec["access"] = json!({"allow": [input.choose(&["10.0.0.0/8", "x"])?]}),
        1 => spec["connectionLimit"] = json!({"perClient": input.int_in_range(-1..=2)?}),
        2 => spec["timeouts"] = json!({"idle": input.choose(&["1s", "0s"])?}),
        _ => {}
    }
    let spec = serde_json::from_value(spec).expect("a spec");
    let policy = headgate::api::ProxyPolicy { spec, ..Default::default() };
    Ok(Arc::new(PolicyObject { policy, illegible: Vec::new() }))
}
