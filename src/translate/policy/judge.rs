//! Judges one policy on each of its targets: whether that is there, which fields an older policy has, and what does not
//! count.

use std::sync::Arc;

use super::super::problem::{ObjectKind, ObjectRef, Problem, Reason};
use super::super::reports::Reports;
use super::super::service;
use super::read::{GUARDS, Policy};
use super::status::{PolicyAncestor, PolicyCondition, PolicyReason, PolicyStatus, Surroundings};
use super::target::Target;
use super::{Policies, is_client_field, shown};
use crate::snapshot::Reference;

/// A policy, while it is judged.
pub(super) struct Judgement<'a> {
    policy: &'a Policy,
    object: ObjectRef,
    /// Also the classes that name the policy where it does not name them.
    targets: Vec<Target>,
    /// What is wrong with it, whatever the target.
    problems: Vec<Problem>,
}

impl<'a> Judgement<'a> {
    /// `classes`: those that name the policy.
    pub(super) fn of(policy: &'a Policy, classes: &[&str]) -> Self {
        let mut targets = policy.targets.clone();
        for class in classes {
            let (kind, field) = (ObjectKind::IngressClass, "spec.targetRefs".to_owned());
            if !targets.iter().any(|target| target.kind == kind && target.name == *class) {
                targets.push(Target { kind, name: class.to_string(), section: None, field });
            }
        }
        let problems = policy.problems.iter().cloned().chain(misplaced(policy, &targets)).collect();
        let object = ObjectRef::new(ObjectKind::ProxyPolicy, &policy.age.owner);
        Judgement { policy, object, targets, problems }
    }

    pub(super) fn status(&self, policies: &Policies, around: Surroundings<'_>, reports: &mut Reports) -> PolicyStatus {
        reports.extend(&self.object, self.problems.iter().cloned());
        let ancestor = |target: &Target| self.ancestor(target, policies, around, reports);
        PolicyStatus {
            ancestors: self.targets.iter().filter_map(ancestor).collect(),
            policy: self.policy.age.owner.clone(),
            generation: self.policy.generation,
        }
    }

    fn ancestor(
        &self,
        target: &Target,
        policies: &Policies,
        around: Surroundings<'_>,
        reports: &mut Reports,
    ) -> Option<PolicyAncestor> {
        let (accepted, programmed) = match around.find(self.policy, target) {
            Found::Foreign => return None,
            Found::Missing(part, message) => {
                let field = format!("{}{part}", target.field);
                let problem = Problem::new(field, Reason::TargetNotFound, message.clone());
                reports.add(self.object.clone(), problem);
                let condition = PolicyCondition::no(PolicyReason::TargetNotFound, message);
                (condition.clone(), condition)
            }
            Found::Here => {
                let conflicts = policies.conflicts(self.policy, target);
                reports.extend(&self.object, conflicts.iter().map(|conflict| conflict.problem.clone()));
                (self.accepted(&conflicts), self.programmed(target, &conflicts, around))
            }
        };
        let (target, section) = (target.object(self.policy), target.section.clone());
        Some(PolicyAncestor { target, section, accepted, programmed })
    }

    fn accepted(&self, conflicts: &[Conflict]) -> PolicyCondition {
        if let Some(message) = first_of(self.problems.iter()) {
            return PolicyCondition::no(PolicyReason::Invalid, message);
        }
        match first_of(conflicts.iter().map(|conflict| &conflict.problem)) {
            Some(message) => PolicyCondition::no(PolicyReason::Conflicted, message),
            None => PolicyCondition::yes(PolicyReason::Accepted, "the policy counts here"),
        }
    }

    fn programmed(&self, target: &Target, conflicts: &[Conflict], around: Surroundings<'_>) -> PolicyCondition {
        let of_clients = target.kind != ObjectKind::Service;
        let denied = if of_clients { self.policy.denies() } else { self.policy.blind.as_ref() };
        if let Some(flaw) = denied {
            let message = format!("{}: {}: 503 is answered", flaw.field, flaw.what);
            return PolicyCondition::no(PolicyReason::Invalid, message);
        }
        let mut problems = around.backends.of(&self.object).filter(|problem| problem.reason != Reason::Insecure);
        if let Some(problem) = problems.next().filter(|_| !of_clients) {
            let message = format!("{}: {}", problem.field, problem.message);
            return PolicyCondition::no(PolicyReason::PartiallyProgrammed, message);
        }
        let lost = conflicts.iter().filter(|conflict| !conflict.enforced).count();
        let wishes = self.policy.wishes();
        let illegible = wishes.iter().any(|(name, flaw)| flaw.is_some() && is_client_field(name) == of_clients);
        match target.fields(self.policy).len() - lost {
            0 if lost > 0 => PolicyCondition::no(PolicyReason::Overridden, "older policies have all of its fields"),
            _ if lost > 0 || illegible => {
                PolicyCondition::no(PolicyReason::PartiallyProgrammed, "not all of its fields count")
            }
            _ => PolicyCondition::yes(PolicyReason::Programmed, "the proxy does what it says"),
        }
    }
}

/// Fields that mean nothing on any of the targets.
fn misplaced(policy: &Policy, targets: &[Target]) -> Vec<Problem> {
    let on = |services: bool| targets.iter().any(|target| (target.kind == ObjectKind::Service) == services);
    let (clients, backends) = (on(false), on(true));
    if !clients && !backends {
        return Vec::new();
    }
    let problem = |(name, _): (&'static str, _)| {
        let (what, way_out) = match is_client_field(name) {
            true if !clients => ("about clients and means nothing on a Service", "name an Ingress"),
            false if !backends => ("about backends and means nothing on an Ingress", "name a Service"),
            _ => return None,
        };
        let message = format!("{name} is {what}: it has no effect; {way_out} in targetRefs, or remove it");
        Some(Problem::new(format!("spec.{name}"), Reason::Unsupported, message))
    };
    policy.wishes().into_iter().filter_map(problem).collect()
}

/// Whether a target is there.
enum Found {
    Here,
    /// Not ours to judge.
    Foreign,
    /// A part of the target's field, and a sentence.
    Missing(&'static str, String),
}

/// A field that an older policy has too.
struct Conflict {
    /// It counts all the same, since it guards.
    enforced: bool,
    problem: Problem,
}

impl Policies {
    /// The fields of `policy` that an older one has on the same target.
    fn conflicts(&self, policy: &Policy, target: &Target) -> Vec<Conflict> {
        let name = Reference::new(&policy.age.owner.namespace, &target.name);
        let there: Vec<&Policy> = match target.kind {
            ObjectKind::Ingress => self.on_ingress(&name).iter().map(Arc::as_ref).collect(),
            ObjectKind::Service => self.on_section(&name, target.section.as_deref()).collect(),
            _ => Vec::new(),
        };
        let older: Vec<_> = there.into_iter().filter(|other| other.age < policy.age).collect();
        let conflict = |field: &'static str| {
            let winner = older.iter().find(|other| target.fields(other).contains(&field))?;
            let enforced = GUARDS.contains(&field);
            let effect = match (enforced, policy.differs(winner, field)) {
                (true, true) => "both are enforced; merge them",
                (true, false) => "both say the same; remove one of them",
                (false, _) => "that counts and this has no effect; remove one of them",
            };
            let message = format!(
                "{field} of {:?} {} stands also in {}, which is older: {effect}",
                target.kind,
                target.name,
                shown(winner)
            );
            Some(Conflict { enforced, problem: Problem::new(format!("spec.{field}"), Reason::Conflict, message) })
        };
        target.fields(policy).into_iter().filter_map(conflict).collect()
    }
}

impl Policy {
    /// The field says something else in `other`.
    fn differs(&self, other: &Policy, field: &str) -> bool {
        match field {
            "access" => self.client.access != other.client.access,
            "rateLimit" => self.client.rate_limit != other.client.rate_limit,
            "connectionLimit" => self.client.connection_limit != other.client.connection_limit,
            _ => self.client.request != other.client.request,
        }
    }
}

impl Target {
    /// The fields of `policy` that mean something on this target and were understood.
    fn fields(&self, policy: &Policy) -> Vec<&'static str> {
        let wishes = policy.wishes().into_iter();
        let here =
            wishes.filter(|(name, flaw)| flaw.is_none() && is_client_field(name) != (self.kind == ObjectKind::Service));
        here.map(|(name, _)| name).collect()
    }

    fn object(&self, policy: &Policy) -> ObjectRef {
        let namespace = match self.kind {
            ObjectKind::IngressClass => String::new(),
            _ => policy.age.owner.namespace.clone(),
        };
        ObjectRef { kind: self.kind, namespace, name: self.name.clone() }
    }
}

impl Surroundings<'_> {
    fn find(&self, policy: &Policy, target: &Target) -> Found {
        let name = Reference::new(&policy.age.owner.namespace, &target.name);
        match target.kind {
            ObjectKind::Ingress if self.routed.served.contains(&name) => Found::Here,
            ObjectKind::Ingress if self.objects.ingresses.contains_key(&name) => Found::Foreign,
            ObjectKind::Service => self.find_service(&name, target),
            ObjectKind::IngressClass => self.find_class(policy, target),
            _ => Found::Missing(".name", format!("Ingress {name} does not exist; create it or correct the name")),
        }
    }

    fn find_service(&self, name: &Reference, target: &Target) -> Found {
        let Some(service) = self.objects.services.get(name) else {
            return Found::Missing(".name", format!("Service {name} does not exist; create it or correct the name"));
        };
        let Some(section) = &target.section else { return Found::Here };
        if service::tcp_ports(service).any(|(_, port)| port.name.as_ref() == Some(section)) {
            return Found::Here;
        }
        let message = match service::listed(service) {
            none if none.is_empty() => format!("Service {name} has no TCP port; add one"),
            listed => format!("Service {name} has no TCP port named {section}; it has {listed}"),
        };
        Found::Missing(".sectionName", message)
    }

    fn find_class(&self, policy: &Policy, target: &Target) -> Found {
        let class = &target.name;
        if self.classes.policy_of(class) == Some(&policy.age.owner) {
            return Found::Here;
        }
        let message = match self.classes.exists(class) {
            true if !self.classes.ours(class, self.options) => return Found::Foreign,
            true => format!(
                "the parameters of IngressClass {class} do not name this policy, so that it does not count there; \
                 name it in them, with scope: Namespace"
            ),
            false => format!("IngressClass {class} does not exist; create it or correct the name"),
        };
        Found::Missing(".name", message)
    }
}

/// The first problem, and how many there are beside.
fn first_of<'a>(mut problems: impl Iterator<Item = &'a Problem>) -> Option<String> {
    let first = problems.next()?;
    let more = match problems.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(format!("{}: {}{more}", first.field, first.message))
}
