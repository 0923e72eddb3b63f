//! Resolves Service ports into backends: addresses and how they are talked to.
//!
//! What makes a backend unusable is told to the owner of every route that names it; what is wrong with a Service or an
//! EndpointSlice beside that is told to theirs. Each backend is remembered by the objects that it was made of, so that
//! a changed EndpointSlice costs one backend.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::endpoints::{self, Slice};
use super::external_name::{self, Destination};
use super::memo::Ascending;
use super::objects::Objects;
use super::options::Options;
use super::problem::{ObjectKind, ObjectRef, Problem, Reason};
use super::reports::Reports;
use super::service;
use crate::snapshot::{Backend, BackendId, Protocol, Reference, ServicePort};

/// The backends of one moment.
#[derive(Debug, Default)]
pub(super) struct Backends(BTreeMap<BackendId, Known>);

/// A backend and what it was made of.
#[derive(Debug)]
struct Known {
    service: Option<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
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
    /// Resolves what is `used`, in ascending order, and forgets the rest.
    pub(super) fn update(&mut self, used: &[&BackendId], objects: &Objects, options: &Options) {
        let mut previous = Ascending::new(std::mem::take(&mut self.0));
        let slices = Slices::by_service(&objects.endpoint_slices);
        let resolve = |&id: &&BackendId| {
            let service = objects.services.get(&Reference::new(&id.namespace, &id.service));
            let slices = slices.of(id);
            match previous.take(id) {
                Some((id, known)) if known.is_current(service, slices, objects) => (id, known),
                Some((id, known)) => {
                    let mut fresh = Known::resolve(&id, service, slices, objects, options);
                    if fresh.resolved.backend == known.resolved.backend {
                        fresh.resolved.backend = known.resolved.backend;
                    }
                    (id, fresh)
                }
                None => (id.clone(), Known::resolve(id, service, slices, objects, options)),
            }
        };
        self.0 = used.iter().map(resolve).collect();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&BackendId, &Resolved)> {
        self.0.iter().map(|(id, known)| (id, &known.resolved))
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

impl Known {
    fn is_current(&self, service: Option<&Arc<Service>>, slices: &[Slice<'_>], objects: &Objects) -> bool {
        let same_service = match (&self.service, service) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        let same_addresses = match (&self.addresses, addresses(self.resolved.name.as_ref(), objects)) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        same_service
            && same_addresses
            && self.slices.len() == slices.len()
            && self.slices.iter().zip(slices).all(|(before, (_, now))| Arc::ptr_eq(before, now))
    }

    fn resolve(
        id: &BackendId,
        service: Option<&Arc<Service>>,
        slices: &[Slice<'_>],
        objects: &Objects,
        options: &Options,
    ) -> Self {
        let resolved = match service {
            None => Resolved::refused(id, Refusal::service_not_found()),
            Some(service) if external_name::is_external(service) => external(id, service, objects, options),
            Some(service) => internal(id, service, slices, options),
        };
        Known {
            service: service.cloned(),
            slices: slices.iter().map(|(_, slice)| Arc::clone(slice)).collect(),
            addresses: addresses(resolved.name.as_ref(), objects).cloned(),
            resolved,
        }
    }
}

fn internal(id: &BackendId, service: &Service, slices: &[Slice<'_>], options: &Options) -> Resolved {
    let Some((index, port)) = service::find(service, &id.port) else {
        return Resolved::refused(id, Refusal::port_not_found(service, &id.port));
    };
    let object = service_object(id);
    let mut reports = Reports::default();
    let (protocol, problem) = service::protocol(port, index);
    reports.extend(&object, problem);
    reports.extend(&object, service::unsupported(service));
    let gathered = endpoints::gather(port.name.as_deref().unwrap_or_default(), slices, options, &mut reports);
    if let Some(why) = gathered.why_none {
        let message = format!("the Service {why}: 503 is answered; start a Pod for it or correct its selector");
        reports.add(object, Problem::new(format!("spec.ports[{index}]"), Reason::NoEndpoints, message));
    }
    let backend = Backend { protocol, endpoints: gathered.addresses, unresolved: None, ..Backend::default() };
    Resolved { backend: Arc::new(backend), reports, ..Resolved::default() }
}

fn external(id: &BackendId, service: &Service, objects: &Objects, options: &Options) -> Resolved {
    let (destination, number) = match external_name::read(service, id, options) {
        Ok(read) => read,
        Err(refusal) => return Resolved::refused(id, refusal),
    };
    let mut problems = Vec::new();
    let protocol = service::find(service, &id.port).map(|(index, port)| service::protocol(port, index));
    let (protocol, problem) = protocol.unwrap_or((Protocol::Http1, None));
    problems.extend(problem);
    let (addresses, name) = match destination {
        Destination::Address(address) => (Arc::from([address]), None),
        Destination::Name(name) => (addresses(Some(&name), objects).cloned().unwrap_or_default(), Some(name)),
    };
    let endpoints = external_name::endpoints(&addresses, number, options, &mut problems);
    let mut reports = Reports::default();
    reports.extend(&service_object(id), problems);
    let backend = Backend { protocol, endpoints, unresolved: None, ..Backend::default() };
    Resolved { backend: Arc::new(backend), reports, name, ..Resolved::default() }
}

impl Resolved {
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
