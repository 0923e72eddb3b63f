//! Finds the route of a host and a path. Cost does not grow with the number of hosts and at most with the path's depth.

use std::sync::Arc;

use super::LiveRoute;

/// All routes of one generation.
#[derive(Debug, Default)]
pub struct Routes {}

/// No route takes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing matches: 404.
    NotFound,
    /// The path holds an escaped `/`, `\`, `;` or `%` that would select another route if it were decoded: 400.
    Ambiguous,
}

impl Routes {
    /// `host` and `path` are in normal form (see `snapshot::host` and `snapshot::path`).
    pub fn find(&self, host: &str, path: &str) -> Result<&Arc<LiveRoute>, NoRoute> {
        todo!("{host} {path}")
    }
}
