//! Weighted round robin: whose turn it is, exact over the process at any number of workers.

use super::{Choice, Lease, cycle};

pub(super) fn pick(choice: &Choice<'_>, random: u64) -> Option<Lease> {
    choice.wheel().next(|place| choice.lease(place)).or_else(|| anyone(choice, random))
}

/// By weight among those that would take it; a full one may have become so this very moment, and the next will do.
fn anyone(choice: &Choice<'_>, random: u64) -> Option<Lease> {
    let weight = |place| if choice.is_open(place) { choice.weight(place) } else { 0 };
    let first = cycle::draw(choice.places(), weight, random)?;
    let (before, after) = (0..first, first..choice.places().end);
    after.chain(before).find_map(|place| choice.lease(place))
}
