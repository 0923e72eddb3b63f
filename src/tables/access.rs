//! Allow and deny lists of networks: whether a client may use a route. Thousands of networks cost a binary search:
//! those that overlap or touch are merged, so that what is left are ranges apart from each other, in order.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::snapshot::Access;

/// An [`Access`] as requests use it.
#[derive(Debug)]
pub struct AccessList {
    /// `None`: all that `deny` does not name.
    allow: Option<Networks>,
    deny: Networks,
}

/// The first and the last address of each range.
#[derive(Debug)]
struct Networks {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AccessList {
    pub(super) fn new(access: &Access) -> Self {
        AccessList { allow: access.allow.as_deref().map(Networks::new), deny: Networks::new(&access.deny) }
    }

    /// `deny` wins; where there is an allow list, all others are denied. v4-mapped v6 is v4.
    pub fn permits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        !self.deny.contain(client) && self.allow.as_ref().is_none_or(|allow| allow.contain(client))
    }
}

impl Networks {
    /// A network of v4-mapped addresses is one of v4. One that holds more than those, as `::/0`, is about v6 only.
    fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match (network.network().to_canonical(), network.broadcast().to_canonical()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                _ => v6.push((v6_bits(network.network()), v6_bits(network.broadcast()))),
            }
        }
        Networks { v4: merged(v4, |last| last.checked_add(1)), v6: merged(v6, |last| last.checked_add(1)) }
    }

    fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => contain(&self.v4, address.to_bits()),
            IpAddr::V6(address) => contain(&self.v6, address.to_bits()),
        }
    }
}

fn v6_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// `next`: the address after; `None` after the last of all.
fn merged<A: Ord + Copy>(mut ranges: Vec<(A, A)>, next: impl Fn(A) -> Option<A>) -> Box<[(A, A)]> {
    ranges.sort_unstable();
    let mut apart: Vec<(A, A)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some((_, end)) if next(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => apart.push((first, last)),
        }
    }
    apart.into()
}

fn contain<A: Ord + Copy>(ranges: &[(A, A)], address: A) -> bool {
    let before = ranges.partition_point(|&(first, _)| first <= address);
    before.checked_sub(1).is_some_and(|last| address <= ranges[last].1)
}
