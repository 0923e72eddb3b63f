//! What a policy says about clients: the fields that mean something on an Ingress.

use std::sync::Arc;
use std::time::Duration;

use super::values::{self, Flaw, Read};
use crate::api;
use crate::snapshot::{Access, LimitKey, Rate};

/// The most that a count in a policy may be.
pub(super) const MOST: u32 = 1_000_000;

/// What a request may and must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Rules {
    pub max_body_size: Option<u64>,
    pub methods: Option<Vec<String>>,
    pub required_headers: Vec<String>,
}

/// How long a request may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Timeouts {
    pub request: Option<Duration>,
    pub idle: Option<Duration>,
}

pub(super) fn access(access: &api::Access) -> Read<Arc<Access>> {
    if access.allow.is_none() && access.deny.is_none() {
        return Err(Flaw::new("spec.access", "neither allow nor deny is there", "add one of them"));
    }
    let networks = |field, list: &Option<Vec<String>>| {
        list.as_deref().map(|list| values::each(field, list, values::network)).transpose()
    };
    let allow = networks("spec.access.allow", &access.allow)?;
    let deny = networks("spec.access.deny", &access.deny)?.unwrap_or_default();
    Ok(Arc::new(Access { allow, deny }))
}

pub(super) fn rate_limit(limit: &api::RateLimit) -> Read<Rate> {
    let requests = values::number("spec.rateLimit.requests", limit.requests, 1..=MOST)?;
    let burst = limit.burst.map(|burst| values::number("spec.rateLimit.burst", burst, 1..=MOST)).transpose()?;
    let status = values::number("spec.rateLimit.status", limit.status.unwrap_or(429), 400..=599)?;
    Ok(Rate {
        requests,
        per: values::duration("spec.rateLimit.per", &limit.per)?,
        burst: burst.unwrap_or(requests),
        key: limit.key.as_ref().map_or(Ok(LimitKey::ClientIp), key)?,
        status: status as u16,
        headers: limit.headers.unwrap_or(false),
    })
}

fn key(key: &api::RateLimitKey) -> Read<LimitKey> {
    let field = "spec.rateLimit.key.name";
    match (key.r#type, key.name.as_deref()) {
        (api::KeyType::Header, Some(name)) => Ok(LimitKey::Header(values::field_name(field, name)?)),
        (api::KeyType::Header, None) => Err(Flaw::new(field, "a key of type Header has no name", "add it")),
        (_, Some(_)) => Err(Flaw::new(field, "the name goes with the type Header only", "remove it")),
        (api::KeyType::ClientIP, None) => Ok(LimitKey::ClientIp),
        (api::KeyType::Route, None) => Ok(LimitKey::Route),
    }
}

pub(super) fn connection_limit(limit: &api::ConnectionLimit) -> Read<u32> {
    values::number("spec.connectionLimit.perClient", limit.per_client, 1..=MOST)
}

pub(super) fn request(rules: &api::RequestRules) -> Read<Rules> {
    if rules.max_body_size.is_none() && rules.methods.is_none() && rules.required_headers.is_none() {
        let what = "neither maxBodySize, methods nor requiredHeaders is there";
        return Err(Flaw::new("spec.request", what, "add one of them"));
    }
    let size = rules.max_body_size.as_deref().map(|text| values::size("spec.request.maxBodySize", text));
    let methods =
        rules.methods.as_deref().map(|list| values::each("spec.request.methods", list, values::method)).transpose()?;
    let headers = rules.required_headers.as_deref();
    let headers = headers.map(|list| values::each("spec.request.requiredHeaders", list, values::field_name));
    Ok(Rules {
        max_body_size: size.transpose()?,
        methods: methods.map(without_repetition),
        required_headers: without_repetition(headers.transpose()?.unwrap_or_default()),
    })
}

pub(super) fn timeouts(timeouts: &api::Timeouts) -> Read<Timeouts> {
    if timeouts.request.is_none() && timeouts.idle.is_none() {
        return Err(Flaw::new("spec.timeouts", "neither request nor idle is there", "add one of them"));
    }
    let duration = |field, text: &Option<String>| text.as_deref().map(|text| values::duration(field, text)).transpose();
    Ok(Timeouts {
        request: duration("spec.timeouts.request", &timeouts.request)?,
        idle: duration("spec.timeouts.idle", &timeouts.idle)?,
    })
}

/// In the order in which a map would have them, so that equal rules are equal values.
fn without_repetition(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list.dedup();
    list
}

impl Rules {
    /// What passes both.
    pub(in crate::translate) fn and(&self, other: &Rules) -> Rules {
        let methods = match (&self.methods, &other.methods) {
            (Some(one), Some(two)) => Some(one.iter().filter(|method| two.contains(method)).cloned().collect()),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        let sizes = [self.max_body_size, other.max_body_size];
        Rules {
            max_body_size: sizes.into_iter().flatten().min(),
            methods,
            required_headers: without_repetition([&self.required_headers[..], &other.required_headers].concat()),
        }
    }
}
