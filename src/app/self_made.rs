//! A certificate made on the spot: for TLS clients that no other certificate is for, and for echo backends.

use std::sync::Arc;

use anyhow::Context;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A new key (ECDSA P-256) and a certificate for `name` signed with it.
pub fn certificate(name: &str) -> anyhow::Result<Arc<CertifiedKey>> {
    let key = KeyPair::generate().context("cannot make a key")?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).context("cannot make a certificate")?;
    params.distinguished_name.push(DnType::CommonName, "Headgate self-made certificate");
    let certificate = params.self_signed(&key).context("cannot make a certificate")?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&key).context("cannot use the key just made")?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_key_and_certificate_belong_together() {
        let certified = certificate("localhost").unwrap();
        certified.keys_match().unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(certified.end_entity_cert().unwrap()).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=Headgate self-made certificate");
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(format!("{:?}", names.value).contains("localhost"));
    }
}
