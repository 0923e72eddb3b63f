//! The addresses in the status of Ingresses: `status.loadBalancer.ingress`, where external-dns and people look for them.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use serde_json::{Value, json};

use crate::snapshot::Reference;
use crate::translate::{ByName, Objects};

/// Where the addresses come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// `--publish-service`.
    pub service: Option<Reference>,
    /// `--publish-status-address`: these and no other.
    pub addresses: Vec<String>,
    /// `--report-node-internal-ip-address`: this pod, if the nodes of such pods are to be named, and nothing else is.
    pub pod: Option<Reference>,
}

/// Addresses and host names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses(BTreeSet<String>);

impl Publish {
    /// The addresses of now, but for those of nodes, or why they are not known.
    pub(super) fn addresses(&self, objects: &Objects) -> Result<Addresses, String> {
        if !self.addresses.is_empty() {
            return Ok(Addresses(self.addresses.iter().cloned().collect()));
        }
        let Some(name) = &self.service else { return Ok(Addresses::default()) };
        let service = objects.services.get(name).ok_or_else(|| {
            format!(
                "Service {name} of --publish-service is not there, or may not be read: the addresses stay as they are; \
                 create it, or see what else is told of it"
            )
        })?;
        Ok(of_service(service))
    }
}

/// As ingress-nginx has it: what a load balancer was given, and else where the Service is reached.
fn of_service(service: &Service) -> Addresses {
    let Some(spec) = &service.spec else { return Addresses::default() };
    let external = spec.external_ips.iter().flatten().cloned();
    let own = spec.cluster_ip.iter().filter(|ip| !matches!(ip.as_str(), "" | "None")).cloned();
    let addresses: BTreeSet<String> = match spec.type_.as_deref() {
        Some("ExternalName") => spec.external_name.iter().cloned().collect(),
        Some("LoadBalancer") => {
            let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let given = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
            given.filter_map(|one| one.ip.clone().or_else(|| one.hostname.clone())).chain(external).collect()
        }
        Some("NodePort") if spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()) => external.collect(),
        _ => own.collect(),
    };
    Addresses(addresses)
}

impl FromIterator<String> for Addresses {
    fn from_iter<I: IntoIterator<Item = String>>(addresses: I) -> Self {
        Addresses(addresses.into_iter().collect())
    }
}

impl Addresses {
    pub(super) fn parse(text: &str) -> Self {
        Addresses(text.split(',').filter(|address| !address.is_empty()).map(str::to_owned).collect())
    }

    pub(super) fn with(&self, other: &Addresses) -> Addresses {
        Addresses(self.0.union(&other.0).cloned().collect())
    }

    /// The Ingresses whose status has one of these.
    pub(super) fn holders(&self, all: &ByName<Reference, Ingress>) -> BTreeSet<Reference> {
        let holds = |ingress: &Ingress| entries(ingress).iter().any(|entry| self.has(entry));
        all.iter().filter(|(_, ingress)| holds(ingress)).map(|(name, _)| name.clone()).collect()
    }

    fn has(&self, entry: &IngressLoadBalancerIngress) -> bool {
        entry.ip.iter().chain(&entry.hostname).any(|address| self.0.contains(address))
    }

    fn entries(&self) -> impl Iterator<Item = IngressLoadBalancerIngress> {
        self.0.iter().map(|address| {
            let is_ip = address.parse::<std::net::IpAddr>().is_ok();
            let [ip, hostname] = if is_ip { [Some(address), None] } else { [None, Some(address)] };
            IngressLoadBalancerIngress { ip: ip.cloned(), hostname: hostname.cloned(), ports: None }
        })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::from_iter(self.0.iter().map(String::as_str)).join(","))
    }
}

/// What to write: for each Ingress whose status is other than it should be, the status. `ours`: what we may have written
/// before; other entries are left alone. An Ingress that is not ours is not looked at.
pub(super) fn changes(
    all: &ByName<Reference, Ingress>,
    served: &BTreeSet<Reference>,
    ours: &Addresses,
    wanted: &Addresses,
) -> Vec<(Reference, Value)> {
    let ingresses = served.iter().filter_map(|name| Some((name, all.get(name)?)));
    ingresses.filter_map(|(name, ingress)| Some((name.clone(), change(ingress, ours, wanted)?))).collect()
}

fn change(ingress: &Ingress, ours: &Addresses, wanted: &Addresses) -> Option<Value> {
    let existing = entries(ingress);
    let bare = |entry: &IngressLoadBalancerIngress| IngressLoadBalancerIngress { ports: None, ..entry.clone() };
    let mine: Vec<_> = existing.iter().filter(|entry| ours.has(entry) || wanted.has(entry)).map(bare).collect();
    if mine.iter().cloned().eq(wanted.entries()) {
        return None;
    }
    let foreign = existing.iter().filter(|entry| !ours.has(entry) && !wanted.has(entry)).cloned();
    let entries: Vec<_> = wanted.entries().chain(foreign).collect();
    // An entry that somebody else writes at the same time is not lost: the version tells.
    let version = &ingress.metadata.resource_version;
    Some(json!({"metadata": {"resourceVersion": version}, "status": {"loadBalancer": {"ingress": entries}}}))
}

/// What its status says.
fn entries(ingress: &Ingress) -> &[IngressLoadBalancerIngress] {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

/// Whether another pod than `pod` is behind the Service and ready; also where that cannot be known, since its EndpointSlices
/// are outside of the namespace that is watched.
pub(super) fn has_other_pods(objects: &Objects, service: &Reference, pod: &str) -> bool {
    if !objects.services.contains_key(service) {
        return false;
    }
    let is_of_it = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get("kubernetes.io/service-name").is_some_and(|name| *name == service.name)
    };
    let slices = objects.endpoint_slices.iter().filter(|(name, slice)| {
        name.namespace == service.namespace && slice.metadata.labels.as_ref().is_some_and(is_of_it)
    });
    // A Service that selects pods has one, if only an empty one.
    let mut slices = slices.peekable();
    if slices.peek().is_none() {
        return true;
    }
    let mut endpoints = slices.flat_map(|(_, slice)| slice.endpoints.iter().flatten());
    endpoints.any(|endpoint| {
        let is_ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
        let name = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
        is_ready && name != Some(pod)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::from_value;

    use super::*;

    fn name() -> Reference {
        Reference::new("n", "i")
    }

    fn objects(kind: &str, object: Value) -> Objects {
        let mut objects = Objects::default();
        match kind {
            "ingress" => drop(objects.ingresses.insert(name(), Arc::new(from_value(object).unwrap()))),
            _ => drop(objects.services.insert(name(), Arc::new(from_value(object).unwrap()))),
        }
        objects
    }

    /// What an Ingress with these entries gets, of which `ours` may be ours, if `wanted` is wanted.
    fn written(entries: Value, ours: &str, wanted: &str) -> Option<Value> {
        let objects = objects("ingress", json!({"status": {"loadBalancer": {"ingress": entries}}}));
        let served = BTreeSet::from([name()]);
        let mut changes = changes(&objects.ingresses, &served, &Addresses::parse(ours), &Addresses::parse(wanted));
        let (of, status) = changes.pop()?;
        assert_eq!(of, name());
        Some(status["status"]["loadBalancer"]["ingress"].clone())
    }

    #[test]
    fn only_differences_are_written_and_entries_of_others_stay() {
        let ip = |ip: &str| json!({"ip": ip});
        let lb = json!({"hostname": "lb.test"});
        for (entries, ours, wanted, expected) in [
            (json!([]), "", "10.0.0.1", Some(json!([ip("10.0.0.1")]))),
            (json!([ip("10.0.0.1")]), "", "10.0.0.1", None),
            (json!([ip("10.0.0.1"), lb]), "", "10.0.0.1,lb.test", None),
            (json!([]), "", "10.0.0.1,lb.test", Some(json!([ip("10.0.0.1"), lb]))),
            // Another controller's entry.
            (json!([ip("9.9.9.9")]), "", "10.0.0.1", Some(json!([ip("10.0.0.1"), ip("9.9.9.9")]))),
            (json!([ip("9.9.9.9"), ip("10.0.0.1")]), "", "10.0.0.1", None),
            // An address of an earlier leader.
            (json!([ip("10.0.0.1")]), "10.0.0.1,10.0.0.2", "10.0.0.2", Some(json!([ip("10.0.0.2")]))),
            (json!([ip("10.0.0.1"), ip("9.9.9.9")]), "10.0.0.1", "", Some(json!([ip("9.9.9.9")]))),
            (json!([ip("9.9.9.9")]), "10.0.0.1", "", None),
            // As a cloud writes it.
            (json!([{"ip": "10.0.0.1", "ports": [{"port": 80, "protocol": "TCP"}]}]), "", "10.0.0.1", None),
        ] {
            assert_eq!(written(entries.clone(), ours, wanted), expected, "{entries} {ours} {wanted}");
        }
    }

    #[test]
    fn an_ingress_that_is_not_ours_or_gone_is_not_written_to() {
        let (objects, wanted) = (objects("ingress", json!({})), Addresses::parse("10.0.0.1"));
        assert_eq!(changes(&objects.ingresses, &BTreeSet::new(), &wanted, &wanted), []);
        let gone = BTreeSet::from([Reference::new("n", "gone")]);
        assert_eq!(changes(&objects.ingresses, &gone, &wanted, &wanted), []);
    }

    #[test]
    fn a_service_has_the_addresses_where_it_is_reached() {
        let publish = Publish { service: Some(name()), ..Publish::default() };
        let given = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "lb.test"}]}});
        for (spec, status, expected) in [
            (json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9"}), given.clone(), "1.2.3.4,lb.test"),
            (json!({"type": "LoadBalancer", "externalIPs": ["5.5.5.5"]}), given, "1.2.3.4,5.5.5.5,lb.test"),
            (json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9"}), json!({}), ""),
            (json!({"type": "NodePort", "clusterIP": "10.96.0.9"}), json!({}), "10.96.0.9"),
            (json!({"type": "NodePort", "clusterIP": "10.96.0.9", "externalIPs": ["5.5.5.5"]}), json!({}), "5.5.5.5"),
            (json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"}), json!({}), "10.96.0.9"),
            (json!({"clusterIP": "None"}), json!({}), ""),
            (json!({"type": "ExternalName", "externalName": "out.test"}), json!({}), "out.test"),
        ] {
            let objects = objects("service", json!({"spec": spec, "status": status}));
            assert_eq!(publish.addresses(&objects).unwrap(), Addresses::parse(expected), "{spec}");
        }
        assert!(publish.addresses(&Objects::default()).unwrap_err().contains("n/i"));
        let stated = Publish { addresses: vec!["lb.test".into()], ..publish };
        assert_eq!(stated.addresses(&Objects::default()).unwrap(), Addresses::parse("lb.test"));
    }

    #[test]
    fn another_pod_counts_while_it_is_ready() {
        let mut objects = objects("service", json!({"spec": {}}));
        assert!(has_other_pods(&objects, &name(), "me"), "nothing is known of its pods");
        for (service, pod, ready, expected) in [
            ("i", "me", true, false),
            ("i", "other", false, false),
            ("another", "other", true, true),
            ("i", "other", true, true),
        ] {
            let slice = json!({"addressType": "IPv4",
                "metadata": {"namespace": "n", "name": "s", "labels": {"kubernetes.io/service-name": service}},
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"name": pod}}]});
            objects.endpoint_slices.insert(Reference::new("n", "s"), Arc::new(from_value(slice).unwrap()));
            assert_eq!(has_other_pods(&objects, &name(), "me"), expected, "{service} {pod} {ready}");
        }
        objects.services.clear();
        assert!(!has_other_pods(&objects, &name(), "me"), "the Service is gone");
    }
}
