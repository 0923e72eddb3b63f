//! Services of type ExternalName: a name whose addresses the source resolves.
//!
//! Off unless asked for: whoever may write a Service could else reach every host that the proxy reaches.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::backend::Refusal;
use super::endpoints::address_complaint;
use super::options::Options;
use super::own::Own;
use super::problem::{Problem, Reason, quoted};
use super::service;
use crate::snapshot::{BackendId, HostName, ServicePort};

/// What an ExternalName Service leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Address(IpAddr),
    /// In the form in which [`super::Objects::addresses`] has it.
    Name(String),
}

const FIELD: &str = "spec.externalName";

pub(super) fn is_external(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName"))
}

/// Where the Service leads and on which port, if it may be followed.
pub(super) fn read(service: &Service, id: &BackendId, options: &Options) -> Result<(Destination, u16), Refusal> {
    if !options.external_name {
        return Err(Refusal {
            part: ".service.name",
            reason: Reason::Unsupported,
            what: "is of type ExternalName, which is off".to_owned(),
            way_out: "start with --enable-svc-external-name".to_owned(),
        });
    }
    let invalid = |what: String| Refusal {
        part: ".service.name",
        reason: Reason::Invalid,
        what,
        way_out: format!("correct its {FIELD}"),
    };
    let name = service.spec.as_ref().and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
    let destination = match name.parse::<IpAddr>() {
        Ok(address) => Destination::Address(address.to_canonical()),
        Err(_) => match HostName::parse(name) {
            Ok(host) => Destination::Name(host.to_string()),
            Err(error) => return Err(invalid(format!("has no usable externalName ({error})"))),
        },
    };
    if options.refuse_local_endpoints && destination.is_localhost() {
        return Err(invalid(format!("leads to {}, which is the proxy itself", quoted(name))));
    }
    Ok((destination, port(service, id)?))
}

/// The endpoints of a resolved name; what is wrong goes to `problems`, all about the Service.
pub(super) fn endpoints(
    addresses: &[IpAddr],
    port: u16,
    options: &Options,
    own: &Own,
    problems: &mut Vec<Problem>,
) -> Vec<SocketAddr> {
    let mut endpoints = BTreeSet::new();
    for address in addresses.iter().map(IpAddr::to_canonical) {
        let endpoint = SocketAddr::new(address, port);
        let leads_back = || own.what(&endpoint).map(|_| "leads back to this proxy itself");
        match address_complaint(address, options).or_else(leads_back) {
            None => _ = endpoints.insert(endpoint),
            Some(complaint) => {
                let message =
                    format!("the name leads to an address that is not used: {address} {complaint}; correct the name");
                problems.push(Problem::new(FIELD, Reason::Invalid, message));
            }
        }
    }
    if endpoints.is_empty() {
        let message = "the name has no usable address (yet): 503 is answered; correct the name or its DNS entry";
        problems.push(Problem::new(FIELD, Reason::NoEndpoints, message));
    }
    endpoints.into_iter().collect()
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Address(address) => address.fmt(f),
            Destination::Name(name) => name.fmt(f),
        }
    }
}

impl Destination {
    fn is_localhost(&self) -> bool {
        matches!(self, Destination::Name(name) if name == "localhost" || name.ends_with(".localhost"))
    }
}

/// The numeric target port; the number itself where the Service lists no ports.
fn port(service: &Service, id: &BackendId) -> Result<u16, Refusal> {
    let refusal = |what: String, way_out: &str| Refusal {
        part: ".service.port",
        reason: Reason::PortNotFound,
        what,
        way_out: way_out.to_owned(),
    };
    let number = match (service::find(service, &id.port), &id.port) {
        (Some((_, port)), _) => match &port.target_port {
            None | Some(IntOrString::Int(0)) => port.port,
            Some(IntOrString::Int(number)) => *number,
            Some(IntOrString::String(name)) => {
                let what = format!("has the targetPort {}, and an ExternalName has no port names", quoted(name));
                return Err(refusal(what, "write it as a number"));
            }
        },
        (None, ServicePort::Number(number)) if service::tcp_ports(service).next().is_none() => i32::from(*number),
        (None, port) => return Err(Refusal::port_not_found(service, port)),
    };
    let number = u16::try_from(number).ok().filter(|number| *number > 0);
    number.ok_or_else(|| refusal("has a targetPort that is not from 1 to 65535".to_owned(), "correct it"))
}
