//! Certificates made for a test: self-signed, told apart by their DER.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A self-signed certificate and its key.
#[derive(Debug)]
pub struct TestCertificate {
    pub pem: String,
    pub key_pem: String,
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl TestCertificate {
    /// ECDSA P-256 for these DNS names.
    pub fn for_names(names: &[&str]) -> Self {
        Self::with_algorithm(names, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// RSA for these DNS names.
    pub fn rsa_for_names(names: &[&str]) -> Self {
        Self::with_algorithm(names, &rcgen::PKCS_RSA_SHA256)
    }

    fn with_algorithm(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        TestCertificate {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// For a backend that speaks TLS.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key_der.clone()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        Arc::new(config)
    }
}
