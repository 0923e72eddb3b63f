//! What is served at this moment, as JSON: the views under `/debug/`. Each shows one generation.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::{Findings, State};
use crate::snapshot::{Action, Backend, BackendId, HostPattern, NormalPath, PathKind, Protocol, Reference, Snapshot};
use crate::tables::{Listed, LiveBackend, Tables};
use crate::translate::Report;

/// One view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Snapshot,
    Routes,
    Backends,
    Problems,
}

#[derive(Serialize)]
struct ShownSnapshot<'a> {
    generation: u64,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

#[derive(Serialize)]
struct ShownRoute<'a> {
    /// `*`: any host.
    host: &'a HostPattern,
    path: &'a NormalPath,
    kind: PathKind,
    tls: bool,
    https_redirect: bool,
    ingress: &'a Reference,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

/// Where a route's requests go.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Backend {
        backend: &'a BackendId,
        endpoints: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        unresolved: Option<&'a str>,
    },
    Denied {
        denied: &'a str,
    },
}

#[derive(Serialize)]
struct ShownBackends<'a> {
    generation: u64,
    backends: Vec<ShownBackend<'a>>,
}

#[derive(Serialize)]
struct ShownBackend<'a> {
    /// As in logs and metrics.
    name: &'a str,
    backend: &'a BackendId,
    protocol: Protocol,
    unresolved: Option<&'a str>,
    endpoints: Vec<ShownEndpoint>,
}

#[derive(Serialize)]
struct ShownEndpoint {
    address: SocketAddr,
    in_flight: u32,
}

#[derive(Serialize)]
struct ShownFindings<'a> {
    /// Only objects that have a problem.
    reports: &'a [Report],
    source: &'a Value,
}

impl View {
    pub(super) fn render(self, state: &State) -> serde_json::Result<Vec<u8>> {
        let tables = state.published.load();
        let mut text = match self {
            View::Snapshot => pretty(&ShownSnapshot { generation: tables.generation, snapshot: &tables.snapshot })?,
            View::Routes => routes(&tables)?,
            View::Backends => pretty(&backends(&tables))?,
            View::Problems => {
                let Findings { reports, source } = state.findings().clone();
                pretty(&ShownFindings { reports: &reports, source: &source })?
            }
        };
        text.push(b'\n');
        Ok(text)
    }
}

/// An array with one route a line, for `grep` as for `jq`, in the order in which hosts and paths are tried.
fn routes(tables: &Tables) -> serde_json::Result<Vec<u8>> {
    let mut text = b"[".to_vec();
    for (place, listed) in tables.routes.iter().enumerate() {
        text.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut text, &route(tables, &listed))?;
    }
    text.extend_from_slice(b"\n]");
    Ok(text)
}

fn route<'a>(tables: &'a Tables, listed: &Listed<'a>) -> ShownRoute<'a> {
    let route = listed.route;
    ShownRoute {
        host: listed.host,
        path: &route.path.path,
        kind: route.path.kind,
        tls: listed.live.tls,
        https_redirect: route.policy.https_redirect,
        ingress: &route.owner,
        outcome: match &route.action {
            Action::Forward(id) => {
                let backend = tables.snapshot.backends.get(id);
                Outcome::Backend {
                    backend: id,
                    endpoints: backend.map_or(0, |backend| backend.endpoints.len()),
                    unresolved: backend.and_then(|backend| backend.unresolved.as_deref()),
                }
            }
            Action::Deny(reason) => Outcome::Denied { denied: reason },
        },
    }
}

fn backends(tables: &Tables) -> ShownBackends<'_> {
    ShownBackends { generation: tables.generation, backends: tables.backends().map(backend).collect() }
}

fn backend<'a>((id, wanted, live): (&'a BackendId, &'a Backend, &'a std::sync::Arc<LiveBackend>)) -> ShownBackend<'a> {
    let endpoints = live.endpoints.iter().map(|endpoint| ShownEndpoint {
        address: endpoint.address,
        in_flight: endpoint.in_flight.load(Ordering::Relaxed),
    });
    ShownBackend {
        name: &live.name,
        backend: id,
        protocol: live.protocol,
        unresolved: wanted.unresolved.as_deref(),
        endpoints: endpoints.collect(),
    }
}

fn pretty(shown: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(shown)
}
