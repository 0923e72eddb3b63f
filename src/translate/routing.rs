//! Everything that follows from Ingresses, IngressClasses and Secrets: hosts, certificates, and the Service ports that
//! are asked for.
//!
//! What is behind those ports is another matter (`backend`), so a change of endpoints does not come here at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use super::certificates::{Certificates, SecretMemo};
use super::class::Classes;
use super::hosts::{Hosts, Use};
use super::ingress::{self, Parsed};
use super::memo::{Memo, Seen};
use super::objects::Objects;
use super::options::Options;
use super::policy::{Attached, Policies, treat};
use super::problem::{ObjectKind, ObjectRef, Problem, Reason};
use super::reports::Reports;
use super::settings::Defaults;
use crate::snapshot::{BackendId, Certificate, Host, HostPattern, Reference};

/// The routing of one moment.
#[derive(Debug, Default)]
pub(super) struct Routed {
    pub hosts: Arc<BTreeMap<HostPattern, Arc<Host>>>,
    pub certificates: Arc<BTreeMap<HostPattern, Vec<Reference>>>,
    pub secrets: BTreeMap<Reference, Arc<Certificate>>,
    pub default_certificate: Option<Reference>,
    pub uses: BTreeMap<BackendId, Vec<Use>>,
    /// The Ingresses that are ours.
    pub served: Arc<BTreeSet<Reference>>,
    /// The Secrets that they and flags ask for.
    pub named_secrets: Arc<BTreeSet<Reference>>,
    pub reports: Reports,
}

/// Routes with what is remembered from one translation to the next.
#[derive(Default)]
pub(super) struct Routing {
    /// What `ingresses` was read under.
    defaults: Option<Defaults>,
    seen_ingresses: Seen<Ingress>,
    seen_classes: Seen<IngressClass>,
    seen_secrets: Seen<Secret>,
    classes: Classes,
    class_reports: Reports,
    ingresses: Memo<Reference, Ingress, Parsed>,
    secrets: SecretMemo,
    /// Ingresses that have policies, with the rules of those.
    treated: BTreeMap<Reference, Treated>,
    hosts: Hosts,
    routed: Routed,
}

/// An Ingress with the rules of its policies, and what it was made of.
struct Treated {
    parsed: Arc<Parsed>,
    attached: Attached,
    treated: Arc<Parsed>,
}

impl Routing {
    /// `new_policies`: some policy differs from the last time. `true`: something was worked out anew.
    pub(super) fn update(
        &mut self,
        objects: &Objects,
        options: &Options,
        defaults: &Defaults,
        (policies, new_policies): (&Policies, bool),
    ) -> bool {
        let mut changed = !self.seen_secrets.same(&objects.secrets) || new_policies;
        if !self.seen_classes.same(&objects.ingress_classes) {
            (self.classes, self.class_reports) = Classes::read(&objects.ingress_classes, options);
            changed = true;
        }
        let same_defaults = self.defaults.as_ref() == Some(defaults);
        if !same_defaults {
            self.defaults = Some(defaults.clone());
            self.ingresses = Memo::default();
            changed = true;
        }
        if !self.seen_ingresses.same(&objects.ingresses) || !same_defaults {
            let parse = |name: &_, ingress: &_| ingress::parse(name, ingress, options, defaults);
            changed |= self.ingresses.update(&*objects.ingresses, parse);
        }
        if changed {
            self.route(objects, options, policies);
        }
        changed
    }

    pub(super) fn routed(&self) -> &Routed {
        &self.routed
    }

    pub(super) fn classes(&self) -> &Classes {
        &self.classes
    }

    fn route(&mut self, objects: &Objects, options: &Options, policies: &Policies) {
        let mut reports = self.class_reports.clone();
        report_classes(&self.classes, policies, &mut reports);
        let served = self.served(options, policies, &mut reports);
        let certificates = Certificates::read(&served, &objects.secrets, options, &mut self.secrets);
        reports.merge(&certificates.reports);
        self.hosts.update(&served, &certificates.tls);
        let mut hosts = BTreeMap::new();
        let mut uses: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (pattern, made) in self.hosts.iter() {
            hosts.insert(pattern.clone(), made.host.clone());
            for (owner, problem) in &made.conflicts {
                reports.add(ObjectRef::new(ObjectKind::Ingress, owner), problem.clone());
            }
            for (backend, place) in &made.uses {
                uses.entry(backend.clone()).or_default().push(place.clone());
            }
        }
        self.routed = Routed {
            hosts: kept(&self.routed.hosts, hosts),
            certificates: kept(&self.routed.certificates, certificates.by_name),
            secrets: certificates.secrets,
            default_certificate: certificates.default,
            uses,
            served: kept(&self.routed.served, served.iter().map(|parsed| parsed.age.owner.clone()).collect()),
            named_secrets: kept(&self.routed.named_secrets, certificates.named),
            reports,
        };
    }

    /// The Ingresses that are ours, oldest first, with the rules of their policies.
    fn served(&mut self, options: &Options, policies: &Policies, reports: &mut Reports) -> Vec<Arc<Parsed>> {
        let mut served = Vec::new();
        let mut before = std::mem::take(&mut self.treated);
        for parsed in self.ingresses.outputs() {
            let owner = &parsed.age.owner;
            let object = ObjectRef::new(ObjectKind::Ingress, owner);
            if let Some(problem) = self.classes.refuses(&parsed.class, options) {
                reports.add(object, problem);
                continue;
            }
            let attached = attached(parsed, &self.classes, policies, options);
            let mut parsed = parsed.clone();
            if !attached.is_empty() {
                let treated = Treated::of(parsed, attached, before.remove(owner));
                parsed = treated.treated.clone();
                self.treated.insert(parsed.age.owner.clone(), treated);
            }
            reports.extend(&object, parsed.problems.iter().cloned());
            served.push(parsed);
        }
        served.sort_by(|one, other| one.age.cmp(&other.age));
        served
    }
}

impl Treated {
    fn of(parsed: Arc<Parsed>, attached: Attached, before: Option<Treated>) -> Self {
        let before = match before {
            Some(before) if Arc::ptr_eq(&before.parsed, &parsed) && before.attached.is_same(&attached) => {
                return before;
            }
            before => before.map(|before| before.treated),
        };
        let fresh = treat(&parsed, &attached);
        let treated = before.filter(|before| **before == fresh).unwrap_or_else(|| Arc::new(fresh));
        Treated { parsed, attached, treated }
    }
}

fn attached(parsed: &Parsed, classes: &Classes, policies: &Policies, options: &Options) -> Attached {
    let class = classes.policy(&parsed.class, options).map(|(class, policy)| match policy {
        Ok(name) => policies.find(name).cloned().ok_or_else(|| {
            format!("ProxyPolicy {name}, which IngressClass {class} names, does not exist: 503 is answered; create it")
        }),
        Err(why) => Err(format!("{why}: 503 is answered; correct the class")),
    });
    Attached { own: policies.on_ingress(&parsed.age.owner).to_vec(), class }
}

/// Classes that name a policy which is not there.
fn report_classes(classes: &Classes, policies: &Policies, reports: &mut Reports) {
    for (class, name) in classes.policies().filter(|(_, name)| policies.find(name).is_none()) {
        let object = ObjectRef { kind: ObjectKind::IngressClass, namespace: String::new(), name: class.to_owned() };
        let message = format!(
            "ProxyPolicy {name} does not exist: the Ingresses of the class answer 503, since it is not known what guards \
             them; create it, or remove the parameters"
        );
        reports.add(object, Problem::new("spec.parameters", Reason::TargetNotFound, message));
    }
}

/// `fresh`, or `known` if they are equal, so that it is recognised by its pointer.
fn kept<T: PartialEq>(known: &Arc<T>, fresh: T) -> Arc<T> {
    if **known == fresh { known.clone() } else { Arc::new(fresh) }
}
