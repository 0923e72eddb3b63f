//! The certificate for TLS clients when there is no other: self-made, so that a handshake still ends in an answer.
//!
//! Made once at the start of the process; nobody is meant to trust it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;

const NAME: &str = "ingress.local";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A new key (ECDSA P-256) and its certificate, valid for a year from now.
pub fn self_made_certificate() -> Arc<CertifiedKey> {
    make().expect("a fixed name and a fresh key make a certificate, if the system has randomness at all")
}

fn make() -> Result<Arc<CertifiedKey>, rcgen::Error> {
    let now = SystemTime::now();
    let mut params = CertificateParams::new([NAME.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    // A day back, for clients whose clock is behind.
    params.not_before = (now - DAY).into();
    params.not_after = (now + 365 * DAY).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = any_supported_type(&key.into()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

#[cfg(test)]
mod tests {
    use x509_parser::parse_x509_certificate;

    use super::*;

    #[test]
    fn the_certificate_names_nobody_and_lasts_a_year() {
        let made = self_made_certificate();
        assert!(made.keys_match().is_ok());
        let (_, leaf) = parse_x509_certificate(&made.cert[0]).unwrap();
        assert_eq!(leaf.subject().to_string(), "CN=ingress.local");
        assert!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len() == 1);
        assert!(leaf.validity().is_valid());
        assert_eq!(leaf.validity().time_to_expiration().map(|left| left.whole_days()), Some(364));
    }

    #[test]
    fn every_start_has_its_own_key() {
        assert_ne!(self_made_certificate().cert, self_made_certificate().cert);
    }
}
