//! How endpoints that want TLS are connected to: what is shown to them, and how what they show is verified.
//!
//! One value for a backend, which all its endpoints hold; made anew only when what its policy says about TLS changes.
//! `proxy` connects with it.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::parse_x509_certificate;

use super::certs::certify;
use crate::snapshot::{Authority, Backend, BackendId, Protocol};
use crate::telemetry::Seldom;

/// The TLS of one backend.
pub struct LiveTls {
    pub backend: Arc<BackendId>,
    pub config: Arc<ClientConfig>,
    /// `None`: the request's host is asked for, and nothing is verified.
    name: Option<ServerName<'static>>,
    /// For the line that says why handshakes fail.
    pub failures: Seldom,
}

impl LiveTls {
    /// `None`: the backend does not want TLS.
    pub(super) fn new(id: &Arc<BackendId>, backend: &Backend) -> Option<Arc<Self>> {
        if backend.protocol != Protocol::Https {
            return None;
        }
        let (config, name) = match &backend.policy.tls {
            None => (UNVERIFIED.clone(), None),
            Some(tls) => {
                let client = tls.client.as_ref().and_then(|certificate| certify(certificate));
                (Arc::new(config(&tls.authorities, client)), Some(tls.server_name.clone()))
            }
        };
        Some(Arc::new(LiveTls { backend: id.clone(), config, name, failures: Seldom::new() }))
    }

    /// What the endpoint at `address` is called in the handshake for a request to `host` (normal form, no port). Of a
    /// backend that has no name of its own it is the host, so that the endpoint can choose a certificate, or the address
    /// if the host is no DNS name. An address is not asked for.
    pub fn name(&self, host: &str, address: IpAddr) -> ServerName<'static> {
        match (&self.name, ServerName::try_from(host)) {
            (Some(name), _) => name.clone(),
            (None, Ok(name @ ServerName::DnsName(_))) => name.to_owned(),
            (None, _) => ServerName::IpAddress(address.into()),
        }
    }
}

/// For all backends whose policies say nothing else: they resume each other's sessions.
static UNVERIFIED: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(config(&[], None)));

fn config(authorities: &[Authority], client: Option<CertifiedKey>) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has cipher suites of both versions")
        .dangerous();
    let builder = builder.with_custom_certificate_verifier(match authorities {
        [] => Arc::new(Unverified(algorithms)),
        authorities => Arc::new(Verified::by(authorities, algorithms)),
    });
    let mut config = match client {
        Some(certified) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Accepts what the authorities vouch for, under the name that it is asked for by.
#[derive(Debug)]
struct Verified {
    authorities: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verified {
    fn by(authorities: &[Authority], algorithms: WebPkiSupportedAlgorithms) -> Self {
        let authorities: Vec<_> = authorities.iter().map(|authority| authority.der.clone().into()).collect();
        let mut roots = RootCertStore::empty();
        // One that cannot be read vouches for nothing.
        roots.add_parsable_certificates(authorities.iter().cloned());
        Verified { authorities, roots, algorithms }
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // A self-signed certificate is its own authority. webpki refuses one that may sign others, as most tools make it.
        if self.authorities.contains(end_entity) {
            check_validity(end_entity, now)?;
        } else {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        }
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

pub(super) fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let moment = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match moment {
        _ if moment < from => Err(CertificateError::NotValidYet),
        _ if moment > to => Err(CertificateError::Expired),
        _ => Ok(()),
    }
}

/// Accepts every certificate. A backend without authorities is encrypted but not verified (its Report says so): nothing
/// states who should have signed it, and nearly all are self-signed for no name in particular. Since the certificate
/// proves nothing, its signature over the handshake need not be checked either.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Keys are never shown.
impl fmt::Debug for LiveTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTls").field("backend", &self.backend).field("name", &self.name).finish_non_exhaustive()
    }
}
