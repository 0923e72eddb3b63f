//! One request head: is it complete, is every byte of it one that may stand there, and what follows it?

use http::Uri;
use memchr::memchr;

use super::chunks::Chunks;
use super::{At, Bounds, Then};
use crate::proxy::error::ProxyError;
use crate::proxy::head_check::MAX_METHOD;

/// The longest target and field name that the `http` crate can hold.
const MAX_TARGET: usize = 65_534;

/// How far a head was looked at. Positions count from its first byte.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Where the first line begins that is not complete.
    line: usize,
    /// No line feed is before it.
    searched: usize,
    /// The request line was read.
    started: bool,
    /// An empty line stood before it.
    blank: bool,
    fields: usize,
    http10: bool,
    length: Option<u64>,
    chunked: bool,
    /// The client asks to switch protocols.
    switches: bool,
    connects: bool,
}

/// A complete head.
pub(super) struct Head {
    /// Its bytes.
    pub(super) length: usize,
    body: Option<u64>,
    chunked: bool,
    then: Then,
}

impl Head {
    /// Where the sequence stands behind it.
    pub(super) fn body(&self) -> At {
        match (self.chunked, self.body) {
            (true, _) => At::Chunks { chunks: Chunks::default(), then: self.then },
            (false, Some(left)) => At::Body { left, then: self.then },
            (false, None) => self.then.at(),
        }
    }
}

impl HeadScan {
    /// Looks at what is new in `bytes`, which begin with the head.
    pub(super) fn resume(&mut self, bytes: &[u8], bounds: Bounds) -> Result<Option<Head>, ProxyError> {
        if self.searched == 0 && bytes.first().is_some_and(|&byte| !TOKEN[byte as usize] && byte != b'\r') {
            // Another protocol, such as TLS, may never send a line feed.
            return Err(ProxyError::BadRequest("not a request"));
        }
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found + 1;
            if end > bounds.size {
                return Err(self.too_large(bytes));
            }
            let line = bytes[self.line..end - 1].strip_suffix(b"\r");
            let line = line.ok_or(ProxyError::BadRequest("a line that ends in a bare line feed"))?;
            (self.line, self.searched) = (end, end);
            if !self.started {
                self.request_line(line)?;
            } else if line.is_empty() {
                return self.complete().map(Some);
            } else {
                self.field(line, bounds)?;
            }
        }
        self.searched = bytes.len();
        // One that has its end within the bound would have it here.
        if bytes.len() >= bounds.size { Err(self.too_large(bytes)) } else { Ok(None) }
    }

    /// Nothing of it came, unless it is an empty line.
    pub(super) fn is_new(&self) -> bool {
        !self.started && self.searched == self.line
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), ProxyError> {
        if line.is_empty() && !self.blank {
            // Some clients end a body with a line end that they do not count (RFC 9112 §2.2).
            self.blank = true;
            return Ok(());
        }
        let (method, target, version) = parts(line).ok_or(ProxyError::BadRequest("malformed request line"))?;
        if !is_token(method) || method.len() > MAX_METHOD {
            return Err(ProxyError::BadRequest("malformed method"));
        }
        if target.len() > MAX_TARGET {
            return Err(ProxyError::UriTooLong);
        }
        if !is_target(target) {
            return Err(ProxyError::BadRequest("malformed target"));
        }
        self.http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(ProxyError::BadRequest("malformed version")),
        };
        self.started = true;
        self.connects = method == b"CONNECT";
        Ok(())
    }

    fn field(&mut self, line: &[u8], bounds: Bounds) -> Result<(), ProxyError> {
        self.fields += 1;
        if self.fields > bounds.fields {
            return Err(ProxyError::HeadTooLarge);
        }
        let colon = memchr(b':', line).ok_or(ProxyError::BadRequest("a field line without a colon"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) || name.len() > MAX_TARGET {
            return Err(ProxyError::BadRequest("malformed field name"));
        }
        if !is_value(&line[colon + 1..]) {
            return Err(ProxyError::BadRequest("a control character in a field"));
        }
        // The three names that decide have different lengths.
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.switches = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = length(value)?;
                let only = self.length.replace(length).is_none();
                return only.then_some(()).ok_or(ProxyError::BadRequest("more than one Content-Length"));
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || self.http10 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ProxyError::BadRequest("Transfer-Encoding other than one chunked"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn complete(&self) -> Result<Head, ProxyError> {
        if self.chunked && self.length.is_some() {
            return Err(ProxyError::BadRequest("Content-Length beside Transfer-Encoding"));
        }
        let then = match (self.connects, self.switches) {
            (true, _) => Then::Tunnel,
            (false, true) => Then::Answer,
            (false, false) => Then::Request,
        };
        Ok(Head { length: self.line, body: self.length, chunked: self.chunked, then })
    }

    fn too_large(&self, bytes: &[u8]) -> ProxyError {
        let method = memchr(b' ', &bytes[self.line..]);
        match method {
            _ if self.started => ProxyError::HeadTooLarge,
            Some(length) if length <= MAX_METHOD => ProxyError::UriTooLong,
            _ => ProxyError::BadRequest("malformed method"),
        }
    }
}

/// The request line that `head` begins with, if it is one that goes on.
pub(super) fn clean_request_line(head: &[u8]) -> Option<&str> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let line = head[..memchr(b'\n', head)?].strip_suffix(b"\r")?;
    HeadScan { blank: true, ..HeadScan::default() }.request_line(line).ok()?;
    std::str::from_utf8(line).ok()
}

/// Method, target and version, which one blank divides.
fn parts(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let method = memchr(b' ', line)?;
    let target = method + 1 + memchr(b' ', &line[method + 1..])?;
    Some((&line[..method], &line[method + 1..target], &line[target + 1..]))
}

/// A decimal number that a body can have (RFC 9110 §8.6).
pub(in crate::proxy) fn length(value: &[u8]) -> Result<u64, ProxyError> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse::<i64>().ok());
    length.map(i64::unsigned_abs).ok_or(ProxyError::BadRequest("malformed Content-Length"))
}

/// Whether `target` can be read, and without a fragment. Which form it has is judged with the method.
fn is_target(target: &[u8]) -> bool {
    if target.first() != Some(&b'/') {
        return !target.contains(&b'#') && Uri::try_from(target).is_ok();
    }
    let (path, query) = target.split_at(memchr(b'?', target).unwrap_or(target.len()));
    all(path, &PATH) && all(query, &QUERY)
}

/// A name as RFC 9110 §5.6.2 has it.
pub(in crate::proxy) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && all(name, &TOKEN)
}

/// No control but the tab (RFC 9110 §5.5). Without branches, so that it is done many bytes at a time.
fn is_value(value: &[u8]) -> bool {
    value.iter().fold(true, |clean, &byte| clean & is_value_byte(byte))
}

pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ') & (byte != 0x7f) | (byte == b'\t')
}

fn all(bytes: &[u8], allowed: &[bool; 256]) -> bool {
    bytes.iter().all(|&byte| allowed[byte as usize])
}

/// RFC 9110 §5.6.2.
pub(super) const TOKEN: [bool; 256] = graphic_but(b"\"(),/:;<=>?@[\\]{}");
/// What the `http` crate reads as a path, less the bytes beyond ASCII.
const PATH: [bool; 256] = graphic_but(b"#<>?`");
/// The same for a query with its question mark.
const QUERY: [bool; 256] = graphic_but(b"\"#<>");

/// The visible characters of ASCII without those in `excluded`.
const fn graphic_but(excluded: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        set[byte as usize] = true;
        byte += 1;
    }
    let mut at = 0;
    while at < excluded.len() {
        set[excluded[at] as usize] = false;
        at += 1;
    }
    set
}
