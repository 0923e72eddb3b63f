use std::sync::LazyLock;

use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::*;

static SHOP: LazyLock<Arc<CertifiedKey>> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    Arc::new(CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider()).unwrap())
});

fn server() -> Arc<ServerConfig> {
    serving(Arc::new(SingleCertAndKey::from(SHOP.clone())))
}

/// A client with the given versions and protocols.
fn client(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(SHOP.cert[0].clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

type Pair = (client::TlsStream<DuplexStream>, server::TlsStream<DuplexStream>);

/// One handshake, and one byte from the server so that the client has seen its tickets.
async fn handshake(
    client: &TlsConnector,
    server: &Arc<ServerConfig>,
    name: ServerName<'static>,
) -> std::io::Result<Pair> {
    let (near, far) = duplex(1 << 16);
    let accept = async {
        let mut stream = TlsAcceptor::from(server.clone()).accept(far).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        std::io::Result::Ok(stream)
    };
    let connect = async {
        let mut stream = client.connect(name, near).await?;
        stream.read_exact(&mut [0]).await?;
        std::io::Result::Ok(stream)
    };
    let (connected, accepted) = tokio::join!(connect, accept);
    Ok((connected?, accepted?))
}

fn shop() -> ServerName<'static> {
    ServerName::try_from("shop.example").unwrap()
}

#[tokio::test]
async fn a_client_that_can_is_given_http2_and_tls_1_3() {
    let server = server();
    for (versions, offered, chosen, label) in [
        (&[&TLS13, &TLS12][..], &["http/1.1", "h2"][..], Some(&b"h2"[..]), "TLSv1.3"),
        (&[&TLS12], &["http/1.1"], Some(b"http/1.1"), "TLSv1.2"),
        (&[&TLS13], &[], None, "TLSv1.3"),
    ] {
        let (_, accepted) = handshake(&client(versions, offered), &server, shop()).await.unwrap();
        let connection = accepted.get_ref().1;
        assert_eq!(connection.alpn_protocol(), chosen);
        assert_eq!(version_label(connection), label);
    }
}

#[tokio::test]
async fn a_client_with_none_of_our_protocols_gets_the_alert() {
    let server = server();
    let error = handshake(&client(&[&TLS13], &["spdy/3"]), &server, shop()).await.unwrap_err();
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    assert_eq!(error, Some(&rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

#[tokio::test]
async fn a_second_handshake_resumes_whatever_the_version() {
    let server = server();
    for version in [&TLS13, &TLS12] {
        let client = client(&[version], &["h2"]);
        let kinds = [
            handshake(&client, &server, shop()).await.unwrap().1.get_ref().1.handshake_kind(),
            handshake(&client, &server, shop()).await.unwrap().1.get_ref().1.handshake_kind(),
        ];
        assert!(matches!(kinds[0], Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)));
        assert_eq!(kinds[1], Some(HandshakeKind::Resumed));
    }
}

#[tokio::test]
async fn the_post_quantum_group_is_agreed_on_without_a_retry() {
    let server = server();
    let (_, accepted) = handshake(&client(&[&TLS13], &["h2"]), &server, shop()).await.unwrap();
    let connection = accepted.get_ref().1;
    assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(connection.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn early_data_is_not_taken_and_tickets_live_at_most_12_hours() {
    let server = server();
    assert_eq!(server.max_early_data_size, 0);
    assert!(server.ticketer.enabled());
    assert!(server.ticketer.lifetime() <= 12 * 3600, "{}", server.ticketer.lifetime());
}
