mod renewed;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem::discriminant;
use std::net::IpAddr;
use std::sync::Mutex;

use rcgen::{BasicConstraints, CertifiedIssuer, IsCa, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConnection, Error, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;
use crate::snapshot::{Authority, BackendTls, Protocol};
use crate::tables::backend_tls::check_validity;
use crate::tables::{LiveEndpoint, LiveTls};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A chain and its key.
type Shown = (Vec<CertificateDer<'static>>, KeyPair);

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
}

fn may_sign(mut params: CertificateParams) -> CertificateParams {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    params
}

fn not_yet(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2301, 1, 1), date_time_ymd(2302, 1, 1));
    params
}

fn issuer(name: &str) -> Issuer {
    let mut params = may_sign(params(&[]));
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(params: CertificateParams, by: &Issuer) -> Shown {
    let key = KeyPair::generate().unwrap();
    (vec![params.signed_by(&key, by).unwrap().der().clone()], key)
}

fn self_signed(params: CertificateParams) -> Shown {
    let key = KeyPair::generate().unwrap();
    (vec![params.self_signed(&key).unwrap().der().clone()], key)
}

fn authorities(of: &[&CertificateDer<'static>]) -> Vec<Authority> {
    of.iter().map(|der| Authority { der: der.to_vec(), subject: String::new() }).collect()
}

fn named(name: &str, authorities: Vec<Authority>) -> BackendTls {
    BackendTls { authorities, server_name: ServerName::try_from(name.to_owned()).unwrap(), client: None }
}

fn https(tls: Option<BackendTls>) -> Backend {
    let mut backend = Backend { protocol: Protocol::Https, ..Backend::clone(&backend(&[1, 2])) };
    backend.policy.tls = tls;
    backend
}

fn tables_of(backend: Backend, previous: Option<&Tables>) -> Tables {
    let mut wanted = snapshot(&[("h", PREFIX, "/", "s")]);
    wanted.backends.insert(backend_id("s"), Arc::new(backend));
    build(wanted, previous)
}

fn endpoints(tables: &Tables) -> &[Arc<LiveEndpoint>] {
    &tables.backends[0].endpoints
}

fn live(tls: Option<BackendTls>) -> Arc<LiveTls> {
    endpoints(&tables_of(https(tls), None))[0].tls.clone().unwrap()
}

/// Shows one certificate to all and keeps the names it was asked for.
#[derive(Debug)]
struct Recorder {
    key: Arc<CertifiedKey>,
    asked: Mutex<Vec<Option<String>>>,
}

impl ResolvesServerCert for Recorder {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.asked.lock().unwrap().push(hello.server_name().map(str::to_owned));
        Some(self.key.clone())
    }
}

fn recorder((chain, key): Shown) -> Arc<Recorder> {
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
    Arc::new(Recorder { key: Arc::new(CertifiedKey::new(chain, key)), asked: Mutex::default() })
}

/// An endpoint; `clients` are the authorities of those whom it lets in, if not all.
fn server(
    recorder: &Arc<Recorder>,
    version: &'static SupportedProtocolVersion,
    clients: Option<RootCertStore>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(recorder.clone());
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// One direction of a connection in memory.
#[derive(Default)]
struct Pipe(VecDeque<u8>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handshake for a request to `host`, and what the endpoint sends after it; or what the first of both had against it.
fn handshake(
    tls: &LiveTls,
    host: &str,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = tls.name(host, "192.0.2.1".parse().unwrap());
    let mut near = ClientConnection::new(tls.config.clone(), name)?;
    let mut far = ServerConnection::new(server.clone())?;
    while near.wants_write() || far.wants_write() {
        let mut pipe = Pipe::default();
        near.write_tls(&mut pipe).unwrap();
        while !pipe.0.is_empty() {
            far.read_tls(&mut pipe).unwrap();
            far.process_new_packets()?;
        }
        far.write_tls(&mut pipe).unwrap();
        while !pipe.0.is_empty() {
            near.read_tls(&mut pipe).unwrap();
            near.process_new_packets()?;
        }
    }
    assert!(!near.is_handshaking() && !far.is_handshaking());
    Ok((near, far))
}

/// What is wrong with the certificate that is shown, if anything.
fn complaint(tls: &LiveTls, shown: Shown) -> Option<CertificateError> {
    let recorder = recorder(shown);
    let mut complaints = [&TLS13, &TLS12].map(|version| match handshake(tls, "h", &server(&recorder, version, None)) {
        Ok(_) => None,
        Err(Error::InvalidCertificate(complaint)) => Some(complaint),
        Err(error) => panic!("{error}"),
    });
    // Not equal as a whole: they hold the second at which they were made.
    let kinds = complaints.each_ref().map(|complaint| complaint.as_ref().map(discriminant));
    assert_eq!(kinds[0], kinds[1]);
    complaints[0].take()
}

const NAME: &str = "shop.ns.svc";

#[test]
fn what_the_authorities_signed_for_the_name_is_accepted_and_nothing_else() {
    let (ours, second, stranger) = (issuer("ours"), issuer("second"), issuer("stranger"));
    let trusted = authorities(&[ours.der(), second.der()]);
    let by_name = live(Some(named(NAME, trusted.clone())));
    let by_address = live(Some(named("10.0.0.7", trusted.clone())));
    let accepted = |tls: &LiveTls, shown| assert_eq!(complaint(tls, shown), None);
    accepted(&by_name, signed(params(&["other.internal", NAME]), &ours));
    accepted(&by_name, signed(params(&["*.ns.svc"]), &second));
    accepted(&by_address, signed(params(&["10.0.0.7"]), &ours));
    assert_eq!(complaint(&by_name, signed(params(&[NAME]), &stranger)), Some(CertificateError::UnknownIssuer));
    assert_eq!(complaint(&by_name, self_signed(params(&[NAME]))), Some(CertificateError::UnknownIssuer));
    for (tls, names) in
        [(&by_name, &["h", "10.0.0.7"][..]), (&by_name, &[]), (&by_address, &[NAME, "10.0.0.8", "192.0.2.1"])]
    {
        let complaint = complaint(tls, signed(params(names), &ours));
        assert!(matches!(complaint, Some(CertificateError::NotValidForNameContext { .. })), "{names:?}: {complaint:?}");
    }
    let old = complaint(&by_name, signed(expired(params(&[NAME])), &ours));
    assert!(matches!(old, Some(CertificateError::ExpiredContext { .. })), "{old:?}");
    let early = complaint(&by_name, signed(not_yet(params(&[NAME])), &ours));
    assert!(matches!(early, Some(CertificateError::NotValidYetContext { .. })), "{early:?}");
}

#[test]
fn an_intermediate_is_shown_with_the_certificate_and_an_authority_may_be_expired() {
    let root = Issuer::self_signed(expired(may_sign(params(&[]))), KeyPair::generate().unwrap()).unwrap();
    let mut middle = may_sign(params(&[]));
    middle.distinguished_name.push(rcgen::DnType::CommonName, "middle");
    let middle = Issuer::signed_by(middle, KeyPair::generate().unwrap(), &root).unwrap();
    let tls = live(Some(named(NAME, authorities(&[root.der()]))));
    let (mut chain, key) = signed(params(&[NAME]), &middle);
    let copy = KeyPair::try_from(key.serialized_der()).unwrap();
    assert_eq!(complaint(&tls, (chain.clone(), copy)), Some(CertificateError::UnknownIssuer));
    chain.push(middle.der().clone());
    assert_eq!(complaint(&tls, (chain, key)), None);
}

#[test]
fn a_self_signed_certificate_is_its_own_authority_whether_it_may_sign_or_not() {
    for kind in [may_sign, |params| params] {
        let complaint_of = |params: CertificateParams| {
            let shown = self_signed(kind(params));
            let tls = live(Some(named(NAME, authorities(&[&shown.0[0]]))));
            complaint(&tls, shown)
        };
        assert_eq!(complaint_of(params(&[NAME])), None);
        assert_eq!(complaint_of(expired(params(&[NAME]))), Some(CertificateError::Expired));
        assert_eq!(complaint_of(not_yet(params(&[NAME]))), Some(CertificateError::NotValidYet));
        let other = complaint_of(params(&["other.internal"]));
        assert!(matches!(other, Some(CertificateError::NotValidForNameContext { .. })), "{other:?}");
    }
}

#[test]
fn a_certificate_is_valid_from_its_first_second_to_its_last() {
    let (chain, _) = self_signed(expired(params(&["shop.default.svc"])));
    let [first, last] = [date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1)].map(|date| date.unix_timestamp() as u64);
    let valid = |second| check_validity(&chain[0], UnixTime::since_unix_epoch(Duration::from_secs(second)));
    assert_eq!(valid(first - 1), Err(CertificateError::NotValidYet));
    assert_eq!([valid(first), valid(last)], [Ok(()), Ok(())]);
    assert_eq!(valid(last + 1), Err(CertificateError::Expired));
}

#[test]
fn an_authority_that_cannot_be_read_vouches_for_nothing() {
    let garbage = vec![Authority { der: b"none".to_vec(), subject: String::new() }];
    let tls = live(Some(named(NAME, garbage)));
    assert_eq!(complaint(&tls, signed(params(&[NAME]), &issuer("any"))), Some(CertificateError::UnknownIssuer));
}

#[test]
fn the_key_of_a_verified_certificate_has_to_have_signed_the_handshake() {
    let ours = issuer("ours");
    let tls = live(Some(named(NAME, authorities(&[ours.der()]))));
    let (chain, _) = signed(params(&[NAME]), &ours);
    let recorder = recorder((chain, KeyPair::generate().unwrap()));
    for version in [&TLS13, &TLS12] {
        let error = handshake(&tls, "h", &server(&recorder, version, None)).unwrap_err();
        assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature));
    }
}

#[test]
fn without_authorities_any_certificate_will_do() {
    for tls in [None, Some(named(NAME, Vec::new()))] {
        assert_eq!(complaint(&live(tls), self_signed(expired(params(&["other.internal"])))), None);
    }
}

#[test]
fn the_name_of_the_backend_is_asked_for_or_else_the_request_s() {
    let recorder = recorder(self_signed(params(&[NAME])));
    let server = server(&recorder, &TLS13, None);
    let (own, address, none) =
        (live(Some(named(NAME, Vec::new()))), live(Some(named("10.0.0.7", Vec::new()))), live(None));
    for (tls, host, asked) in [
        (&own, "shop.example", Some(NAME)),
        (&own, "", Some(NAME)),
        (&address, "shop.example", None),
        (&none, "shop.example", Some("shop.example")),
        (&none, "192.0.2.9", None),
        (&none, "[fd00::1]", None),
        (&none, "", None),
    ] {
        let (near, _) = handshake(tls, host, &server).unwrap();
        assert_eq!(near.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(recorder.asked.lock().unwrap().pop().unwrap().as_deref(), asked, "{host:?}");
    }
    let endpoint: IpAddr = "10.0.0.9".parse().unwrap();
    assert_eq!(none.name("under score", endpoint), ServerName::IpAddress(endpoint.into()));
}

#[test]
fn a_certificate_of_ours_is_shown_to_those_that_ask() {
    let recorder = recorder(self_signed(params(&[NAME])));
    let key = KeyPair::generate().unwrap();
    let client = certificate("gate.internal", &key);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(client.chain[0].clone())).unwrap();
    for version in [&TLS13, &TLS12] {
        let server = server(&recorder, version, Some(roots.clone()));
        let without = handshake(&live(Some(named(NAME, Vec::new()))), "h", &server).unwrap_err();
        assert_eq!(without, Error::NoCertificatesPresented);
        let tls = live(Some(BackendTls { client: Some(client.clone()), ..named(NAME, Vec::new()) }));
        let (_, far) = handshake(&tls, "h", &server).unwrap();
        assert_eq!(far.peer_certificates().unwrap()[0].as_ref(), client.chain[0]);
    }
}

#[test]
fn sessions_are_resumed_by_those_that_verify_alike_and_by_no_others() {
    let ours = issuer("ours");
    let recorder = recorder(signed(params(&[NAME]), &ours));
    // All that verify nothing have their sessions in common, in all tests.
    for (version, host) in [(&TLS13, "thirteen.example"), (&TLS12, "twelve.example")] {
        let server = server(&recorder, version, None);
        let kind = |tls: &Arc<LiveTls>| handshake(tls, host, &server).unwrap().0.handshake_kind().unwrap();
        let backends = [None, Some(named(NAME, Vec::new())), Some(named(NAME, authorities(&[ours.der()])))].map(live);
        assert_eq!(backends.each_ref().map(kind), [HandshakeKind::Full; 3]);
        assert_eq!(backends.each_ref().map(kind), [HandshakeKind::Resumed; 3]);
    }
}

#[test]
fn endpoints_stay_until_what_is_said_of_their_tls_changes() {
    let plain = tables_of(Backend::clone(&backend(&[1, 2])), None);
    assert!(endpoints(&plain).iter().all(|endpoint| endpoint.tls.is_none()));
    let (first, second) = (issuer("first"), issuer("second"));
    let by = |issuer: &Issuer| named(NAME, authorities(&[issuer.der()]));
    let client = Some(certificate("gate.internal", &KeyPair::generate().unwrap()));
    let mut tables = plain;
    for tls in [
        None,
        Some(named(NAME, Vec::new())),
        Some(by(&first)),
        Some(by(&second)),
        Some(BackendTls { server_name: ServerName::try_from("other.internal").unwrap(), ..by(&second) }),
        Some(BackendTls { client, ..by(&second) }),
        Some(by(&second)),
        None,
    ] {
        let next = tables_of(https(tls.clone()), Some(&tables));
        for (before, after) in endpoints(&tables).iter().zip(endpoints(&next)) {
            assert!(before.retired.load(std::sync::atomic::Ordering::Relaxed) && before.id != after.id, "{tls:?}");
        }
        let [one, two] = endpoints(&next) else { panic!() };
        assert!(Arc::ptr_eq(one.tls.as_ref().unwrap(), two.tls.as_ref().unwrap()));

        // Another backend's setting, and an endpoint more.
        let mut more = https(tls.clone());
        more.policy.max_connections = Some(5);
        more.endpoints.push(SocketAddr::from(([127, 0, 0, 1], 3)));
        let after = tables_of(more, Some(&next));
        let [same, _, new] = endpoints(&after) else { panic!() };
        assert!(Arc::ptr_eq(same, one) && Arc::ptr_eq(new.tls.as_ref().unwrap(), one.tls.as_ref().unwrap()));
        tables = after;
    }
}

#[test]
fn no_key_of_ours_is_printed() {
    let client = Some(certificate("gate.internal", &KeyPair::generate().unwrap()));
    let tls = live(Some(BackendTls { client, ..named(NAME, Vec::new()) }));
    assert_eq!(
        format!("{tls:?}"),
        r#"LiveTls { backend: BackendId { namespace: "ns", service: "s", port: Number(80) }, name: Some(DnsName("shop.ns.svc")), .. }"#
    );
}
