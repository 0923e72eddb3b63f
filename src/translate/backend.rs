//! Resolves Service ports into backends: addresses and how they are talked to.
//!
//! What makes a backend unusable is told to the owner of every route that names it; what is wrong with a Service or an
//! EndpointSlice beside that is told to theirs. Each backend is remembered by the objects that it was made of, so that
//! a changed EndpointSlice costs one backend.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::endpoints::{self, Slice};
use super::external_name::{self, Destination};
use super::memo::Ascending;
use super::objects::Objects;
use super::options::Options;
use super::own::Own;
use super::policy::{self, Policies, Policy};
use super::problem::{ObjectKind, ObjectRef, Problem, Reason};
use super::reports::Reports;
use super::service;
use super::topology::Here;
use crate::snapshot::{Backend, BackendId, Protocol, Reference, ServicePort};

/// The backends of one moment.
#[derive(Debug, Default)]
pub(super) struct Backends(BTreeMap<BackendId, Known>);

/// A backend and what it was made of.
#[derive(Debug)]
struct Known {
    service: Option<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
    policies: Vec<Arc<Policy>>,
    /// Those that the policies name, in their order.
    secrets: Vec<Option<Arc<Secret>>>,
    /// Of the name in `resolved`.
    addresses: Option<Arc<[IpAddr]>>,
    resolved: Resolved,
}

/// What comes out of one Service port.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub backend: Arc<Backend>,
    /// Why it cannot be used at all.
    pub refusal: Option<Refusal>,
    pub reports: Reports,
    /// The source is to resolve this name.
    pub name: Option<String>,
}

/// What backends are made of.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub objects: &'a Objects,
    pub options: &'a Options,
    pub policies: &'a Policies,
    pub own: &'a Own,
    pub here: Option<&'a Here>,
}

/// Why a Service port cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The part of an IngressBackend that is to blame.
    pub part: &'static str,
    pub reason: Reason,
    /// Parts of a sentence that starts with the Service.
    pub what: String,
    pub way_out: String,
}

/// EndpointSlices by the Service that they belong to.
struct Slices<'a>(HashMap<(&'a str, &'a str), Vec<Slice<'a>>>);

impl Backends {
    /// Resolves what is `used`, and what stands in for it, and forgets the rest.
    pub(super) fn update(&mut self, mut used: BTreeSet<BackendId>, sources: Sources<'_>) {
        let mut previous = Ascending::new(std::mem::take(&mut self.0));
        let slices = Slices::by_service(&sources.objects.endpoint_slices);
        if sources.policies.any_on_services() {
            let members: Vec<_> = used.iter().flat_map(|id| Inputs::of(id, &slices, sources).members()).collect();
            used.extend(members);
        }
        let resolve = |id: BackendId| {
            let before = previous.take(&id).map(|(_, known)| known);
            let known = Known::of(before, &id, Inputs::of(&id, &slices, sources), sources);
            (id, known)
        };
        self.0 = used.into_iter().map(resolve).collect();
    }

    pub(super) fn find(&self, id: &BackendId) -> Option<&Resolved> {
        self.0.get(id).map(|known| &known.resolved)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&BackendId, &Resolved)> {
        self.0.iter().map(|(id, known)| (id, &known.resolved))
    }

    /// The Secrets that policies of these backends name, whether or not they exist.
    pub(super) fn named_secrets(&self) -> BTreeSet<&Reference> {
        self.0.values().flat_map(|known| policy::secrets(&known.policies)).collect()
    }
}

/// The first port of the Service that `--default-backend-service` names. A port of 0: none is known.
pub(super) fn default_backend(objects: &Objects, options: &Options) -> Option<BackendId> {
    let reference = options.default_backend.as_ref()?;
    let service = objects.services.get(reference);
    let first = service.and_then(|service| service::tcp_ports(service).next());
    let number = first.and_then(|(_, port)| u16::try_from(port.port).ok()).unwrap_or_default();
    let port = ServicePort::Number(number);
    Some(BackendId { namespace: reference.namespace.clone(), service: reference.name.clone(), port })
}

/// The objects that one backend is made of.
struct Inputs<'a> {
    service: Option<&'a Arc<Service>>,
    slices: &'a [Slice<'a>],
    /// Those that count first in front.
    policies: Vec<Arc<Policy>>,
    secrets: Vec<Option<Arc<Secret>>>,
}

impl<'a> Inputs<'a> {
    fn of(id: &'a BackendId, slices: &'a Slices<'a>, sources: Sources<'a>) -> Self {
        let name = Reference::new(&id.namespace, &id.service);
        let service = sources.objects.services.get(&name);
        let port = service.and_then(|service| service::find(service, &id.port));
        let policies = match service {
            Some(_) => sources.policies.on_port(&name, port.and_then(|(_, port)| port.name.as_deref())),
            None => Vec::new(),
        };
        let secrets = policy::secrets(&policies).map(|name| sources.objects.secrets.get(name).cloned()).collect();
        Inputs { service, slices: slices.of(id), policies, secrets }
    }

    /// The backends that stand in for this one.
    fn members(&self) -> Vec<BackendId> {
        let split = policy::split_of(&self.policies);
        split.into_iter().flat_map(|(_, members)| members.iter().map(|member| member.backend.clone())).collect()
    }
}

impl Known {
    fn is_current(&self, inputs: &Inputs<'_>, objects: &Objects) -> bool {
        let same_service = match (&self.service, inputs.service) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        let same_addresses = match (&self.addresses, addresses(self.resolved.name.as_ref(), objects)) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        let same_secret = |(before, now): (&Option<Arc<Secret>>, &Option<Arc<Secret>>)| match (before, now) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        same_service
            && same_addresses
            && self.slices.len() == inputs.slices.len()
            && self.slices.iter().zip(inputs.slices).all(|(before, (_, now))| Arc::ptr_eq(before, now))
            && self.policies.len() == inputs.policies.len()
            && self.policies.iter().zip(&inputs.policies).all(|(before, now)| Arc::ptr_eq(before, now))
            && self.secrets.iter().zip(&inputs.secrets).all(same_secret)
    }

    fn of(before: Option<Known>, id: &BackendId, inputs: Inputs<'_>, sources: Sources<'_>) -> Self {
        let before = match before {
            Some(known) if known.is_current(&inputs, sources.objects) => return known,
            before => before.map(|known| known.resolved.backend),
        };
        let mut fresh = Known::resolve(id, inputs, sources);
        if let Some(before) = before.filter(|before| *before == fresh.resolved.backend) {
            fresh.resolved.backend = before;
        }
        fresh
    }

    fn resolve(id: &BackendId, inputs: Inputs<'_>, sources: Sources<'_>) -> Self {
        let resolved = match inputs.service {
            None => Resolved::refused(id, Refusal::service_not_found()),
            Some(service) if external_name::is_external(service) => external(id, service, &inputs, sources),
            Some(service) => internal(id, service, &inputs, sources),
        };
        Known {
            service: inputs.service.cloned(),
            slices: inputs.slices.iter().map(|(_, slice)| Arc::clone(slice)).collect(),
            policies: inputs.policies,
            secrets: inputs.secrets,
            addresses: addresses(resolved.name.as_ref(), sources.objects).cloned(),
            resolved,
        }
    }
}

fn internal(id: &BackendId, service: &Service, inputs: &Inputs<'_>, sources: Sources<'_>) -> Resolved {
    let Some((index, port)) = service::find(service, &id.port) else {
        return Resolved::refused(id, Refusal::port_not_found(service, &id.port));
    };
    let object = service_object(id);
    let mut reports = Reports::default();
    let (protocol, problem) = service::protocol(port, index);
    reports.extend(&object, service::unsupported(service));
    let port_name = port.name.as_deref().unwrap_or_default();
    let rules = endpoints::Rules { options: sources.options, own: sources.own, here: sources.here };
    let gathered = endpoints::gather(port_name, inputs.slices, rules, &mut reports);
    let backend = Backend { protocol, endpoints: gathered.addresses, ..Backend::default() };
    let resolved = Resolved { backend: Arc::new(backend), reports, ..Resolved::default() };
    // What the cluster's own authorities write into certificates of Services.
    let name = format!("{}.{}.svc", id.service, id.namespace);
    let mut resolved = resolved.governed(id, &name, problem, inputs, sources);
    if let Some(why) = gathered.why_none.filter(|_| resolved.needs_endpoints(id)) {
        let message = format!("the Service {why}: 503 is answered; start a Pod for it or correct its selector");
        let problem = Problem::new(format!("spec.ports[{index}]"), Reason::NoEndpoints, message);
        resolved.reports.add(object, problem);
    }
    resolved
}

fn external(id: &BackendId, service: &Service, inputs: &Inputs<'_>, sources: Sources<'_>) -> Resolved {
    let Sources { objects, options, own, .. } = sources;
    let (destination, number) = match external_name::read(service, id, options) {
        Ok(read) => read,
        Err(refusal) => return Resolved::refused(id, refusal),
    };
    let mut problems = Vec::new();
    let protocol = service::find(service, &id.port).map(|(index, port)| service::protocol(port, index));
    let (protocol, problem) = protocol.unwrap_or((Protocol::Http1, None));
    let certified = destination.to_string();
    let (addresses, name) = match destination {
        Destination::Address(address) => (Arc::from([address]), None),
        Destination::Name(name) => (addresses(Some(&name), objects).cloned().unwrap_or_default(), Some(name)),
    };
    let endpoints = external_name::endpoints(&addresses, number, options, own, &mut problems);
    let mut reports = Reports::default();
    reports.extend(&service_object(id), problems);
    let backend = Backend { protocol, endpoints, ..Backend::default() };
    let resolved = Resolved { backend: Arc::new(backend), reports, name, ..Resolved::default() };
    resolved.governed(id, &certified, problem, inputs, sources)
}

impl Resolved {
    /// With what the policies say. `name` is that of its certificate unless they name another, `problem` that of the
    /// Service's own protocol.
    fn governed(
        mut self,
        id: &BackendId,
        name: &str,
        problem: Option<Problem>,
        inputs: &Inputs<'_>,
        sources: Sources<'_>,
    ) -> Self {
        let backend = Arc::make_mut(&mut self.backend);
        let governed = policy::govern(backend, &inputs.policies, &sources.objects.secrets, name);
        for (object, problem) in governed.problems {
            self.reports.add(object, problem);
        }
        self.reports.extend(&service_object(id), problem.filter(|_| !governed.protocol_told));
        let Some((reason, what)) = governed.refused else { return self };
        let refusal = Refusal { part: "", reason, what, way_out: "correct the policy".to_owned() };
        let refused = Resolved::refused(id, refusal);
        Resolved { reports: self.reports, ..refused }
    }

    /// Requests go to its own endpoints.
    fn needs_endpoints(&self, id: &BackendId) -> bool {
        let split = &self.backend.split;
        split.is_empty() || split.iter().any(|member| member.backend == *id && member.weight > 0)
    }

    fn refused(id: &BackendId, refusal: Refusal) -> Self {
        let unresolved = Some(format!("Service {} {}", Reference::new(&id.namespace, &id.service), refusal.what));
        let backend = Backend { unresolved, ..Backend::default() };
        Resolved { backend: Arc::new(backend), refusal: Some(refusal), ..Resolved::default() }
    }
}

impl Refusal {
    fn service_not_found() -> Self {
        Refusal {
            part: ".service.name",
            reason: Reason::ServiceNotFound,
            what: "does not exist".to_owned(),
            way_out: "create it or correct the name".to_owned(),
        }
    }

    pub(super) fn port_not_found(service: &Service, port: &ServicePort) -> Self {
        let (what, way_out) = match service::listed(service) {
            none if none.is_empty() => ("has no TCP port".to_owned(), "add one".to_owned()),
            listed => (format!("has no TCP port {port}"), format!("it has {listed}")),
        };
        Refusal { part: ".service.port", reason: Reason::PortNotFound, what, way_out }
    }

    /// What the owner of a route to `id` is told; `field` is that of the route's backend.
    pub(super) fn problem(&self, id: &BackendId, field: &str) -> Problem {
        let service = Reference::new(&id.namespace, &id.service);
        let message = format!("Service {service} {}: 503 is answered; {}", self.what, self.way_out);
        Problem::new(format!("{field}{}", self.part), self.reason, message)
    }
}

impl Refusal {
    /// What the owner of a split is told of a member; `field` is that of the member.
    pub(super) fn of_member(&self, id: &BackendId, field: &str) -> Problem {
        let part = self.part.rsplit_once('.').map(|(_, last)| if last == "name" { ".service" } else { ".port" });
        let service = Reference::new(&id.namespace, &id.service);
        let message = format!("Service {service} {}: the other members take its share; {}", self.what, self.way_out);
        Problem::new(format!("{field}{}", part.unwrap_or_default()), self.reason, message)
    }
}

impl<'a> Slices<'a> {
    fn by_service(slices: &'a BTreeMap<Reference, Arc<EndpointSlice>>) -> Self {
        let mut by_service: HashMap<_, Vec<_>> = HashMap::new();
        for (reference, slice) in slices {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get("kubernetes.io/service-name")) {
                let key = (reference.namespace.as_str(), service.as_str());
                by_service.entry(key).or_default().push((reference, slice));
            }
        }
        Slices(by_service)
    }

    fn of<'s>(&'s self, id: &'s BackendId) -> &'s [Slice<'a>] {
        self.0.get(&(id.namespace.as_str(), id.service.as_str())).map(Vec::as_slice).unwrap_or_default()
    }
}

fn addresses<'a>(name: Option<&String>, objects: &'a Objects) -> Option<&'a Arc<[IpAddr]>> {
    name.and_then(|name| objects.addresses.get(name))
}

fn service_object(id: &BackendId) -> ObjectRef {
    ObjectRef::new(ObjectKind::Service, &Reference::new(&id.namespace, &id.service))
}
