//! A request on its way to an endpoint: the head as one text, the body in the pieces in which the client's came, which are
//! not copied. Head and first piece leave together where both are there.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Method;
use http::request::Parts;
use http_body::Body;
use smallvec::SmallVec;

use super::wire::Wire;
use crate::proxy::request_body::RequestBody;

/// What of a body is taken ahead of an endpoint that is slower than the client, in bytes and in pieces.
const MOST: usize = 64 << 10;
const PIECES: usize = 16;

/// Text that was written and is kept all the same.
const WRITTEN: usize = 4 << 10;

/// Room for a request line, and for a field, as most are.
const LINE: usize = 128;
const FIELD: usize = 48;

pub(super) struct Sending {
    /// `None` once all of it was taken.
    body: Option<RequestBody>,
    /// How much of it is still to be taken; `None`: it goes in chunks.
    left: Option<u64>,
    queue: Queue,
}

/// What was taken and is not written yet.
#[derive(Default)]
struct Queue {
    /// The head, and what stands around the pieces of a body in chunks.
    text: Vec<u8>,
    /// So much of it was written.
    written: usize,
    /// Pieces, each with the place in `text` where it belongs.
    pieces: SmallVec<[(usize, Bytes); 2]>,
}

impl Sending {
    pub(super) fn new(head: &Parts, body: RequestBody) -> Self {
        let left = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let text = text_of(head, left, body.is_end_stream());
        let body = Some(body).filter(|_| left != Some(0));
        Sending { body, left, queue: Queue { text, ..Queue::default() } }
    }

    /// The rest of a request of which all was taken.
    #[cfg(test)]
    pub(super) fn rest(text: Vec<u8>) -> Self {
        Sending { body: None, left: Some(0), queue: Queue { text, ..Queue::default() } }
    }

    /// Writes what is there. Ready once that was all, or the client's body has broken off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<io::Result<()>> {
        loop {
            let taken = self.poll_take(cx)?;
            ready!(self.queue.poll_write(cx, wire));
            if self.body.is_none() {
                ready!(wire.poll_flush(cx));
                wire.sent = true;
                return Poll::Ready(Ok(()));
            }
            if taken.is_pending() {
                ready!(wire.poll_flush(cx));
                return Poll::Pending;
            }
        }
    }

    /// Takes what the client has sent, as far as there is room for it. Pending: there is room for more.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(body) = &mut self.body
            && self.queue.has_room()
        {
            let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else {
                self.end()?;
                continue;
            };
            let ended = body.is_end_stream();
            // The reason is the exchange's. Trailers are for backends of HTTP/2.
            let data = frame.map_err(|_| io::ErrorKind::UnexpectedEof)?.into_data().unwrap_or_default();
            self.put(data);
            if ended && self.left.is_none() {
                self.end()?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, mut data: Bytes) {
        match &mut self.left {
            Some(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                if *left == 0 {
                    self.body = None;
                }
                self.queue.put(data);
            }
            // An empty chunk would be the last.
            None if data.is_empty() => {}
            None => {
                write_size(&mut self.queue.text, data.len());
                self.queue.put(data);
                self.queue.text.extend_from_slice(b"\r\n");
            }
        }
    }

    /// No more of the body comes.
    fn end(&mut self) -> io::Result<()> {
        if self.left.is_some() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.queue.text.extend_from_slice(b"0\r\n\r\n");
        self.body = None;
        Ok(())
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        let held = || self.pieces.iter().map(|(_, piece)| piece.len()).sum::<usize>();
        self.pieces.len() < PIECES && held() < MOST
    }

    fn put(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push((self.text.len(), piece));
        }
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.written == self.text.len()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<()> {
        while !self.is_empty() {
            let written = ready!(wire.poll_write(cx, &self.slices()));
            self.advance(written);
            self.compact();
        }
        self.text.clear();
        self.written = 0;
        Poll::Ready(())
    }

    /// All of it, in its order.
    fn slices(&self) -> SmallVec<[IoSlice<'_>; 4]> {
        let mut slices = SmallVec::new();
        let mut at = self.written;
        for (place, piece) in &self.pieces {
            if *place > at {
                slices.push(IoSlice::new(&self.text[at..*place]));
                at = *place;
            }
            slices.push(IoSlice::new(piece));
        }
        if at < self.text.len() {
            slices.push(IoSlice::new(&self.text[at..]));
        }
        slices
    }

    /// So many bytes of it were written.
    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let place = self.pieces.first().map_or(self.text.len(), |(place, _)| *place);
            let of_text = written.min(place - self.written);
            self.written += of_text;
            written -= of_text;
            let Some((_, piece)) = self.pieces.first_mut() else { return };
            let of_piece = written.min(piece.len());
            piece.advance(of_piece);
            written -= of_piece;
            if piece.is_empty() {
                self.pieces.remove(0);
            }
        }
    }

    /// Lets go of text that was written: an endpoint may never take all that is there.
    fn compact(&mut self) {
        if self.written < WRITTEN {
            return;
        }
        self.text.drain(..self.written);
        self.pieces.iter_mut().for_each(|(place, _)| *place -= self.written);
        self.written = 0;
    }
}

/// The head. `length` is the body's, if it is known; `ended`: there is none.
fn text_of(head: &Parts, length: Option<u64>, ended: bool) -> Vec<u8> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut text = Vec::with_capacity(LINE + target.len() + FIELD * head.headers.len());
    text.extend_from_slice(head.method.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &head.headers {
        write_field(&mut text, name.as_str(), value.as_bytes());
    }
    match length {
        // Where a body is usual, its absence is to be said (RFC 9110 §8.6).
        Some(0) if ended && !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {}
        Some(length) => write_field(&mut text, "content-length", itoa::Buffer::new().format(length).as_bytes()),
        None => write_field(&mut text, "transfer-encoding", b"chunked"),
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn write_field(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// The line before a chunk of this length, which is not 0.
fn write_size(text: &mut Vec<u8>, length: usize) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        text.push(b"0123456789ABCDEF"[(length >> (4 * digit)) & 15]);
    }
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
