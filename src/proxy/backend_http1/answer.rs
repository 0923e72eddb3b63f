//! What an endpoint answers: where the head is, whether it can be read in one way only, and where the body ends. No I/O:
//! all of this is asked of the bytes that have come and were not taken.

use std::io;
use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use httparse::{ParserConfig, Status};
use memchr::memchr_iter;

use super::chunks::Chunks;
use super::{MAX_FIELDS, malformed};
use crate::proxy::framing;

/// Bytes of interim answers, and of empty lines, before the head of an answer. A backend may ask for patience for long.
const MAX_INTERIM: usize = 512 << 10;

/// The head of an answer, and what follows from it.
pub(super) struct Answer {
    pub(super) response: Response<()>,
    pub(super) body: Body,
    /// The endpoint keeps the connection.
    pub(super) keeps: bool,
}

/// Finds the head of an answer behind interim ones, which nobody is told of.
pub(super) struct Heads {
    /// The request was HEAD.
    to_head: bool,
    /// So many bytes of the head were looked at, which did not do.
    looked: usize,
    /// Bytes that were passed over.
    interim: usize,
}

/// What is still to come of a body.
pub(super) enum Body {
    Length(u64),
    Chunks(Chunks),
    /// All until the endpoint ends.
    Close,
}

/// What fields say of the end of an answer.
#[derive(Default)]
struct Ends {
    closes: bool,
    length: Option<Result<u64, Ambiguous>>,
    coding: Option<Coding>,
}

/// Lengths that differ, or are none.
struct Ambiguous;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

impl Heads {
    pub(super) fn new(to_head: bool) -> Self {
        Heads { to_head, looked: 0, interim: 0 }
    }

    /// The answer whose head `ahead` begins with, which is taken of it; `None`: not all of it is there.
    pub(super) fn next(&mut self, ahead: &mut Bytes) -> io::Result<Option<Answer>> {
        loop {
            let blank = blank(ahead);
            self.pass(ahead, blank)?;
            if ahead.is_empty() || self.looked > 0 && !has_end(ahead, self.looked) {
                self.looked = ahead.len();
                return Ok(None);
            }
            let Some((length, answer)) = parse(ahead, self.to_head)? else {
                self.looked = ahead.len();
                return Ok(None);
            };
            match answer {
                Some(answer) => {
                    ahead.advance(length);
                    return Ok(Some(answer));
                }
                None => self.pass(ahead, length)?,
            }
        }
    }

    /// So many bytes say nothing.
    fn pass(&mut self, ahead: &mut Bytes, length: usize) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        ahead.advance(length);
        self.looked = 0;
        self.interim += length;
        if self.interim > MAX_INTERIM {
            return Err(malformed("interim answers without end"));
        }
        Ok(())
    }
}

/// Empty lines that `bytes` begin with: else each of many would have all before it read again.
fn blank(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let [b'\r', b'\n', behind @ ..] | [b'\n', behind @ ..] = rest {
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// An empty line is in `bytes` that was not in the first `before` of them.
fn has_end(bytes: &[u8], before: usize) -> bool {
    let new = &bytes[before.saturating_sub(3)..];
    memchr_iter(b'\n', new).any(|at| matches!(&new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// The head that `bytes` begin with and its length; `None` in its place: an interim one.
fn parse(bytes: &Bytes, to_head: bool) -> io::Result<Option<(usize, Option<Answer>)>> {
    let mut fields = [MaybeUninit::uninit(); MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut fields);
    let Status::Complete(length) = parsed.map_err(|_| malformed("a malformed head"))? else { return Ok(None) };
    let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| malformed("a malformed status"))?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Some((length, None)));
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 2);
    let mut ends = Ends::default();
    for field in head.headers.iter() {
        ends.note(field.name, field.value);
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(malformed("a malformed field")) };
        headers.append(name, value);
    }
    let http11 = head.version == Some(1);
    let body = ends.body(status, to_head, http11)?;
    let keeps = http11 && !ends.closes && status != StatusCode::SWITCHING_PROTOCOLS && !matches!(body, Body::Close);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(Some((length, Some(Answer { response, body, keeps }))))
}

impl Ends {
    fn note(&mut self, name: &str, value: &[u8]) {
        // The three names that decide have different lengths.
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => self.closes |= lists_close(value),
            14 if name.eq_ignore_ascii_case("content-length") => self.length = Some(self.agreed(value)),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                let only = self.coding.is_none() && value.eq_ignore_ascii_case(b"chunked");
                self.coding = Some(if only { Coding::Chunked } else { Coding::Other });
            }
            _ => {}
        }
    }

    /// One number, however often it is said.
    fn agreed(&self, value: &[u8]) -> Result<u64, Ambiguous> {
        let mut agreed = match self.length {
            None => None,
            Some(Ok(length)) => Some(length),
            Some(Err(Ambiguous)) => return Err(Ambiguous),
        };
        for number in value.split(|byte| *byte == b',') {
            let length = framing::length(number.trim_ascii()).map_err(|_| Ambiguous)?;
            if *agreed.get_or_insert(length) != length {
                return Err(Ambiguous);
            }
        }
        agreed.ok_or(Ambiguous)
    }

    /// RFC 9112 §6.3. What has a coding that we do not know, or a length beside it, `message` refuses.
    fn body(&self, status: StatusCode, to_head: bool, http11: bool) -> io::Result<Body> {
        if to_head || matches!(status.as_u16(), 101 | 204 | 304) {
            return Ok(Body::Length(0));
        }
        match (self.coding, &self.length) {
            (Some(_), _) if !http11 => Err(malformed("a coding in HTTP/1.0")),
            (Some(Coding::Chunked), _) => Ok(Body::Chunks(Chunks::default())),
            (Some(Coding::Other), _) | (None, None) => Ok(Body::Close),
            (None, Some(Ok(length))) => Ok(Body::Length(*length)),
            (None, Some(Err(Ambiguous))) => Err(malformed("a malformed length")),
        }
    }
}

fn lists_close(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl Body {
    /// What of the body is in `ahead`, which is taken of it; `None`: nothing is. An error comes again when asked again.
    pub(super) fn next(&mut self, ahead: &mut Bytes) -> io::Result<Option<Frame<Bytes>>> {
        let length = match self {
            Body::Chunks(chunks) => return chunks.next(ahead),
            Body::Close => ahead.len(),
            Body::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(ahead.len());
                *left -= length as u64;
                length
            }
        };
        Ok((length > 0).then(|| Frame::data(ahead.split_to(length))))
    }

    /// The endpoint has ended, and nothing is ahead that is asked for here.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match self {
            Body::Close => {
                *self = Body::Length(0);
                Ok(())
            }
            Body::Length(_) | Body::Chunks(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Nothing of it is to come.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Body::Length(left) => *left == 0,
            Body::Chunks(chunks) => chunks.is_over(),
            Body::Close => false,
        }
    }

    /// How much is to come, if that was said.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Body::Length(left) => Some(*left),
            Body::Chunks(_) | Body::Close => None,
        }
    }
}

#[cfg(test)]
mod tests;
