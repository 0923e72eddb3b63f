//! A process that serves one shop, as its admin port shows it.

mod bounds;
mod views;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair};
use rustls::sign::CertifiedKey;

use super::*;
use crate::snapshot::{
    Action, Backend, BackendId, Certificate, Host, HostPattern, NormalPath, PathKind, PathMatch, PrivateKey, Reference,
    Route, ServicePort, Snapshot,
};

/// What the shop's Secret holds.
fn shop_key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate().unwrap())
}

fn fallback() -> Arc<CertifiedKey> {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["fallback".to_owned()]).unwrap().self_signed(&key).unwrap();
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
    Arc::new(CertifiedKey::new(vec![leaf.der().clone()], signing))
}

fn cart() -> BackendId {
    BackendId { namespace: "shop".into(), service: "cart".into(), port: ServicePort::Name("http".into()) }
}

fn gone() -> BackendId {
    BackendId { namespace: "shop".into(), service: "gone".into(), port: ServicePort::Number(80) }
}

/// `shop.example`: `/cart` to two endpoints, `/gone` to a Service that is not there, `/guarded` denied.
fn snapshot() -> Snapshot {
    let route = |path: &str, action| Route {
        path: PathMatch { kind: PathKind::Prefix, path: NormalPath::parse(path).unwrap() },
        owner: Reference::new("shop", "web"),
        action,
        https_redirect: true,
        policy: Arc::default(),
    };
    let routes = vec![
        route("/guarded", Action::Deny("auth-url is not honoured".into())),
        route("/cart", Action::Forward(cart())),
        route("/gone", Action::Forward(gone())),
    ];
    let pattern = HostPattern::parse("shop.example").unwrap();
    let endpoints = ["10.0.0.1:8080", "10.0.0.2:8080"].map(|address| address.parse().unwrap());
    let unresolved = Backend { unresolved: Some("the Service does not exist".into()), ..Backend::default() };
    Snapshot {
        hosts: Arc::new(BTreeMap::from([(pattern.clone(), Arc::new(Host { tls: true, routes }))])),
        backends: BTreeMap::from([
            (cart(), Arc::new(Backend { endpoints: endpoints.to_vec(), ..Backend::default() })),
            (gone(), Arc::new(unresolved)),
        ]),
        certificates: Arc::new(BTreeMap::from([(pattern, vec![Reference::new("shop", "tls")])])),
        secrets: Arc::new(BTreeMap::from([(Reference::new("shop", "tls"), certificate())])),
        ..Snapshot::default()
    }
}

fn certificate() -> Arc<Certificate> {
    let leaf = CertificateParams::new(["shop.example".to_owned()]).unwrap().self_signed(shop_key()).unwrap();
    Arc::new(Certificate {
        chain: Arc::new([leaf.der().to_vec()]),
        key: PrivateKey::new(shop_key().serialized_der()),
        names: vec!["shop.example".into()],
        not_after: 1_800_000_000,
    })
}

/// Ready, and serving [`snapshot`].
fn state(debug_remote: bool) -> Arc<State> {
    let metrics = Metrics::new(1);
    let published = Published::new(fallback(), metrics.clone());
    published.publish(Arc::new(snapshot()));
    let readiness = Readiness::new();
    readiness.wait_for("listeners").done();
    State::new(published, metrics, readiness, debug_remote, "/ping".into(), Site::default())
}
