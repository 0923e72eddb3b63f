//! Bodies that two readers could end at different places.

use crate::support::{Backend, Client, Headgate};
use crate::watched::{Watched, wrong};

const HEAD: &str = "POST /N HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends each body in chunks: it breaks off, or its data alone goes on, in chunks of ours.
#[track_caller]
fn data_alone_goes_on(bodies: &[Vec<u8>], data: &[u8]) {
    let watched = Watched::new();
    let text =
        |(number, body): (usize, &Vec<u8>)| [HEAD.replace("/N", &format!("/{number}")).as_bytes(), body].concat();
    let texts: Vec<_> = bodies.iter().enumerate().map(text).collect();
    let fates = watched.send_all(&texts);
    for (number, fate) in fates.iter().enumerate() {
        let came = watched.backend.seen().into_iter().filter(|seen| seen.target() == format!("/{number}"));
        let whole = came.filter(|seen| !seen.body.is_empty()).map(|seen| seen.body).collect::<Vec<_>>();
        let expected = if fate.is_refusal() { vec![] } else { vec![data.to_vec()] };
        assert_eq!(whole, expected, "{:?}: {fate:?}", String::from_utf8_lossy(&texts[number]));
    }
    assert!(watched.backend.seen().iter().all(|seen| wrong(seen).is_none()));
}

#[test]
fn blanks_behind_a_chunk_size_go_no_further() {
    let blanks: [&[u8]; 6] = [b" ", b"\t", b"   ", b" \t ", b"\x0b", b"\x0c"];
    let bodies = blanks.map(|blank| [b"5", blank, b"\r\nhello\r\n0\r\n\r\n"].concat());
    data_alone_goes_on(&bodies, b"hello");
    let bodies = blanks.map(|blank| [b"5\r\nhello\r\n0", blank, b"\r\n\r\n"].concat());
    data_alone_goes_on(&bodies, b"hello");
}

#[test]
fn chunk_extensions_go_no_further() {
    let mut extensions: Vec<Vec<u8>> = (0..=255).map(|byte| vec![b';', b'a', byte, b'b']).collect();
    extensions
        .extend([&b";"[..], b";;", b"; a = b", b";a=\"b;c\"", b";a=\"b", b" ;a", b",a", b"\r", b"\rX"].map(Vec::from));
    let bodies: Vec<_> =
        extensions.iter().map(|extension| [b"5", &extension[..], b"\r\nhello\r\n0\r\n\r\n"].concat()).collect();
    data_alone_goes_on(&bodies, b"hello");
}

#[test]
fn a_body_belongs_to_its_request_whatever_the_method() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "BREW"] {
        let inner = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
        for (framing, body) in [
            (format!("Content-Length: {}", inner.len()), inner.to_owned()),
            ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len())),
        ] {
            let backend = Backend::answering("ok");
            let proxy = Headgate::before(&backend);
            let mut client = Client::connect(proxy.http);
            let second = "GET /second HTTP/1.1\r\nHost: a.example\r\n\r\n";
            client.send(format!("{method} /first HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n{body}{second}"));
            assert_eq!(client.response_to(method).status, 200, "{method}, {framing}");
            assert_eq!(client.response().text(), "ok", "{method}, {framing}");
            let seen = backend.seen();
            let came: Vec<_> = seen.iter().map(|seen| (seen.target(), seen.body.len())).collect();
            assert_eq!(came, [("/first", inner.len()), ("/second", 0)], "{method}, {framing}");
            assert!(seen.iter().all(|seen| wrong(seen).is_none()), "{method}, {framing}: {seen:?}");
        }
    }
}
