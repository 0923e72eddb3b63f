//! Certificates made for a test: self-signed or an authority's, told apart by their DER.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A certificate and its key.
#[derive(Debug)]
pub struct TestCertificate {
    pub pem: String,
    pub key_pem: String,
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
    /// Who has to have signed what clients show.
    clients: Option<CertificateDer<'static>>,
}

/// Signs certificates.
pub struct TestAuthority(CertifiedIssuer<'static, KeyPair>);

impl TestAuthority {
    pub fn named(name: &str) -> Self {
        let mut params = params(&[]);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        TestAuthority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these DNS names and addresses.
    pub fn sign(&self, names: &[&str]) -> TestCertificate {
        self.signed(params(names))
    }

    /// As [`TestAuthority::sign`], out of date.
    pub fn sign_expired(&self, names: &[&str]) -> TestCertificate {
        let mut params = params(names);
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
        self.signed(params)
    }

    fn signed(&self, params: CertificateParams) -> TestCertificate {
        let key = KeyPair::generate().unwrap();
        TestCertificate::new(&params.signed_by(&key, &self.0).unwrap(), &key)
    }
}

impl TestCertificate {
    /// ECDSA P-256 for these DNS names, self-signed.
    pub fn for_names(names: &[&str]) -> Self {
        Self::with_algorithm(names, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// RSA for these DNS names, self-signed.
    pub fn rsa_for_names(names: &[&str]) -> Self {
        Self::with_algorithm(names, &rcgen::PKCS_RSA_SHA256)
    }

    /// As [`TestCertificate::for_names`], valid for so long from now on.
    pub fn ending(names: &[&str], after: Duration) -> Self {
        let mut params = params(names);
        params.not_after = (SystemTime::now() + after).into();
        let key = KeyPair::generate().unwrap();
        Self::new(&params.self_signed(&key).unwrap(), &key)
    }

    fn with_algorithm(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        Self::new(&params(names).self_signed(&key).unwrap(), &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        TestCertificate {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
            clients: None,
        }
    }

    /// A backend with this certificate lets only those in that show one of `authority`.
    pub fn for_clients_of(mut self, authority: &TestAuthority) -> Self {
        self.clients = Some(authority.0.der().clone());
        self
    }

    /// For a backend that speaks TLS.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key_der.clone()).unwrap();
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        Arc::new(builder.with_single_cert(vec![self.der.clone()], key).unwrap())
    }
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

impl std::fmt::Debug for TestAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestAuthority")
    }
}
