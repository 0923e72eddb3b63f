//! The instruments themselves: what the other files measure with must not lie.

use crate::support::frames::{Frames, HEADERS, encode};
use crate::support::h2_backend::H2Backend;
use crate::support::{Backend, Client, TestCertificate, Then, get, h2_client, ports, tls};
use http::Response;

#[test]
fn a_backend_records_heads_byte_by_byte_and_bodies_without_framing() {
    let backend = Backend::answering("hello");
    let mut client = Client::connect(backend.address);
    client.send("POST /x?y HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.get("b", "/2").text(), "hello");
    let seen = backend.wait_for(2);
    assert_eq!(seen[0].raw, b"POST /x?y HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(seen[0].body, b"abc");
    assert_eq!(seen[0].trailers, [("x-t".to_owned(), "1".to_owned())]);
    assert_eq!((seen[1].target(), seen[1].connection), ("/2", 0));
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_backend_can_reset() {
    let backend = Backend::scripted(|_| Ok(Then::Reset));
    let mut client = Client::connect(backend.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_response().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_stopped_backend_refuses_and_closes() {
    let backend = Backend::answering("x");
    let mut client = Client::connect(backend.address);
    client.get("a", "/");
    backend.stop();
    client.expect_close();
    crate::support::wait::until("a refusal", || std::net::TcpStream::connect(backend.address).err());
}

#[test]
fn a_backend_speaks_tls() {
    let backend = Backend::tls(TestCertificate::for_names(&["b"]), |exchange| exchange.reply("200 OK", "safe"));
    let mut client = tls::Tls::to("b").connect(backend.address);
    assert_eq!(client.get("b", "/").text(), "safe");
}

#[test]
fn a_closed_port_refuses_and_a_black_hole_is_silent() {
    let closed = ports::ClosedPort::new();
    let error = std::net::TcpStream::connect(closed.address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let hole = ports::BlackHole::new();
    let error = std::net::TcpStream::connect_timeout(&hole.address, std::time::Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn an_h2_backend_records_and_answers() {
    let backend = H2Backend::answering("two");
    let client = h2_client::H2Client::plain(backend.address).await;
    let response = client.request(http::Request::post("http://a/x").body(()).unwrap(), b"body").await;
    assert_eq!((response.status, response.text().as_str()), (200, "two"));
    assert_eq!((backend.only().uri.as_str(), backend.only().body), ("http://a/x", b"body".to_vec()));
}

#[test]
fn frames_read_every_status() {
    let backend = H2Backend::scripted(async |mut exchange| {
        let status = exchange.request.uri().path()[1..].parse::<u16>().unwrap();
        exchange.reply(Response::builder().status(status).body(()).unwrap(), "")
    });
    let mut frames = Frames::connect(backend.address);
    for (index, status) in
        [200, 204, 304, 400, 404, 413, 421, 429, 431, 500, 502, 503, 504, 599].into_iter().enumerate()
    {
        let stream = 2 * index as u32 + 1;
        frames.get(stream, "a", &format!("/{status}"));
        assert_eq!(frames.status(stream), status);
    }
}

#[test]
fn a_long_string_is_encoded_as_hpack_has_it() {
    let backend = H2Backend::answering("");
    let mut frames = Frames::connect(backend.address);
    let path = format!("/{}", "x".repeat(5000));
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path.as_str())];
    frames.send(HEADERS, 5, 1, &encode(&fields));
    assert_eq!(frames.status(1), 200);
    assert!(backend.only().uri.ends_with(&path));
}

#[test]
fn get_closes_its_connection() {
    let backend = Backend::answering("x");
    assert_eq!(get(backend.address, "a", "/").status, 200);
    assert_eq!(backend.only().header("connection").as_deref(), Some("close"));
}
