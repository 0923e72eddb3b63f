//! Who may use a route, and how often.

use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::Reference;

/// Client addresses that may use a route. v4-mapped v6 networks are held as v4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// `None`: all that `deny` does not name.
    pub allow: Option<Vec<IpNet>>,
    /// Wins over `allow`.
    pub deny: Vec<IpNet>,
}

/// What a limiter counts for: all routes that name it share its counts, whatever becomes of the limit itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LimitScope {
    pub policy: Reference,
    pub ingress: Reference,
}

/// Requests over time, by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimit {
    pub scope: LimitScope,
    #[serde(flatten)]
    pub rate: Rate,
}

/// What a [`RateLimit`] lets pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
    /// Size of the bucket: what a new key gets at once.
    pub burst: u32,
    pub key: LimitKey,
    /// What is answered beyond, 429 unless the policy says otherwise.
    pub status: u16,
    /// RateLimit and RateLimit-Policy go with answers that pass too.
    pub headers: bool,
}

/// What is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LimitKey {
    /// The client's address: IPv4 whole, IPv6 by its /64.
    ClientIp,
    /// The value of this field; the client's address where it is missing.
    Header(String),
    /// Everybody together.
    Route,
}

/// Requests of one client address in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionLimit {
    pub scope: LimitScope,
    pub per_client: u32,
}
