//! Finds the route of a host and a path. Cost does not grow with the number of hosts and at most with the path's depth.
//!
//! The host is chosen first: the exact name, else the one-label wildcard, else the routes of any host. Only the chosen
//! host's paths count: what none of them takes goes to the default backend, not to another host's routes.

mod compile;
mod decoded;
mod tree;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use self::tree::PathTree;
use super::LiveRoute;
use crate::snapshot::{Host, HostPattern, Route};

/// All routes of one generation.
#[derive(Debug, Default)]
pub struct Routes {
    /// What this was compiled from, in order of precedence.
    hosts: Arc<BTreeMap<HostPattern, Arc<Host>>>,
    exact: HostTable,
    /// By what follows the first label.
    wildcard: HostTable,
    any: Option<Arc<HostRoutes>>,
    /// Serves what no route takes.
    default: Option<DefaultRoute>,
}

/// The routes of one host; shared with the next generation while the host stays the same.
#[derive(Debug)]
struct HostRoutes {
    pattern: HostPattern,
    /// What this was compiled from.
    source: Arc<Host>,
    /// In the order of `source.routes`.
    live: Box<[Arc<LiveRoute>]>,
    paths: PathTree,
}

/// Hosts by name. Clients choose what is looked up, so the hash is seeded.
#[derive(Clone, Debug, Default)]
struct HostTable {
    hosts: HashTable<Arc<HostRoutes>>,
    hasher: RandomState,
}

/// The route to the default backend: for hosts that stand in some `tls:`, and for all others.
#[derive(Debug)]
struct DefaultRoute {
    tls: Arc<LiveRoute>,
    plain: Arc<LiveRoute>,
}

/// One route as it is shown to people.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    pub host: &'a HostPattern,
    pub route: &'a Route,
    pub live: &'a Arc<LiveRoute>,
}

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
        let routes = self.choose(host);
        let found = match routes {
            Some(routes) => routes.find(path)?,
            None => None,
        };
        found.or_else(|| self.default_route(routes.is_some_and(|routes| routes.source.tls))).ok_or(NoRoute::NotFound)
    }

    /// The pattern whose routes count for `host`, if any does.
    pub fn pattern(&self, host: &str) -> Option<&HostPattern> {
        self.choose(host).map(|routes| &routes.pattern)
    }

    /// `host` stands in some `tls:`; tells how to answer where there is no route.
    pub fn has_tls(&self, host: &str) -> bool {
        self.choose(host).is_some_and(|routes| routes.source.tls)
    }

    /// All routes in order of precedence, without the one to the default backend.
    pub fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        self.hosts.keys().filter_map(|pattern| self.compiled(pattern)).flat_map(|routes| {
            let HostRoutes { pattern, source, live, .. } = &**routes;
            source.routes.iter().zip(live).map(move |(route, live)| Listed { host: pattern, route, live })
        })
    }

    /// The route to the default backend, for a host that stands in some `tls:` or for one that does not.
    pub fn default_route(&self, tls: bool) -> Option<&Arc<LiveRoute>> {
        self.default.as_ref().map(|default| if tls { &default.tls } else { &default.plain })
    }

    fn insert(&mut self, host: Arc<HostRoutes>) {
        match &host.pattern {
            HostPattern::Exact(_) => self.exact.insert(host),
            HostPattern::Wildcard(_) => self.wildcard.insert(host),
            HostPattern::Any => self.any = Some(host),
        }
    }

    fn remove(&mut self, pattern: &HostPattern) {
        match pattern {
            HostPattern::Exact(name) => self.exact.remove(name.as_str()),
            HostPattern::Wildcard(suffix) => self.wildcard.remove(suffix.as_str()),
            HostPattern::Any => self.any = None,
        }
    }

    fn choose(&self, host: &str) -> Option<&Arc<HostRoutes>> {
        let wildcard = || self.wildcard.find(host.split_once('.')?.1);
        self.exact.find(host).or_else(wildcard).or(self.any.as_ref())
    }

    fn compiled(&self, pattern: &HostPattern) -> Option<&Arc<HostRoutes>> {
        match pattern {
            HostPattern::Exact(name) => self.exact.find(name.as_str()),
            HostPattern::Wildcard(suffix) => self.wildcard.find(suffix.as_str()),
            HostPattern::Any => self.any.as_ref(),
        }
    }
}

impl Listed<'_> {
    /// The route would take `path` (in normal form) if it were its host's only one.
    pub fn takes(&self, path: &str) -> bool {
        PathTree::build(std::iter::once(&self.route.path)).find(path).is_some()
    }
}

impl HostRoutes {
    fn find(&self, path: &str) -> Result<Option<&Arc<LiveRoute>>, NoRoute> {
        let found = self.paths.find(path);
        if decoded::is_ambiguous(&self.paths, path, found) {
            return Err(NoRoute::Ambiguous);
        }
        Ok(found.map(|found| &self.live[found.rule]))
    }

    /// The name that the host is found by.
    fn name(&self) -> &str {
        match &self.pattern {
            HostPattern::Exact(name) | HostPattern::Wildcard(name) => name.as_str(),
            HostPattern::Any => "",
        }
    }
}

impl HostTable {
    fn find(&self, name: &str) -> Option<&Arc<HostRoutes>> {
        self.hosts.find(self.hasher.hash_one(name), |routes| routes.name() == name)
    }

    /// In place of those of the same name.
    fn insert(&mut self, routes: Arc<HostRoutes>) {
        let hash = |routes: &Arc<HostRoutes>| self.hasher.hash_one(routes.name());
        let same = |known: &Arc<HostRoutes>| known.name() == routes.name();
        self.hosts.entry(hash(&routes), same, hash).insert(routes);
    }

    fn remove(&mut self, name: &str) {
        if let Ok(entry) = self.hosts.find_entry(self.hasher.hash_one(name), |routes| routes.name() == name) {
            entry.remove();
        }
    }
}
