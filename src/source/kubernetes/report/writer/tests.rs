//! Against an API server that has a Lease with a note, and takes what is written.

use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{from_slice, from_value, json};

use super::*;
use crate::source::kubernetes::kind::Ingresses;

/// What was written, by the end of its path.
type Written = Arc<Mutex<Vec<(String, Value)>>>;

fn server(note: &'static str) -> (Client, Written) {
    let written = Written::default();
    let taken = written.clone();
    let answer = move |request: Request<Body>| {
        let taken = taken.clone();
        async move {
            let (head, body) = request.into_parts();
            let body: Value = from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
            let path = head.uri.path();
            if head.method == Method::PATCH && !path.contains("/leases/") {
                taken
                    .lock()
                    .unwrap()
                    .push((path.split_once("/namespaces/").unwrap().1.to_owned(), body["status"].clone()));
            }
            let note = json!({"headgate.dev/published-addresses": note});
            let object = json!({"metadata": {"name": "any", "resourceVersion": "1", "annotations": note}});
            Ok::<_, kube::Error>(Response::new(Body::from(object.to_string().into_bytes())))
        }
    };
    (Client::new(tower::service_fn(answer), "n"), written)
}

fn settings(election: bool) -> Settings {
    Settings {
        controller: "headgate.dev/ingress-controller".into(),
        identity: "me".into(),
        lease: election.then(|| Reference::new("n", "lease")),
        event_namespaces: None,
        lease_ttl: Duration::from_secs(10),
        publish: Some(Publish { addresses: vec!["10.0.0.2".into()], ..Publish::default() }),
        remove_on_shutdown: true,
    }
}

fn addresses(addresses: &[&str]) -> Value {
    json!({"loadBalancer": {"ingress": addresses.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()}})
}

/// What a new leader that serves `n/served` writes where Ingresses have these addresses.
async fn written(election: bool, note: &'static str, known: &[(&str, &[&str])]) -> Vec<(String, Value)> {
    let (client, written) = server(note);
    let store = Arc::new(Store::default());
    for (name, status) in known {
        let ingress: Ingress = from_value(json!({"status": addresses(status)})).unwrap();
        store.change::<Ingresses>(|all| drop(all.insert(Reference::new("n", *name), Arc::new(ingress))));
    }
    let mut writer = Writer::new(client, store.clone(), settings(election));
    let lease = writer.compete(false);
    let served = Arc::new(BTreeSet::from([Reference::new("n", "served")]));
    assert!(writer.publish(&store.objects(), &served, &lease).await);
    let mut written = std::mem::take(&mut *written.lock().unwrap());
    written.sort_by(|(one, _), (other, _)| one.cmp(other));
    written
}

#[tokio::test]
async fn a_new_leader_takes_addresses_back_from_what_stopped_being_ours_while_nobody_led() {
    let known: &[(&str, &[&str])] = &[
        ("gone", &["10.0.0.1", "9.9.9.9"]),
        ("foreign", &["9.9.9.9"]),
        ("served", &["10.0.0.1", "8.8.8.8"]),
        ("bare", &[]),
    ];
    let [gone, served] = ["n/ingresses/gone/status", "n/ingresses/served/status"].map(str::to_owned);
    assert_eq!(
        written(true, "10.0.0.1", known).await,
        [(gone, addresses(&["9.9.9.9"])), (served.clone(), addresses(&["10.0.0.2", "8.8.8.8"]))]
    );
    // Nobody has noted what is ours.
    for election in [true, false] {
        assert_eq!(
            written(election, "", known).await,
            [(served.clone(), addresses(&["10.0.0.2", "10.0.0.1", "8.8.8.8"]))]
        );
    }
}
