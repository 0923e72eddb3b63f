//! Everything that follows from Ingresses, IngressClasses and Secrets: hosts, certificates, and the Service ports that
//! are asked for.
//!
//! What is behind those ports is another matter (`backend`), so a change of endpoints does not come here at all.

use std::collections::BTreeMap;
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
use super::problem::{ObjectKind, ObjectRef};
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
    hosts: Hosts,
    routed: Routed,
}

impl Routing {
    pub(super) fn update(&mut self, objects: &Objects, options: &Options, defaults: &Defaults) -> &Routed {
        let mut changed = !self.seen_secrets.same(&objects.secrets);
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
            changed |= self.ingresses.update(&objects.ingresses, parse);
        }
        if changed {
            self.route(objects, options);
        }
        &self.routed
    }

    fn route(&mut self, objects: &Objects, options: &Options) {
        let mut reports = self.class_reports.clone();
        let served = self.served(options, &mut reports);
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
            reports,
        };
    }

    /// The Ingresses that are ours, oldest first.
    fn served(&self, options: &Options, reports: &mut Reports) -> Vec<Arc<Parsed>> {
        let mut served = Vec::new();
        for parsed in self.ingresses.outputs() {
            let object = ObjectRef::new(ObjectKind::Ingress, &parsed.age.owner);
            match self.classes.refuses(&parsed.class, options) {
                Some(problem) => reports.add(object, problem),
                None => {
                    reports.extend(&object, parsed.problems.iter().cloned());
                    served.push(parsed.clone());
                }
            }
        }
        served.sort_by(|one, other| one.age.cmp(&other.age));
        served
    }
}

/// `fresh`, or `known` if they are equal, so that it is recognised by its pointer.
fn kept<T: PartialEq>(known: &Arc<T>, fresh: T) -> Arc<T> {
    if **known == fresh { known.clone() } else { Arc::new(fresh) }
}
