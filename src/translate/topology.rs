//! Which endpoints are near this process: as hints of EndpointSlices say, and kube-proxy reads them.
//!
//! Hints count only if every ready endpoint of the Service port has some, and one of them is for here: those for a node
//! before those for a zone. Else all endpoints are used alike.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use k8s_openapi::api::discovery::v1::Endpoint;

use super::objects::Objects;
use super::options::Options;

const ZONE: &str = "topology.kubernetes.io/zone";

/// Where this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    node: String,
    /// That of the node, if it has one.
    zone: Option<String>,
}

/// What the hints of the ready endpoints say.
#[derive(Debug, Default)]
pub(super) struct Hints {
    of_nodes: Hinted,
    of_zones: Hinted,
}

#[derive(Debug, Default)]
struct Hinted {
    /// An endpoint has no hint of this kind.
    lacking: bool,
    /// Those that are for here.
    near: BTreeSet<SocketAddr>,
}

impl Here {
    /// `None`: it does not count.
    pub(super) fn of(objects: &Objects, options: &Options) -> Option<Self> {
        let node = options.node.clone()?;
        let labels = objects.nodes.get(&node).and_then(|node| node.metadata.labels.as_ref());
        let zone = labels.and_then(|labels| labels.get(ZONE)).cloned();
        Some(Here { node, zone })
    }
}

impl Hints {
    pub(super) fn take(&mut self, endpoint: &Endpoint, address: SocketAddr, here: &Here) {
        let hints = endpoint.hints.as_ref();
        let nodes = hints.and_then(|hints| hints.for_nodes.as_deref()).unwrap_or_default();
        let zones = hints.and_then(|hints| hints.for_zones.as_deref()).unwrap_or_default();
        self.of_nodes.take(nodes.iter().map(|node| &node.name), Some(&here.node), address);
        self.of_zones.take(zones.iter().map(|zone| &zone.name), here.zone.as_ref(), address);
    }

    /// The endpoints to use; `None`: all.
    pub(super) fn near(self) -> Option<BTreeSet<SocketAddr>> {
        self.of_nodes.near().or_else(|| self.of_zones.near())
    }
}

impl Hinted {
    fn take<'a>(
        &mut self,
        mut names: impl ExactSizeIterator<Item = &'a String>,
        here: Option<&String>,
        address: SocketAddr,
    ) {
        self.lacking |= names.len() == 0;
        if names.any(|name| Some(name) == here) {
            self.near.insert(address);
        }
    }

    fn near(self) -> Option<BTreeSet<SocketAddr>> {
        (!self.lacking && !self.near.is_empty()).then_some(self.near)
    }
}
