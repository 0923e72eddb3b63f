//! Rules that take a path too, but not the request: another one comes first.

use std::sync::Arc;

use serde::Serialize;

use crate::snapshot::{HostName, HostPattern, PathKind, PathMatch, Reference, Route};
use crate::tables::{Listed, LiveRoute, Tables};
use crate::translate::Report;

/// A rule that lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    pub host: HostPattern,
    pub path: String,
    pub kind: PathKind,
    pub ingress: Reference,
    pub why: String,
}

/// Who lost to `winner`, in the order in which rules are tried. Host and path are in normal form.
pub(super) fn to(tables: &Tables, host: &str, path: &str, winner: Option<&Arc<LiveRoute>>) -> Vec<Lost> {
    let Ok(name) = HostName::parse(host) else { return Vec::new() };
    let chosen = tables.routes.pattern(host);
    let winning = tables.routes.iter().find(|listed| winner.is_some_and(|winner| Arc::ptr_eq(winner, listed.live)));
    let others = tables.routes.iter().filter(|listed| !winning.is_some_and(|won| Arc::ptr_eq(won.live, listed.live)));
    let taking = others.filter(|listed| listed.host.covers(&name) && listed.takes(path));
    taking.map(|listed| lost(&listed, chosen, winning.map(|won| won.route))).collect()
}

fn lost(listed: &Listed<'_>, chosen: Option<&HostPattern>, winning: Option<&Route>) -> Lost {
    let why = match (chosen, winning) {
        (Some(chosen), _) if chosen != listed.host => format!("the rules of {chosen} count for this host, no others"),
        (_, Some(winning)) => after(&listed.route.path.kind, listed.route, winning),
        (_, None) => "an escape in the path would select another rule if it were decoded".to_owned(),
    };
    Lost {
        host: listed.host.clone(),
        path: listed.route.path.path.as_str().to_owned(),
        kind: listed.route.path.kind,
        ingress: listed.route.owner.clone(),
        why,
    }
}

/// Why `route` is tried after `winning`, of the same host.
fn after(kind: &PathKind, route: &Route, winning: &Route) -> String {
    let length = |route: &Route| route.path.path.as_str().len();
    if winning.path.kind == PathKind::Exact && *kind != PathKind::Exact {
        format!("{kind:?} comes after Exact")
    } else if length(route) < length(winning) {
        "shorter".to_owned()
    } else {
        format!("{kind:?} comes after {:?}", winning.path.kind)
    }
}

/// What was told to owners of rules for the same requests as `winner`'s.
pub(super) fn conflicts(winner: &Listed<'_>, reports: &[Report]) -> Vec<String> {
    let told = reports.iter().flat_map(|report| report.problems.iter().map(move |problem| (report, problem)));
    let lost_to = |(host, path): &(HostPattern, PathMatch)| (host, path) == (winner.host, &winner.route.path);
    told.filter(|(_, problem)| problem.lost_to.as_ref().is_some_and(lost_to))
        .map(|(report, problem)| format!("{}: {}: {}", report.object, problem.field, problem.message))
        .collect()
}
