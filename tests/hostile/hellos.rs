//! TLS that no library would send, and certificates that change while clients shake hands.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rustix::process::Signal;
use rustls::{ClientConnection, HandshakeKind, StreamOwned};

use crate::faults::with_clock;
use crate::support::client::tcp;
use crate::support::objects::{tls_secret, tls_site};
use crate::support::tls::{Tls, certificate};
use crate::support::{Backend, Client, Headgate, TestCertificate, get, in_full};

const HANDSHAKE: u8 = 0x16;

fn with_length<const BYTES: usize>(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    [&length[8 - BYTES..], content].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &with_length::<2>(content)].concat()
}

/// A ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2), whose answer shows the certificate, with this in its server_name extension.
fn hello(server_names: Option<&[u8]>) -> Vec<u8> {
    let extension = |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &with_length::<2>(content)].concat();
    let mut extensions = [
        extension(10, &with_length::<2>(&[0, 0x1d, 0, 0x17])),
        extension(11, &with_length::<1>(&[0])),
        extension(13, &with_length::<2>(&[4, 3, 5, 3, 8, 4, 4, 1])),
        extension(23, &[]),
    ]
    .concat();
    extensions.extend(server_names.map(|names| extension(0, names)).unwrap_or_default());
    let suites = with_length::<2>(&[0xc0, 0x2b, 0xc0, 0x2f]);
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &with_length::<2>(&extensions)].concat();
    record(HANDSHAKE, &[&[1][..], &with_length::<3>(&body)].concat())
}

/// The list of names in that extension (RFC 6066 §3).
fn names(names: &[&[u8]]) -> Vec<u8> {
    with_length::<2>(&names.iter().flat_map(|name| [&[0][..], &with_length::<2>(name)].concat()).collect::<Vec<_>>())
}

/// All that is answered before it is the client's turn; ends with the connection, or when an answer is complete.
fn answer(proxy: &Headgate, sent: &[u8]) -> Vec<u8> {
    let mut stream = tcp(proxy.https);
    stream.write_all(sent).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    // A ServerHelloDone ends it.
    while !answer.ends_with(&[14, 0, 0, 0]) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend(&piece[..read]),
        }
    }
    answer
}

#[test]
fn odd_server_names_get_the_default_or_an_alert() {
    let backend = Backend::answering("ok");
    let [ours, others, fallback] =
        ["a.example", "b.example", "fallback.example"].map(|name| TestCertificate::for_names(&[name]));
    let mut objects = tls_site("a.example", &[backend.address], &ours);
    objects.extend(tls_site("b.example", &[backend.address], &others));
    objects.push(tls_secret("fallback", &fallback));
    let proxy = Headgate::with(&objects).flag("--default-ssl-certificate", "default/fallback").start();
    let shows = |answer: &[u8], certificate: &TestCertificate| {
        answer.windows(certificate.der.len()).any(|window| window == certificate.der.as_ref())
    };
    for name in [&b"a.example"[..], b"A.EXAMPLE", b"a.Example"] {
        assert!(shows(&answer(&proxy, &hello(Some(&names(&[name])))), &ours), "{name:?}");
    }
    let long = [b'a'; 256];
    let odd: Vec<Option<Vec<u8>>> = vec![
        None,
        Some(names(&[])),
        Some(vec![]),
        Some(names(&[b""])),
        Some(names(&[b"."])),
        Some(names(&[b"a.example."])),
        Some(names(&[b"192.0.2.1"])),
        Some(names(&[b"[::1]"])),
        Some(names(&[&long])),
        Some(names(&[b"a.example\0"])),
        Some(names(&[b"a.example\0.evil"])),
        Some(names(&[b"b.example\0", b"a.example"])),
        Some(names(&[b"a.example", b"b.example"])),
        Some(names(&["a.ex\u{e4}mple".as_bytes()])),
        Some(names(&[b"*.example"])),
        Some(names(&[b"a.example:443"])),
        Some([&names(&[b"a.example"])[..], b"more"].concat()),
        Some(vec![0xff, 0xff, 0, 0, 1]),
        // Another kind of name.
        Some(with_length::<2>(&[&[7][..], &with_length::<2>(b"a.example")].concat())),
    ];
    for extension in odd {
        let answer = answer(&proxy, &hello(extension.as_deref()));
        let refused = answer.is_empty() || answer[0] == 0x15;
        assert!(refused || shows(&answer, &fallback) || shows(&answer, &ours), "{extension:?}: {answer:?}");
        assert!(!shows(&answer, &others), "{extension:?}");
    }
    assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").status, 200);
}

#[test]
fn records_that_have_no_place_end_the_connection() {
    let backend = Backend::answering("ok");
    let site = tls_site("a.example", &[backend.address], &TestCertificate::for_names(&["a.example"]));
    // Of some of them more could still come.
    let proxy = Headgate::with(&site).flag("--tls-handshake-timeout", "1s").start();
    let before = proxy.resident();
    let first = hello(None);
    let odd = [
        record(0x17, b"GET / HTTP/1.1\r\n\r\n"),
        record(0x63, b"?"),
        record(0x15, &[2, 40]),
        record(0x18, &[1, 0xff, 0xff]),
        [&[HANDSHAKE, 3, 3, 0xff, 0xff][..], &[1; 70_000]].concat(),
        record(HANDSHAKE, &[]).repeat(10_000),
        record(0x14, &[1]).repeat(10_000),
        record(0x15, &[1, 90]).repeat(10_000),
        [&first[..], &first].concat(),
        [&first[..], &record(0x17, b"early")].concat(),
        [&first[..], &record(HANDSHAKE, &[20, 0, 0, 0])].concat(),
        record(HANDSHAKE, &[1, 0xff, 0xff, 0xff]),
        [record(HANDSHAKE, &[1, 0xff, 0xff, 0xff]), record(HANDSHAKE, &[0; 16_000]).repeat(1100)].concat(),
    ];
    for (number, sent) in odd.iter().enumerate() {
        let mut client = Client::connect(proxy.https);
        // It may be over before all was sent.
        let _ = client.stream.write_all(sent);
        client.rest();
        assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").status, 200, "after {number}");
    }
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB more", grown >> 10);
}

#[test]
fn new_keys_without_end_hurt_nobody() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Tls::to("a.example").version(&rustls::version::TLS13).connect(proxy.https);
    assert_eq!(client.get("a.example", "/").status, 200);
    let before = proxy.resident();
    for _ in 0..100 {
        client.stream.conn.refresh_traffic_keys().unwrap();
        if client.stream.flush().is_err() {
            break;
        }
    }
    client.rest();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB more", grown >> 10);
}

#[test]
fn a_ticket_of_another_process_means_a_full_handshake() {
    let backend = Backend::answering("ok");
    let certificate = TestCertificate::for_names(&["a.example"]);
    let objects = tls_site("a.example", &[backend.address], &certificate);
    let proxies = [Headgate::serve(&objects), Headgate::serve(&objects)];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // What is to be resumed is known by the name alone.
        let config = Arc::new(Tls::to("a.example").version(version).config());
        assert!(!resumes(&proxies[0], &config));
        assert!(resumes(&proxies[0], &config));
        assert!(!resumes(&proxies[1], &config));
    }
}

/// Two clients keep a ticket of the first hour, each for one use.
#[test]
fn a_ticket_is_worth_nothing_once_its_key_was_replaced_twice() {
    let backend = Backend::answering("ok");
    let site = tls_site("a.example", &[backend.address], &TestCertificate::for_names(&["a.example"]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let clock = tempfile::NamedTempFile::new().unwrap();
        let set = |jump: &str| std::fs::write(clock.path(), jump).unwrap();
        set("+0");
        let proxy = with_clock(Headgate::with(&site), clock.path()).start();
        let clients = [(); 3].map(|()| Arc::new(Tls::to("a.example").version(version).config()));
        let ask = |client: usize| resumes(&proxy, &clients[client]);
        assert_eq!([0, 1, 2, 0].map(ask), [false, false, false, true]);
        set("+7h");
        assert!(ask(1), "the key before");
        set("+14h");
        assert!(!ask(2), "the key before that");
        assert!(ask(2));
    }
}

/// Asks, and says whether a session of before went on.
fn resumes(proxy: &Headgate, config: &Arc<rustls::ClientConfig>) -> bool {
    let name = rustls::pki_types::ServerName::try_from("a.example").unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    let mut client = Client::over(StreamOwned::new(connection, tcp(proxy.https)));
    assert_eq!(client.get("a.example", "/").status, 200);
    client.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn changes_of_a_certificate_fail_no_handshake() {
    let changes = if in_full() { 1000 } else { 200 };
    let backend = Backend::answering("ok");
    let certificates = [TestCertificate::for_names(&["a.example"]), TestCertificate::for_names(&["a.example"])];
    let sites = certificates.each_ref().map(|certificate| tls_site("a.example", &[backend.address], certificate));
    let proxy = Headgate::serve(&sites[0]);
    let (over, shaken) = (AtomicBool::new(false), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    let mut client = Tls::to("a.example").connect(proxy.https);
                    assert_eq!(client.get("a.example", "/").status, 200);
                    let shown = certificate(&client);
                    let which = certificates.iter().position(|certificate| certificate.der == shown);
                    shaken[which.expect("the old one or the new one")].fetch_add(1, SeqCst);
                }
            });
        }
        for change in 1..=changes {
            proxy.change(&sites[change % 2]);
        }
        over.store(true, SeqCst);
    });
    assert!(shaken.iter().all(|shaken| shaken.load(SeqCst) > 0), "{shaken:?}");
}

/// A usual certificate, and one whose signature takes long on any machine.
fn fast_and_slow() -> [TestCertificate; 2] {
    [TestCertificate::for_names(&["a.example"]), TestCertificate::rsa_for_names(&["a.example"])]
}

#[test]
fn hellos_that_come_together_take_turns() {
    fast_and_slow().iter().for_each(take_turns);
}

fn take_turns(certificate: &TestCertificate) {
    let backend = Backend::answering("ok");
    let site = tls_site("a.example", &[backend.address], certificate);
    let proxy = Headgate::with(&site).flag("--workers", "1").start();
    let waits = || proxy.metrics().value("proxy_tls_handshake_waits_total", &[]);
    assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").status, 200);
    assert_eq!(waits(), 0.0, "one alone waits for nobody");
    proxy.signal(Signal::STOP);
    let hello = hello(Some(&names(&[b"a.example"])));
    let mut clients: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = tcp(proxy.https);
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    proxy.signal(Signal::CONT);
    for client in &mut clients {
        assert!(client.read(&mut [0; 5]).is_ok_and(|read| read > 0), "each is answered");
    }
    assert!(waits() >= 50.0, "{} of 100 waited", waits());
    // All of them now keep the proxy waiting, which holds nobody.
    assert_eq!(Tls::to("a.example").connect(proxy.https).get("a.example", "/").status, 200);
}

#[test]
fn hellos_of_one_address_let_others_through() {
    fast_and_slow().iter().for_each(let_others_through);
}

fn let_others_through(certificate: &TestCertificate) {
    const HELLOS: usize = 500;
    let backend = Backend::answering("ok");
    let site = tls_site("a.example", &[backend.address], certificate);
    let proxy = Headgate::with(&site).flag("--workers", "1").start();
    let hello = hello(Some(&names(&[b"a.example"])));
    let from = |address: [u8; 4]| {
        let mut client = Client::connect_from(address.into(), proxy.https);
        client.send(&hello);
        client.stream
    };
    proxy.signal(Signal::STOP);
    let flood: Vec<_> = (0..HELLOS).map(|_| from([127, 0, 0, 2])).collect();
    let mut other = from([127, 0, 0, 3]);
    proxy.signal(Signal::CONT);
    assert!(other.read(&mut [0; 5]).is_ok_and(|read| read > 0), "it is answered");
    proxy.signal(Signal::STOP);
    let answered = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.peek(&mut [0]).is_ok()
    };
    let before = flood.iter().filter(answered).count();
    proxy.signal(Signal::CONT);
    assert!(before < HELLOS / 2, "{before} of {HELLOS} were answered before another address");
}
