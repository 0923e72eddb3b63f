//! Whether a request head may be forwarded, judged by what stands in it alone; and the second reading of bodies.

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;

/// How a message says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

/// Bounds on what is beside the data of a body in chunks.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    pub extensions: usize,
    pub trailers: usize,
    pub fields: usize,
}

const UNBOUNDED: Beside = Beside { extensions: usize::MAX, trailers: usize::MAX, fields: usize::MAX };

impl Framing {
    /// The bytes of the whole body that `rest` begins with, and its data.
    pub fn body(self, rest: &[u8]) -> Option<(usize, Vec<u8>)> {
        self.body_within(rest, UNBOUNDED)
    }

    pub fn body_within(self, rest: &[u8], bounds: Beside) -> Option<(usize, Vec<u8>)> {
        match self {
            Framing::Length(length) => {
                let body = rest.get(..usize::try_from(length).ok()?)?;
                Some((body.len(), body.to_vec()))
            }
            Framing::Chunked => chunks(rest, bounds),
        }
    }
}

/// Names that never reach a backend.
const NEVER: [&str; 12] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "http2-settings",
    "expect",
    "forwarded",
    "x-original-url",
    "x-rewrite-url",
    "client-cert",
    "x-client-ip",
];

/// The framing of a request of ours, or why it should not have been sent.
pub fn framing(head: &[u8]) -> Result<Framing, String> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    if request.parse(head) != Ok(httparse::Status::Complete(head.len())) || request.version != Some(1) {
        return Err("no head".into());
    }
    let all = |name: &str| {
        let named = request.headers.iter().filter(|field| as_in_cgi(field.name) == as_in_cgi(name));
        named.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect::<Vec<_>>()
    };
    if all("host").len() != 1 {
        return Err("not one Host".into());
    }
    if let Some(name) = NEVER.iter().find(|name| !all(name).is_empty()) {
        return Err(format!("{name} is not to be forwarded"));
    }
    let (connection, upgrade) = (all("connection"), all("upgrade"));
    if !(connection.is_empty() && upgrade.is_empty() || connection == ["upgrade"] && upgrade.len() == 1) {
        return Err("a field that means something between neighbours only".into());
    }
    for (name, ours) in [("x-real-ip", "127.0.0.1"), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")] {
        if all(name) != [ours] {
            return Err(format!("{name} is not what we know"));
        }
    }
    let method = request.method.unwrap_or_default();
    let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Framing::Length(0),
        ([length], []) => Framing::Length(length.parse().map_err(|_| "a length that is none")?),
        ([], [coding]) if coding == "chunked" => Framing::Chunked,
        _ => return Err("two framings".into()),
    };
    // It calls a body of these ambiguous, whatever its framing.
    if framing != Framing::Length(0) && matches!(method, "GET" | "HEAD") {
        return Ok(framing);
    }
    let verdict = HttpRequestData::analyze_raw_request(head);
    let message = verdict.message.unwrap_or_default();
    match verdict.tier {
        RequestSafetyTier::Compliant => Ok(framing),
        // Another word of letters, such as `transferwencoding`: to be told from the real one, it need only be read.
        RequestSafetyTier::Acceptable | RequestSafetyTier::Ambiguous if message.contains("too close to") => Ok(framing),
        tier => Err(format!("{tier:?}, {message}")),
    }
}

/// A name as programs know it that speak CGI.
fn as_in_cgi(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' }).collect()
}

/// RFC 9112 §7.1, to the letter.
fn chunks(rest: &[u8], bounds: Beside) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut extensions, mut data) = (0, 0, Vec::new());
    loop {
        let line = line(&rest[at..])?;
        at += line.len() + 2;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if !(1..=15).contains(&digits) {
            return None;
        }
        match &line[digits..] {
            [] => {}
            [b';', extension @ ..] if extension.iter().all(is_visible) => extensions += extension.len(),
            _ => return None,
        }
        if extensions > bounds.extensions {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            return trailers(&rest[at..], bounds).map(|length| (at + length, data));
        }
        let end = at.checked_add(size)?;
        if rest.get(end..end.checked_add(2)?) != Some(b"\r\n") {
            return None;
        }
        data.extend(&rest[at..end]);
        at = end + 2;
    }
}

fn trailers(rest: &[u8], bounds: Beside) -> Option<usize> {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let (mut at, mut fields) = (0, 0);
    loop {
        let line = line(&rest[at..])?;
        if line.is_empty() {
            return Some(at + 2);
        }
        (at, fields) = (at + line.len() + 2, fields + 1);
        let name = line.iter().take_while(|byte| token(byte)).count();
        let is_field = name > 0 && line.get(name) == Some(&b':') && line[name + 1..].iter().all(is_visible);
        if !is_field || fields > bounds.fields || at > bounds.trailers {
            return None;
        }
    }
}

fn is_visible(byte: &u8) -> bool {
    *byte == b'\t' || *byte >= b' ' && *byte != 0x7f
}

/// Up to the first CR LF, without any other CR or LF.
fn line(rest: &[u8]) -> Option<&[u8]> {
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    rest[end..].starts_with(b"\r\n").then(|| &rest[..end])
}
