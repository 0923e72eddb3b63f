//! What the owner of a policy is told of each of its targets: conditions after Gateway API's policy attachment, and a
//! Problem for what does not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use serde::Serialize;

use super::super::class::Classes;
use super::super::memo::Seen;
use super::super::objects::Objects;
use super::super::options::Options;
use super::super::problem::ObjectRef;
use super::super::reports::Reports;
use super::super::routing::Routed;
use super::Policies;
use super::judge::Judgement;
use super::read::Policy;
use crate::snapshot::Reference;

/// What became of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyStatus {
    pub policy: Reference,
    /// The generation of the object that this is about, where it has one.
    pub generation: Option<i64>,
    /// One per target, in the order of the policy; what is of other classes has none.
    pub ancestors: Vec<PolicyAncestor>,
}

/// What became of a policy on one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyAncestor {
    pub target: ObjectRef,
    /// The name of a Service's port.
    pub section: Option<String>,
    /// The policy is valid, and all of it counts here.
    pub accepted: PolicyCondition,
    /// The proxy does what it says.
    pub programmed: PolicyCondition,
}

/// A condition without its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyCondition {
    pub status: bool,
    pub reason: PolicyReason,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PolicyReason {
    Accepted,
    /// An older policy has some field of it.
    Conflicted,
    Invalid,
    TargetNotFound,
    Programmed,
    /// Some of it counts.
    PartiallyProgrammed,
    /// None of it counts.
    Overridden,
}

/// All that is told of policies.
#[derive(Debug, Default)]
pub(in crate::translate) struct Statuses {
    /// Sorted by policy.
    pub statuses: Arc<[PolicyStatus]>,
    pub reports: Reports,
}

/// Statuses, remembered as long as nothing changes that they tell of.
#[derive(Default)]
pub(in crate::translate) struct StatusMemo {
    seen_services: Seen<Service>,
    statuses: Statuses,
}

impl StatusMemo {
    /// `changed`: policies, classes, Ingresses or Secrets did. Nothing else but Services bears on what is told.
    pub(in crate::translate) fn update(&mut self, policies: &Policies, changed: bool, around: Surroundings<'_>) {
        let same_services = self.seen_services.same(&around.objects.services);
        if changed || !same_services {
            self.statuses = Statuses::of(policies, around);
        }
    }

    pub(in crate::translate) fn statuses(&self) -> &Statuses {
        &self.statuses
    }
}

/// What policies are judged against.
#[derive(Clone, Copy)]
pub(in crate::translate) struct Surroundings<'a> {
    pub objects: &'a Objects,
    pub classes: &'a Classes,
    pub options: &'a Options,
    pub routed: &'a Routed,
    /// What is wrong with policies once backends are resolved.
    pub backends: &'a Reports,
}

impl Statuses {
    pub(in crate::translate) fn of(policies: &Policies, around: Surroundings<'_>) -> Self {
        let mut by_class: BTreeMap<&Reference, Vec<&str>> = BTreeMap::new();
        for (class, policy) in around.classes.policies() {
            by_class.entry(policy).or_default().push(class);
        }
        let mut reports = Reports::default();
        let status = |policy: &Arc<Policy>| {
            let classes = by_class.get(&policy.age.owner).map(Vec::as_slice).unwrap_or_default();
            Judgement::of(policy, classes).status(policies, around, &mut reports)
        };
        let mut statuses: Vec<_> = policies.all.iter().map(status).collect();
        statuses.sort_by(|one, other| one.policy.cmp(&other.policy));
        Statuses { statuses: statuses.into(), reports }
    }
}

impl PolicyCondition {
    pub(super) fn yes(reason: PolicyReason, message: impl Into<String>) -> Self {
        PolicyCondition { status: true, reason, message: message.into() }
    }

    pub(super) fn no(reason: PolicyReason, message: impl Into<String>) -> Self {
        PolicyCondition { status: false, reason, message: message.into() }
    }
}
