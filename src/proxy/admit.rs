//! What a route demands of a request before anything goes to a backend, in the order in which it is asked for. Who is
//! refused before the limits costs them nothing.

use http::request::Parts;

use super::error::ProxyError;
use super::exchange::Exchange;
use crate::tables::{LiveRoute, enter_all, take_all};

pub(super) fn admit(exchange: &Exchange, route: &LiveRoute, head: &Parts) -> Result<(), ProxyError> {
    let client = exchange.client.get();
    if !route.access.iter().all(|list| list.permits(client)) {
        return Err(ProxyError::Forbidden);
    }
    if let Some(methods) = &route.policy.methods
        && !methods.iter().any(|method| method == head.method.as_str())
    {
        return Err(ProxyError::MethodNotListed);
    }
    if !route.required_headers.iter().all(|name| head.headers.contains_key(name)) {
        return Err(ProxyError::FieldMissing);
    }
    if route.policy.max_body_size.is_some_and(|limit| exchange.body.least_size() > limit) {
        return Err(ProxyError::BodyTooLarge);
    }
    limits(exchange, route, head)
}

fn limits(exchange: &Exchange, route: &LiveRoute, head: &Parts) -> Result<(), ProxyError> {
    let client = exchange.client.get();
    if !route.connection_limits.is_empty() {
        let counted = enter_all(&route.connection_limits, client).ok_or(ProxyError::ConnectionLimited)?;
        exchange.counted.replace(counted);
    }
    if route.rate_limits.is_empty() {
        return Ok(());
    }
    match take_all(&route.rate_limits, client, &head.headers, exchange.connection.worker.shared.nanos()) {
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
