//! What the start found to serve, in one line of the application log; where it is nothing, with what is missing. What is
//! wrong with each object and file is told by others, before.

use std::collections::BTreeSet;
use std::path::Path;

use crate::source::folder::View;
use crate::translate::{Reason, Report, class_of};

/// `hosts`: how many are served, `reports`: of all objects in `view`, which was read from `dir`.
pub(super) fn tell(dir: &Path, view: &View, reports: &[Report], hosts: usize) {
    let found = view.objects.ingresses.len();
    let served = found - of_other_classes(reports);
    match missing(dir, view, served, hosts) {
        Some(missing) => tracing::warn!("{served} of {found} Ingresses are served: {missing}"),
        None => tracing::info!("{served} of {found} Ingresses are served"),
    }
}

fn of_other_classes(reports: &[Report]) -> usize {
    let is_other = |report: &&Report| report.problems.iter().any(|problem| problem.reason == Reason::OtherClass);
    reports.iter().filter(is_other).count()
}

/// Why nothing is served and what to do; `None`: something is.
fn missing(dir: &Path, view: &View, served: usize, hosts: usize) -> Option<String> {
    let dir = dir.display();
    let ingresses = &view.objects.ingresses;
    if ingresses.is_empty() {
        let (objects, problems) = (view.count(), view.problems.len());
        return Some(format!(
            "{dir} has no Ingress (objects: {objects}; problems, told above: {problems}); put Ingress, Service and EndpointSlice objects there, in files named *.yaml, \
             *.yml or *.json, which are picked up as they come"
        ));
    }
    if served == 0 {
        let classes: BTreeSet<_> = ingresses.values().filter_map(|ingress| class_of(ingress)).collect();
        let classes = Vec::from_iter(classes).join(", ");
        return Some(format!(
            "all name another class ({classes}); start with --ingress-class and that name, or remove the class from them"
        ));
    }
    (hosts == 0)
        .then(|| "none has a rule that can be served; what is wrong is told above and on /debug/problems".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::folder::view_of;
    use crate::translate::{Options, Translator};

    const OURS: &str =
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}, spec: {rules: [{host: a.test,
        http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}]}}]}}";
    const OTHER: &str =
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: b}, spec: {ingressClassName: nginx,
        defaultBackend: {service: {name: a, port: {number: 80}}}}}";
    const OLDER: &str = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: c, annotations:
        {kubernetes.io/ingress.class: traefik}}, spec: {defaultBackend: {service: {name: a, port: {number: 80}}}}}";
    const NO_RULE: &str = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: d}, spec: {}}";
    const SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}";

    /// How many are served, and what is missing, with one object in each file.
    fn found(texts: &[&str]) -> (usize, Option<String>) {
        let names: Vec<String> = (0..texts.len()).map(|index| format!("{index}.yaml")).collect();
        let view = view_of(names.iter().map(String::as_str).zip(texts.iter().copied()));
        let translation = Translator::default().translate(&view.objects, &Options::default());
        let served = view.objects.ingresses.len() - of_other_classes(&translation.reports);
        (served, missing(Path::new("my/folder"), &view, served, translation.snapshot.hosts.len()))
    }

    #[test]
    fn a_folder_of_which_something_is_served_misses_nothing() {
        assert_eq!(found(&[OURS, SERVICE]), (1, None));
        assert_eq!(found(&[OURS, OTHER]), (1, None));
    }

    #[test]
    fn what_is_missing_is_told_with_the_way_out() {
        for (texts, parts) in [
            (&[][..], ["my/folder has no Ingress", "objects: 0;", "*.yaml"]),
            (&[SERVICE], ["my/folder has no Ingress", "objects: 1;", "*.yaml"]),
            (&[SERVICE, "kind: ["], ["my/folder has no Ingress", "told above: 1)", "*.yaml"]),
            (&[OTHER, OLDER, SERVICE], ["another class", "nginx, traefik", "--ingress-class"]),
            (&[NO_RULE], ["none has a rule", "told above", "/debug/problems"]),
        ] {
            let missing = found(texts).1.unwrap_or_else(|| panic!("{texts:?}"));
            assert!(parts.iter().all(|part| missing.contains(part)), "{texts:?}: {missing}");
        }
    }
}
