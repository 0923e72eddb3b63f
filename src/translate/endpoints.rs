//! Gathers the addresses behind one Service port from its EndpointSlices.
//!
//! Ready endpoints serve, of them the near ones where hints say so. Those that terminate but still serve do so only while
//! nothing is ready.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::options::Options;
use super::own::{Own, Owned};
use super::problem::{ObjectKind, ObjectRef, Problem, Reason, quoted};
use super::reports::Reports;
use super::topology::{Here, Hints};
use crate::snapshot::Reference;

/// An EndpointSlice with its name.
pub(super) type Slice<'a> = (&'a Reference, &'a Arc<EndpointSlice>);

/// The addresses behind a Service port.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Sorted, no duplicates.
    pub addresses: Vec<SocketAddr>,
    /// A part of a sentence about the Service, if there are none.
    pub why_none: Option<String>,
}

/// What is there while the slices are read.
#[derive(Default)]
struct Gathering {
    ready: BTreeSet<SocketAddr>,
    hints: Hints,
    draining: BTreeSet<SocketAddr>,
    /// Where this proxy is itself among them: what else has that port are its replicas, which would send a request back.
    own_ports: BTreeSet<u16>,
    /// Some slice has the port.
    port: bool,
    reports: Reports,
}

/// Under what rules endpoints are gathered. `here`: where hints count, where this process runs.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub options: &'a Options,
    pub own: &'a Own,
    pub here: Option<&'a Here>,
}

/// `port_name`: the Service port's; `""` if it has none. `slices`: those of the Service.
pub(super) fn gather(port_name: &str, slices: &[Slice<'_>], rules: Rules<'_>, reports: &mut Reports) -> Gathered {
    let mut gathering = Gathering::default();
    for (reference, slice) in slices {
        let object = ObjectRef::new(ObjectKind::EndpointSlice, reference);
        gathering.take_slice(port_name, slice, &object, rules);
    }
    if let Some(near) = gathering.hints.near() {
        gathering.ready = near;
    }
    reports.merge(&gathering.reports);
    let why_none = match (slices.is_empty(), gathering.port) {
        (true, _) => "has no EndpointSlice (label kubernetes.io/service-name)".to_owned(),
        (false, false) => format!("has no EndpointSlice with a TCP port named {}", quoted(port_name)),
        (false, true) if !gathering.own_ports.is_empty() => "leads back to this proxy itself".to_owned(),
        (false, true) => "has no ready endpoint".to_owned(),
    };
    let leads_on = |address: &SocketAddr| !gathering.own_ports.contains(&address.port());
    gathering.ready.retain(leads_on);
    gathering.draining.retain(leads_on);
    let addresses = if gathering.ready.is_empty() { gathering.draining } else { gathering.ready };
    Gathered { why_none: addresses.is_empty().then_some(why_none), addresses: addresses.into_iter().collect() }
}

/// Why no connection is made to `address`; `None`: it may be used.
pub(super) fn address_complaint(address: IpAddr, options: &Options) -> Option<&'static str> {
    if address.is_unspecified() || address.is_multicast() {
        return Some("is not the address of one host");
    }
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let local = address.is_loopback() || link_local;
    (local && options.refuse_local_endpoints).then_some("is loopback or link-local and refused in a cluster")
}

impl Gathering {
    fn take_slice(&mut self, port_name: &str, slice: &EndpointSlice, object: &ObjectRef, rules: Rules<'_>) {
        if let Some(problem) = family_problem(&slice.address_type) {
            return self.reports.add(object.clone(), problem);
        }
        for (index, port) in slice.ports.iter().flatten().enumerate() {
            if port.name.as_deref().unwrap_or_default() != port_name || !is_tcp(port.protocol.as_deref()) {
                continue;
            }
            self.port = true;
            match number(port) {
                Some(number) => self.take_endpoints(number, slice, object, rules),
                None => {
                    let message = "the port has no number from 1 to 65535: its endpoints are not used; correct it";
                    let problem = Problem::new(format!("ports[{index}].port"), Reason::Invalid, message);
                    self.reports.add(object.clone(), problem);
                }
            }
        }
    }

    fn take_endpoints(&mut self, port: u16, slice: &EndpointSlice, object: &ObjectRef, rules: Rules<'_>) {
        for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
            for (place, text) in endpoint.addresses.iter().enumerate() {
                let read = address(text, port, &slice.address_type, rules.options);
                let complaint = match read.map(|address| (address, rules.own.what(&address))) {
                    Ok((address, None)) => {
                        self.take(endpoint, address, rules.here);
                        continue;
                    }
                    Ok((_, Some(Owned::Pod))) => {
                        self.own_ports.insert(port);
                        format!("with port {port} is this proxy itself: nothing at that port is used, as it leads back")
                    }
                    Ok((_, Some(Owned::Service))) => {
                        format!(
                            "with port {port} is the Service of this proxy itself: it is not used, as it leads back"
                        )
                    }
                    Err(complaint) => format!("{complaint}: it is not used"),
                };
                let field = format!("endpoints[{index}].addresses[{place}]");
                let message = format!("{} {complaint}; correct it", quoted(text));
                self.reports.add(object.clone(), Problem::new(field, Reason::Invalid, message));
            }
        }
    }

    fn take(&mut self, endpoint: &Endpoint, address: SocketAddr, here: Option<&Here>) {
        let condition = |read: fn(&k8s_openapi::api::discovery::v1::EndpointConditions) -> Option<bool>| {
            endpoint.conditions.as_ref().and_then(read)
        };
        let ready = condition(|conditions| conditions.ready).unwrap_or(true);
        let serving = condition(|conditions| conditions.serving).unwrap_or(ready);
        let terminating = condition(|conditions| conditions.terminating).unwrap_or(false);
        if ready {
            self.ready.insert(address);
            if let Some(here) = here {
                self.hints.take(endpoint, address, here);
            }
        } else if serving && terminating {
            self.draining.insert(address);
        }
    }
}

fn family_problem(family: &str) -> Option<Problem> {
    let (reason, message) = match family {
        "IPv4" | "IPv6" => return None,
        "FQDN" => {
            (Reason::Unsupported, "endpoints of type FQDN are not used; list addresses, as IPv4 or IPv6".to_owned())
        }
        _ => (
            Reason::Invalid,
            format!("{} is neither IPv4 nor IPv6: the endpoints are not used; correct it", quoted(family)),
        ),
    };
    Some(Problem::new("addressType", reason, message))
}

fn address(text: &str, port: u16, family: &str, options: &Options) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().ok().filter(|address| address.is_ipv4() == (family == "IPv4"));
    let address = address.ok_or_else(|| format!("is not an {family} address"))?.to_canonical();
    match address_complaint(address, options) {
        Some(complaint) => Err(complaint.to_owned()),
        None => Ok(SocketAddr::new(address, port)),
    }
}

fn number(port: &EndpointPort) -> Option<u16> {
    port.port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

/// TCP is what is meant where nothing is said.
pub(super) fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("" | "TCP"))
}
