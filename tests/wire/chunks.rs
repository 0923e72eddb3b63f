//! Broken chunked bodies: the head may have gone on, the end of the body never does.

use crate::support::client::closed;
use crate::support::{Backend, Client, Headgate, get, wait};

const HEAD: &str = "POST /attack HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// Sends each body with a request behind it: no 2xx comes, the connection ends, and the backend sees neither the end of
/// the body nor the request behind it.
#[track_caller]
fn broken<T: AsRef<[u8]>>(bodies: impl IntoIterator<Item = T>) {
    let backend = Backend::scripted(|exchange| {
        exchange.body()?;
        exchange.reply("200 OK", "whole")
    });
    let proxy = Headgate::before(&backend);
    for (number, body) in bodies.into_iter().enumerate() {
        let shown = String::from_utf8_lossy(body.as_ref()).chars().take(80).collect::<String>();
        let mut client = Client::connect(proxy.http);
        let head = HEAD.replace("/attack", &format!("/attack/{number}"));
        client.send([head.as_bytes(), body.as_ref(), NEXT.as_bytes()].concat());
        match client.try_response() {
            Ok(response) => {
                assert!((400..=599).contains(&response.status), "{shown:?}: {}", response.raw_head);
                client.rest();
            }
            Err(error) => assert!(closed(&error), "{shown:?}: {error}"),
        }
    }
    assert_eq!(get(proxy.http, "a.example", "/clean").text(), "whole");
    // The head of an attack may have gone on before its body broke.
    wait::until("the end of every broken request", || {
        let seen = backend.seen();
        seen.iter().all(|seen| seen.target() == "/clean" || seen.abandoned).then_some(())
    });
    assert!(backend.seen().iter().all(|seen| seen.target() != "/smuggled"));
}

#[test]
fn chunk_sizes_that_are_not_plain_hexadecimal_break_the_body() {
    let sizes = [
        "0x5",
        "+5",
        "-1",
        "1_0",
        "5z",
        "",
        "g",
        "5 5",
        "ffffffffffffffff",
        "10000000000000000",
        "\u{b}5",
        "5.",
        "\"5\"",
    ];
    broken(sizes.map(|size| format!("{size}\r\nhello\r\n0\r\n\r\n")));
}

#[test]
fn chunk_data_must_end_where_its_size_says() {
    broken([
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
    ]);
}

#[test]
fn line_ends_hidden_in_a_chunk_extension_break_the_body() {
    broken([
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\rX\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;\r\rhello\r\n0\r\n\r\n",
    ]);
}

#[test]
fn endless_chunk_extensions_break_the_body() {
    let extension = "e".repeat(64 << 10);
    broken([format!("1;{extension}\r\nx\r\n0\r\n\r\n")]);
    let drip: String = (0..64).map(|_| format!("1;{}\r\nx\r\n", "e".repeat(1 << 10))).collect();
    broken([format!("{drip}0\r\n\r\n")]);
}

#[test]
fn endless_trailers_break_the_body() {
    let trailers: String = (0..3000).map(|number| format!("x-{number}: {}\r\n", "v".repeat(64))).collect();
    broken([format!("1\r\nx\r\n0\r\n{trailers}\r\n")]);
}

#[test]
fn a_stray_byte_after_the_last_chunk_breaks_the_next_request() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!("{HEAD}1\r\nx\r\n0\r\n\r\n\x01{NEXT}"));
    assert_eq!(client.response().status, 200);
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{rest}");
    assert_eq!(get(proxy.http, "a.example", "/clean").status, 200);
    assert!(backend.seen().iter().all(|seen| seen.target() != "/smuggled"));
}

#[test]
fn trailers_do_not_reach_an_http_1_backend() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    let fields = "Content-Length: 9\r\nTransfer-Encoding: x\r\nHost: b\r\nAuthorization: x\r\nCookie: c\r\nX-Forwarded-For: 1.1.1.1\r\nX_Auth_User: root\r\nX-Plain: y\r\n";
    client.send(format!("{HEAD}1\r\nx\r\n0\r\n{fields}\r\n"));
    assert_eq!(client.response().status, 200);
    let seen = backend.only();
    assert_eq!((seen.body.as_slice(), seen.trailers.as_slice()), (&b"x"[..], &[][..]));
}

#[test]
fn an_invalid_second_request_does_not_hurt_the_first() {
    let backend = Backend::answering("first");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.1\r\nbroken\r\n\r\n{NEXT}"));
    assert_eq!(client.response().text(), "first");
    assert_eq!(client.response().status, 400);
    client.expect_close();
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_body_that_nobody_reads_is_never_the_next_request() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    let body = NEXT.replace("/smuggled", "/body").repeat(2);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: unknown.example\r\nContent-Length: {}\r\n\r\n{body}{NEXT}",
        body.len()
    ));
    assert_eq!(client.response().status, 404);
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    client.rest();
    assert!(backend.seen().iter().all(|seen| seen.target() == "/smuggled"), "{:?}", backend.seen());
    assert!(backend.seen().len() <= 1, "{:?}", backend.seen());
}

#[test]
fn a_broken_chunk_is_the_clients_fault_and_not_its_leaving() {
    let backend = Backend::answering("whole");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!("{}0x5\r\nhello\r\n", HEAD.replace("/attack", "/broken")));
    assert_eq!(client.response().status, 400);
    let line = proxy.log_of("/broken");
    assert_eq!((&line["status"], &line["flag"]), (&400.into(), &"DPE".into()));
}
