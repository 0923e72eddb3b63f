//! Request heads and bodies that two parsers could read differently. Each is refused, and nothing of it goes further.

use std::time::Duration;

use crate::support::client::closed;
use crate::support::wait::PATIENCE;
use crate::support::{Backend, Client, Headgate};

const HOST: &str = "Host: a.example\r\n";

/// Sends each text on a connection of its own: it is answered 4xx or not at all, the connection ends, and the backend
/// sees nothing of it.
#[track_caller]
fn refused<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) {
    refused_with(texts, 400..=499);
}

#[track_caller]
fn refused_with<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>, statuses: std::ops::RangeInclusive<u16>) {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut wrong = Vec::new();
    let mut known = 0;
    for text in texts {
        let text = text.as_ref();
        let outcome = outcome(&proxy, text);
        let acceptable = outcome.as_ref().map_or(true, |status| statuses.contains(status));
        let came: Vec<_> = backend.seen().into_iter().skip(known).map(|seen| seen.head).collect();
        known += came.len();
        if !acceptable || !came.is_empty() {
            wrong.push(format!("{:?}: {outcome:?}, the backend saw {came:?}", String::from_utf8_lossy(text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(crate::support::get(proxy.http, "a.example", "/clean").status, 200);
    assert_eq!(backend.only().target(), "/clean", "nothing came later");
}

/// The status of the answer, after which the connection must end; an error where none came.
#[track_caller]
fn outcome(proxy: &Headgate, text: &[u8]) -> Result<u16, String> {
    let mut client = Client::connect(proxy.http);
    client.send(text);
    // A request that is taken is answered at once, so it must not look abandoned before; what still waits for more after
    // that is not going to be taken.
    client.patience(Duration::from_millis(150));
    if client.stream.peek(&mut [0]).is_err() {
        client.shutdown_write();
    }
    client.patience(PATIENCE);
    let outcome = client.try_response();
    if outcome.as_ref().is_ok_and(|response| response.status >= 400) {
        client.expect_close();
    }
    outcome.map(|response| response.status).map_err(|error| {
        assert!(closed(&error), "{:?}: neither answered nor closed: {error}", String::from_utf8_lossy(text));
        error.to_string()
    })
}

/// A POST with these lines between Host and the end of the head.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\n{HOST}{lines}\r\n{body}")
}

#[test]
fn two_framings_are_refused() {
    let body = "1\r\nx\r\n0\r\n\r\n";
    refused([
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", body),
        post("Content-Length: 1\r\nContent-Length: 2\r\n", "xy"),
        post("Content-Length: 2\r\nContent-Length: 1\r\n", "xy"),
        post("Content-Length: 1\r\nContent-Length: 1\r\n", "x"),
        post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", body),
        post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", body),
    ]);
}

#[test]
fn lengths_that_are_not_plain_numbers_are_refused() {
    let values =
        ["5, 6", ", 5", "5,", "+5", "-5", "-0", "", "0x5", "5 5", "5_0", "5.0", "\u{b}5", "5\u{c}", "\"5\"", "٥"];
    let long = ["9223372036854775808", "18446744073709551616", "111111111111111111111111111111"];
    refused(values.iter().chain(&long).map(|value| post(&format!("Content-Length: {value}\r\n"), "xxxxx")));
    refused([post("Content-Length:\r\nContent-Length: 5\r\n", "xxxxx")]);
}

#[test]
fn codings_other_than_one_chunked_are_refused() {
    let values = [
        "chunked, chunked",
        "chunked, gzip",
        "gzip, chunked",
        "chunked, identity",
        "identity",
        "xchunked",
        "chunk",
        "cow",
        "",
        ",chunked",
        "chunked,",
        "\"chunked\"",
        "'chunked'",
        "=?utf-8?B?Y2h1bmtlZA==?=",
        "chunked;q=1",
        "chunked\u{b}",
        "\u{b}chunked",
        "chunked\u{c}",
        "c hunked",
        "chun\u{212a}ed",
        "chunked\u{a0}",
        "gzip",
    ];
    refused(values.map(|value| post(&format!("Transfer-Encoding: {value}\r\n"), "1\r\nx\r\n0\r\n\r\n")));
    refused([post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")]);
}

#[test]
fn transfer_coding_in_http_1_0_is_refused() {
    refused([format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]);
}

#[test]
fn a_body_without_length_in_http_1_0_is_no_body() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send(format!("POST / HTTP/1.0\r\n{HOST}\r\nGET /smuggled HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.response().status, 200);
    client.rest();
    assert_eq!(backend.only().body, b"");
}

#[test]
fn blanks_around_field_names_are_refused() {
    let mut texts = Vec::new();
    for name in ["Transfer-Encoding", "Content-Length", "X-Other"] {
        let value = if name.starts_with('T') { "chunked" } else { "5" };
        texts.extend([" ", "\t", "  "].map(|blank| post(&format!("{name}{blank}: {value}\r\n"), "0\r\n\r\n")));
        texts.push(post(&format!(" {name}: {value}\r\n"), "0\r\n\r\n"));
        texts.push(post(&format!("X: y\r\n {name}: {value}\r\n"), "0\r\n\r\n"));
        texts.push(post(&format!("X: y\r\n\t{name}: {value}\r\n"), "0\r\n\r\n"));
    }
    texts.push(format!("GET / HTTP/1.1\r\n {HOST}\r\n"));
    texts.push("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n".to_owned());
    refused(texts);
}

#[test]
fn lines_that_are_no_fields_are_refused() {
    let lines = [
        "no colon\r\n",
        "X\r\n",
        ": empty name\r\n",
        "X y: z\r\n",
        "X\r\n: z\r\n",
        "(x): y\r\n",
        "x[]: y\r\n",
        "x/y: z\r\n",
    ];
    refused(lines.map(|lines| post(lines, "")));
}

#[test]
fn control_bytes_in_fields_are_refused() {
    let mut texts = Vec::new();
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !b"\t".contains(byte)) {
        for (before, after) in [
            ("X: ", "y"),
            ("X: y", ""),
            ("X: y", "y"),
            ("X", ": y"),
            ("", "X: y"),
            ("Content-Length: 0\r\nX: a", "Transfer-Encoding: chunked"),
        ] {
            // A CRLF or LF here would begin a line of its own; bare LF has a test of its own.
            if byte != b'\n' {
                let head = format!("POST / HTTP/1.1\r\n{HOST}{before}");
                texts.push([head.as_bytes(), &[byte], after.as_bytes(), b"\r\n\r\n"].concat());
            }
        }
    }
    refused(texts);
}

#[test]
fn bytes_beyond_ascii_in_field_names_are_refused() {
    let texts = (0x80..=0xff).map(|byte: u8| {
        [b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Enc", &[byte][..], b"oding: chunked\r\n\r\n0\r\n\r\n"]
            .concat()
    });
    refused(texts);
    refused(["Transfer\u{ad}-Encoding: chunked\r\n", "\u{85}X: y\r\n", "\u{a0}X: y\r\n"].map(|line| post(line, "")));
}

/// Many servers take them (RFC 9112 §2.2 allows it).
#[test]
fn bare_line_feeds_are_refused() {
    refused([
        "GET / HTTP/1.1\nHost: a.example\n\n".to_owned(),
        format!("GET / HTTP/1.1\r\n{HOST}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\n{HOST}\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}\n"),
    ]);
}

#[test]
fn bare_carriage_returns_are_refused() {
    refused([
        format!("GET / HTTP/1.1\r\n{HOST}\r\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X: y\r\n\rX\r\n\r\n"),
        format!("GET / HTTP/1.1\r{HOST}\r\n"),
    ]);
}

#[test]
fn request_lines_with_odd_blanks_are_refused() {
    refused(
        [
            "GET  / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /\u{b}HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / x HTTP/1.1",
            "GET /",
            "GET",
            "G ET / HTTP/1.1",
        ]
        .map(|line| format!("{line}\r\n{HOST}\r\n")),
    );
}

#[test]
fn versions_we_do_not_speak_are_refused() {
    let versions = [
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/3",
        "HTTP/0.9",
        "HTTP/1.10",
        "http/1.1",
        "HTTP/1",
        "HTTPS/1.1",
        "ICY/1.1",
        "HTTP/01.1",
    ];
    refused_with(versions.map(|version| format!("GET / {version}\r\n{HOST}\r\n")), 400..=505);
}

#[test]
fn targets_with_bytes_that_no_path_has_are_refused() {
    let mut texts = Vec::new();
    for byte in (0..=0x20).chain([b'\\', 0x7f, 0x80, 0xc0, 0xff]) {
        texts.push([b"GET /a", &[byte][..], b"b HTTP/1.1\r\nHost: a.example\r\n\r\n"].concat());
    }
    refused(texts);
}

#[test]
fn targets_of_a_form_that_the_method_does_not_have_are_refused() {
    let targets = [
        "admin",
        "a.example:80",
        "*",
        "https://a.example/",
        "ftp://a.example/",
        "http://u@a.example/",
        "http://u:p@a.example/",
        "http:///x",
        "http://",
        "//",
        "?x",
        "http:/x",
    ];
    let texts = targets
        .into_iter()
        .filter(|target| *target != "//")
        .map(|target| format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"));
    refused(texts.chain([format!("OPTIONS *x HTTP/1.1\r\n{HOST}\r\n")]));
}

#[test]
fn hosts_that_are_none_are_refused() {
    let hosts = [
        "",
        "a,b",
        "u@a.example",
        "a.example/p",
        "a.example#f",
        "a.example:0",
        "a.example:65536",
        "a.example:x",
        "[::1",
        "a b",
        "a..b",
        "a_b\u{7f}",
        "a.example:",
        ":80",
        "é.example",
    ];
    let long = "a".repeat(300);
    let texts = hosts.into_iter().chain([long.as_str()]).map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    // An empty port is allowed by RFC 3986, so it may also be taken.
    refused(texts.filter(|text| !text.contains("a.example:\r")));
}

#[test]
fn requests_without_exactly_one_host_are_refused() {
    refused([
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET http://a.example/ HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}Host: b.example\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}hOST: b.example\r\n\r\n"),
    ]);
}

#[test]
fn an_absolute_target_and_another_host_are_not_routed_by_the_host() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let response = crate::support::request(proxy.http, format!("GET http://unknown.example/ HTTP/1.1\r\n{HOST}\r\n"));
    assert!([400, 404].contains(&response.status));
    assert!(backend.seen().is_empty());
}
