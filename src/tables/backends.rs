//! Carries backends and endpoints from one generation to the next: what did not change is the same value in both.
//!
//! Routes hold the place of their backend in [`Tables::backends`]. A backend keeps its place from generation to
//! generation and new ones are put at the end, so that routes stay valid; only when some backend goes, all are placed
//! anew in the snapshot's order.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::net::SocketAddr;
use std::sync::atomic::{self, AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::balancer::{Balancer, Split};
use super::outlier::Ejections;
use super::{LiveBackend, LiveEndpoint, LiveTls, Tables};
use crate::snapshot::{Backend, BackendId, EndpointTerms, RoutePolicy, SplitMember};

/// The backends of one generation.
pub(super) struct Backends {
    pub(super) live: Arc<[Arc<LiveBackend>]>,
    /// The place in `live` of each of the snapshot's backends, in the snapshot's order.
    pub(super) slots: Arc<[usize]>,
    /// The places of the generation before do not hold any more.
    pub(super) moved: bool,
}

/// A backend of the generation before.
struct Before<'a> {
    id: &'a BackendId,
    backend: &'a Arc<Backend>,
    slot: usize,
    live: &'a Arc<LiveBackend>,
}

impl Backends {
    /// The live form of `wanted`. Endpoints that it does not have any more are retired.
    pub(super) fn carry(
        wanted: &BTreeMap<BackendId, Arc<Backend>>,
        previous: Option<&Tables>,
        ejections: &Arc<Ejections>,
    ) -> Self {
        let mut before = previous.into_iter().flat_map(Before::all).peekable();
        let mut live = Vec::with_capacity(wanted.len());
        let mut moved = false;
        let mut retire = |gone: Before<'_>| {
            gone.live.endpoints.iter().for_each(|endpoint| endpoint.retire());
            moved = true;
        };
        for (id, backend) in wanted {
            live.push(match take_equal(&mut before, |before| before.id.cmp(id), &mut retire) {
                None => (None, Arc::new(LiveBackend::new(id, backend, ejections))),
                Some(before) if before.backend == backend => (Some(before.slot), before.live.clone()),
                Some(before) => (Some(before.slot), Arc::new(before.live.renewed(backend))),
            });
        }
        before.for_each(retire);
        let mut placed = Self::place(live, moved);
        placed.join(wanted);
        placed
    }

    fn place(live: Vec<(Option<usize>, Arc<LiveBackend>)>, moved: bool) -> Self {
        let mut next = if moved { 0 } else { live.iter().filter(|(slot, _)| slot.is_some()).count() };
        let mut placed: Vec<(usize, Arc<LiveBackend>)> = Vec::with_capacity(live.len());
        for (slot, backend) in live {
            let slot = slot.filter(|_| !moved).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            placed.push((slot, backend));
        }
        let slots = placed.iter().map(|(slot, _)| *slot).collect();
        placed.sort_unstable_by_key(|(slot, _)| *slot);
        Backends { live: placed.into_iter().map(|(_, backend)| backend).collect(), slots, moved }
    }

    /// Tells splits where their members are. One that the snapshot does not hold counts as one without endpoints.
    fn join(&mut self, wanted: &BTreeMap<BackendId, Arc<Backend>>) {
        let is_split = |live: &Arc<LiveBackend>| live.split.is_some() || !live.source.split.is_empty();
        if !self.live.iter().any(is_split) {
            return;
        }
        let slots = wanted.keys().zip(self.slots.iter().copied()).collect();
        let join = |live: &Arc<LiveBackend>| live.joined(&slots).map_or_else(|| live.clone(), Arc::new);
        self.live = self.live.iter().map(join).collect();
    }
}

impl<'a> Before<'a> {
    /// All of `tables`, in the snapshot's order.
    fn all(tables: &'a Tables) -> impl Iterator<Item = Before<'a>> {
        tables.snapshot.backends.iter().zip(&*tables.slots).map(|((id, backend), &slot)| Before {
            id,
            backend,
            slot,
            live: &tables.backends[slot],
        })
    }
}

impl LiveBackend {
    /// How long a connection to an endpoint may take to open: what the backend's policy says, else what the route's does.
    pub fn connect_timeout(&self, route: &RoutePolicy) -> Duration {
        self.source.policy.connect_timeout.unwrap_or(route.connect_timeout)
    }

    /// As logs have it; where no Service stands behind it, that of the endpoint at hand.
    pub fn name_at(&self, endpoint: Option<SocketAddr>) -> &str {
        if !self.id.service.is_empty() {
            return &self.name;
        }
        endpoint.and_then(|endpoint| self.terms_at(endpoint)).map_or("", |terms| &terms.name)
    }

    /// What the endpoint has for itself.
    pub fn terms_at(&self, endpoint: SocketAddr) -> Option<&EndpointTerms> {
        let place = self.source.endpoints.binary_search(&endpoint).ok()?;
        self.source.terms.get(place)
    }

    fn new(id: &BackendId, backend: &Arc<Backend>, ejections: &Arc<Ejections>) -> Self {
        let id = Arc::new(id.clone());
        let tls = LiveTls::new(&id, backend);
        LiveBackend {
            name: id.to_string(),
            protocol: backend.protocol,
            source: backend.clone(),
            endpoints: backend
                .endpoints
                .iter()
                .map(|&address| LiveEndpoint::new(address, backend, &tls, None))
                .collect(),
            id,
            tls,
            balancer: Balancer::new(backend),
            split: None,
            ejections: ejections.clone(),
            budget: Arc::default(),
        }
    }

    /// The same backend with the endpoints of `backend`. Those that it has already stay, unless they are now talked to in
    /// another way.
    fn renewed(&self, backend: &Arc<Backend>) -> Self {
        let same_way = self.protocol == backend.protocol && self.source.policy.tls == backend.policy.tls;
        let tls = if same_way { self.tls.clone() } else { LiveTls::new(&self.id, backend) };
        let mut before = self.endpoints.iter().peekable();
        let mut endpoints = Vec::with_capacity(backend.endpoints.len());
        let retire = |gone: &Arc<LiveEndpoint>| gone.retire();
        for &address in &backend.endpoints {
            let same = take_equal(&mut before, |before| before.address.cmp(&address), retire);
            endpoints.push(match same {
                Some(same) if same_way => same.clone(),
                other => {
                    other.into_iter().for_each(retire);
                    LiveEndpoint::new(address, backend, &tls, other.map(|other| &**other))
                }
            });
        }
        before.for_each(retire);
        let renewed = LiveBackend {
            id: self.id.clone(),
            name: self.name.clone(),
            protocol: backend.protocol,
            tls,
            source: backend.clone(),
            endpoints: endpoints.into(),
            balancer: self.balancer.renewed(backend),
            split: self.split.clone(),
            ejections: self.ejections.clone(),
            budget: self.budget.clone(),
        };
        renewed.relieve();
        renewed
    }

    /// The same backend with its split, if it has one, at the places that its members have now. `None`: it has that.
    fn joined(&self, slots: &BTreeMap<&BackendId, usize>) -> Option<Self> {
        let slot = |member: &SplitMember| Some((*slots.get(&member.backend)?, member.weight));
        let is_split = !self.source.split.is_empty();
        let split = is_split.then(|| self.source.split.iter().filter_map(slot).collect::<Vec<_>>());
        let split = match (split, &self.split) {
            (None, None) => return None,
            (None, Some(_)) => None,
            (Some(members), None) => Some(Split::new(members)),
            (Some(members), Some(before)) if members == before.members() => return None,
            (Some(members), Some(before)) => Some(before.renewed(members)),
        };
        Some(LiveBackend {
            id: self.id.clone(),
            name: self.name.clone(),
            protocol: self.protocol,
            tls: self.tls.clone(),
            source: self.source.clone(),
            endpoints: self.endpoints.clone(),
            balancer: self.balancer.clone(),
            split,
            ejections: self.ejections.clone(),
            budget: self.budget.clone(),
        })
    }
}

impl LiveEndpoint {
    /// `before`: the same, talked to in another way. Where it is checked it stays what it was until checks say otherwise.
    fn new(
        address: SocketAddr,
        backend: &Backend,
        tls: &Option<Arc<LiveTls>>,
        before: Option<&LiveEndpoint>,
    ) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let checked = before.filter(|_| backend.policy.health_check.is_some());
        Arc::new(LiveEndpoint {
            id: NEXT_ID.fetch_add(1, atomic::Ordering::Relaxed),
            address,
            protocol: backend.protocol,
            tls: tls.clone(),
            in_flight: before.map(|before| before.in_flight.clone()).unwrap_or_default(),
            unhealthy: AtomicBool::new(checked.is_some_and(|before| before.unhealthy.load(atomic::Ordering::Relaxed))),
            failed_check: Mutex::new(checked.and_then(LiveEndpoint::failed_check)),
            ejected: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        })
    }

    /// What its newest check came to: `None` that it passed, or that there is none.
    pub fn note_check(&self, failure: Option<String>) {
        *self.failed_check.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Why its newest check failed, if it did.
    pub fn failed_check(&self) -> Option<String> {
        self.failed_check.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn retire(&self) {
        self.retired.store(true, atomic::Ordering::Relaxed);
    }
}

/// Walks a sorted sequence up to the item that compares equal and takes it; what comes before it is `gone`.
pub(super) fn take_equal<I: Iterator>(
    sorted: &mut Peekable<I>,
    compare: impl Fn(&I::Item) -> Ordering,
    gone: impl FnMut(I::Item),
) -> Option<I::Item> {
    std::iter::from_fn(|| sorted.next_if(|item| compare(item).is_lt())).for_each(gone);
    sorted.next_if(|item| compare(item).is_eq())
}
