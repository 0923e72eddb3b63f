//! TLS on both sides: what clients may negotiate with us, and how we speak to backends that want https.
//!
//! The worker accepts with [`server_config`], the pool connects with [`backend_connector`]. Which certificate a client
//! gets is the business of `tables::Certs`; the time limit of a handshake that of the caller.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, ProtocolVersion, ServerConfig, ServerConnection, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::tables::Published;

/// TLS 1.2 sessions remembered for clients that know no tickets. All others resume by ticket, which costs no memory.
const REMEMBERED_SESSIONS: usize = 8192;

/// What all https listeners negotiate. One per process: tickets must open on every worker.
pub fn server_config(published: Arc<Published>) -> Arc<ServerConfig> {
    serving(Arc::new(NewestCertificate(published)))
}

/// Connects to backends without checking who answers. Those that share it resume each other's sessions.
pub fn backend_connector() -> TlsConnector {
    let provider = provider();
    let unverified = Unverified { schemes: provider.signature_verification_algorithms.supported_schemes() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has cipher suites of both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(unverified))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// What a backend at `address` is called in a handshake for `host` (normal form, no port): the name, so that it can
/// choose a certificate, or the address if `host` is no DNS name (then no SNI is sent).
pub fn backend_name(host: &str, address: IpAddr) -> ServerName<'static> {
    match ServerName::try_from(host) {
        Ok(name @ ServerName::DnsName(_)) => name.to_owned(),
        _ => ServerName::IpAddress(address.into()),
    }
}

/// `TLSv1.3` or `TLSv1.2`; empty before the handshake is through.
pub fn version_label(connection: &ServerConnection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}

fn serving(certificates: Arc<dyn ResolvesServerCert>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has cipher suites of both versions")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // All suites offered are strong; a client without AES instructions knows best that it wants ChaCha20.
    config.ignore_client_order = false;
    // Data that can be replayed is data we would have to refuse per route.
    config.max_early_data_size = 0;
    // New keys every 6 h, old ones taken for 6 h more. Neither these nor the sessions may be shared with a config that
    // asks clients for certificates: resumption does not ask again.
    config.ticketer = aws_lc_rs::Ticketer::new().expect("the system has random numbers");
    config.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
    Arc::new(config)
}

/// Named here rather than taken from the process default, so that no crate can exchange it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Looks a certificate up in the generation that is newest when the handshake begins.
struct NewestCertificate(Arc<Published>);

impl ResolvesServerCert for NewestCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certs.resolve(hello.server_name(), hello.signature_schemes()))
    }
}

impl std::fmt::Debug for NewestCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewestCertificate")
    }
}

/// Accepts every certificate. A backend without `backendTLS` is encrypted but not verified (its Report says so):
/// nothing states which authority it should be signed by, and nearly all are self-signed for no name in particular.
/// Since the certificate proves nothing, its signature over the handshake need not be checked either.
#[derive(Debug)]
struct Unverified {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests;
