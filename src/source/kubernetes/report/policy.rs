//! The conditions of ProxyPolicies, after Gateway API's policy attachment: `status.ancestors[]`, of which each controller
//! writes its own entries only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Ancestor, AncestorRef};
use crate::snapshot::Reference;
use crate::translate::{ObjectKind, Objects, PolicyAncestor, PolicyCondition, PolicyStatus};

/// The API server takes no more.
const MOST: usize = 16;

/// What to write: for each policy whose status is other than it should be, the status.
pub(super) fn changes(objects: &Objects, statuses: &[PolicyStatus], controller: &str) -> Vec<(Reference, Value)> {
    let now = Time(Timestamp::now());
    let change = |status: &PolicyStatus| {
        let policy = &objects.policies.get(&status.policy)?.policy;
        let existing = policy.status.as_ref().map(|status| status.ancestors.as_slice()).unwrap_or_default();
        let ancestors = changed(existing, status, controller, &now)?;
        // An entry that somebody else writes at the same time is not lost: the version tells.
        let version = &policy.metadata.resource_version;
        Some((
            status.policy.clone(),
            json!({"metadata": {"resourceVersion": version}, "status": {"ancestors": ancestors}}),
        ))
    };
    statuses.iter().filter_map(change).collect()
}

/// All entries as they should be; `None`: they are so.
fn changed(existing: &[Ancestor], status: &PolicyStatus, controller: &str, now: &Time) -> Option<Vec<Ancestor>> {
    let (mine, foreign): (Vec<_>, Vec<_>) =
        existing.iter().partition(|ancestor| ancestor.controller_name == controller);
    let mut wanted: Vec<Ancestor> = status
        .ancestors
        .iter()
        .take(MOST.saturating_sub(foreign.len()))
        .map(|target| {
            let reference = reference(target, &status.policy);
            let before = mine.iter().find(|ancestor| ancestor.ancestor_ref == reference);
            let before = before.map(|ancestor| ancestor.conditions.as_slice()).unwrap_or_default();
            let condition = |type_: &str, condition| self::condition(type_, condition, status.generation, before, now);
            let conditions = vec![condition("Accepted", &target.accepted), condition("Programmed", &target.programmed)];
            Ancestor { ancestor_ref: reference, controller_name: controller.to_owned(), conditions }
        })
        .collect();
    // `kubectl get` shows the first: each stays where it is.
    let now = |ancestor: &Ancestor| {
        if ancestor.controller_name != controller {
            return Some(ancestor.clone());
        }
        let at = wanted.iter().position(|wanted| wanted.ancestor_ref == ancestor.ancestor_ref)?;
        Some(wanted.remove(at))
    };
    let mut ancestors: Vec<Ancestor> = existing.iter().filter_map(now).collect();
    ancestors.append(&mut wanted);
    (ancestors != existing).then_some(ancestors)
}

fn reference(target: &PolicyAncestor, policy: &Reference) -> AncestorRef {
    let (group, namespaced) = match target.target.kind {
        ObjectKind::Ingress => ("networking.k8s.io", true),
        ObjectKind::IngressClass => ("networking.k8s.io", false),
        _ => ("", true),
    };
    AncestorRef {
        group: group.to_owned(),
        kind: format!("{:?}", target.target.kind),
        namespace: namespaced.then(|| policy.namespace.clone()),
        name: target.target.name.clone(),
        section_name: target.section.clone(),
    }
}

/// The time is that of the last change of the status.
fn condition(
    type_: &str,
    condition: &PolicyCondition,
    generation: Option<i64>,
    before: &[Condition],
    now: &Time,
) -> Condition {
    let status = if condition.status { "True" } else { "False" };
    let before = before.iter().find(|before| before.type_ == type_ && before.status == status);
    Condition {
        last_transition_time: before.map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
        message: condition.message.clone(),
        observed_generation: generation,
        reason: format!("{:?}", condition.reason),
        status: status.to_owned(),
        type_: type_.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::{ObjectRef, PolicyReason};

    const OURS: &str = "headgate.dev/ingress-controller";

    fn at(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    fn status(targets: &[(&str, bool)]) -> PolicyStatus {
        let condition = |status| PolicyCondition { status, reason: PolicyReason::Accepted, message: "m".into() };
        let ancestor = |(name, accepted): &(&str, bool)| PolicyAncestor {
            target: ObjectRef { kind: ObjectKind::Ingress, namespace: "n".into(), name: (*name).into() },
            section: None,
            accepted: condition(*accepted),
            programmed: condition(true),
        };
        let ancestors = targets.iter().map(ancestor).collect();
        PolicyStatus { policy: Reference::new("n", "p"), generation: Some(3), ancestors }
    }

    fn foreign(name: &str) -> Ancestor {
        let ancestor_ref = AncestorRef { kind: "Ingress".into(), name: name.into(), ..AncestorRef::default() };
        Ancestor { ancestor_ref, controller_name: "other".into(), conditions: Vec::new() }
    }

    #[test]
    fn what_is_told_already_is_not_written() {
        let told = changed(&[], &status(&[("a", true), ("b", false)]), OURS, &at(1)).unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].ancestor_ref.group, "networking.k8s.io");
        assert_eq!(told[0].ancestor_ref.namespace.as_deref(), Some("n"));
        let [accepted, programmed] = told[1].conditions.as_slice() else { panic!() };
        assert_eq!((accepted.type_.as_str(), accepted.status.as_str()), ("Accepted", "False"));
        assert_eq!((programmed.type_.as_str(), programmed.status.as_str()), ("Programmed", "True"));
        assert_eq!((accepted.observed_generation, accepted.reason.as_str()), (Some(3), "Accepted"));
        assert_eq!(changed(&told, &status(&[("a", true), ("b", false)]), OURS, &at(2)), None);
    }

    #[test]
    fn a_condition_has_the_time_of_its_last_change() {
        let before = changed(&[], &status(&[("a", true)]), OURS, &at(1)).unwrap();
        let newer = PolicyStatus { generation: Some(4), ..status(&[("a", true)]) };
        let after = changed(&before, &newer, OURS, &at(2)).unwrap();
        assert_eq!(after[0].conditions[0].last_transition_time, at(1));
        assert_eq!(after[0].conditions[0].observed_generation, Some(4));
        let after = changed(&before, &status(&[("a", false)]), OURS, &at(2)).unwrap();
        assert_eq!(after[0].conditions[0].last_transition_time, at(2));
        assert_eq!(after[0].conditions[1].last_transition_time, at(1));
    }

    #[test]
    fn entries_of_others_stay_and_leave_less_room_for_ours() {
        let others: Vec<Ancestor> = ["x", "y"].map(foreign).into();
        let told = changed(&others, &status(&[("a", true)]), OURS, &at(1)).unwrap();
        assert_eq!(told[..2], others);
        assert_eq!(changed(&told, &status(&[("a", true)]), OURS, &at(2)), None);
        assert_eq!(changed(&told, &status(&[]), OURS, &at(2)), Some(others));
        let many: Vec<Ancestor> = (0..15).map(|index| foreign(&index.to_string())).collect();
        let told = changed(&many, &status(&[("a", true), ("b", true)]), OURS, &at(1)).unwrap();
        assert_eq!((told.len(), told[15].ancestor_ref.name.as_str()), (MOST, "a"));
    }

    #[test]
    fn an_entry_keeps_its_place() {
        let names = |ancestors: &[Ancestor]| -> Vec<String> {
            ancestors.iter().map(|ancestor| ancestor.ancestor_ref.name.clone()).collect()
        };
        let mut existing = changed(&[], &status(&[("a", true), ("b", true)]), OURS, &at(1)).unwrap();
        existing.insert(1, foreign("x"));
        existing.push(foreign("y"));
        let told = changed(&existing, &status(&[("a", false), ("b", true)]), OURS, &at(2)).unwrap();
        assert_eq!((names(&told), told[0].conditions[0].status.as_str()), (names(&existing), "False"));
        assert_eq!(changed(&existing, &status(&[("b", true), ("a", true)]), OURS, &at(2)), None);
        let told = changed(&existing, &status(&[("c", true), ("b", true)]), OURS, &at(2)).unwrap();
        assert_eq!(names(&told), ["x", "b", "y", "c"]);
    }
}
