//! Reads a certificate and its key, from a Secret or from files.
//!
//! Both must be legible and belong together. Whether the certificate is still valid is not judged: there is no clock
//! here, an expired certificate is served, and its end of validity is in the snapshot for metrics to tell.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureAlgorithm};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use crate::snapshot::{Authority, Certificate, PrivateKey};

/// Read a Secret: a certificate, or why there is none (a part of a sentence, without anything of the key).
pub(super) type Loaded = Result<Pair, String>;

/// A certificate that can be served.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pair {
    pub certificate: Arc<Certificate>,
    /// One certificate per key type can be served for a name.
    pub key_type: SignatureAlgorithm,
}

/// What holds a certificate and its key. A Secret that says no type is Opaque, and many who write one by other means than
/// `kubectl create secret tls` say none.
const TYPES: [&str; 2] = ["kubernetes.io/tls", "Opaque"];
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";

pub(super) fn load(secret: &Secret) -> Loaded {
    let kind = secret.type_.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("Opaque");
    if !TYPES.contains(&kind) {
        return Err(format!("has the type {kind:?} instead of {}", TYPES.join(" or ")));
    }
    pair((CERTIFICATE, value(secret, CERTIFICATE)?), (KEY, value(secret, KEY)?))
}

/// The same from PEM, each with the name that messages have for it.
pub(super) fn pair((of_chain, chain_pem): (&str, &[u8]), (of_key, key_pem): (&str, &[u8])) -> Loaded {
    let chain = chain(of_chain, chain_pem)?;
    let (names, not_after) = describe(of_chain, &chain)?;
    let key = key(of_key, key_pem)?;
    let der = PrivateKey::new(key.secret_der());
    let signing_key = any_supported_type(&key)
        .map_err(|_| format!("holds a key in {of_key} that is neither RSA (2048 bits or more), ECDSA nor Ed25519"))?;
    let certified = CertifiedKey::new(chain, signing_key);
    certified
        .keys_match()
        .map_err(|_| format!("holds a key in {of_key} that is not of the first certificate in {of_chain}"))?;
    let key_type = certified.key.algorithm();
    let chain = certified.cert.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Pair { certificate: Arc::new(Certificate { chain, key: der, names, not_after }), key_type })
}

/// The certificates of `ca.crt`: those whose word is taken for a peer's certificate.
pub(super) fn authorities(secret: &Secret) -> Result<Vec<Authority>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(value(secret, AUTHORITIES)?).collect();
    let certificates = certificates.map_err(|_| format!("holds no legible PEM in {AUTHORITIES}"))?;
    let mut authorities = Vec::new();
    for (index, der) in certificates.iter().enumerate() {
        let usable = RootCertStore::empty().add(der.clone()).is_ok();
        let parsed = x509_parser::parse_x509_certificate(der).ok().filter(|_| usable);
        let (_, certificate) =
            parsed.ok_or_else(|| format!("holds no certificate in {AUTHORITIES} as number {}", index + 1))?;
        authorities.push(Authority { der: der.to_vec(), subject: certificate.subject().to_string() });
    }
    if authorities.is_empty() {
        return Err(format!("holds no certificate in {AUTHORITIES}"));
    }
    Ok(authorities)
}

fn value<'a>(secret: &'a Secret, key: &str) -> Result<&'a [u8], String> {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.map(|value| value.0.as_slice()).ok_or_else(|| format!("has no {key}"))
}

fn chain(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| format!("holds no legible PEM in {name}"))?;
    if chain.is_empty() {
        return Err(format!("holds no certificate in {name}"));
    }
    Ok(chain)
}

fn key(name: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| match pem.windows(9).any(|window| window == b"ENCRYPTED") {
        true => format!("holds an encrypted key in {name}"),
        false => format!("holds no legible PEM key in {name}"),
    })
}

/// Names and end of validity of the leaf; all of the chain must be certificates.
fn describe(name: &str, chain: &[CertificateDer<'_>]) -> Result<(Vec<String>, i64), String> {
    let mut leaf = None;
    for (index, der) in chain.iter().enumerate() {
        let parsed = x509_parser::parse_x509_certificate(der).ok().filter(|(rest, _)| rest.is_empty());
        let (_, certificate) =
            parsed.ok_or_else(|| format!("holds no certificate in {name} as number {}", index + 1))?;
        leaf.get_or_insert_with(|| (dns_names(&certificate), certificate.validity().not_after.timestamp()));
    }
    leaf.ok_or_else(|| format!("holds no certificate in {name}"))
}

fn dns_names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let mut names: Vec<String> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}
