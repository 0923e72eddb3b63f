//! Which Ingresses are ours, by class.
//!
//! Ours is every class whose IngressClass names `--controller-class`, and the class that `--ingress-class` names: in a
//! folder always, in a cluster by `--ingress-class-by-name`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressClassParametersReference};

use super::options::Options;
use super::problem::{ObjectKind, ObjectRef, Problem, Reason, quoted};
use super::reports::Reports;
use crate::snapshot::Reference;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PARAMETERS: &str = "spec.parameters";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// The class that an Ingress names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClassName {
    /// In `spec.ingressClassName`, which counts before the annotation.
    Field(String),
    Annotation(String),
    None,
}

/// What the IngressClass objects say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes {
    /// Names of the classes whose controller we are.
    ours: BTreeSet<String>,
    /// The class of an Ingress that names none, ours or not.
    default: Option<String>,
    /// All classes that exist, for messages.
    known: BTreeSet<String>,
    /// Of classes that are ours: the policy that counts for their Ingresses; or why it is not known.
    policies: BTreeMap<String, Result<Reference, String>>,
}

/// The class that `ingress` names, ours or not.
pub fn class_of(ingress: &Ingress) -> Option<&str> {
    let (field, annotation) = named(ingress);
    field.or(annotation)
}

impl ClassName {
    /// Reads the class of `ingress` and reports what an API server would not have let pass.
    pub(super) fn read(ingress: &Ingress, problems: &mut Vec<Problem>) -> Self {
        if field_of(ingress) == Some("") {
            let message = "the name is empty, as if it were absent; name a class or remove the field";
            problems.push(Problem::new("spec.ingressClassName", Reason::Invalid, message));
        }
        match named(ingress) {
            (Some(field), Some(annotation)) => {
                let message = format!("spec.ingressClassName counts, {} does not; remove it", quoted(annotation));
                problems.push(Problem::new(annotation_field(), Reason::Invalid, message));
                ClassName::Field(field.to_owned())
            }
            (Some(field), None) => ClassName::Field(field.to_owned()),
            (None, Some(annotation)) => ClassName::Annotation(annotation.to_owned()),
            (None, None) => ClassName::None,
        }
    }
}

impl Classes {
    pub(super) fn read(objects: &BTreeMap<String, Arc<IngressClass>>, options: &Options) -> (Self, Reports) {
        let mut classes = Classes::default();
        let mut reports = Reports::default();
        for (name, object) in objects {
            classes.known.insert(name.clone());
            let spec = object.spec.as_ref();
            let controller = spec.and_then(|spec| spec.controller.as_deref()).unwrap_or_default();
            let reference = ObjectRef { kind: ObjectKind::IngressClass, namespace: String::new(), name: name.clone() };
            if controller.is_empty() {
                let message = format!("the class has no controller; for this one write {}", options.controller_class);
                reports.add(reference.clone(), Problem::new("spec.controller", Reason::Invalid, message));
            } else if controller == options.controller_class {
                classes.ours.insert(name.clone());
            }
            if let Some(parameters) = spec.and_then(|spec| spec.parameters.as_ref())
                && classes.ours(name, options)
            {
                classes.read_parameters(name, parameters, reference, &mut reports);
            }
        }
        // As the API server's admission chooses among several: the newest, then the first by name.
        let defaults = objects.iter().filter(|(_, object)| is_default(object));
        let chosen = defaults.max_by_key(|(name, object)| (object.metadata.creation_timestamp.clone(), Reverse(*name)));
        classes.default = chosen.map(|(name, _)| name.clone());
        (classes, reports)
    }

    fn read_parameters(
        &mut self,
        name: &str,
        parameters: &IngressClassParametersReference,
        class: ObjectRef,
        reports: &mut Reports,
    ) {
        let group = parameters.api_group.as_deref().unwrap_or_default();
        // No other group has that kind.
        if parameters.kind != "ProxyPolicy" && !group.eq_ignore_ascii_case("headgate.dev") {
            let message =
                "these parameters are not honoured: they can only be a ProxyPolicy of headgate.dev; remove them";
            return reports.add(class, Problem::new(PARAMETERS, Reason::Unsupported, message));
        }
        let unknown = || Err(format!("the parameters of IngressClass {name} name no policy that can be found"));
        if group != "headgate.dev" || parameters.kind != "ProxyPolicy" {
            let message = "this is no ProxyPolicy of headgate.dev: the Ingresses of the class answer 503, since it is not \
                           known what guards them; write apiGroup: headgate.dev and kind: ProxyPolicy, or remove it";
            reports.add(class, Problem::new(PARAMETERS, Reason::Invalid, message));
            self.policies.insert(name.to_owned(), unknown());
            return;
        }
        let namespace = parameters.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let policy = match (parameters.scope.as_deref(), namespace) {
            (Some("Namespace"), Some(namespace)) => Ok(Reference::new(namespace, &parameters.name)),
            _ => {
                let message = "a ProxyPolicy has a namespace: the Ingresses of the class answer 503, since it is not known \
                               what guards them; write scope: Namespace and the namespace";
                reports.add(class, Problem::new(PARAMETERS, Reason::Invalid, message));
                unknown()
            }
        };
        self.policies.insert(name.to_owned(), policy);
    }

    /// The policy that counts for Ingresses of this class, which is ours; or why it is not known.
    pub(super) fn policy(&self, class: &ClassName, options: &Options) -> Option<(&str, &Result<Reference, String>)> {
        let name = match class {
            ClassName::Field(name) | ClassName::Annotation(name) => name,
            ClassName::None => {
                self.default.as_ref().filter(|name| self.ours(name, options)).unwrap_or(&options.ingress_class)
            }
        };
        self.policies.get_key_value(name).map(|(name, policy)| (name.as_str(), policy))
    }

    /// The policy that the class names; `None`: the class is not there, not ours, or names none.
    pub(super) fn policy_of(&self, class: &str) -> Option<&Reference> {
        self.policies.get(class).and_then(|policy| policy.as_ref().ok())
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = (&str, &Reference)> {
        self.policies.iter().filter_map(|(class, policy)| Some((class.as_str(), policy.as_ref().ok()?)))
    }

    pub(super) fn exists(&self, class: &str) -> bool {
        self.known.contains(class)
    }

    /// Why an Ingress of this class is not ours; `None`: it is.
    pub(super) fn refuses(&self, class: &ClassName, options: &Options) -> Option<Problem> {
        let (field, name) = match class {
            ClassName::Field(name) => ("spec.ingressClassName".to_owned(), name),
            ClassName::Annotation(name) => (annotation_field(), name),
            ClassName::None => return self.refuses_none(options),
        };
        let is_known = self.known.contains(name);
        let is_named = *name == options.ingress_class;
        if self.ours(name, options) {
            return None;
        }
        let shown = quoted(name);
        let what = match is_known {
            true => format!("IngressClass {shown} names another controller"),
            false => format!("there is no IngressClass {shown}"),
        };
        let flag = if is_named { "--ingress-class-by-name".into() } else { format!("--ingress-class={shown}") };
        let message = format!(
            "{what}: the Ingress is not served; to serve it start with {flag}, \
             or give the class the controller {}",
            options.controller_class
        );
        Some(Problem::new(field, Reason::OtherClass, message))
    }

    fn refuses_none(&self, options: &Options) -> Option<Problem> {
        let default_is_ours = self.default.as_ref().is_some_and(|name| self.ours(name, options));
        (!options.ingress_without_class && !default_is_ours).then(|| {
            let message = format!(
                "the Ingress names no class and is not served; write ingressClassName: {}, \
                 or start with --watch-ingress-without-class",
                options.ingress_class
            );
            Problem::new("spec.ingressClassName", Reason::OtherClass, message)
        })
    }

    pub(super) fn ours(&self, name: &str, options: &Options) -> bool {
        options.class_by_name && name == options.ingress_class || self.ours.contains(name)
    }
}

/// The names in the field and in the annotation; an empty one is none.
fn named(ingress: &Ingress) -> (Option<&str>, Option<&str>) {
    let annotations = ingress.metadata.annotations.as_ref();
    let annotation = annotations.and_then(|all| all.get(CLASS_ANNOTATION)).map(String::as_str);
    (field_of(ingress).filter(|name| !name.is_empty()), annotation.filter(|name| !name.is_empty()))
}

fn field_of(ingress: &Ingress) -> Option<&str> {
    ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref())
}

fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DEFAULT_ANNOTATION)).is_some_and(|value| value == "true")
}

fn annotation_field() -> String {
    format!("metadata.annotations[{CLASS_ANNOTATION}]")
}
