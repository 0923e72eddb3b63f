//! Traffic split: which of several backends has a request that is for one of them all. Exact over a cycle; a member
//! that would take nothing now gives its share to the others.

use std::sync::Arc;

use super::cycle::{self, Wheel};
use super::{Choice, NoLease};
use crate::tables::{LiveBackend, Tables};

/// The backends that stand in for one.
#[derive(Clone, Debug)]
pub(in crate::tables) struct Split {
    /// Indexes into [`Tables::backends`], and weights.
    members: Box<[(usize, u16)]>,
    wheel: Wheel,
}

impl Tables {
    /// The place of the backend that takes a request for the one at `slot`: itself, or a member of its split, chosen once
    /// a request. A member is taken for its own endpoints, whatever split it has itself, so a backend may be in its own.
    pub fn choose(&self, slot: usize, random: u64) -> Result<usize, NoLease> {
        let backend = self.backends.get(slot).ok_or(NoLease::Nobody)?;
        match &backend.split {
            None => Ok(slot),
            Some(split) => split.choose(&self.backends, random),
        }
    }

    /// Whether a request for the backend at `slot` would get an endpoint now: [`choose`](Self::choose), then
    /// [`pick`](LiveBackend::pick), but nobody's turn is taken.
    pub fn would_serve(&self, slot: usize) -> Result<(), NoLease> {
        let backend = self.backends.get(slot).ok_or(NoLease::Nobody)?;
        let choices = self.choices(slot);
        if choices.iter().any(|(member, weight)| *weight > 0 && member.is_open()) {
            return Ok(());
        }
        Err(match &backend.split {
            None => Choice { backend, tried: &[] }.why_nobody(),
            Some(split) => split.why_nobody(&self.backends),
        })
    }

    /// All that [`choose`](Self::choose) may give for the backend at `slot`, with their weights, for people to see.
    pub fn choices(&self, slot: usize) -> Vec<(&Arc<LiveBackend>, u16)> {
        let split = self.backends.get(slot).and_then(|backend| backend.split.as_ref());
        let itself = [(slot, 1)];
        let members = split.map_or(&itself[..], |split| &split.members);
        members.iter().filter_map(|&(slot, weight)| Some((self.backends.get(slot)?, weight))).collect()
    }
}

impl Split {
    pub(in crate::tables) fn new(members: Vec<(usize, u16)>) -> Self {
        Split { wheel: Wheel::new(weights(&members)), members: members.into() }
    }

    /// For the members as they are now; the turns go on.
    pub(in crate::tables) fn renewed(&self, members: Vec<(usize, u16)>) -> Self {
        Split { wheel: self.wheel.renewed(weights(&members)), members: members.into() }
    }

    pub(in crate::tables) fn members(&self) -> &[(usize, u16)] {
        &self.members
    }

    fn choose(&self, backends: &[Arc<LiveBackend>], random: u64) -> Result<usize, NoLease> {
        let slot = |member: usize| self.members[member].0;
        let is_open = |member: &usize| backends[slot(*member)].is_open();
        let weight = |member| if is_open(&member) { self.members[member].1.into() } else { 0 };
        let turn = self.wheel.next(|member| Some(member).filter(is_open));
        let chosen = turn.or_else(|| cycle::draw(0..self.members.len(), weight, random));
        chosen.map(slot).ok_or_else(|| self.why_nobody(backends))
    }

    fn why_nobody(&self, backends: &[Arc<LiveBackend>]) -> NoLease {
        let taking = self.members.iter().filter(|(_, weight)| *weight > 0).map(|&(slot, _)| &*backends[slot]);
        let mut reasons = taking.map(|backend| Choice { backend, tried: &[] }.why_nobody());
        if reasons.any(|reason| reason == NoLease::Full) { NoLease::Full } else { NoLease::Nobody }
    }
}

fn weights(members: &[(usize, u16)]) -> impl Iterator<Item = u16> {
    members.iter().map(|&(_, weight)| weight)
}
