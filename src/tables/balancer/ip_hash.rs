//! IP hash: a client's requests go to one endpoint, the same on every replica. Rendezvous hashing: each endpoint has a
//! score for each client and the best that may be used has the request, so that when one goes only its clients move.
//!
//! The hash has no seed and must stay as it is, also the arithmetic on scores: replicas of different versions and
//! processors run side by side. Cost grows with the number of endpoints, by about a nanosecond each.

use std::net::{IpAddr, SocketAddr};

use super::{Choice, Lease};

pub(super) fn pick(choice: &Choice<'_>, keys: &[u64], client: IpAddr) -> Option<Lease> {
    let client = hash(client);
    // One that is full by the time it is asked is not open any more; so this ends.
    choice.places().find_map(|_| {
        let open = choice.places().filter(|&place| choice.is_open(place));
        let scored = open.map(|place| (score(mix(client ^ keys[place]), choice.weight(place)), place));
        let (_, place) = scored.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        choice.lease(place)
    })
}

/// What stands for an endpoint in the hash.
pub(super) fn key(endpoint: SocketAddr) -> u64 {
    mix(hash(endpoint.ip()).wrapping_add(endpoint.port().into()))
}

/// v4-mapped v6 is v4.
fn hash(address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    mix(mix((bits >> 64) as u64 ^ 0x6865_6164_6761_7465).wrapping_add(bits as u64))
}

/// Every bit of the result depends on every bit of `bits` (the finalizer of SplitMix64).
pub(super) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The logarithm of a number between 0 and 1 (of the hash), divided by the weight: the chance to have the best one is
/// the weight's share.
fn score(hash: u64, weight: u64) -> f64 {
    let uniform = ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    ln(uniform) / weight as f64
}

/// The natural logarithm to 8 digits, of a normal number. The library's may differ in the last bit from one platform to
/// another; this has but the four operations, which are the same everywhere.
fn ln(number: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let exponent = (number.to_bits() >> 52) as f64 - 1023.0;
    let mantissa = f64::from_bits(number.to_bits() & MANTISSA | 1.0_f64.to_bits());
    // Near 1, where the series converges fast.
    let (exponent, mantissa) = if mantissa > 1.5 { (exponent + 1.0, mantissa / 2.0) } else { (exponent, mantissa) };
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0].into_iter().fold(0.0, |sum, odd| sum * square + 1.0 / odd);
    exponent * std::f64::consts::LN_2 + 2.0 * ratio * series
}

#[cfg(test)]
mod tests;
