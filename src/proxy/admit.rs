//! The limits of a client's address and of a route: whether a request may go on now, given what others of the same client
//! are in flight and came before. Who is refused by `decide` costs them nothing.

use std::time::Instant;

use http::request::Parts;

use super::client_address::Resolved;
use super::error::ProxyError;
use super::exchange::Exchange;
use crate::tables::{Caller, LiveRoute, enter_all, take_all};
use crate::telemetry::Seldom;

/// `host`: as it was matched.
pub(super) fn admit(
    exchange: &Exchange,
    route: &LiveRoute,
    host: &str,
    client: Resolved,
    head: &Parts,
) -> Result<(), ProxyError> {
    static WARNING: Seldom = Seldom::new();
    let Resolved { client, trusted_peer } = client;
    // A trusted peer carries the requests of many.
    if exchange.crowded && !trusted_peer {
        if let Some(times) = WARNING.occurred(Instant::now()) {
            tracing::warn!(%client, times, "request refused: the client has --max-connections-per-address in flight");
        }
        return Err(ProxyError::AddressLimited);
    }
    if !route.connection_limits.is_empty() {
        let counted = enter_all(&route.connection_limits, client).ok_or(ProxyError::ConnectionLimited)?;
        exchange.counted.replace(counted);
    }
    if route.rate_limits.is_empty() {
        return Ok(());
    }
    let caller = Caller { client, host, headers: &head.headers };
    match take_all(&route.rate_limits, caller, exchange.connection.worker.shared.nanos()) {
        Ok(tightest) => {
            if let Some((limit, decision)) = tightest {
                exchange.tell_limit(limit, &decision);
            }
            Ok(())
        }
        Err((limit, decision)) => {
            exchange.tell_limit(limit, &decision);
            exchange.rate_limited(route);
            Err(ProxyError::RateLimited(limit.status))
        }
    }
}
