//! Where requests begin and end on an HTTP/1 connection, and whether each is written as RFC 9112 has it.
//!
//! hyper reads leniently: bare line feeds, a Content-Length beside a Transfer-Encoding, a fragment in the target. Two
//! readers of such bytes need not agree, so they never reach it. [`Requests`] sees every byte before hyper does and knows
//! how many of them may go on: a head only when it is complete and clean, a body as it comes. It does no I/O; the bytes
//! that have to wait are kept by `inlet`. What a clean head means (host, path, method) is `head_check`'s.

mod chunks;
mod head;

use std::fmt::Write;

use chunks::Chunks;
use head::HeadScan;

pub(super) use head::{is_token, length};

use super::error::ProxyError;

/// Bounds on one head; those on trailers are the same.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes from the first of the request line to the empty line's last.
    pub size: usize,
    pub fields: usize,
}

/// The sequence of requests on one connection.
#[derive(Debug)]
pub struct Requests {
    at: At,
    bounds: Bounds,
    /// Heads that went on so far.
    heads: u32,
}

/// What is to come next.
#[derive(Debug)]
enum At {
    Head(HeadScan),
    Body { left: u64, then: Then },
    Chunks { chunks: Chunks, then: Then },
    Answer,
    Tunnel,
    Refused(ProxyError),
    Broken,
}

/// What follows a request.
#[derive(Clone, Copy, Debug)]
enum Then {
    Request,
    /// Whether it is another request or the other protocol, the answer tells.
    Answer,
    /// No request, whatever the answer: a tunnel, or what a client sends that takes for granted that there is one.
    Tunnel,
}

/// Why bytes wait that did not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// For more of the same request.
    More,
    /// For the answer to a request that may switch protocols.
    Answer,
    /// For ever: the head that they begin is refused.
    Refused(ProxyError),
    /// For ever: the body that they belong to is not in chunks as it should be.
    Broken,
}

impl Requests {
    pub fn new(bounds: Bounds) -> Self {
        Requests { at: At::Head(HeadScan::default()), bounds, heads: 0 }
    }

    /// How many of `bytes`, those that came and have not gone on yet, may go on now. The others are to be given again,
    /// with what follows them. Each byte of a head is looked at once, whatever pieces it comes in.
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            match &mut self.at {
                At::Head(scan) => match scan.resume(rest, self.bounds) {
                    Ok(None) => return passed,
                    Ok(Some(head)) => {
                        passed += head.length;
                        self.heads = self.heads.wrapping_add(1);
                        self.at = head.body();
                    }
                    Err(error) => self.at = At::Refused(error),
                },
                At::Body { left, then } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    passed += taken;
                    *left -= taken as u64;
                    if *left > 0 {
                        return passed;
                    }
                    self.at = then.at();
                }
                At::Chunks { chunks, then } => {
                    let (taken, end) = chunks.resume(rest, self.bounds);
                    passed += taken;
                    match end {
                        None => return passed,
                        Some(Ok(())) => self.at = then.at(),
                        Some(Err(_)) => self.at = At::Broken,
                    }
                }
                At::Answer | At::Tunnel | At::Refused(_) | At::Broken => return passed,
            }
        }
    }

    /// What the bytes wait for that [`Requests::pass`] left.
    pub fn waits(&self) -> Waits {
        match self.at {
            At::Head(_) | At::Body { .. } | At::Chunks { .. } => Waits::More,
            At::Answer | At::Tunnel => Waits::Answer,
            At::Refused(error) => Waits::Refused(error),
            At::Broken => Waits::Broken,
        }
    }

    /// All requests so far are answered, without a switch of protocols.
    pub fn answered(&mut self) {
        if let At::Answer = self.at {
            self.at = Then::Request.at();
        }
    }

    /// No further byte goes on.
    pub fn refuse(&mut self, error: ProxyError) {
        self.at = At::Refused(error);
    }

    /// A new head is to come, none of which was seen.
    pub fn is_between(&self) -> bool {
        matches!(&self.at, At::Head(scan) if scan.is_new())
    }

    pub fn is_in_head(&self) -> bool {
        matches!(self.at, At::Head(_))
    }

    pub fn heads(&self) -> u32 {
        self.heads
    }
}

impl Then {
    fn at(self) -> At {
        match self {
            Then::Request => At::Head(HeadScan::default()),
            Then::Answer => At::Answer,
            Then::Tunnel => At::Tunnel,
        }
    }
}

/// A well-formed head in place of one that begins `refused` and cannot go on, so that the refusal is an answer in its
/// turn. It keeps the request line if that is clean and leaves the head within its bound; else nothing of it, which the
/// log shows as method `-` and no path.
pub fn stand_in(refused: &[u8], bounds: Bounds) -> String {
    let within = &refused[..refused.len().min(bounds.size.saturating_sub(2))];
    let line = head::clean_request_line(within).unwrap_or("- - HTTP/1.1");
    let mut head = String::with_capacity(line.len() + 4);
    write!(head, "{line}\r\n\r\n").expect("writing to a String never fails");
    head
}

#[cfg(test)]
mod tests;
