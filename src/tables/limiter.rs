//! Rate limits: which request passes, what is left, when the next may. GCRA: of each key nothing is held but the moment
//! when its bucket is full again, so a key that is full is the same as one that was never seen.
//!
//! A limit's counts hang on its scope and outlive generations (see [`table`]). A limit that changes keeps them:
//! the moment of being full again means the same under any limit, but no bucket is emptier than empty, so nobody waits
//! longer than the new limit can ask for, and nobody gets a fresh bucket by a change. One that counts by another key
//! starts anew.
//!
//! Exact in one process: however many ask at once, what passes is the burst and what the rate brings in the time, whole
//! requests. Time is an argument: nanoseconds from a moment that all who ask share. `proxy` asks, and answers refusals.

mod gcra;
pub(super) mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};

use self::gcra::Gcra;
use self::table::RateTable;
use crate::snapshot::{LimitKey, LimitScope, RateLimit};

/// Nanoseconds since a moment that all callers share.
pub type Nanos = u64;

/// A [`RateLimit`] as requests use it.
#[derive(Debug)]
pub struct RateLimiter {
    table: Arc<RateTable>,
    /// Stands for the scope, and for what is counted apart.
    scope: u64,
    key: Key,
    gcra: Gcra,
    /// What is answered beyond.
    pub status: u16,
    /// Answers that pass carry the fields too.
    pub headers: bool,
    /// The value of `RateLimit-Policy`: `"name";q=100;w=1`.
    pub policy_field: HeaderValue,
    /// The policy's name as it is quoted in fields.
    name: String,
}

#[derive(Debug)]
enum Key {
    Client,
    /// Also of requests that name it in their target only.
    Host,
    /// `None`: no request can have it.
    Header(Option<HeaderName>),
    Route,
}

/// Who asks, by all that a limit may count by.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub client: IpAddr,
    /// In the form in which it is matched, so that no other spelling is counted apart.
    pub host: &'a str,
    pub headers: &'a HeaderMap,
}

/// What a limiter says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub admitted: bool,
    /// Requests that would pass now. Worked out only where a field will tell it: the limit wants fields, or refuses.
    pub remaining: u32,
    /// Whole seconds, rounded up: until the next request may pass (refused), or until all may (admitted).
    pub seconds: u64,
}

impl RateLimiter {
    pub(super) fn new(limit: &RateLimit, table: &Arc<RateTable>) -> Self {
        let RateLimit { scope: LimitScope { policy, .. }, rate } = limit;
        let name = quotable(&policy.name);
        RateLimiter {
            scope: scope(limit, table),
            table: table.clone(),
            key: Key::new(&rate.key),
            gcra: Gcra::new(rate.requests, rate.per, rate.burst),
            status: rate.status,
            headers: rate.headers,
            policy_field: policy_field(&name, rate.requests, rate.per),
            name,
        }
    }

    /// Takes one request out of the bucket of who asks, if there is one. At most one lock of one shard, and nothing is
    /// allocated for a key that is known.
    pub fn take(&self, caller: Caller<'_>, now: Nanos) -> Decision {
        let level = self.table.take(self.hash(caller), &self.gcra, now);
        let tells = self.headers || !level.admitted;
        Decision {
            admitted: level.admitted,
            remaining: if tells { self.gcra.remaining(&level) } else { 0 },
            seconds: if tells { self.gcra.seconds(&level) } else { 0 },
        }
    }

    /// Undoes a [`take`](Self::take): another limit refuses the request.
    pub fn give_back(&self, caller: Caller<'_>) {
        self.table.give_back(self.hash(caller), &self.gcra);
    }

    /// The value of `RateLimit`: `"name";r=0;t=1`.
    pub fn field(&self, decision: &Decision) -> HeaderValue {
        let Decision { remaining, seconds, .. } = decision;
        field(format!("\"{}\";r={remaining};t={seconds}", self.name))
    }

    fn hash(&self, caller: Caller<'_>) -> u64 {
        let value = match &self.key {
            Key::Route => return self.scope,
            Key::Client => None,
            Key::Host => Some(caller.host.as_bytes()).filter(|host| !host.is_empty()),
            Key::Header(name) => name.as_ref().and_then(|name| caller.headers.get(name)).map(HeaderValue::as_bytes),
        };
        match value {
            Some(value) => self.table.0.hash((self.scope, true, value)),
            None => self.table.0.hash((self.scope, false, client_bits(caller.client))),
        }
    }
}

/// Takes one out of the bucket of each limit, or out of none: what one of them refuses costs nothing of the others.
///
/// `Ok`: admitted; with the limit that leaves least, of those that want fields. `Err`: the limit that refuses.
pub fn take_all<'a>(
    limits: &'a [RateLimiter],
    caller: Caller<'_>,
    now: Nanos,
) -> Result<Option<(&'a RateLimiter, Decision)>, (&'a RateLimiter, Decision)> {
    let mut tightest: Option<(&RateLimiter, Decision)> = None;
    for (place, limit) in limits.iter().enumerate() {
        let decision = limit.take(caller, now);
        if !decision.admitted {
            limits[..place].iter().for_each(|before| before.give_back(caller));
            return Err((limit, decision));
        }
        if limit.headers && tightest.is_none_or(|(_, before)| decision.remaining < before.remaining) {
            tightest = Some((limit, decision));
        }
    }
    Ok(tightest)
}

impl Key {
    fn new(key: &LimitKey) -> Self {
        match key {
            LimitKey::ClientIp => Key::Client,
            LimitKey::Header(name) if name == HOST.as_str() => Key::Host,
            LimitKey::Header(name) => Key::Header(HeaderName::try_from(name.as_str()).ok()),
            LimitKey::Route => Key::Route,
        }
    }
}

fn scope(limit: &RateLimit, table: &RateTable) -> u64 {
    let apart = match &limit.rate.key {
        LimitKey::ClientIp => (0_u8, ""),
        LimitKey::Header(name) => (1, name.as_str()),
        LimitKey::Route => (2, ""),
    };
    table.0.hash((&limit.scope, apart))
}

/// IPv6 or not, and the bits that count.
pub type ClientBits = (bool, u64);

/// What is counted as one client: an IPv4 address, or a /64 of IPv6, which is what one client has. v4-mapped v6 is v4.
pub fn client_bits(client: IpAddr) -> ClientBits {
    match client.to_canonical() {
        IpAddr::V4(address) => (false, address.to_bits().into()),
        IpAddr::V6(address) => (true, (address.to_bits() >> 64) as u64),
    }
}

/// Windows are whole seconds there, so a limit over half a second is told as twice as many over one.
fn policy_field(name: &str, requests: u32, per: Duration) -> HeaderValue {
    let seconds = per.as_nanos().div_ceil(1_000_000_000).max(1);
    let quota = u128::from(requests) * seconds * 1_000_000_000 / per.as_nanos().max(1);
    field(format!("\"{name}\";q={quota};w={seconds}"))
}

/// As much of it as may stand between quotes in a field (RFC 9651 §3.3.3).
fn quotable(name: &str) -> String {
    name.chars().filter(|char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\')).collect()
}

fn field(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("a name of visible characters, and numbers")
}
