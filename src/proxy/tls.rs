//! What clients may negotiate with us in TLS.
//!
//! The worker accepts with [`server_config`]. Which certificate a client gets is the business of `tables::Certs`; the
//! time limit of a handshake that of the caller; TLS with backends that of `tables::LiveTls`.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};

use crate::tables::Published;

/// TLS 1.2 sessions remembered for clients that know no tickets. All others resume by ticket, which costs no memory.
const REMEMBERED_SESSIONS: usize = 8192;

/// What all https listeners negotiate. One per process: tickets must open on every worker.
pub fn server_config(published: Arc<Published>) -> Arc<ServerConfig> {
    serving(Arc::new(NewestCertificate(published)))
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

#[cfg(test)]
mod tests;
