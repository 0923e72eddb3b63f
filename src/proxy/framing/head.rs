//! One request head: is it complete, is every byte of it one that may stand there, and what follows it?

use http::Uri;
use memchr::memchr;

use super::chunks::Chunks;
use super::{At, Bounds, Then};
use crate::proxy::error::ProxyError;
use crate::proxy::head_check::MAX_METHOD;

/// The longest target and field name that the `http` crate can hold.
const MAX_TARGET: usize = 65_534;

const BARE_LINE_FEED: ProxyError = ProxyError::BadRequest("a line that ends in a bare line feed");

/// How far a head was looked at. Positions count from its first byte.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Where the line begins that is not complete.
    line: usize,
    /// Where its name ends, once that is known.
    colon: Option<usize>,
    /// All before it was looked at.
    read: usize,
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

/// One line of a head, without its end.
enum Line<'a> {
    Request(&'a [u8]),
    /// Name and value, with the blanks around it.
    Field(&'a [u8], &'a [u8]),
    Empty,
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
        let within = &bytes[..bytes.len().min(bounds.size)];
        while let Some(line) = self.line(within)? {
            self.line = self.read;
            match line {
                Line::Request(line) => self.request_line(line)?,
                Line::Field(name, value) => self.field(name, value, bounds)?,
                Line::Empty => return self.complete().map(Some),
            }
        }
        // One that has its end within the bound would have it here.
        if within.len() == bounds.size { Err(self.too_large(within)) } else { Ok(None) }
    }

    /// Nothing of it came, unless it is an empty line.
    pub(super) fn is_new(&self) -> bool {
        !self.started && self.read == self.line
    }

    /// The next line without its end, if all of it came.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Line<'a>>, ProxyError> {
        if !self.started {
            return self.first_line(bytes);
        }
        let colon = match self.colon {
            Some(colon) => colon,
            None => {
                self.read += run(&bytes[self.read..], &TOKEN);
                let name = self.read - self.line;
                match &bytes[self.read..] {
                    [b':', ..] if (1..=MAX_TARGET).contains(&name) => {}
                    rest => return self.no_colon(rest),
                }
                self.read += 1;
                self.read - 1
            }
        };
        self.read += value_length(&bytes[self.read..]);
        let (name, value) = (&bytes[self.line..colon], &bytes[colon + 1..self.read]);
        match &bytes[self.read..] {
            [b'\r', b'\n', ..] => {
                self.colon = None;
                self.read += 2;
                Ok(Some(Line::Field(name, value)))
            }
            [] | [b'\r'] => {
                self.colon = Some(colon);
                Ok(None)
            }
            [b'\n', ..] => Err(BARE_LINE_FEED),
            _ => Err(ProxyError::BadRequest("a control character in a field")),
        }
    }

    /// What a line is that goes on with `rest` where a name should end: none yet, the last one, or malformed.
    fn no_colon<'a>(&mut self, rest: &[u8]) -> Result<Option<Line<'a>>, ProxyError> {
        let empty = self.read == self.line;
        match rest {
            [] => Ok(None),
            [b'\r'] if empty => Ok(None),
            [b'\r', b'\n', ..] if empty => {
                self.read += 2;
                Ok(Some(Line::Empty))
            }
            [b'\n', ..] => Err(BARE_LINE_FEED),
            [b'\r', ..] => Err(ProxyError::BadRequest("a field line without a colon")),
            _ => Err(ProxyError::BadRequest("malformed field name")),
        }
    }

    /// The request line, or an empty one before it.
    fn first_line<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Line<'a>>, ProxyError> {
        if self.read == 0 && bytes.first().is_some_and(|&byte| !TOKEN[byte as usize] && byte != b'\r') {
            // Another protocol, such as TLS, may never send a line feed.
            return Err(ProxyError::BadRequest("not a request"));
        }
        let Some(found) = memchr(b'\n', &bytes[self.read..]) else {
            self.read = bytes.len();
            return Ok(None);
        };
        let line = bytes[self.line..self.read + found].strip_suffix(b"\r").ok_or(BARE_LINE_FEED)?;
        self.read += found + 1;
        Ok(Some(Line::Request(line)))
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

    fn field(&mut self, name: &[u8], value: &[u8], bounds: Bounds) -> Result<(), ProxyError> {
        self.fields += 1;
        if self.fields > bounds.fields {
            return Err(ProxyError::HeadTooLarge);
        }
        // The three names that decide have different lengths.
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.switches = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = length(value.trim_ascii())?;
                let only = self.length.replace(length).is_none();
                return only.then_some(()).ok_or(ProxyError::BadRequest("more than one Content-Length"));
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || self.http10 || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
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
    let path = run(target, &PATH);
    path == target.len() || target[path] == b'?' && run(&target[path..], &QUERY) == target.len() - path
}

/// A name as RFC 9110 §5.6.2 has it.
pub(in crate::proxy) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && run(name, &TOKEN) == name.len()
}

/// How many bytes at the front are `allowed`.
fn run(bytes: &[u8], allowed: &[bool; 256]) -> usize {
    let mut rest = bytes;
    // Eight at a time, since the end of the slice need not be looked for within.
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        for (at, &byte) in eight.iter().enumerate() {
            if !allowed[byte as usize] {
                return bytes.len() - rest.len() + at;
            }
        }
        rest = behind;
    }
    let last = rest.iter().take_while(|&&byte| allowed[byte as usize]).count();
    bytes.len() - rest.len() + last
}

/// How many bytes at the front may stand in a value: none is a control but the tab (RFC 9110 §5.5).
fn value_length(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let mut rest = bytes;
    while let Some((&eight, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(eight);
        // The highest bit of the first byte that is a control, and maybe of some behind it.
        let (below_blank, delete) = (word.wrapping_sub(EACH * 0x20), (word ^ (EACH * 0x7f)).wrapping_sub(EACH));
        let controls = (below_blank | delete) & !word & (EACH << 7);
        if controls == 0 {
            rest = behind;
            continue;
        }
        let clean = controls.trailing_zeros() as usize / 8;
        if eight[clean] != b'\t' {
            return bytes.len() - rest.len() + clean;
        }
        rest = &rest[clean + 1..];
    }
    let last = rest.iter().take_while(|&&byte| is_value_byte(byte)).count();
    bytes.len() - rest.len() + last
}

pub(super) fn is_value_byte(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
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
