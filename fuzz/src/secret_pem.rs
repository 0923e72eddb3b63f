//! Certificates and keys as PEM: a pair is served or a reason is given, and nothing of the key is ever told.

use std::collections::BTreeMap;
use std::sync::Arc;

use headgate::snapshot::{Certificate, HostPattern, Reference, Snapshot};
use headgate::translate::certificate;

use super::rules;

const CHAIN: &[u8] = include_bytes!("../../tests/golden/certs/shop.crt");
const KEY: &[u8] = include_bytes!("../../tests/golden/certs/shop.key");

/// The first byte says whether the others are a chain, a key, or both one after the other.
pub fn judge(data: &[u8]) {
    let Some((first, pem)) = data.split_first() else { return };
    let (chain, key) = match first % 3 {
        0 => (pem, KEY),
        1 => (CHAIN, pem),
        _ => (pem, pem),
    };
    let read = || certificate(("tls.crt", chain), ("tls.key", key));
    let loaded = read();
    assert_eq!(loaded, read());
    let told = format!("{loaded:?}");
    // A line of PEM has 64 letters, and no blank as what is told has.
    let lines = key.split(|byte| *byte == b'\n').filter(|line| line.len() >= 32);
    for secret in lines.filter(|line| !line.contains(&b' ')) {
        assert!(!told.as_bytes().windows(32).any(|window| window == &secret[..32]), "{told}");
    }
    match loaded {
        Ok(certificate) => check_served(&certificate),
        Err(reason) => assert!(!reason.is_empty() && !reason.contains('\n')),
    }
}

/// What was loaded is what a client gets.
fn check_served(certificate: &Arc<Certificate>) {
    let name = Reference::new("default", "pair");
    let host = HostPattern::parse("a.test").expect("a host");
    let snapshot = Snapshot {
        certificates: Arc::new(BTreeMap::from([(host, vec![name.clone()])])),
        secrets: Arc::new(BTreeMap::from([(name, certificate.clone())])),
        ..Snapshot::default()
    };
    let served = rules::live(snapshot, None).certs.resolve(Some("a.test"), &[]);
    assert_eq!(served.cert.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), *certificate.chain);
    assert!(served.keys_match().is_ok(), "the key is another one's");
}
