//! Events for problems, on the object that has them. One problem is one Event, whoever leads: its name follows from what
//! it tells.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::Settings;
use crate::snapshot::Reference;
use crate::translate::{ObjectKind, ObjectRef, Objects, Problem, Reason, Report};

/// The API server takes no longer notes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// The problems that were told, by what they are told of.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<Key>);

/// A problem, and the `uid` of the object that has it.
pub(super) type Key = (String, Problem);

impl Told {
    /// The Events for problems that were not told yet.
    pub(super) fn fresh(&mut self, objects: &Objects, reports: &[Report], settings: &Settings) -> Vec<(Key, Event)> {
        let mut now = BTreeSet::new();
        let mut events = Vec::new();
        for Report { object, problems } in reports {
            let Some(regarding) = regarding(objects, object) else { continue };
            let uid = regarding.uid.clone().unwrap_or_default();
            // An Ingress of another class is not ours to comment on.
            for problem in problems.iter().filter(|problem| problem.reason != Reason::OtherClass) {
                let key = (uid.clone(), problem.clone());
                if !self.0.contains(&key) {
                    events.push((key.clone(), event(&regarding, problem, settings)));
                }
                now.insert(key);
            }
        }
        self.0 = now;
        events
    }

    /// It could not be told, and is fresh again.
    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

/// What an Event gets that is there already.
pub(super) fn again(event: &Event) -> Value {
    json!({"series": {"count": 2, "lastObservedTime": event.event_time}})
}

fn event(regarding: &ObjectReference, problem: &Problem, settings: &Settings) -> Event {
    let Problem { field, reason, message, .. } = problem;
    let reason = format!("{reason:?}");
    let mut hasher = DefaultHasher::new();
    (&regarding.uid, field, &reason, message).hash(&mut hasher);
    let name = regarding.name.clone().unwrap_or_default();
    // A name may have 253 bytes.
    let name = format!("{}.{:016x}", name.get(..236).unwrap_or(&name), hasher.finish());
    let note = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            // That of something without a namespace is looked for there.
            namespace: Some(regarding.namespace.clone().unwrap_or_else(|| "default".into())),
            ..ObjectMeta::default()
        },
        action: Some("Translate".into()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(cut(note)),
        reason: Some(reason),
        regarding: Some(regarding.clone()),
        reporting_controller: Some(settings.controller.clone()),
        reporting_instance: Some(settings.identity.clone()),
        type_: Some("Warning".into()),
        ..Event::default()
    }
}

fn cut(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE - "…".len()));
        note.push('…');
    }
    note
}

/// The object as an Event names it; `None`: it is gone.
fn regarding(objects: &Objects, object: &ObjectRef) -> Option<ObjectReference> {
    let name = Reference::new(object.namespace.as_str(), object.name.as_str());
    let (api_version, metadata) = match object.kind {
        ObjectKind::Ingress => ("networking.k8s.io/v1", &objects.ingresses.get(&name)?.metadata),
        ObjectKind::IngressClass => ("networking.k8s.io/v1", &objects.ingress_classes.get(&object.name)?.metadata),
        ObjectKind::Service => ("v1", &objects.services.get(&name)?.metadata),
        ObjectKind::EndpointSlice => ("discovery.k8s.io/v1", &objects.endpoint_slices.get(&name)?.metadata),
        ObjectKind::Secret => ("v1", &objects.secrets.get(&name)?.metadata),
        ObjectKind::ConfigMap => ("v1", &objects.config_maps.get(&name)?.metadata),
        ObjectKind::ProxyPolicy => ("headgate.dev/v1alpha1", &objects.policies.get(&name)?.policy.metadata),
        ObjectKind::Backend => return None,
    };
    Some(ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(format!("{:?}", object.kind)),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        ..ObjectReference::default()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::from_value;

    use super::*;

    fn settings(identity: &str) -> Settings {
        Settings {
            controller: "headgate.dev/ingress-controller".into(),
            identity: identity.into(),
            lease: None,
            lease_ttl: Duration::from_secs(10),
            publish: None,
            remove_on_shutdown: false,
        }
    }

    fn objects(name: &str, uid: &str) -> Objects {
        let ingress = json!({"metadata": {"namespace": "n", "name": name, "uid": uid}});
        let mut objects = Objects::default();
        objects.ingresses.insert(Reference::new("n", name), Arc::new(from_value(ingress).unwrap()));
        objects
    }

    fn report(name: &str, problems: &[(Reason, &str)]) -> Report {
        let object = ObjectRef { kind: ObjectKind::Ingress, namespace: "n".into(), name: name.into() };
        let problem = |(reason, message): &(Reason, &str)| Problem::new("spec.rules", *reason, *message);
        Report { object, problems: problems.iter().map(problem).collect() }
    }

    #[test]
    fn a_problem_is_told_once_until_it_was_gone() {
        let (objects, mut told) = (objects("i", "1"), Told::default());
        let mut count = |messages: &[&str]| {
            let problems: Vec<_> = messages.iter().map(|message| (Reason::Invalid, *message)).collect();
            told.fresh(&objects, &[report("i", &problems)], &settings("a")).len()
        };
        assert_eq!(count(&["x", "y"]), 2);
        assert_eq!(count(&["x", "y"]), 0);
        assert_eq!(count(&["x"]), 0);
        assert_eq!(count(&["x", "y"]), 1);
    }

    #[test]
    fn what_could_not_be_told_is_told_again() {
        let (objects, mut told) = (objects("i", "1"), Told::default());
        let reports = [report("i", &[(Reason::Invalid, "x"), (Reason::Invalid, "y")])];
        let events = told.fresh(&objects, &reports, &settings("a"));
        told.forget(&events[0].0);
        assert_eq!(told.fresh(&objects, &reports, &settings("a")).len(), 1);
    }

    #[test]
    fn an_object_that_was_made_anew_is_told_again() {
        let (reports, mut told) = ([report("i", &[(Reason::Invalid, "x")])], Told::default());
        let [one, other] = ["1", "2"].map(|uid| told.fresh(&objects("i", uid), &reports, &settings("a")));
        assert_eq!((one.len(), other.len()), (1, 1));
        assert_ne!(one[0].1.metadata.name, other[0].1.metadata.name);
    }

    #[test]
    fn nothing_is_told_of_objects_that_are_gone_or_of_another_class() {
        let reports = [report("gone", &[(Reason::Invalid, "x")]), report("i", &[(Reason::OtherClass, "x")])];
        assert_eq!(Told::default().fresh(&objects("i", "1"), &reports, &settings("a")), []);
    }

    #[test]
    fn the_next_leader_finds_the_event_by_its_name() {
        let reports = [report("i", &[(Reason::Invalid, "x")])];
        let [one, other] =
            ["a", "b"].map(|who| Told::default().fresh(&objects("i", "1"), &reports, &settings(who)).remove(0).1);
        assert_eq!(one.metadata, other.metadata);
        assert_eq!(one.metadata.namespace.as_deref(), Some("n"));
        assert_eq!(one.note.as_deref(), Some("spec.rules: x"));
        assert_eq!((one.type_.as_deref(), one.reason.as_deref()), (Some("Warning"), Some("Invalid")));
        assert_eq!(one.regarding.unwrap().uid.as_deref(), Some("1"));
    }

    #[test]
    fn names_and_notes_are_cut_to_what_the_api_server_takes() {
        let name = "i".repeat(253);
        let reports = [report(&name, &[(Reason::Invalid, &"é".repeat(600))])];
        let event = Told::default().fresh(&objects(&name, "1"), &reports, &settings("a")).remove(0).1;
        assert_eq!(event.metadata.name.unwrap().len(), 253);
        let note = event.note.unwrap();
        assert!(note.len() <= LONGEST_NOTE && note.len() > LONGEST_NOTE - 4 && note.ends_with('…'), "{}", note.len());
    }
}
