//! What goes on of a stream of HTTP/1 bytes, and a second reading of it: heads by httparse, bodies by the grammar of RFC 9112.

use std::ops::Range;

use headgate::proxy::framing::{Bounds, Requests, Waits, stand_in};
use headgate::proxy::head_check;
use http::request::Parts;
use http::{Method, Version};

use super::legal::{Beside, Framing};

/// Small, so that both sides of each are met.
const SMALL: Bounds = Bounds { size: 1024, fields: 10 };

/// More than any of them.
const MAX_FIELDS: usize = 100;

/// One request that went on, as far as it did.
#[derive(Debug)]
pub struct Passed {
    head: Range<usize>,
    end: usize,
}

/// One that went on whole, by the second reading.
#[derive(Debug)]
pub struct Whole {
    pub parts: Parts,
    pub body: Vec<u8>,
}

/// Those of `stream` that are whole, and what is waited for behind them, once all are answered.
pub fn whole(stream: &[u8], bounds: Bounds) -> (Vec<Whole>, Waits) {
    let beside = beside(bounds);
    let read = |request: Passed| {
        let (parts, framing) = check_head(&stream[request.head.clone()]);
        let (_, body) = framing.body_within(&stream[request.head.end..request.end], beside)?;
        Some(Whole { parts, body })
    };
    let waits = walk(stream, stream.len().max(1), bounds).1;
    (requests(stream, bounds).into_iter().map_while(read).collect(), waits)
}

fn beside(bounds: Bounds) -> Beside {
    Beside { extensions: 16 << 10, trailers: bounds.size, fields: bounds.fields }
}

/// All that must hold of `stream`, from a client whose requests never switch protocols.
pub fn judge(stream: &[u8]) {
    let (passed, waits) = walk(stream, stream.len().max(1), SMALL);
    for pieces in [1, 2 + stream.first().map_or(0, |byte| usize::from(byte % 13))] {
        assert_eq!(walk(stream, pieces, SMALL), (passed, waits), "cut into pieces of {pieces}");
    }
    let requests = requests(stream, SMALL);
    for (number, request) in requests.iter().enumerate() {
        let (_, framing) = check_head(&stream[request.head.clone()]);
        let rest = &stream[request.head.end..];
        let length = framing.body_within(rest, beside(SMALL)).map(|(length, _)| length);
        let last = number + 1 == requests.len();
        match length {
            Some(length) => assert_eq!(request.end, request.head.end + length, "request {number}"),
            None => {
                let within = &stream[..request.end];
                assert!(last && request.end == passed && matches!(waits, Waits::More | Waits::Broken));
                assert!(!ends_whole(within), "request {number} has no end");
            }
        }
        if length.is_some() {
            let alone = &stream[request.head.start..request.end];
            assert_eq!(walk(alone, alone.len(), SMALL).0, alone.len(), "request {number} for itself");
        }
    }
    match waits {
        Waits::Refused(_) => check_stand_in(&stream[passed..]),
        Waits::Broken => assert!(requests.last().is_some_and(|request| request.end == passed)),
        Waits::More | Waits::Answer => {}
    }
}

/// How many bytes go on of those that come in `pieces` of that size, and what the rest waits for.
fn walk(stream: &[u8], pieces: usize, bounds: Bounds) -> (usize, Waits) {
    let mut requests = Requests::new(bounds);
    let (mut passed, mut came) = (0, 0);
    loop {
        came = stream.len().min(came + pieces);
        loop {
            passed += requests.pass(&stream[passed..came]);
            if requests.waits() != Waits::Answer {
                break;
            }
            requests.answered();
            if requests.waits() == Waits::Answer {
                // A tunnel: nothing behind it is a request.
                break;
            }
        }
        if came == stream.len() {
            return (passed, requests.waits());
        }
    }
}

/// `stream` ends where its last request does.
fn ends_whole(stream: &[u8]) -> bool {
    let mut requests = Requests::new(SMALL);
    let mut passed = 0;
    loop {
        let more = requests.pass(&stream[passed..]);
        if more == 0 {
            return requests.is_between();
        }
        passed += more;
        requests.answered();
    }
}

/// The requests that go on. Byte by byte, so that each head goes on for itself.
fn requests(stream: &[u8], bounds: Bounds) -> Vec<Passed> {
    let mut requests = Requests::new(bounds);
    let mut found: Vec<Passed> = Vec::new();
    let mut passed = 0;
    for came in 1..=stream.len() {
        let heads = requests.heads();
        let more = requests.pass(&stream[passed..came]);
        if requests.heads() > heads {
            found.push(Passed { head: passed..passed + more, end: passed + more });
        }
        passed += more;
        if let Some(last) = found.last_mut() {
            last.end = passed;
        }
        requests.answered();
    }
    found
}

/// A head that went on has one reading.
fn check_head(head: &[u8]) -> (Parts, Framing) {
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut lines = text.strip_suffix(b"\r\n\r\n").expect("its end").split(|byte| *byte == b'\n');
    let mut line = || lines.next().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut read = httparse::Request::new(&mut fields);
    assert_eq!(read.parse(head), Ok(httparse::Status::Complete(head.len())));
    let (method, target, minor) = (read.method.unwrap(), read.path.unwrap(), read.version.unwrap());
    assert_eq!(line(), Some(format!("{method} {target} HTTP/1.{minor}").as_bytes()));
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut request = http::Request::builder().method(method).uri(target).version(version);
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for field in &*read.headers {
        let (name, value) = (field.name, field.value);
        let written = line().expect("a line for each field");
        assert_eq!(written.split(|byte| *byte == b':').next(), Some(name.as_bytes()));
        assert_eq!(trimmed(&written[name.len() + 1..]), value);
        request = request.header(name, value);
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            _ => {}
        }
    }
    assert_eq!(line(), None);
    let request = request.body(()).expect("the http crate can hold what goes on");
    let parts = request.into_parts().0;
    check_meaning(&parts);
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Framing::Length(0),
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            Framing::Length(std::str::from_utf8(length).unwrap().parse().unwrap())
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked") && minor == 1);
            Framing::Chunked
        }
        _ => panic!("two framings"),
    };
    (parts, framing)
}

fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// What a head asks for is asked for again by what would be forwarded.
fn check_meaning(parts: &Parts) {
    for tls in [false, true] {
        let Ok(checked) = head_check::check(parts, tls, MAX_FIELDS) else { continue };
        if parts.method == Method::CONNECT {
            continue;
        }
        let forwarded = checked.target(&parts.uri);
        let mut again = http::Request::builder().method("GET").version(parts.version).uri(forwarded.as_str());
        if !checked.authority().is_empty() {
            again = again.header("host", checked.authority());
        }
        let again = again.body(()).expect("what is forwarded is a target").into_parts().0;
        let second = head_check::check(&again, tls, MAX_FIELDS).expect("what is forwarded would pass");
        assert_eq!((checked.host(), checked.authority()), (second.host(), second.authority()));
        assert_eq!(checked.path(&parts.uri), second.path(&again.uri));
        assert_eq!(second.target(&again.uri), forwarded);
        assert_eq!(parts.uri.query(), again.uri.query());
    }
}

/// What stands in for a refused head is a request without a field, with the line of that head or none.
fn check_stand_in(refused: &[u8]) {
    let text = stand_in(refused, SMALL);
    assert_eq!(walk(text.as_bytes(), text.len(), SMALL).0, text.len(), "{text:?}");
    let line = text.strip_suffix("\r\n\r\n").expect("nothing behind the line");
    let refused = refused.strip_prefix(b"\r\n").unwrap_or(refused);
    assert!(!line.contains(['\r', '\n']) && (line == "- - HTTP/1.1" || refused.starts_with(line.as_bytes())));
}
