//! A request of HTTP/2, as a list of fields, towards a backend of HTTP/1: what arrives there is that list, less what must not
//! pass, each name's values in their order, and what we add.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};

use super::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, block, until,
};
use super::served::{Seen, Served};

static SERVED: OnceLock<Served> = OnceLock::new();

const NAMES: [&str; 20] = [
    "accept",
    "cookie",
    "cookie",
    "x-a",
    "x-b",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "forwarded",
    "x_under",
    "x--y",
    "te",
    "x-request-id",
    "authorization",
    "range",
    "x-original-url",
    "trailer",
    "expect",
    "grpc-timeout",
];
const VALUES: [&str; 10] = ["", "b", "a=b", "c=d; e=f", "trailers", "1.2.3.4", "a, b", "\"q\"", "100-continue", "GET"];
const METHODS: [&str; 6] = ["GET", "POST", "HEAD", "PUT", "DELETE", "M-SEARCH"];
const PATHS: [&str; 6] = ["/", "/a?b", "/%7eu", "/a;b/c%2fd", "/?", "//x?y=%zz"];

struct Request {
    method: &'static str,
    path: &'static str,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

pub fn judge(data: &[u8]) {
    // An error is an input that ends too soon.
    let Ok(request) = read(&mut Unstructured::new(data)) else { return };
    let served = SERVED.get_or_init(Served::start);
    served.seen();
    let mut client = served.connect();
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", request.method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", b"A.test:80"),
        (b":path", request.path.as_bytes()),
    ];
    fields.extend(request.fields.iter().map(|(name, value)| (name.as_bytes(), &value[..])));
    let end = if request.body.is_empty() { END_STREAM } else { 0 };
    let frames = [
        Frame::new(SETTINGS, 0, 0, Vec::new()),
        Frame::new(HEADERS, END_HEADERS | end, 1, block(&fields)),
        Frame::new(DATA, END_STREAM, 1, request.body.clone()),
    ];
    let frames = if request.body.is_empty() { &frames[..2] } else { &frames };
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    client.write_all(&[PREFACE, &bytes].concat()).expect("written");
    until(&mut client, |frame| matches!(frame.kind, HEADERS | RST_STREAM) && frame.stream == 1 || frame.kind == GOAWAY);
    _ = client.shutdown(Shutdown::Both);
    let seen = served.seen();
    assert!(seen.len() <= 1);
    seen.iter().for_each(|seen| check(seen, &request));
    served.check();
}

fn read(input: &mut Unstructured<'_>) -> Result<Request> {
    let (method, path) = (*input.choose(&METHODS)?, *input.choose(&PATHS)?);
    let body = if input.ratio(1, 3)? { input.arbitrary::<&[u8]>()?.to_vec() } else { Vec::new() };
    let mut fields = Vec::new();
    while !input.is_empty() && fields.len() < 60 {
        let value = match input.ratio(1, 4)? {
            true => input.arbitrary::<&[u8]>()?.iter().copied().take(126).collect(),
            false => input.choose(&VALUES)?.as_bytes().to_vec(),
        };
        fields.push(((*input.choose(&NAMES)?).to_owned(), value));
    }
    Ok(Request { method, path, fields, body })
}

fn check(seen: &Seen, request: &Request) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(parsed.parse(&seen.head), Ok(httparse::Status::Complete(seen.head.len())));
    assert_eq!(parsed.method, Some(request.method));
    let path = request.path.replace("/%7eu", "/~u").replace("%2f", "%2F");
    assert_eq!(parsed.path, Some(path.as_str()));
    assert_eq!(seen.body, request.body);
    let mut expected: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, value) in request.fields.iter().filter(|(name, _)| passes(name)) {
        expected.entry(name).or_default().push(value.clone());
    }
    if let Some(crumbs) = expected.get_mut("cookie") {
        crumbs.retain(|crumb| !crumb.is_empty());
        *crumbs = vec![crumbs.join(&b"; "[..])];
    }
    let mut arrived: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for field in parsed.headers.iter().filter(|field| passes(field.name)) {
        arrived.entry(field.name).or_default().push(field.value.to_vec());
    }
    assert_eq!(arrived, expected, "{}", seen.head.escape_ascii());
}

/// It is the client's, and for the backend.
fn passes(name: &str) -> bool {
    let ours = ["host", "x-real-ip", "x-request-id", "x-scheme", "content-length", "transfer-encoding"];
    let neighbours = ["te", "trailer", "expect", "forwarded"];
    // X-Original-Forwarded-For is what the client said as X-Forwarded-For.
    let claims = ["x-forwarded", "x-original-"].iter().any(|start| name.starts_with(start));
    let odd = name.contains('_') || name.contains("--");
    !(ours.contains(&name) || neighbours.contains(&name) || claims || odd)
}
