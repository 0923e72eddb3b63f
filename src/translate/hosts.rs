//! Puts the claims of all Ingresses together: what each host serves, and who lost.
//!
//! Of two claims that take the same requests a `Prefix` comes before an `ImplementationSpecific`, then the oldest
//! Ingress wins; the loser is told. What `spec.defaultBackend` claims yields to every rule. Only the hosts that a change
//! touches are made anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::certificates::{TlsHosts, wildcard_of};
use super::ingress::{Claim, Parsed, Rank};
use super::problem::{Problem, Reason};
use crate::snapshot::{Action, BackendId, Host, HostPattern, PathKind, Reference, Route};

/// The hosts of one moment.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// The Ingresses with rules for a host, oldest first. None is empty.
    claimed: BTreeMap<HostPattern, Vec<Arc<Parsed>>>,
    made: BTreeMap<HostPattern, Made>,
    /// The `host` of each of `made`.
    served: Arc<BTreeMap<HostPattern, Arc<Host>>>,
    /// Where somebody lost.
    contested: BTreeSet<HostPattern>,
    /// The hosts that name a backend.
    uses: BTreeMap<BackendId, BTreeSet<HostPattern>>,
}

/// An Ingress that is served otherwise than before: with other content, or newly, or no more.
#[derive(Debug)]
pub(super) struct Change {
    pub before: Option<Arc<Parsed>>,
    pub now: Option<Arc<Parsed>>,
}

/// What comes out of one host.
#[derive(Debug)]
struct Made {
    host: Arc<Host>,
    conflicts: Vec<(Reference, Problem)>,
    /// In ascending order.
    uses: Box<[(BackendId, Use)]>,
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
    /// Makes the hosts anew that `changes` touch, and those whose place in `tls` is not what it was before: `moved`.
    pub(super) fn update(&mut self, changes: &[Change], tls: &TlsHosts, moved: Vec<HostPattern>) {
        let mut touched: BTreeSet<HostPattern> = BTreeSet::new();
        for Change { before, now } in changes {
            if let Some(parsed) = before {
                parsed.hosts().for_each(|host| self.release(host, parsed));
                touched.extend(parsed.hosts().cloned());
            }
            if let Some(parsed) = now {
                parsed.hosts().for_each(|host| self.claim(host, parsed));
                touched.extend(parsed.hosts().cloned());
            }
        }
        if moved.iter().any(is_broad) {
            touched.extend(self.claimed.keys().cloned());
        }
        touched.extend(moved);
        if touched.iter().any(is_broad) {
            // They serve the hosts of `tls:` that have no rules of their own.
            touched.extend(tls.iter().filter(|host| !self.claimed.contains_key(host)).cloned());
        }
        for host in touched {
            let previous = self.forget(&host);
            match self.make(&host, tls) {
                Some(made) => self.put(host, made, previous),
                None if previous.is_some() => drop(Arc::make_mut(&mut self.served).remove(&host)),
                None => {}
            }
        }
    }

    pub(super) fn served(&self) -> &Arc<BTreeMap<HostPattern, Arc<Host>>> {
        &self.served
    }

    /// What owners are told who lost.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = &(Reference, Problem)> {
        self.contested.iter().flat_map(|host| &self.made[host].conflicts)
    }

    /// The backends that a route names, also a denied one.
    pub(super) fn used(&self) -> impl Iterator<Item = &BackendId> {
        self.uses.keys()
    }

    /// Where `backend` is asked for.
    pub(super) fn uses(&self, backend: &BackendId) -> impl Iterator<Item = &Use> {
        self.uses.get(backend).into_iter().flatten().flat_map(|host| self.made[host].uses_of(backend))
    }

    fn claim(&mut self, host: &HostPattern, parsed: &Arc<Parsed>) {
        let ingresses = self.claimed.entry(host.clone()).or_default();
        ingresses.insert(place(ingresses, parsed), parsed.clone());
    }

    fn release(&mut self, host: &HostPattern, parsed: &Arc<Parsed>) {
        let Some(ingresses) = self.claimed.get_mut(host) else { return };
        ingresses.remove(place(ingresses, parsed));
        if ingresses.is_empty() {
            self.claimed.remove(host);
        }
    }

    /// What `host` serves. A host of some `tls:` without rules of its own is served by broader ones, but redirects.
    fn make(&self, host: &HostPattern, tls: &TlsHosts) -> Option<Made> {
        if let Some(ingresses) = self.claimed.get(host) {
            return Some(Contest::new(host, ingresses).decide(tls.covers(host)));
        }
        let broader = [wildcard_of(host).unwrap_or(HostPattern::Any), HostPattern::Any];
        let (broader, ingresses) =
            broader.iter().filter(|_| tls.contains(host)).find_map(|broader| self.claimed.get_key_value(broader))?;
        Some(Contest::new(broader, ingresses).decide(true))
    }

    fn forget(&mut self, host: &HostPattern) -> Option<Arc<Host>> {
        let Made { host: previous, uses, .. } = self.made.remove(host)?;
        self.contested.remove(host);
        for (backend, _) in &uses {
            let Some(hosts) = self.uses.get_mut(backend) else { continue };
            hosts.remove(host);
            if hosts.is_empty() {
                self.uses.remove(backend);
            }
        }
        Some(previous)
    }

    /// What is equal to `previous` keeps its pointer.
    fn put(&mut self, host: HostPattern, mut made: Made, previous: Option<Arc<Host>>) {
        match previous.filter(|previous| *previous == made.host) {
            Some(previous) => made.host = previous,
            None => _ = Arc::make_mut(&mut self.served).insert(host.clone(), made.host.clone()),
        }
        for (backend, _) in &made.uses {
            self.uses.entry(backend.clone()).or_default().insert(host.clone());
        }
        if !made.conflicts.is_empty() {
            self.contested.insert(host.clone());
        }
        self.made.insert(host, made);
    }
}

impl Made {
    fn uses_of(&self, backend: &BackendId) -> impl Iterator<Item = &Use> {
        let first = self.uses.partition_point(|(used, _)| used < backend);
        self.uses[first..].iter().take_while(move |(used, _)| used == backend).map(|(_, place)| place)
    }
}

/// Where `parsed` stands, or would stand, among Ingresses of which the oldest comes first.
fn place(ingresses: &[Arc<Parsed>], parsed: &Parsed) -> usize {
    ingresses.partition_point(|other| other.age < parsed.age)
}

/// It serves hosts of other names.
fn is_broad(pattern: &HostPattern) -> bool {
    !matches!(pattern, HostPattern::Exact(_))
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
    fn new(pattern: &'a HostPattern, ingresses: &'a [Arc<Parsed>]) -> Self {
        let of_host =
            ingresses.iter().flat_map(|parsed| parsed.claims_on(pattern).iter().map(|claim| (parsed.as_ref(), claim)));
        let mut claims: Vec<_> = of_host.collect();
        claims.sort_by_key(|(_, claim)| (claim.rank, claim.path.kind == PathKind::ImplementationSpecific));
        Contest { pattern, claims }
    }

    fn decide(&self, tls: bool) -> Made {
        let mut taken: HashMap<Key<'_>, (&Parsed, &Claim)> = HashMap::new();
        let (mut conflicts, mut uses) = (Vec::new(), Vec::new());
        let mut routes = Vec::with_capacity(self.claims.len());
        for &(parsed, claim) in &self.claims {
            match taken.get(&Key::of(claim)) {
                Some(winner) => {
                    let lost = self.lost(parsed, claim, winner);
                    conflicts.extend(lost.map(|problem| (parsed.age.owner.clone(), problem)));
                }
                None => {
                    taken.insert(Key::of(claim), (parsed, claim));
                    uses.extend(used(parsed, claim));
                    routes.push(route(parsed, claim, tls));
                }
            }
        }
        routes.sort_by_cached_key(|route: &Route| route.path.precedence());
        // Stable, so that places stay in the order of the claims.
        uses.sort_by(|(one, _), (other, _)| one.cmp(other));
        Made { host: Arc::new(Host { tls, routes }), conflicts, uses: uses.into() }
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
    Route {
        path: claim.path.clone(),
        owner: parsed.age.owner.clone(),
        action: claim.action(),
        https_redirect: (parsed.force_ssl_redirect || (tls && parsed.ssl_redirect)) && !claim.is_acme(),
        policy: if claim.is_acme() { &parsed.challenge_policy } else { &parsed.policy }.clone(),
    }
}
