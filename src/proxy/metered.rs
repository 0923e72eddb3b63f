//! The byte stream of an HTTP/2 connection, of a client or to a backend, which ends once its allowance of frames that carry
//! nothing is used up, and of which a portion is read at a time. Where much may lie unread in small pieces, it has them taken
//! together. And it answers a ping for a client that has to leave and does not.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::Clock;
use super::connection::Connection;
use super::frames::Allowance;
use super::rounds::Portion;
use super::source::Answers;

/// So many pieces of 8 KiB that are kept for small frames are looked after; twice as many end the connection.
const KEPT: u32 = 2000;

/// The answer to the ping behind which h2 takes no further stream: a client that does not send it would never have to leave.
const LEAVING: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";

pub(super) struct Metered<S> {
    stream: S,
    allowance: Allowance,
    clock: Clock,
    portion: Portion,
    bodies: Bodies,
    /// What goes in front of the next frame.
    ahead: &'static [u8],
}

/// Who can take what the other side sent out of the library.
enum Bodies {
    Requests(Rc<Connection>),
    Answers(Rc<Answers>),
}

impl<S> Metered<S> {
    pub(super) fn client(stream: S, connection: &Rc<Connection>) -> Self {
        let clock = &connection.worker.clock;
        Metered::new(stream, Allowance::of_client(clock.now()), clock, Bodies::Requests(connection.clone()))
    }

    pub(super) fn backend(stream: S, clock: &Clock, answers: Rc<Answers>) -> Self {
        Metered::new(stream, Allowance::of_backend(clock.now()), clock, Bodies::Answers(answers))
    }

    fn new(stream: S, allowance: Allowance, clock: &Clock, bodies: Bodies) -> Self {
        Metered { stream, allowance, clock: clock.clone(), portion: Portion::default(), bodies, ahead: &[] }
    }

    fn sent(&mut self, bytes: &[u8]) {
        let provoked = self.allowance.sent(bytes);
        if let Bodies::Requests(connection) = &self.bodies {
            (0..provoked).for_each(|_| connection.made_us_reset(self.clock.now()));
        }
    }

    /// The library keeps few pieces, or as good as none from now on.
    fn keeps_few(&mut self) -> bool {
        if self.allowance.kept() > KEPT && self.bodies.gather() {
            self.allowance.gathered();
        }
        self.allowance.kept() <= 2 * KEPT
    }
}

impl Bodies {
    /// False: some cannot be taken.
    fn gather(&self) -> bool {
        match self {
            Bodies::Requests(connection) => connection.gather(),
            Bodies::Answers(answers) => {
                answers.gather();
                true
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Metered<S> {
    fn poll_some(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if matches!(&self.bodies, Bodies::Requests(connection) if connection.has_to_leave(self.clock.now())) {
            self.ahead = LEAVING;
        }
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let under_way = self.allowance.under_way();
        if under_way == 0 || self.ahead.len() < LEAVING.len() {
            let (now, later) = self.ahead.split_at(self.ahead.len().min(buf.remaining()));
            buf.put_slice(now);
            self.ahead = later;
            return Poll::Ready(Ok(()));
        }
        // No further than to the end of the frame.
        let mut some = [0; 1 << 10];
        let most = under_way.min(buf.remaining()).min(some.len());
        let mut some = ReadBuf::new(&mut some[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut some))?;
        buf.put_slice(some.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.portion.poll(cx));
        let before = buf.filled().len();
        ready!(this.poll_some(cx, buf))?;
        let read = &buf.filled()[before..];
        this.portion.took(read.len());
        let fine = this.allowance.received(read, || this.clock.now()) && this.keeps_few();
        Poll::Ready(if fine { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.sent(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let taken = left.min(buf.len());
            self.sent(&buf[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// DATA of one byte each.
    #[tokio::test]
    async fn of_frames_without_end_few_are_read_in_a_round() {
        let frames = [0, 0, 1, 0, 0, 0, 0, 0, 1, b'x'].repeat(100_000);
        let clock = Clock::start();
        let mut stream = Metered::backend(&frames[..], &clock, Rc::default());
        let mut read = 0;
        let mut buf = [0; 8 << 10];
        while let Some(length) = pin!(stream.read(&mut buf)).now_or_never() {
            read += length.unwrap();
        }
        assert_eq!(read, 64 << 10);
    }
}
