//! Least connections: the endpoint with the fewest requests in flight for its weight, counted over all workers.

use super::{Choice, Lease};

/// Up to so many endpoints are compared all; of more, two by chance (the power of two choices): nearly as even, at the
/// same cost for any number, and a moment's best does not get everybody's next request.
const ALL: usize = 8;

/// Draws to find two that would take the request, before all are looked at after all.
const DRAWS: u64 = 8;

pub(super) fn pick(choice: &Choice<'_>, random: u64) -> Option<Lease> {
    let few = choice.places().end <= ALL;
    let lease = if few { None } else { better_of_two(choice, random).and_then(|place| choice.lease(place)) };
    lease.or_else(|| least_of_all(choice))
}

/// `None`: most would not take the request.
fn better_of_two(choice: &Choice<'_>, random: u64) -> Option<usize> {
    let mut drawn = (0..DRAWS).filter_map(|draw| choice.wheel().drawn(nth(random, draw)));
    let one = drawn.find(|&place| choice.is_open(place))?;
    let other = drawn.find(|&place| place != one && choice.is_open(place))?;
    Some(if is_less(choice, other, one) { other } else { one })
}

/// Of equals, the first from the one whose turn it is on, so that without load this is weighted round robin.
fn least_of_all(choice: &Choice<'_>) -> Option<Lease> {
    let turn = choice.wheel().turn()?;
    let places = || (turn..choice.places().end).chain(0..turn).filter(|&place| choice.is_open(place));
    // One that is full by the time it is asked is not open any more; so this ends.
    choice.places().find_map(|_| {
        let least = places().reduce(|least, place| if is_less(choice, place, least) { place } else { least });
        least.and_then(|least| choice.lease(least))
    })
}

/// `one` has fewer requests in flight for its weight than `other`.
fn is_less(choice: &Choice<'_>, one: usize, other: usize) -> bool {
    let load = |place| u64::from(choice.in_flight(place));
    load(one) * choice.weight(other) < load(other) * choice.weight(one)
}

/// More random numbers out of one.
pub(super) fn nth(random: u64, draw: u64) -> u64 {
    super::ip_hash::mix(random.wrapping_add(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}
