//! Finds the certificate for a client hello: exact name, one-label wildcard, default.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

/// All certificates of one generation.
#[derive(Debug)]
pub struct Certs {}

impl Certs {
    /// The first certificate of the best matching name whose key type the client can verify; if it can verify none,
    /// the first.
    pub fn resolve(&self, server_name: Option<&str>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        todo!("{server_name:?} {schemes:?}")
    }
}
