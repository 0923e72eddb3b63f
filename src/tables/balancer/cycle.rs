//! Turns by weight: in each cycle everybody gets exactly as many as its weight says, spread over the cycle.
//!
//! Weights are divided by what divides all of them; their sum is the length of the cycle. Equal weights need no more
//! than a division. Else a cycle of up to [`LISTED`] turns is written down in the order of smooth weighted round robin
//! (who is furthest behind its share is next). A longer one is not: its turns are steps of about the golden section of
//! the cycle, whose places follow from the turn alone, so that memory is 8 bytes for each taker, whatever the weights.

use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Turns that are written down at most: 8 KiB.
const LISTED: u64 = 2048;

/// Turns taken for one request at most, beyond one for each taker.
const MORE_TURNS: u64 = 64;

/// How far from the golden section a stride is looked for; there always is one (no 40 numbers in a row all share a
/// divisor with a sum of weights that a backend can have).
const NEAR: u64 = 64;

/// A cycle, and the turn it is at.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    cycle: Cycle,
    /// Shared with the generations before and after.
    cursor: Arc<AtomicU64>,
    /// Turns taken for one request at most.
    patience: u64,
}

/// Who has which turn.
#[derive(Clone, Debug)]
pub(super) enum Cycle {
    /// Everybody once, in order. Holds how many they are.
    Even(u64),
    Listed(Box<[u32]>),
    /// Taker `n` has the places of the cycle up to `ends[n]`; a turn is `stride` places on from the one before.
    Computed {
        ends: Box<[u64]>,
        stride: u64,
    },
}

impl Wheel {
    pub(super) fn new(weights: impl Iterator<Item = u16>) -> Self {
        Self::at(Arc::default(), weights)
    }

    /// The turn stays, whoever has it now.
    pub(super) fn renewed(&self, weights: impl Iterator<Item = u16>) -> Self {
        Self::at(self.cursor.clone(), weights)
    }

    fn at(cursor: Arc<AtomicU64>, weights: impl Iterator<Item = u16>) -> Self {
        let weights: Vec<u64> = weights.map(u64::from).collect();
        let cycle = Cycle::new(&weights);
        let patience = cycle.length().min(weights.len() as u64 + MORE_TURNS);
        Wheel { cycle, cursor, patience }
    }

    /// Takes the next turn. `None`: nobody has any.
    pub(super) fn turn(&self) -> Option<usize> {
        self.drawn(self.cursor.fetch_add(1, Ordering::Relaxed))
    }

    /// The taker that a random number hits, by weight.
    pub(super) fn drawn(&self, random: u64) -> Option<usize> {
        (self.cycle.length() > 0).then(|| self.cycle.taker(random))
    }

    /// Who does not `accept` leaves the request to another turn rather than to the next in line, whose share would
    /// double. Other threads may have the turns between, so the patience for that is bounded.
    pub(super) fn next<T>(&self, mut accept: impl FnMut(usize) -> Option<T>) -> Option<T> {
        (0..self.patience).map_while(|_| self.turn()).find_map(&mut accept)
    }
}

impl Cycle {
    pub(super) fn new(weights: &[u64]) -> Self {
        let common = weights.iter().copied().fold(0, gcd).max(1);
        let weights: Vec<u64> = weights.iter().map(|weight| weight / common).collect();
        let length = weights.iter().sum();
        match length {
            0 => Cycle::Even(0),
            _ if weights.iter().all(|&weight| weight == 1) => Cycle::Even(length),
            1..=LISTED => Cycle::Listed(smooth(&weights, length)),
            _ => Cycle::Computed { ends: ends(&weights), stride: stride(length) },
        }
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Cycle::Even(takers) => *takers,
            Cycle::Listed(turns) => turns.len() as u64,
            Cycle::Computed { ends, .. } => ends.last().copied().unwrap_or(0),
        }
    }

    /// Who has this turn. The cycle must not be empty.
    pub(super) fn taker(&self, turn: u64) -> usize {
        let length = self.length();
        let turn = turn % length;
        match self {
            Cycle::Even(_) => turn as usize,
            Cycle::Listed(turns) => turns[turn as usize] as usize,
            Cycle::Computed { ends, stride } => {
                let place = turn * stride % length;
                ends.partition_point(|&end| end <= place)
            }
        }
    }
}

/// One of `takers` by its weight, which is 0 for those that do not count. `None`: nobody counts.
pub(super) fn draw(takers: Range<usize>, weight: impl Fn(usize) -> u64, random: u64) -> Option<usize> {
    let sum: u64 = takers.clone().map(&weight).sum();
    let mut left = random.checked_rem(sum)?;
    // What counts may change between the two passes; whoever is last then has it.
    let mut last = None;
    for taker in takers {
        match weight(taker) {
            0 => {}
            weight if left < weight => return Some(taker),
            weight => (left, last) = (left - weight, Some(taker)),
        }
    }
    last
}

/// In each turn everybody gains its weight, and who has gained most pays for the turn with what all gained.
fn smooth(weights: &[u64], length: u64) -> Box<[u32]> {
    let mut takers: Vec<(u32, i64, i64)> =
        (0..).zip(weights).map(|(taker, &weight)| (taker, weight as i64, 0)).collect();
    let mut turn = || {
        takers.iter_mut().for_each(|(_, weight, gained)| *gained += *weight);
        // The first of equals.
        let (taker, _, gained) = takers.iter_mut().rev().max_by_key(|(_, _, gained)| *gained)?;
        *gained -= length as i64;
        Some(*taker)
    };
    iter::from_fn(&mut turn).take(length as usize).collect()
}

fn ends(weights: &[u64]) -> Box<[u64]> {
    let sums = weights.iter().scan(0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    sums.collect()
}

/// Steps of the golden section are spread most evenly, but a stride must meet every place once. So of those near it that
/// do, the one that is least like a fraction of small numbers, as the quotients of Euclid's algorithm tell.
fn stride(length: u64) -> u64 {
    let golden = (length as f64 * 0.618_033_988_749_895) as u64;
    let near = golden.saturating_sub(NEAR).max(1)..(golden + NEAR).min(length);
    let meets_all = near.filter(|&stride| gcd(stride, length) == 1);
    meets_all.min_by_key(|&stride| quotients(length, stride)).unwrap_or(1)
}

/// The largest, and the sum of all.
fn quotients(mut one: u64, mut other: u64) -> (u64, u64) {
    let (mut largest, mut sum) = (0, 0);
    while other != 0 {
        largest = largest.max(one / other);
        sum += one / other;
        (one, other) = (other, one % other);
    }
    (largest, sum)
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests;
