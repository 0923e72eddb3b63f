//! Where requests come back to this process: an endpoint there is an endless circle, in which one request takes all
//! connections there are.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;

use super::objects::Objects;
use super::options::Options;
use super::service;

/// The addresses of this process, for [`Own::what`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    pod: Vec<SocketAddr>,
    /// Those of the Service that leads here.
    service: BTreeSet<SocketAddr>,
}

/// What of this process has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owned {
    Pod,
    Service,
}

impl Own {
    pub(super) fn of(objects: &Objects, options: &Options) -> Self {
        let service = options.own_service.as_ref().and_then(|name| objects.services.get(name));
        let service = service.map(|service| addresses_of(service)).unwrap_or_default();
        Own { pod: options.own_endpoints.clone(), service }
    }

    /// What has this address, if it leads here.
    pub(super) fn what(&self, address: &SocketAddr) -> Option<Owned> {
        let service = || self.service.contains(address).then_some(Owned::Service);
        self.pod.contains(address).then_some(Owned::Pod).or_else(service)
    }
}

/// Within the cluster and from outside, at each of its ports. The ports of nodes are not among them, as their addresses
/// are not known.
fn addresses_of(service: &Service) -> BTreeSet<SocketAddr> {
    let spec = service.spec.as_ref();
    let inside = spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip));
    let outside = spec.iter().flat_map(|spec| spec.external_ips.iter().flatten());
    let balancers = service.status.iter().flat_map(|status| &status.load_balancer);
    let balancers = balancers.flat_map(|balancer| balancer.ingress.iter().flatten()).filter_map(|at| at.ip.as_ref());
    let all = inside.chain(outside).chain(balancers).filter_map(|text| text.parse::<IpAddr>().ok());
    let ports = || service::tcp_ports(service).filter_map(|(_, port)| u16::try_from(port.port).ok());
    all.flat_map(|address| ports().map(move |port| SocketAddr::new(address.to_canonical(), port))).collect()
}
