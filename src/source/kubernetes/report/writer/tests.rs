//! Against an API server that has a Lease with a note, and takes what is written.

use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{from_slice, from_value, json};

use super::*;
use crate::source::kubernetes::kind::Ingresses;
use crate::translate::{ObjectKind, ObjectRef, Problem, Reason, Report};

/// What was written, by the end of its path.
type Taken = Arc<Mutex<Vec<(String, Value)>>>;

/// A status that is not taken.
const REFUSED: &str = "n/ingresses/refused/status";

fn server(note: &'static str) -> (Client, Taken) {
    let written = Taken::default();
    let taken = written.clone();
    let answer = move |request: Request<Body>| {
        let taken = taken.clone();
        async move {
            let (head, body) = request.into_parts();
            let body: Value = from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
            let path = head.uri.path().split_once("/namespaces/").unwrap().1.to_owned();
            if path == REFUSED {
                let status = json!({"kind": "Status", "status": "Failure", "code": 422, "message": "", "reason": ""});
                let answer = Response::builder().status(422).body(Body::from(status.to_string().into_bytes()));
                return Ok::<_, kube::Error>(answer.unwrap());
            }
            if head.method == Method::PATCH {
                let noted = &body["metadata"]["annotations"]["headgate.dev/published-addresses"];
                let what = if path.contains("/leases/") { noted } else { &body["status"] };
                taken.lock().unwrap().push((path.clone(), what.clone()));
            }
            if head.method == Method::POST {
                taken.lock().unwrap().push((path, body["regarding"]["name"].clone()));
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
    written.retain(|(path, written)| !path.contains("/leases/") && !written.is_null());
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

/// A writer that leads by a Lease, of which nobody noted anything.
fn leader(known: &[(&str, Value)]) -> (Writer, Lease, Taken) {
    let (client, written) = server("");
    let store = Arc::new(Store::default());
    for (name, object) in known {
        let ingress: Ingress = from_value(object.clone()).unwrap();
        store.change::<Ingresses>(|all| drop(all.insert(Reference::new("n", *name), Arc::new(ingress))));
    }
    let writer = Writer::new(client, store, settings(true));
    let lease = writer.compete(false);
    (writer, lease, written)
}

#[tokio::test]
async fn an_address_that_a_refused_status_may_still_show_stays_in_the_note() {
    let (mut writer, lease, written) = leader(&[("refused", json!({})), ("taken", json!({}))]);
    let objects = writer.store.objects();
    let served = Arc::new(["refused", "taken"].map(|name| Reference::new("n", name)).into());
    for address in ["10.0.0.2", "10.0.0.3"] {
        writer.settings.publish = Some(Publish { addresses: vec![address.into()], ..Publish::default() });
        assert!(writer.publish(&objects, &served, &lease).await);
    }
    let written = written.lock().unwrap();
    let notes: Vec<_> = written.iter().filter(|(path, note)| path.contains("/leases/") && !note.is_null()).collect();
    assert_eq!(notes.last().unwrap().1, json!("10.0.0.2,10.0.0.3"), "{notes:?}");
}

#[tokio::test]
async fn of_many_events_some_are_written_before_statuses_are_looked_at_again() {
    let (mut writer, lease, written) = leader(&[("many", json!({"metadata": {"name": "many", "namespace": "n"}}))]);
    let object = ObjectRef::new(ObjectKind::Ingress, &Reference::new("n", "many"));
    let problem = |number: usize| Problem::new(number.to_string(), Reason::Invalid, "wrong");
    let reports = Arc::from([Report { object, problems: (0..120).map(problem).collect() }]);
    let findings = Findings { reports, ..Findings::default() };
    let mut told = Vec::new();
    for expected in [super::Written::Partly, super::Written::Partly, super::Written::All] {
        assert_eq!(writer.write(&findings, &lease).await, expected);
        told.push(written.lock().unwrap().iter().filter(|(path, _)| path == "n/events").count());
    }
    assert_eq!(told, [50, 100, 120]);
}
