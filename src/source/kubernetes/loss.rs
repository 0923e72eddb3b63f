//! What is not served as it was if objects are gone: by this a list that lacks them is judged.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{Ingress, IngressBackend};

use crate::snapshot::Reference;
use crate::translate::ByName;

/// So many routes may go at once.
const FEW: usize = 20;

/// What hangs on objects.
#[derive(Debug)]
pub(super) enum Loss {
    /// More than can be told: each may stand before any route.
    Untold,
    /// The routes of these Ingresses.
    Of(BTreeSet<Reference>),
    /// The routes to these Services.
    To(BTreeSet<Reference>),
}

impl Loss {
    /// Whether it is hardly credible, as the loss of most of what is there. `doubted`: what is as good as lost already.
    pub(super) fn is_much(&self, doubted: &Loss, ingresses: &ByName<Reference, Ingress>) -> bool {
        if matches!(self, Loss::Untold) {
            return true;
        }
        let (mut all, mut lost) = (0, 0);
        for (name, ingress) in ingresses.iter() {
            for backend in backends(ingress).filter(|backend| !doubted.is_about(name, backend)) {
                all += 1;
                lost += usize::from(self.is_about(name, backend));
            }
        }
        lost > 0 && lost == all || lost > FEW && lost * 2 > all
    }

    /// Whether it takes the route of this Ingress to this backend.
    fn is_about(&self, ingress: &Reference, backend: &IngressBackend) -> bool {
        let service = || backend.service.as_ref().map(|service| Reference::new(&*ingress.namespace, &*service.name));
        match self {
            Loss::Untold => true,
            Loss::Of(ingresses) => ingresses.contains(ingress),
            Loss::To(services) => service().is_some_and(|service| services.contains(&service)),
        }
    }
}

/// One for each route.
fn backends(ingress: &Ingress) -> impl Iterator<Item = &IngressBackend> {
    let spec = ingress.spec.as_ref();
    let rules = spec.and_then(|spec| spec.rules.as_ref()).into_iter().flatten();
    let paths = rules.filter_map(|rule| rule.http.as_ref()).flat_map(|http| &http.paths);
    paths.map(|path| &path.backend).chain(spec.and_then(|spec| spec.default_backend.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{from_value, json};

    use super::*;

    /// Ingresses of so many paths, the last of which is the default backend; each leads to the Service of its number.
    fn ingresses(paths: &[usize]) -> ByName<Reference, Ingress> {
        let mut ingresses = ByName::default();
        for (index, paths) in paths.iter().enumerate() {
            let service = |index: usize| json!({"service": {"name": index.to_string(), "port": {"number": 80}}});
            let paths: Vec<_> = (1..*paths).map(|_| json!({"pathType": "Prefix", "backend": service(index)})).collect();
            let (one, other) = paths.split_at(paths.len() / 2);
            let rules = json!([{"http": {"paths": one}}, {"host": "none"}, {"host": "a", "http": {"paths": other}}]);
            let ingress = json!({"spec": {"defaultBackend": service(index), "rules": rules}});
            ingresses.insert(Reference::new("n", index.to_string()), Arc::new(from_value(ingress).unwrap()));
        }
        ingresses
    }

    fn names(of: &[usize]) -> BTreeSet<Reference> {
        of.iter().map(|index| Reference::new("n", index.to_string())).collect()
    }

    #[test]
    fn all_routes_are_much_and_more_than_half_and_more_than_twenty() {
        for (paths, lost, doubted, is_much) in [
            (&[30][..], &[0][..], &[][..], true),
            (&[21], &[0], &[], true),
            (&[1], &[0], &[], true),
            (&[20, 1], &[0], &[], false),
            (&[21, 21], &[0], &[], false),
            (&[22, 21], &[0], &[], true),
            (&[10, 11, 20], &[0, 1], &[], true),
            (&[], &[0], &[], false),
            (&[1, 1], &[1], &[0], true),
            (&[10, 11, 21], &[0, 1], &[], false),
            (&[1, 21], &[0], &[], false),
            (&[60, 40], &[1], &[0], true),
            (&[60, 40], &[1], &[], false),
            (&[30], &[1], &[], false),
        ] {
            let ingresses = ingresses(paths);
            for loss in [Loss::Of, Loss::To] {
                let (lost, doubted) = (loss(names(lost)), loss(names(doubted)));
                assert_eq!(lost.is_much(&doubted, &ingresses), is_much, "{lost:?} of {paths:?} without {doubted:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_told_is_much() {
        assert!(Loss::Untold.is_much(&Loss::Untold, &ByName::default()));
    }

    #[test]
    fn a_service_is_one_of_its_own_namespace_and_a_resource_is_none() {
        let mut ingresses = ingresses(&[30]);
        let elsewhere = Loss::To(BTreeSet::from([Reference::new("other", "0")]));
        assert!(!elsewhere.is_much(&Loss::To(BTreeSet::new()), &ingresses));
        let paths = vec![json!({"pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "0"}}}); 30];
        let ingress = json!({"spec": {"rules": [{"http": {"paths": paths}}]}});
        ingresses.insert(Reference::new("n", "0"), Arc::new(from_value(ingress).unwrap()));
        assert!(!Loss::To(names(&[0])).is_much(&Loss::To(BTreeSet::new()), &ingresses));
        assert!(Loss::Of(names(&[0])).is_much(&Loss::Of(BTreeSet::new()), &ingresses));
    }
}
