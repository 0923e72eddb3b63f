use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use k8s_openapi::api::networking::v1::Ingress;
use kube::core::{DeserializeGuard, PartialObjectMeta, Status};
use serde_json::{Value, from_value, json};

use super::*;
use crate::snapshot::Reference;
use crate::source::kubernetes::kind::{Ingresses, Namespaces, Services};
use crate::translate::ObjectRef;

fn scope() -> Scope {
    Scope { mass_delete_hold: Duration::from_secs(60), ..Scope::default() }
}

fn following<K: Kind>(store: &Arc<Store>) -> Following<K> {
    Following::new(Part::All, &scope(), store.clone(), K::OPTIONAL_IF, |_| true)
}

fn ingress(name: &str, version: u64) -> DeserializeGuard<Ingress> {
    let (namespace, name) = name.split_once('/').unwrap();
    object(json!({"namespace": namespace, "name": name, "resourceVersion": version.to_string()}), json!({}))
}

/// It has a name, and a spec that is none.
fn illegible(name: &str, version: u64) -> DeserializeGuard<Ingress> {
    let (namespace, name) = name.split_once('/').unwrap();
    object(json!({"namespace": namespace, "name": name, "resourceVersion": version.to_string()}), json!("none"))
}

fn object(metadata: Value, spec: Value) -> DeserializeGuard<Ingress> {
    let types = ("networking.k8s.io/v1", "Ingress");
    from_value(json!({"apiVersion": types.0, "kind": types.1, "metadata": metadata, "spec": spec})).unwrap()
}

fn namespace(name: &str) -> PartialObjectMeta<k8s_openapi::api::core::v1::Namespace> {
    from_value(json!({"metadata": {"name": name, "resourceVersion": "1"}})).unwrap()
}

fn list<K: Kind>(following: &mut Following<K>, objects: impl IntoIterator<Item = K::Watched>) {
    following.take(Event::Init);
    objects.into_iter().for_each(|object| following.take(Event::InitApply(object)));
    following.take(Event::InitDone);
}

fn names(store: &Store) -> Vec<String> {
    store.objects().ingresses.keys().map(Reference::to_string).collect()
}

fn troubles(store: &Store) -> Vec<String> {
    let name = |object: ObjectRef| format!("{}/{}", object.namespace, object.name);
    store.problems().into_iter().filter_map(|problem| problem.object.map(name)).collect()
}

#[test]
fn what_cannot_be_read_is_told_until_it_can_be_or_is_gone() {
    let store = Arc::new(Store::default());
    let mut following = following::<Ingresses>(&store);
    list(&mut following, [ingress("n/a", 1), ingress("n/b", 1), illegible("n/c", 1)]);
    following.take(Event::Apply(illegible("n/b", 2)));
    assert_eq!(names(&store), ["n/a", "n/b"], "what it said before counts");
    assert_eq!(troubles(&store), ["n/b", "n/c"]);
    // While nothing could be read c was deleted.
    following.take(Event::Init);
    following.take(Event::InitApply(ingress("n/a", 1)));
    assert_eq!(troubles(&store), ["n/b", "n/c"], "half a list");
    following.take(Event::Init);
    following.take(Event::InitApply(illegible("n/b", 2)));
    following.take(Event::InitApply(ingress("n/a", 1)));
    following.take(Event::InitDone);
    assert_eq!(troubles(&store), ["n/b"]);
    following.take(Event::Apply(ingress("n/b", 3)));
    assert_eq!(troubles(&store), [""; 0]);
    following.take(Event::Apply(illegible("n/b", 4)));
    following.take(Event::Delete(illegible("n/b", 5)));
    assert_eq!((names(&store), troubles(&store)), (vec!["n/a".to_owned()], vec![]));
}

#[test]
fn what_is_not_wanted_any_more_is_no_trouble_either() {
    let store = Arc::new(Store::default());
    let wanted = Arc::new(Mutex::new(BTreeSet::from(["a", "b", "c"].map(|name| Reference::new("n", name)))));
    let is_wanted = {
        let wanted = wanted.clone();
        move |name: &Reference| wanted.lock().unwrap().contains(name)
    };
    let mut following = Following::<Ingresses>::new(Part::All, &scope(), store.clone(), OptionalIf::Never, is_wanted);
    list(&mut following, [ingress("n/a", 1), illegible("n/b", 1), illegible("n/c", 1), illegible("n/x", 1)]);
    assert_eq!(troubles(&store), ["n/b", "n/c"]);
    *wanted.lock().unwrap() = BTreeSet::from([Reference::new("n", "b")]);
    following.forget_unwanted();
    assert_eq!((names(&store), troubles(&store)), (vec![], vec!["n/b".to_owned()]));
}

#[tokio::test]
async fn only_what_is_news_wakes_anybody() {
    let store = Arc::new(Store::default());
    let mut following = following::<Ingresses>(&store);
    list(&mut following, [ingress("n/a", 5)]);
    while store.changed().now_or_never().is_some() {}
    following.take(Event::Apply(ingress("n/a", 5)));
    following.take(Event::Apply(ingress("n/a", 4)));
    following.take(Event::Delete(ingress("n/a", 4)));
    following.take(Event::Delete(ingress("n/b", 9)));
    assert_eq!((store.changed().now_or_never(), names(&store)), (None, vec!["n/a".to_owned()]));
    following.take(Event::Apply(ingress("n/a", 6)));
    assert_eq!(store.changed().now_or_never(), Some(()));
    following.take(Event::Delete(ingress("n/a", 7)));
    assert_eq!((store.changed().now_or_never(), names(&store)), (Some(()), vec![]));
}

#[test]
fn a_short_list_of_namespaces_takes_no_ingress_away() {
    let store = Arc::new(Store::new(true));
    let (mut ingresses, mut namespaces) = (following::<Ingresses>(&store), following::<Namespaces>(&store));
    list(&mut ingresses, ["a/i", "b/i", "c/i"].map(|name| ingress(name, 1)));
    assert_eq!((names(&store), store.missing()), (vec![], vec!["Namespace"]));
    list(&mut namespaces, ["a", "b"].map(namespace));
    assert_eq!(names(&store), ["a/i", "b/i"]);
    list(&mut namespaces, []);
    assert_eq!(names(&store), ["a/i", "b/i"], "kept for a while");
    namespaces.ask_again();
    list(&mut namespaces, [namespace("b")]);
    assert_eq!(names(&store), ["b/i"], "the second list is believed");
    namespaces.take(Event::Apply(namespace("c")));
    assert_eq!(names(&store), ["b/i", "c/i"]);
    namespaces.take(Event::Delete(namespace("b")));
    assert_eq!(names(&store), ["c/i"]);
    let (one, other) = (store.objects(), store.objects());
    assert!(std::ptr::eq(&*one.ingresses, &*other.ingresses), "made anew though nothing changed");
    ingresses.take(Event::Apply(ingress("c/j", 2)));
    assert_eq!((names(&store), store.ingresses().len()), (vec!["c/i".to_owned(), "c/j".to_owned()], 4));
}

#[test]
fn what_no_request_depends_on_is_not_waited_for() {
    let store = Arc::new(Store::default());
    let mut needed = following::<Services>(&store);
    let part = Part::Object(Reference::new("other", "front"));
    let mut status = Following::<Services>::new(part, &scope(), store.clone(), OptionalIf::Always, |_| true);
    assert_eq!(store.missing(), ["Service"]);
    list(&mut needed, []);
    assert_eq!(store.missing(), [""; 0]);
    let refused = kube::Error::Api(Box::new(Status { code: 403, ..Status::default() }));
    status.failed(&watcher::Error::InitialListFailed(refused));
    let told = store.problems();
    assert!(told[0].reason.starts_with("Service other/front: ") && told[0].reason.contains("on services"), "{told:?}");
    assert_eq!((store.missing(), store.figures()[0].synced), (vec![], false));
    list(&mut status, []);
    assert_eq!((store.problems().len(), store.figures()[0].synced), (0, true));
}

/// The watcher lists again only where it is told so within a watch.
#[tokio::test(start_paused = true)]
async fn a_watch_whose_place_is_refused_begins_anew() {
    let store = Arc::new(Store::default());
    let mut following = following::<Ingresses>(&store);
    let refused = |code: u16| {
        let error = kube::Error::Api(Box::new(Status { code, ..Status::default() }));
        Err(watcher::Error::WatchStartFailed(error))
    };
    for (code, anew) in [(400, true), (410, true), (403, false), (429, false), (500, false)] {
        let mut events = futures_util::stream::iter([refused(code), Ok(Event::Init)]);
        let next = following.next(&mut events).await;
        assert_eq!(next.is_none(), anew, "{code}: {next:?}");
    }
}
