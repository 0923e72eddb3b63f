//! The table of routes, one line a route.

use std::fmt::Write;

use serde::Serialize;

use crate::snapshot::{Action, BackendId, HostPattern, NormalPath, PathKind, Reference};
use crate::tables::{Listed, Tables};

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

/// An array with one route a line, for `grep` as for `jq`, in the order in which hosts and paths are tried.
pub fn routes_as_json(tables: &Tables) -> serde_json::Result<Vec<u8>> {
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
        https_redirect: route.https_redirect,
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

/// The same for people, in columns.
pub fn routes_as_text(tables: &Tables) -> String {
    let heads = ["HOST", "PATH", "TYPE", "BACKEND", "ENDPOINTS", "INGRESS", "NOTE"].map(String::from);
    let rows: Vec<_> =
        std::iter::once(heads).chain(tables.routes.iter().map(|listed| row(&route(tables, &listed)))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:width$}  ").expect("writing to a String never fails");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(route: &ShownRoute<'_>) -> [String; 7] {
    let (backend, endpoints, note) = match &route.outcome {
        Outcome::Backend { backend, endpoints, unresolved } => {
            let note = match unresolved {
                Some(reason) => format!("503: {reason}"),
                None if *endpoints == 0 => "503: no endpoint".to_owned(),
                None if route.https_redirect => "http is redirected to https".to_owned(),
                None => String::new(),
            };
            (backend.to_string(), endpoints.to_string(), note)
        }
        Outcome::Denied { denied } => (String::new(), String::new(), format!("503: {denied}")),
    };
    let host = route.host.to_string();
    let kind = format!("{:?}", route.kind);
    [host, route.path.as_str().to_owned(), kind, backend, endpoints, route.ingress.to_string(), note]
}
