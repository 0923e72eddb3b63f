//! Answers whose only end is that of the connection (HTTP/1.0 knows no chunks): one that breaks off never looks complete.

use std::io::{ErrorKind, Read, Write};

use crate::support::tls::Tls;
use crate::support::{Backend, Client, Headgate, TestCertificate, Then, objects};

/// `/whole` answers in chunks to their end, all else is within one until its connection is closed.
fn proxy() -> (Headgate, Backend) {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        if exchange.seen.target() == "/whole" {
            return exchange.send("0\r\n\r\n").map(|()| Then::KeepAlive);
        }
        exchange.send("5\r\nab")?;
        exchange.until_abandoned()
    });
    let certificate = TestCertificate::for_names(&["a.example"]);
    let mut site = objects::tls_site("a.example", &[backend.address], &certificate);
    site.extend(objects::site("plain.example", &[backend.address]));
    (Headgate::serve(&site), backend)
}

/// What comes up to a FIN, also without a word of TLS before, or how else the answer ends.
#[track_caller]
fn ends<S: Read + Write>(mut client: Client<S>, backend: &Backend, path: &str, host: &str) -> Result<(), ErrorKind> {
    client.send(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n"));
    let mut response = client.head();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!((response.header("content-length"), response.header("transfer-encoding")), (None, None));
    assert_eq!(client.exactly(5), b"hello");
    if path == "/broken" {
        assert_eq!(client.exactly(2), b"ab");
        backend.close_connections();
    }
    client.try_body(&mut response).map_err(|error| error.kind())
}

#[test]
fn one_that_is_whole_ends_in_due_form() {
    let (proxy, backend) = proxy();
    assert_eq!(ends(Client::connect(proxy.http), &backend, "/whole", "plain.example"), Ok(()));
    assert_eq!(ends(Tls::to("a.example").connect(proxy.https), &backend, "/whole", "a.example"), Ok(()));
}

#[test]
fn one_that_breaks_off_ends_in_a_reset() {
    let (proxy, backend) = proxy();
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!(ends(Client::connect(proxy.http), &backend, "/broken", "plain.example"), reset);
    assert_eq!(ends(Tls::to("a.example").connect(proxy.https), &backend, "/broken", "a.example"), reset);
}
