//! Puts the claims of all Ingresses together: what each host serves, and who lost.
//!
//! Of two claims that take the same requests a `Prefix` comes before an `ImplementationSpecific`, then the oldest
//! Ingress wins; the loser is told. What `spec.defaultBackend` claims yields to every rule. Remembers each host by the
//! Ingresses that it is made of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::certificates::{TlsHosts, wildcard_of};
use super::ingress::{Claim, Parsed, Rank};
use super::memo::Ascending;
use super::problem::{Problem, Reason};
use crate::snapshot::{Action, BackendId, Host, HostPattern, PathKind, Reference, Route};

/// The hosts of one moment.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: BTreeMap<HostPattern, MadeHost>,
}

/// A host and what it was made of.
#[derive(Debug)]
struct MadeHost {
    /// Oldest first.
    ingresses: Vec<Arc<Parsed>>,
    tls: bool,
    made: Made,
}

/// What comes out of one host.
#[derive(Debug)]
pub(super) struct Made {
    pub host: Arc<Host>,
    pub conflicts: Vec<(Reference, Problem)>,
    pub uses: Vec<(BackendId, Use)>,
}

/// Where a Service port is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// An Ingress.
    pub owner: Reference,
    /// As `spec.rules[0].http.paths[1].backend`.
    pub field: String,
    /// No request gets there.
    pub denied: bool,
}

impl Hosts {
    /// Makes the hosts anew where `served` (oldest first) or `tls` changed.
    pub(super) fn update(&mut self, served: &[Arc<Parsed>], tls: &TlsHosts) {
        let mut ingresses: BTreeMap<&HostPattern, Vec<&Arc<Parsed>>> = BTreeMap::new();
        for parsed in served {
            for host in parsed.hosts.keys() {
                ingresses.entry(host).or_default().push(parsed);
            }
        }
        let mut wanted: BTreeMap<_, _> = ingresses.keys().map(|host| (*host, (*host, tls.covers(host)))).collect();
        // A host of some `tls:` without rules of its own is served by broader ones, but redirects.
        for host in tls.iter().filter(|host| !ingresses.contains_key(host)) {
            let wildcard = wildcard_of(host).unwrap_or(HostPattern::Any);
            let broader = ingresses.get_key_value(&wildcard).or_else(|| ingresses.get_key_value(&HostPattern::Any));
            if let Some((broader, _)) = broader {
                wanted.insert(host, (broader, true));
            }
        }
        let mut previous = Ascending::new(std::mem::take(&mut self.hosts));
        let make = |(host, (pattern, tls)): (&HostPattern, (&HostPattern, bool))| {
            let (host, known) =
                previous.take(host).map_or_else(|| (host.clone(), None), |(host, known)| (host, Some(known)));
            (host, make(pattern, &ingresses[pattern], tls, known))
        };
        self.hosts = wanted.into_iter().map(make).collect();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HostPattern, &Made)> {
        self.hosts.iter().map(|(pattern, made)| (pattern, &made.made))
    }
}

/// Serves the claims that `ingresses` have on `pattern`.
fn make(pattern: &HostPattern, ingresses: &[&Arc<Parsed>], tls: bool, previous: Option<MadeHost>) -> MadeHost {
    let same = |known: &MadeHost| {
        // They have the same claims, so that the pattern is the same too.
        known.tls == tls
            && known.ingresses.len() == ingresses.len()
            && known.ingresses.iter().zip(ingresses).all(|(before, now)| Arc::ptr_eq(before, now))
    };
    let previous = match previous {
        Some(known) if same(&known) => return known,
        previous => previous.map(|known| known.made.host),
    };
    let mut made = Contest::new(pattern, ingresses).decide(tls);
    if let Some(previous) = previous.filter(|previous| *previous == made.host) {
        made.host = previous;
    }
    let ingresses = ingresses.iter().map(|parsed| Arc::clone(parsed)).collect();
    MadeHost { ingresses, tls, made }
}

/// The claims on one host while it is decided which of them are served.
struct Contest<'a> {
    pattern: &'a HostPattern,
    /// In the order in which they win.
    claims: Vec<(&'a Parsed, &'a Claim)>,
}

/// Two claims with the same key take the same requests.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    exact: bool,
    path: &'a str,
}

impl<'a> Contest<'a> {
    /// `ingresses`: oldest first.
    fn new(pattern: &'a HostPattern, ingresses: &'a [&'a Arc<Parsed>]) -> Self {
        let of_host = ingresses
            .iter()
            .flat_map(|parsed| parsed.hosts.get(pattern).into_iter().flatten().map(|claim| (parsed.as_ref(), claim)));
        let mut claims: Vec<_> = of_host.collect();
        claims.sort_by_key(|(_, claim)| (claim.rank, claim.path.kind == PathKind::ImplementationSpecific));
        Contest { pattern, claims }
    }

    fn decide(&self, tls: bool) -> Made {
        let mut taken: HashMap<Key<'_>, (&Parsed, &Claim)> = HashMap::new();
        let mut made = Made { host: Arc::default(), conflicts: Vec::new(), uses: Vec::new() };
        let mut routes = Vec::new();
        for &(parsed, claim) in &self.claims {
            match taken.get(&Key::of(claim)) {
                Some(winner) => {
                    let lost = self.lost(parsed, claim, winner);
                    made.conflicts.extend(lost.map(|problem| (parsed.age.owner.clone(), problem)));
                }
                None => {
                    taken.insert(Key::of(claim), (parsed, claim));
                    made.uses.extend(used(parsed, claim));
                    routes.push(route(parsed, claim, tls));
                }
            }
        }
        routes.sort_by_cached_key(|route: &Route| route.path.precedence());
        made.host = Arc::new(Host { tls, routes });
        made
    }

    /// What the owner of a claim that is not served is told. A default backend that has nothing left to serve has
    /// lost nothing.
    fn lost(&self, parsed: &Parsed, claim: &Claim, (winner, won): &(&Parsed, &Claim)) -> Option<Problem> {
        if claim.rank == Rank::Default && won.rank == Rank::Rule {
            return None;
        }
        let by = match winner.age.owner == parsed.age.owner {
            true => format!("{} of the same Ingress", won.field),
            false => format!("Ingress {} ({})", winner.age.owner, won.field),
        };
        let why = match won.path.kind == claim.path.kind {
            true => "comes first",
            false => "is of type Prefix",
        };
        let message = format!(
            "the requests for {} {} are served by {by}, which {why}: this rule has no effect; remove one of them",
            self.pattern,
            claim.path.path.as_str()
        );
        let lost_to = Some((self.pattern.clone(), won.path.clone()));
        Some(Problem { lost_to, ..Problem::new(claim.field.clone(), Reason::Conflict, message) })
    }
}

impl Key<'_> {
    /// By element, `/a` and `/a/` are the same prefix.
    fn of(claim: &Claim) -> Key<'_> {
        let path = claim.path.path.as_str();
        let exact = claim.path.kind == PathKind::Exact;
        Key { exact, path: if exact { path } else { path.strip_suffix('/').unwrap_or(path) } }
    }
}

fn used(parsed: &Parsed, claim: &Claim) -> Option<(BackendId, Use)> {
    let Action::Forward(backend) = &claim.asked else { return None };
    let field = match claim.rank {
        Rank::Rule => format!("{}.backend", claim.field),
        Rank::Default => claim.field.clone(),
    };
    Some((backend.clone(), Use { owner: parsed.age.owner.clone(), field, denied: claim.denied.is_some() }))
}

fn route(parsed: &Parsed, claim: &Claim, tls: bool) -> Route {
    let mut policy = if claim.is_acme() { parsed.challenge_policy.clone() } else { parsed.policy.clone() };
    policy.https_redirect = (parsed.force_ssl_redirect || (tls && parsed.ssl_redirect)) && !claim.is_acme();
    Route { path: claim.path.clone(), owner: parsed.age.owner.clone(), action: claim.action(), policy }
}
