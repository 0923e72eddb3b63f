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
use super::hosts::{Change, Hosts};
use super::ingress::{self, Age, Parsed};
use super::memo::{Memo, Seen};
use super::objects::Objects;
use super::options::Options;
use super::policy::{Attached, Policies, treat};
use super::problem::{ObjectKind, ObjectRef, Problem, Reason};
use super::reports::Reports;
use super::settings::Defaults;
use crate::snapshot::Reference;

/// The routing of one moment.
#[derive(Debug, Default)]
pub(super) struct Routed {
    pub hosts: Hosts,
    pub certificates: Certificates,
    /// The Ingresses that are ours.
    pub served: Arc<BTreeSet<Reference>>,
    pub reports: Reports,
}

/// Routes with what is remembered from one translation to the next.
#[derive(Default)]
pub(super) struct Routing {
    /// What `ingresses` was read under.
    defaults: Option<Defaults>,
    seen_classes: Seen<IngressClass>,
    seen_secrets: Seen<Secret>,
    classes: Classes,
    class_reports: Reports,
    ingresses: Memo<Reference, Ingress, Parsed>,
    secrets: SecretMemo,
    /// All Ingresses.
    standings: BTreeMap<Reference, Standing>,
    /// The Ingresses with `tls:` that are ours, oldest first.
    with_tls: BTreeMap<Age, Arc<Parsed>>,
    /// The Ingresses whose standing has problems: those of the others need not be looked at for reports.
    told: BTreeSet<Reference>,
    routed: Routed,
}

/// What becomes of one Ingress, whatever the others say.
enum Standing {
    Served(Served),
    Refused(Problem),
}

/// An Ingress with the rules of its policies, and what it was made of.
struct Served {
    parsed: Arc<Parsed>,
    attached: Attached,
    treated: Arc<Parsed>,
}

/// What the standing of an Ingress depends on beside itself and the classes.
#[derive(Clone, Copy)]
struct Rules<'a> {
    options: &'a Options,
    policies: &'a Policies,
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
        let new_secrets = !self.seen_secrets.same(&objects.secrets);
        let new_classes = !self.seen_classes.same(&objects.ingress_classes);
        if new_classes {
            (self.classes, self.class_reports) = Classes::read(&objects.ingress_classes, options);
        }
        let new_defaults = self.defaults.as_ref() != Some(defaults);
        if new_defaults {
            self.defaults = Some(defaults.clone());
            self.ingresses = Memo::default();
        }
        let parse = |name: &_, ingress: &_| ingress::parse(name, ingress, options, defaults);
        let mut concerned = self.ingresses.update(&*objects.ingresses, parse);
        if new_classes || new_policies || new_defaults {
            concerned.extend(self.standings.keys().cloned());
        }
        let changed = new_secrets || new_classes || new_policies || !concerned.is_empty();
        if changed {
            self.route(objects, concerned, new_secrets, Rules { options, policies });
        }
        changed
    }

    pub(super) fn routed(&self) -> &Routed {
        &self.routed
    }

    pub(super) fn classes(&self) -> &Classes {
        &self.classes
    }

    fn route(&mut self, objects: &Objects, concerned: Vec<Reference>, new_secrets: bool, rules: Rules<'_>) {
        let changes: Vec<Change> = concerned.into_iter().filter_map(|name| self.judge(name, rules)).collect();
        self.note(&changes);
        let mut moved = Vec::new();
        if new_secrets || changes.iter().any(Change::is_of_tls) {
            let fresh = Certificates::read(self.with_tls.values(), &objects.secrets, rules.options, &mut self.secrets);
            moved = self.routed.certificates.replace(fresh);
        }
        self.routed.hosts.update(&changes, &self.routed.certificates.tls, moved);
        self.routed.reports = self.reports(rules);
    }

    /// Finds out what becomes of an Ingress now. `None`: the same as before.
    fn judge(&mut self, name: Reference, Rules { options, policies }: Rules<'_>) -> Option<Change> {
        let before = self.standings.remove(&name);
        let was = before.as_ref().and_then(Standing::served).cloned();
        let standing = self.ingresses.find(&name).map(|parsed| {
            match self.classes.refuses(&parsed.class, options).or_else(|| refused(parsed, options)) {
                Some(problem) => Standing::Refused(problem),
                None => {
                    let attached = attached(parsed, &self.classes, policies, options);
                    Standing::Served(Served::of(parsed.clone(), attached, before))
                }
            }
        });
        let now = standing.as_ref().and_then(Standing::served).cloned();
        match standing.as_ref().is_some_and(|standing| !standing.problems().is_empty()) {
            true => _ = self.told.insert(name.clone()),
            false => _ = self.told.remove(&name),
        }
        if let Some(standing) = standing {
            self.standings.insert(name, standing);
        }
        (was.as_ref().map(Arc::as_ptr) != now.as_ref().map(Arc::as_ptr)).then_some(Change { before: was, now })
    }

    fn note(&mut self, changes: &[Change]) {
        for Change { before, now } in changes {
            if let Some(before) = before {
                self.with_tls.remove(&before.age);
            }
            if let Some(now) = now.as_ref().filter(|now| !now.tls.is_empty()) {
                self.with_tls.insert(now.age.clone(), now.clone());
            }
            match (before, now) {
                (None, Some(now)) => _ = Arc::make_mut(&mut self.routed.served).insert(now.age.owner.clone()),
                (Some(before), None) => _ = Arc::make_mut(&mut self.routed.served).remove(&before.age.owner),
                _ => {}
            }
        }
    }

    fn reports(&self, Rules { options, policies }: Rules<'_>) -> Reports {
        let mut reports = self.class_reports.clone();
        report_classes(&self.classes, policies, options, &mut reports);
        for name in &self.told {
            let problems = self.standings[name].problems();
            reports.extend(&ObjectRef::new(ObjectKind::Ingress, name), problems.iter().cloned());
        }
        for (owner, problem) in self.routed.hosts.conflicts() {
            reports.add(ObjectRef::new(ObjectKind::Ingress, owner), problem.clone());
        }
        reports.merge(&self.routed.certificates.reports);
        reports
    }
}

impl Change {
    /// It bears on which hosts stand in some `tls:`, or on their certificates.
    fn is_of_tls(&self) -> bool {
        let Change { before, now } = self;
        let has_any = before.iter().chain(now).any(|parsed| !parsed.tls.is_empty());
        let same = |(before, now): (&Arc<Parsed>, &Arc<Parsed>)| {
            // The hosts of the rules count where an entry lists none.
            before.age == now.age && before.tls == now.tls && before.hosts().eq(now.hosts())
        };
        has_any && !before.as_ref().zip(now.as_ref()).is_some_and(same)
    }
}

impl Standing {
    fn served(&self) -> Option<&Arc<Parsed>> {
        match self {
            Standing::Served(served) => Some(&served.treated),
            Standing::Refused(_) => None,
        }
    }

    fn problems(&self) -> &[Problem] {
        match self {
            Standing::Served(served) => &served.treated.problems,
            Standing::Refused(problem) => std::slice::from_ref(problem),
        }
    }
}

impl Served {
    fn of(parsed: Arc<Parsed>, attached: Attached, before: Option<Standing>) -> Self {
        if attached.is_empty() {
            return Served { treated: parsed.clone(), parsed, attached };
        }
        let before = match before {
            Some(Standing::Served(before))
                if Arc::ptr_eq(&before.parsed, &parsed) && before.attached.is_same(&attached) =>
            {
                return before;
            }
            Some(Standing::Served(before)) => Some(before.treated),
            _ => None,
        };
        let fresh = treat(&parsed, &attached);
        let treated = before.filter(|before| **before == fresh).unwrap_or_else(|| Arc::new(fresh));
        Served { parsed, attached, treated }
    }
}

/// Why it is not served though its class is ours.
fn refused(parsed: &Parsed, options: &Options) -> Option<Problem> {
    (options.no_catch_all && parsed.has_default).then(|| {
        let message =
            "the Ingress has a defaultBackend, and --disable-catch-all is given: it is not served; remove one of both";
        Problem::new("spec.defaultBackend", Reason::Unsupported, message)
    })
}

fn attached(parsed: &Parsed, classes: &Classes, policies: &Policies, options: &Options) -> Attached {
    let class = classes.policy(&parsed.class, options).map(|(class, policy)| match policy {
        Ok(name) => policies.find(name).cloned().ok_or_else(|| {
            let (why, way_out) = absence(name, options);
            format!("ProxyPolicy {name}, which IngressClass {class} names, {why}: 503 is answered; {way_out}")
        }),
        Err(why) => Err(format!("{why}: 503 is answered; correct the class")),
    });
    Attached { own: policies.on_ingress(&parsed.age.owner).to_vec(), class }
}

/// Classes that name a policy which is not there.
fn report_classes(classes: &Classes, policies: &Policies, options: &Options, reports: &mut Reports) {
    for (class, name) in classes.policies().filter(|(_, name)| policies.find(name).is_none()) {
        let object = ObjectRef { kind: ObjectKind::IngressClass, namespace: String::new(), name: class.to_owned() };
        let (why, way_out) = absence(name, options);
        let message = format!(
            "ProxyPolicy {name} {why}: the Ingresses of the class answer 503, since it is not known what guards them; \
             {way_out}, or remove the parameters"
        );
        reports.add(object, Problem::new("spec.parameters", Reason::TargetNotFound, message));
    }
}

/// Why a policy that a class names is not among the objects, and the way out.
fn absence(name: &Reference, options: &Options) -> (String, String) {
    match &options.watch_namespace {
        Some(watched) if *watched != name.namespace => (
            format!("is not in namespace {watched}, the only one that --watch-namespace lets be read"),
            "let the class name one there".to_owned(),
        ),
        _ => ("does not exist".to_owned(), "create it".to_owned()),
    }
}
