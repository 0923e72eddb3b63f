//! What the tests of tables share: snapshots written in few words.

mod access;
mod backend_tls;
mod balancer;
mod build;
mod certs;
mod concurrency;
mod limiter;
mod model;
mod outlier;
mod policies;
mod publish;
mod routes;
mod swaps;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::sign::CertifiedKey;

use super::Tables;
use crate::snapshot::{
    Action, Backend, BackendId, Certificate, Host, HostPattern, LimitKey, LimitScope, NormalPath, PathKind, PathMatch,
    PrivateKey, Rate, RateLimit, Reference, Route, RoutePolicy, ServicePort, Snapshot,
};
use crate::telemetry::Metrics;

const EXACT: PathKind = PathKind::Exact;
const PREFIX: PathKind = PathKind::Prefix;
const SPECIFIC: PathKind = PathKind::ImplementationSpecific;

/// A host, how a path is compared, the path, and the Service.
type Row = (&'static str, PathKind, &'static str, &'static str);

/// Each row is a route of an Ingress of the same name as its Service.
fn snapshot(rows: &[Row]) -> Snapshot {
    let mut hosts: BTreeMap<HostPattern, Host> = BTreeMap::new();
    let mut snapshot = Snapshot::default();
    for &(host, kind, path, service) in rows {
        hosts.entry(HostPattern::parse(host).unwrap()).or_default().routes.push(route(kind, path, service));
        snapshot.backends.entry(backend_id(service)).or_default();
    }
    for host in hosts.values_mut() {
        host.routes.sort_by_key(|route| route.path.precedence());
    }
    snapshot.hosts = Arc::new(hosts.into_iter().map(|(pattern, host)| (pattern, Arc::new(host))).collect());
    snapshot
}

fn route(kind: PathKind, path: &str, service: &str) -> Route {
    Route {
        path: PathMatch { kind, path: NormalPath::parse(path).unwrap() },
        owner: Reference::new("ns", service),
        action: Action::Forward(backend_id(service)),
        https_redirect: false,
        policy: Arc::default(),
    }
}

fn backend_id(service: &str) -> BackendId {
    BackendId { namespace: "ns".into(), service: service.into(), port: ServicePort::Number(80) }
}

/// A backend whose endpoints differ in the port only.
fn backend(ports: &[u16]) -> Arc<Backend> {
    let endpoints = ports.iter().map(|&port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    Arc::new(Backend { endpoints, ..Backend::default() })
}

fn rate_limit(requests: u32, per: Duration, burst: u32) -> RateLimit {
    let scope = limit_scope("policy");
    RateLimit { scope, rate: Rate { requests, per, burst, key: LimitKey::ClientIp, status: 429, headers: true } }
}

fn limit_scope(policy: &str) -> LimitScope {
    LimitScope { policy: Reference::new("ns", policy), ingress: Reference::new("ns", "ingress") }
}

fn build(snapshot: Snapshot, previous: Option<&Tables>) -> Tables {
    Tables::build(Arc::new(snapshot), previous, &fallback(), metrics())
}

fn metrics() -> &'static Arc<Metrics> {
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    METRICS.get_or_init(|| Metrics::new(1))
}

fn fallback() -> Arc<CertifiedKey> {
    static FALLBACK: OnceLock<Arc<CertifiedKey>> = OnceLock::new();
    let made = || {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["fallback".to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
        Arc::new(CertifiedKey::new(vec![leaf.der().clone()], key))
    };
    FALLBACK.get_or_init(made).clone()
}

/// A certificate whose name tells it from others.
fn certificate(name: &str, key: &KeyPair) -> Arc<Certificate> {
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().self_signed(key).unwrap();
    Arc::new(Certificate {
        chain: Arc::from([leaf.der().to_vec()]),
        key: PrivateKey::new(key.serialized_der()),
        names: vec![name.to_owned()],
        not_after: 0,
    })
}
