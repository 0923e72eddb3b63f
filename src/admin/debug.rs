//! What is served at this moment, as JSON: the views under `/debug/`. Each shows one generation.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::{Findings, State};
use crate::explain::{self, Question};
use crate::snapshot::{Backend, BackendId, Protocol, Snapshot};
use crate::tables::{LiveBackend, Tables};
use crate::translate::{PolicyStatus, Report};

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
    endpoints: Vec<ShownEndpoint<'a>>,
}

#[derive(Serialize)]
struct ShownEndpoint<'a> {
    address: SocketAddr,
    /// As in logs, where it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    in_flight: u32,
    /// Its checks fail.
    unhealthy: bool,
    /// Why its newest check failed, if it did.
    failed_check: Option<String>,
    /// It failed requests.
    ejected: bool,
}

#[derive(Serialize)]
struct ShownFindings<'a> {
    /// Only objects that have a problem.
    reports: &'a [Report],
    /// What became of each policy on each of its targets.
    policies: &'a [PolicyStatus],
    source: &'a Value,
}

impl View {
    pub(super) fn render(self, state: &State) -> serde_json::Result<Vec<u8>> {
        let tables = state.published.load();
        let mut text = match self {
            View::Snapshot => pretty(&ShownSnapshot { generation: tables.generation, snapshot: &tables.snapshot })?,
            View::Routes => explain::routes_as_json(&tables)?,
            View::Backends => pretty(&backends(&tables))?,
            View::Problems => {
                let Findings { reports, policies, source } = state.findings().clone();
                pretty(&ShownFindings { reports: &reports, policies: &policies, source: &source })?
            }
        };
        text.push(b'\n');
        Ok(text)
    }
}

/// What would become of the request that is asked about, in the newest generation.
pub(super) fn explain(state: &State, question: &Question) -> serde_json::Result<Vec<u8>> {
    let tables = state.published.load();
    let reports = state.findings().reports.clone();
    let told = explain::explain(&tables, &reports, state.site, question).map_err(serde::ser::Error::custom)?;
    let mut text = pretty(&told)?;
    text.push(b'\n');
    Ok(text)
}

fn backends(tables: &Tables) -> ShownBackends<'_> {
    ShownBackends { generation: tables.generation, backends: tables.backends().map(backend).collect() }
}

fn backend<'a>((id, wanted, live): (&'a BackendId, &'a Backend, &'a std::sync::Arc<LiveBackend>)) -> ShownBackend<'a> {
    let endpoints = live.endpoints.iter().map(|endpoint| ShownEndpoint {
        address: endpoint.address,
        name: (!wanted.terms.is_empty()).then(|| live.name_at(Some(endpoint.address))),
        in_flight: endpoint.in_flight.load(Ordering::Relaxed),
        unhealthy: endpoint.unhealthy.load(Ordering::Relaxed),
        failed_check: endpoint.failed_check(),
        ejected: endpoint.ejected.load(Ordering::Relaxed),
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
