//! Events for problems, on the object that has them. One problem is one Event, whoever leads: its name follows from what
//! it tells.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::Settings;
use crate::snapshot::Reference;
use crate::translate::{ObjectKind, ObjectRef, Objects, Problem, Reason, Report};

/// The API server takes no longer notes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// The API server forgets an Event after an hour, unless it is written again.
const KEPT: Duration = Duration::from_secs(45 * 60);

/// The problems that were told, by what they are told of, and when.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<Key, Instant>);

/// A problem, and the `uid` of the object that has it.
pub(super) type Key = (String, Problem);

impl Told {
    /// The Events for problems that were not told yet, or so long ago that nobody knows them any more.
    pub(super) fn fresh(
        &mut self,
        objects: &Objects,
        reports: &[Report],
        settings: &Settings,
        now: Instant,
    ) -> Vec<(Key, Event)> {
        let before = std::mem::take(&mut self.0);
        let mut events = Vec::new();
        for Report { object, problems } in reports {
            let Some(regarding) = regarding(objects, object) else { continue };
            let may_be_written = |allowed: &[String; 2]| allowed.iter().any(|allowed| allowed == namespace(&regarding));
            if !settings.event_namespaces.as_ref().is_none_or(may_be_written) {
                continue;
            }
            let uid = regarding.uid.clone().unwrap_or_default();
            // An Ingress of another class is not ours to comment on.
            for problem in problems.iter().filter(|problem| problem.reason != Reason::OtherClass) {
                let key = (uid.clone(), problem.clone());
                let told = before.get(&key).copied().filter(|told| now.duration_since(*told) < KEPT);
                if told.is_none() {
                    events.push((key.clone(), event(&regarding, problem, settings)));
                }
                self.0.insert(key, told.unwrap_or(now));
            }
        }
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
    let name = name(regarding, &[regarding.uid.as_deref().unwrap_or_default(), field, &reason, message]);
    let note = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace(regarding).to_owned()),
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

/// That of what has none is looked for in `default`.
fn namespace(regarding: &ObjectReference) -> &str {
    regarding.namespace.as_deref().unwrap_or("default")
}

/// The object's name and a hash of what is told, which must not change: replicas of two versions run side by side.
fn name(regarding: &ObjectReference, told: &[&str]) -> String {
    let name = regarding.name.as_deref().unwrap_or_default();
    // A name may have 253 bytes.
    let mut text = format!("{}.", name.get(..236).unwrap_or(name));
    let hash = Sha1::digest(told.join("\0"));
    hash[..8].iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
    text
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
        ObjectKind::Node => ("v1", &objects.nodes.get(&object.name)?.metadata),
        ObjectKind::Backend | ObjectKind::Namespace => return None,
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
            event_namespaces: None,
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
            told.fresh(&objects, &[report("i", &problems)], &settings("a"), Instant::now()).len()
        };
        assert_eq!(count(&["x", "y"]), 2);
        assert_eq!(count(&["x", "y"]), 0);
        assert_eq!(count(&["x"]), 0);
        assert_eq!(count(&["x", "y"]), 1);
    }

    #[test]
    fn a_problem_that_stays_is_told_again_before_its_event_is_forgotten() {
        let (objects, mut told) = (objects("i", "1"), Told::default());
        let reports = [report("i", &[(Reason::Invalid, "x")])];
        let start = Instant::now();
        let mut count = |after| told.fresh(&objects, &reports, &settings("a"), start + after).len();
        assert_eq!(count(Duration::ZERO), 1);
        assert_eq!(count(KEPT - Duration::from_secs(1)), 0);
        assert_eq!(count(KEPT), 1);
        assert_eq!(count(KEPT * 2 - Duration::from_secs(1)), 0);
    }

    #[test]
    fn events_are_written_only_where_they_may_be() {
        let reports = [report("i", &[(Reason::Invalid, "x")])];
        for (allowed, expected) in [(["n", "own"], 1), (["other", "n"], 1), (["other", "own"], 0)] {
            let settings = Settings { event_namespaces: Some(allowed.map(str::to_owned)), ..settings("a") };
            let events = Told::default().fresh(&objects("i", "1"), &reports, &settings, Instant::now());
            assert_eq!(events.len(), expected, "{allowed:?}");
        }
    }

    /// Replicas of two versions run side by side.
    #[test]
    fn the_name_of_an_event_does_not_change() {
        let reports = [report("i", &[(Reason::Invalid, "x")])];
        let event = Told::default().fresh(&objects("i", "1"), &reports, &settings("a"), Instant::now()).remove(0).1;
        assert_eq!(event.metadata.name.as_deref(), Some("i.339e387935a10a1a"));
    }

    #[test]
    fn what_could_not_be_told_is_told_again() {
        let (objects, mut told) = (objects("i", "1"), Told::default());
        let reports = [report("i", &[(Reason::Invalid, "x"), (Reason::Invalid, "y")])];
        let events = told.fresh(&objects, &reports, &settings("a"), Instant::now());
        told.forget(&events[0].0);
        assert_eq!(told.fresh(&objects, &reports, &settings("a"), Instant::now()).len(), 1);
    }

    #[test]
    fn an_object_that_was_made_anew_is_told_again() {
        let (reports, mut told) = ([report("i", &[(Reason::Invalid, "x")])], Told::default());
        let [one, other] =
            ["1", "2"].map(|uid| told.fresh(&objects("i", uid), &reports, &settings("a"), Instant::now()));
        assert_eq!((one.len(), other.len()), (1, 1));
        assert_ne!(one[0].1.metadata.name, other[0].1.metadata.name);
    }

    #[test]
    fn nothing_is_told_of_objects_that_are_gone_or_of_another_class() {
        let reports = [report("gone", &[(Reason::Invalid, "x")]), report("i", &[(Reason::OtherClass, "x")])];
        assert_eq!(Told::default().fresh(&objects("i", "1"), &reports, &settings("a"), Instant::now()), []);
    }

    #[test]
    fn the_next_leader_finds_the_event_by_its_name() {
        let reports = [report("i", &[(Reason::Invalid, "x")])];
        let [one, other] = ["a", "b"]
            .map(|who| Told::default().fresh(&objects("i", "1"), &reports, &settings(who), Instant::now()).remove(0).1);
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
        let event = Told::default().fresh(&objects(&name, "1"), &reports, &settings("a"), Instant::now()).remove(0).1;
        assert_eq!(event.metadata.name.unwrap().len(), 253);
        let note = event.note.unwrap();
        assert!(note.len() <= LONGEST_NOTE && note.len() > LONGEST_NOTE - 4 && note.ends_with('…'), "{}", note.len());
    }
}
