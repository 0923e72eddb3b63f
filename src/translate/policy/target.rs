//! What a policy is about, also where that is misspelt.
//!
//! An entry that is no target but may mean an Ingress is taken for one: what it names is denied, not opened.

use super::super::objects::Illegible;
use super::super::problem::{ObjectKind, quoted};
use super::read::{AIMLESS, DENIED, Policy, top_field};
use super::values::Flaw;
use crate::api;

/// What a policy is about, in its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::translate) struct Target {
    /// Ingress, Service or IngressClass.
    pub kind: ObjectKind,
    pub name: String,
    /// The name of a port.
    pub section: Option<String>,
    /// As `spec.targetRefs[0]`.
    pub field: String,
}

impl Policy {
    pub(super) fn targets(&mut self, refs: &[api::TargetRef], illegible: &[Illegible]) {
        for (index, target) in refs.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let told = illegible.iter().any(|illegible| illegible.field.starts_with(&field));
            match self.target(target, field, told) {
                Some(target) if self.targets.iter().any(|known| known.is_same(&target)) => {
                    self.tell(&target.field, "the same target stands there twice", "it counts once", "remove it");
                }
                target => self.targets.extend(target),
            }
        }
        if refs.is_empty() && !illegible.iter().any(|illegible| top_field(&illegible.field) == Some("targetRefs")) {
            let way_out = "name an Ingress or a Service";
            self.tell("spec.targetRefs", "there is no target", AIMLESS, way_out);
        }
        if refs.len() > 16 {
            self.tell("spec.targetRefs", "there are more than 16 targets", "all of them count", "write two policies");
        }
        let classes = self.targets.iter().filter(|target| target.kind == ObjectKind::IngressClass);
        if classes.count() > 1 {
            let way_out = "name the one whose parameters name this policy";
            self.tell("spec.targetRefs", "several targets are IngressClasses", "one of them counts", way_out);
        }
    }

    /// A target as it is meant. What is wrong with it is told, unless its source did so, and where it may be an Ingress
    /// the policy is lost.
    fn target(&mut self, target: &api::TargetRef, field: String, told: bool) -> Option<Target> {
        if target.name.is_empty() {
            if !told {
                self.tell(
                    &format!("{field}.name"),
                    "it is empty",
                    "the target is left out",
                    "name an Ingress or a Service",
                );
            }
            return None;
        }
        if target.group == "gateway.networking.k8s.io" && target.kind != "Ingress" {
            let what = format!("{} is no kind that a policy can be about", quoted(&target.kind));
            self.tell(&format!("{field}.kind"), &what, "it is left out", "name an Ingress or a Service");
            return None;
        }
        let kind = kind_meant(&target.kind);
        let group = if kind == ObjectKind::Service { "" } else { "networking.k8s.io" };
        let wrong = if format!("{kind:?}") != target.kind {
            Some(("kind", format!("{} is no kind that a policy can be about", quoted(&target.kind))))
        } else if target.group != group {
            Some(("group", format!("the group of {kind:?} is {group:?}, not {}", quoted(&target.group))))
        } else {
            None
        };
        if let Some((part, what)) = wrong.filter(|_| !told) {
            let flaw = Flaw::new(format!("{field}.{part}"), what, "correct it");
            match kind {
                ObjectKind::Service => self.tell(&flaw.field, &flaw.what, "it counts all the same", &flaw.way_out),
                _ => self.lose(flaw, DENIED),
            }
        }
        let section = target.section_name.clone().filter(|_| kind == ObjectKind::Service);
        if section != target.section_name {
            let what = format!("sectionName is the name of a Service's port, and {kind:?} has none");
            self.tell(&format!("{field}.sectionName"), &what, "all of it is meant", "remove it");
        }
        Some(Target { kind, name: target.name.clone(), section, field })
    }
}

/// The kind that a target is most likely of: an Ingress, unless it says otherwise.
fn kind_meant(kind: &str) -> ObjectKind {
    let kind = kind.to_ascii_lowercase();
    let others = [ObjectKind::Service, ObjectKind::IngressClass];
    others
        .into_iter()
        .find(|other| kind.starts_with(&format!("{other:?}").to_ascii_lowercase()))
        .unwrap_or(ObjectKind::Ingress)
}

impl Target {
    fn is_same(&self, other: &Target) -> bool {
        (self.kind, &self.name, &self.section) == (other.kind, &other.name, &other.section)
    }
}
