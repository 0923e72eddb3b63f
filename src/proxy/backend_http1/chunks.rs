//! A body in chunks (RFC 9112 §7.1) as endpoints write it. More is let pass than from clients, since what is read here is
//! written anew: blanks behind a size, and any extension that fits into a line.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use httparse::{EMPTY_HEADER, Status};
use memchr::memmem;

use super::{MAX_FIELDS, malformed};

/// Bytes of extensions in one body, and of its trailers.
const MAX_EXTENSIONS: usize = 16 << 10;
const MAX_TRAILERS: usize = 16 << 10;

/// What may stand around chunks: so much in all, and so much more for each, whose size takes 20 bytes as most write it.
const MAX_FRAMING: i64 = 256 << 10;
const FRAMING: i64 = 32;

/// Chunks that have come together go on together, up to this length: each piece is a message to clients of HTTP/2.
const TOGETHER: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Bytes that may still stand around the chunks.
    framing: i64,
    extensions: usize,
    trailers: Option<Box<HeaderMap>>,
}

/// What is to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    Start,
    Size(u64),
    /// Blanks behind a size.
    Blanks(u64),
    Extension(u64),
    SizeLf(u64),
    /// So much of a chunk.
    Data(u64),
    DataCr,
    DataLf,
    /// Trailers and the empty line, where these many bytes were looked at.
    Trailers(usize),
    Over,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { at: At::Start, framing: MAX_FRAMING, extensions: 0, trailers: None }
    }
}

impl Chunks {
    /// What is in `ahead`, as for [`super::answer::Body`].
    pub(super) fn next(&mut self, ahead: &mut Bytes) -> io::Result<Option<Frame<Bytes>>> {
        let mut together = BytesMut::new();
        loop {
            let here = match self.skip(ahead) {
                Ok(here) => here,
                // It comes again, behind what is good.
                Err(_) if !together.is_empty() => 0,
                Err(error) => return Err(error),
            };
            if here == 0 {
                break;
            }
            if together.len() + here > TOGETHER {
                if together.is_empty() {
                    let piece = ahead.split_to(here);
                    self.took(here);
                    // The end may be here too; what is wrong comes again.
                    let _: io::Result<usize> = self.skip(ahead);
                    return Ok(Some(Frame::data(piece)));
                }
                break;
            }
            if together.is_empty() {
                together.reserve(ahead.len().min(TOGETHER));
            }
            together.extend_from_slice(&ahead[..here]);
            ahead.advance(here);
            self.took(here);
        }
        if !together.is_empty() {
            return Ok(Some(Frame::data(together.freeze())));
        }
        Ok(self.trailers.take().map(|trailers| Frame::trailers(*trailers)))
    }

    /// All of it was taken.
    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over && self.trailers.is_none()
    }

    /// So much of the chunk was taken.
    fn took(&mut self, length: usize) {
        if let At::Data(left) = self.at {
            let left = left - length as u64;
            self.at = if left == 0 { At::DataCr } else { At::Data(left) };
        }
    }

    /// Passes over what stands before the next data. How much of a chunk is in `ahead` then.
    fn skip(&mut self, ahead: &mut Bytes) -> io::Result<usize> {
        let mut passed = 0;
        let result = loop {
            match self.at {
                At::Data(left) => {
                    break Ok(usize::try_from(left).unwrap_or(usize::MAX).min(ahead.len() - passed));
                }
                At::Over => break Ok(0),
                At::Trailers(looked) => {
                    ahead.advance(passed);
                    return self.end(ahead, looked).map(|()| 0);
                }
                _ => {}
            }
            let Some(&byte) = ahead.get(passed) else { break Ok(0) };
            match self.step(byte) {
                Ok(next) => self.at = next,
                Err(error) => break Err(error),
            }
            passed += 1;
        };
        ahead.advance(passed);
        result
    }

    /// What comes after `byte`.
    fn step(&mut self, byte: u8) -> io::Result<At> {
        if self.framing == 0 {
            return Err(malformed("framing without end"));
        }
        let next = match (self.at, byte) {
            (At::Start, _) => At::Size(digit(byte)?),
            (At::Size(size) | At::Blanks(size), b' ' | b'\t') => At::Blanks(size),
            (At::Size(size) | At::Blanks(size), b';') => At::Extension(size),
            (At::Size(size) | At::Blanks(size) | At::Extension(size), b'\r') => At::SizeLf(size),
            (At::Size(size), _) => {
                let size = size.checked_mul(16).ok_or_else(|| malformed("a chunk that is too large"))?;
                At::Size(size | digit(byte)?)
            }
            (At::Extension(size), _) if byte != b'\n' && self.extensions < MAX_EXTENSIONS => {
                self.extensions += 1;
                At::Extension(size)
            }
            (At::SizeLf(0), b'\n') => At::Trailers(0),
            (At::SizeLf(size), b'\n') => {
                self.framing = (self.framing + FRAMING).min(MAX_FRAMING);
                At::Data(size)
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Start,
            _ => return Err(malformed("malformed chunks")),
        };
        self.framing -= 1;
        Ok(next)
    }

    /// Reads the trailers that `ahead` begins with, if they are all there.
    fn end(&mut self, ahead: &mut Bytes, looked: usize) -> io::Result<()> {
        if ahead.starts_with(b"\r\n") {
            ahead.advance(2);
            self.at = At::Over;
            return Ok(());
        }
        if ahead.len() > 1 && ahead[0] == b'\r' {
            return Err(malformed("a malformed end of chunks"));
        }
        let before = looked.saturating_sub(3);
        let Some(end) = memmem::find(&ahead[before..], b"\r\n\r\n").map(|end| before + end + 4) else {
            self.at = At::Trailers(ahead.len());
            let fits = ahead.len() < MAX_TRAILERS;
            return fits.then_some(()).ok_or_else(|| malformed("trailers without end"));
        };
        if end > MAX_TRAILERS {
            return Err(malformed("trailers that are too large"));
        }
        self.trailers = Some(Box::new(trailers(&ahead[..end])?));
        ahead.advance(end);
        self.at = At::Over;
        Ok(())
    }
}

fn digit(byte: u8) -> io::Result<u64> {
    let digit = char::from(byte).to_digit(16).map(u64::from);
    digit.ok_or_else(|| malformed("a malformed chunk size"))
}

/// The fields that these lines are, with the empty one.
fn trailers(lines: &[u8]) -> io::Result<HeaderMap> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let fields = match httparse::parse_headers(lines, &mut fields) {
        Ok(Status::Complete((length, fields))) if length == lines.len() => fields,
        _ => return Err(malformed("malformed trailers")),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) else {
            return Err(malformed("a malformed trailer"));
        };
        trailers.append(name, value);
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests;
