//! A TLS client that accepts any certificate and tells which one it got.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use rustls::{SupportedProtocolVersion, version};

use super::client::{Client, tcp};

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// How to open a TLS connection.
#[derive(Clone, Debug)]
pub struct Tls {
    /// `None`: no SNI is sent.
    pub server_name: Option<String>,
    pub alpn: Vec<&'static str>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Which kinds of certificate the client can check; empty: all.
    pub signatures: Vec<SignatureScheme>,
}

impl Tls {
    pub fn to(server_name: &str) -> Self {
        let versions = vec![&version::TLS13, &version::TLS12];
        Tls { server_name: Some(server_name.to_owned()), alpn: vec!["http/1.1"], versions, signatures: Vec::new() }
    }

    pub fn without_name() -> Self {
        Tls { server_name: None, ..Self::to("x.invalid") }
    }

    pub fn alpn(mut self, protocols: &[&'static str]) -> Self {
        self.alpn = protocols.to_vec();
        self
    }

    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub fn signatures(mut self, schemes: &[SignatureScheme]) -> Self {
        self.signatures = schemes.to_vec();
        self
    }

    /// An HTTP/1 client over a finished handshake.
    #[track_caller]
    pub fn connect(&self, address: SocketAddr) -> Client<TlsStream> {
        Client::over(self.handshake(tcp(address)).unwrap())
    }

    /// The handshake over a connection that is open.
    pub fn handshake(&self, mut tcp: TcpStream) -> std::io::Result<TlsStream> {
        let name = self.server_name.clone().unwrap_or_else(|| "x.invalid".to_owned());
        let name = ServerName::try_from(name).unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.config()), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(StreamOwned::new(connection, tcp))
    }

    pub fn config(&self) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = AnyCertificate { provider: Arc::clone(&provider), signatures: self.signatures.clone() };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.enable_sni = self.server_name.is_some();
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}

/// The certificate that the server showed.
pub fn certificate(client: &Client<TlsStream>) -> CertificateDer<'static> {
    client.stream.conn.peer_certificates().unwrap()[0].clone()
}

/// The application protocol that was agreed on.
pub fn protocol(client: &Client<TlsStream>) -> Option<String> {
    client.stream.conn.alpn_protocol().map(|protocol| String::from_utf8(protocol.to_vec()).unwrap())
}

#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    signatures: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        if self.signatures.is_empty() {
            return self.provider.signature_verification_algorithms.supported_schemes();
        }
        self.signatures.clone()
    }
}
