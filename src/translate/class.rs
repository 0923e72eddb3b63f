//! Which Ingresses are ours, by class.
//!
//! Ours is the class that `--ingress-class` names, whether or not an IngressClass object exists, and every IngressClass
//! object whose controller is `--controller-class`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use super::options::Options;
use super::problem::{ObjectKind, ObjectRef, Problem, Reason, quoted};
use super::reports::Reports;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
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
                reports.add(reference, Problem::new("spec.controller", Reason::Invalid, message));
            } else if controller == options.controller_class {
                classes.ours.insert(name.clone());
                if spec.is_some_and(|spec| spec.parameters.is_some()) {
                    let message = "parameters of a class are not honoured; remove them";
                    reports.add(reference, Problem::new("spec.parameters", Reason::Unsupported, message));
                }
            }
        }
        // As the API server's admission chooses among several: the newest, then the first by name.
        let defaults = objects.iter().filter(|(_, object)| is_default(object));
        let chosen = defaults.max_by_key(|(name, object)| (object.metadata.creation_timestamp.clone(), Reverse(*name)));
        classes.default = chosen.map(|(name, _)| name.clone());
        (classes, reports)
    }

    /// Why an Ingress of this class is not ours; `None`: it is.
    pub(super) fn refuses(&self, class: &ClassName, options: &Options) -> Option<Problem> {
        let (field, name) = match class {
            ClassName::Field(name) => ("spec.ingressClassName".to_owned(), name),
            ClassName::Annotation(name) => (annotation_field(), name),
            ClassName::None => return self.refuses_none(options),
        };
        if self.ours(name, options) {
            return None;
        }
        let shown = quoted(name);
        let what = match self.known.contains(name) {
            true => format!("IngressClass {shown} names another controller"),
            false => format!("there is no IngressClass {shown}"),
        };
        let message = format!(
            "{what}: the Ingress is not served; to serve it start with --ingress-class={shown}, \
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

    fn ours(&self, name: &str, options: &Options) -> bool {
        name == options.ingress_class || self.ours.contains(name)
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
