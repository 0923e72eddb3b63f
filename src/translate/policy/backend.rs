//! What a policy says about backends: the fields that mean something on a Service.

use std::net::IpAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::super::names::is_dns_subdomain;
use super::super::problem::quoted;
use super::client::MOST;
use super::values::{self, Flaw, Read};
use crate::api;
use crate::snapshot::{
    Algorithm, BackendId, HealthCheck, HostName, Outlier, Protocol, Reference, Retry, RetryOn, ServicePort, SplitMember,
};

/// How a certificate is verified, by the Secrets that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Tls {
    pub ca: Option<Reference>,
    pub server_name: Option<ServerName<'static>>,
    pub client: Option<Reference>,
}

pub(super) fn algorithm(load_balancer: &api::LoadBalancer) -> Read<Algorithm> {
    Ok(match load_balancer.algorithm {
        api::Algorithm::RoundRobin => Algorithm::RoundRobin,
        api::Algorithm::LeastConnections => Algorithm::LeastConnections,
        api::Algorithm::IPHash => Algorithm::IpHash,
    })
}

pub(super) fn protocol(protocol: &api::Protocol) -> Read<Protocol> {
    Ok(match protocol {
        api::Protocol::HTTP1 => Protocol::Http1,
        api::Protocol::H2C => Protocol::H2c,
        api::Protocol::HTTPS => Protocol::Https,
    })
}

pub(super) fn traffic_split(namespace: &str, entries: &[api::TrafficSplitEntry]) -> Read<Vec<SplitMember>> {
    let field = "spec.trafficSplit";
    let mut members: Vec<SplitMember> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if entry.service.is_empty() {
            return Err(Flaw::new(format!("{field}.service"), "the service has no name", "name one"));
        }
        let port = values::number(&format!("{field}.port"), entry.port, 1..=65535)? as u16;
        let weight = values::number(&format!("{field}.weight"), entry.weight, 0..=1000)? as u16;
        let service = entry.service.clone();
        let backend = BackendId { namespace: namespace.to_owned(), service, port: ServicePort::Number(port) };
        if members.iter().any(|member| member.backend == backend) {
            return Err(Flaw::new(field, "the same service and port stand there twice", "add up their weights"));
        }
        members.push(SplitMember { backend, weight });
    }
    if members.iter().all(|member| member.weight == 0) {
        return Err(Flaw::new(field, "no member has a weight above 0", "give one to a member, or remove the field"));
    }
    Ok(members)
}

pub(super) fn health_check(check: &api::HealthCheck) -> Read<HealthCheck> {
    let field = |name| format!("spec.healthCheck.{name}");
    if !values::is_check_path(&check.path) {
        let what = format!("{} is not a path", quoted(&check.path));
        return Err(Flaw::new(field("path"), what, "begin it with / and write other characters as %XX"));
    }
    let duration =
        |name, text: &Option<String>| text.as_deref().map(|text| values::duration(&field(name), text)).transpose();
    let interval = duration("interval", &check.interval)?;
    let timeout = duration("timeout", &check.timeout)?;
    if interval.is_some_and(|interval| interval < SHORTEST_INTERVAL) {
        return Err(Flaw::new(field("interval"), "the interval is shorter than 100ms", "lengthen it"));
    }
    if let Some((interval, timeout)) = interval.zip(timeout)
        && timeout > interval
    {
        return Err(Flaw::new(field("timeout"), "the timeout is longer than the interval", "shorten it"));
    }
    let standard = HealthCheck::new(check.path.clone(), interval, timeout);
    let threshold = |name, value: Option<i32>, default| {
        value.map_or(Ok(default), |value| values::number(&field(name), value, 1..=100))
    };
    let expected = check.expected_statuses.as_deref();
    let expected = expected.map(|list| values::each(&field("expectedStatuses"), list, values::statuses)).transpose()?;
    Ok(HealthCheck {
        host: check.host.as_deref().map(|text| authority(&field("host"), text)).transpose()?,
        port: check
            .port
            .map(|port| values::number(&field("port"), port, 1..=65535))
            .transpose()?
            .map(|port| port as u16),
        healthy_threshold: threshold("healthyThreshold", check.healthy_threshold, standard.healthy_threshold)?,
        unhealthy_threshold: threshold("unhealthyThreshold", check.unhealthy_threshold, standard.unhealthy_threshold)?,
        expected: expected.unwrap_or(standard.expected),
        ..standard
    })
}

/// So that a policy cannot make the process check without pause.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// `None`: no endpoint is ejected.
pub(super) fn outlier(outlier: &api::Outlier) -> Read<Option<Outlier>> {
    let standard = Outlier::default();
    let errors = outlier.consecutive_errors;
    let errors = errors.map(|errors| values::number("spec.outlier.consecutiveErrors", errors, 1..=1000)).transpose()?;
    let time = outlier.ejection_time.as_deref();
    let time = time.map(|text| values::duration("spec.outlier.ejectionTime", text)).transpose()?;
    Ok((outlier.disabled != Some(true)).then(|| Outlier {
        consecutive_errors: errors.unwrap_or(standard.consecutive_errors),
        ejection_time: time.unwrap_or(standard.ejection_time),
    }))
}

pub(super) fn max_connections(most: &i32) -> Read<u32> {
    values::number("spec.maxConnections", *most, 1..=MOST)
}

pub(super) fn connect_timeout(text: &str) -> Read<Duration> {
    values::duration("spec.connectTimeout", text)
}

pub(super) fn retry(retry: &api::Retry) -> Read<Retry> {
    let standard = Retry::default();
    let number = |name, value: Option<i32>, most, default| {
        value.map_or(Ok(default), |value| values::number(&format!("spec.retry.{name}"), value, 0..=most))
    };
    let on = retry.on.as_deref().map(|list| values::each("spec.retry.on", list, retry_on)).transpose()?;
    let on = on.map(|mut on| {
        on.sort();
        on.dedup();
        on
    });
    Ok(Retry {
        attempts: number("attempts", retry.attempts, 10, standard.attempts)?,
        on: on.unwrap_or(standard.on),
        budget_percent: number("budgetPercent", retry.budget_percent, 100, standard.budget_percent)?,
        non_idempotent: retry.non_idempotent.unwrap_or(false),
    })
}

fn retry_on(field: &str, text: &str) -> Read<RetryOn> {
    match text {
        "ConnectFailure" => return Ok(RetryOn::ConnectFailure),
        "Reset" => return Ok(RetryOn::Reset),
        _ => {}
    }
    match values::statuses(field, text) {
        Ok((status, same)) if status == same && status >= 400 => Ok(RetryOn::Status(status)),
        _ => {
            let what = format!("{} is nothing to retry on", quoted(text));
            Err(Flaw::new(field, what, "write ConnectFailure, Reset or a status from \"400\" to \"599\""))
        }
    }
}

pub(super) fn tls(namespace: &str, tls: &api::BackendTls) -> Read<Tls> {
    let secret = |name, secret: &Option<api::SecretRef>| match secret {
        Some(secret) if secret.name.is_empty() => {
            Err(Flaw::new(format!("spec.backendTLS.{name}.name"), "the Secret has no name", "name one"))
        }
        Some(secret) if !is_dns_subdomain(&secret.name) => {
            let what = format!("{} is no name of a Secret", quoted(&secret.name));
            Err(Flaw::new(format!("spec.backendTLS.{name}.name"), what, "correct it"))
        }
        secret => Ok(secret.as_ref().map(|secret| Reference::new(namespace, &secret.name))),
    };
    let server_name = tls.server_name.as_deref().map(server_name).transpose()?;
    Ok(Tls {
        ca: secret("caSecret", &tls.ca_secret)?,
        server_name,
        client: secret("clientCertSecret", &tls.client_cert_secret)?,
    })
}

/// A DNS name, or an address: then no name is asked for, and the certificate has to be for the address.
fn server_name(text: &str) -> Read<ServerName<'static>> {
    const FIELD: &str = "spec.backendTLS.serverName";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    let host = name(FIELD, text)?;
    ServerName::try_from(host).map_err(|_| Flaw::new(FIELD, format!("{} is no DNS name", quoted(text)), "correct it"))
}

fn name(field: &str, text: &str) -> Read<String> {
    HostName::parse(text)
        .map(|host| host.to_string())
        .map_err(|error| Flaw::new(field, format!("{} is not a host: {error}", quoted(text)), "write a DNS name"))
}

/// A host, perhaps with a port.
fn authority(field: &str, text: &str) -> Read<String> {
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let host = name(field, host)?;
    let Some(port) = port else { return Ok(host) };
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok(format!("{host}:{number}")),
        _ => Err(Flaw::new(field, format!("{} has a port that is none", quoted(text)), "correct or remove it")),
    }
}
