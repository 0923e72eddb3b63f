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

/// A frame is as much work as so many bytes of a head, which is what a portion is measured by.
const FRAME: usize = 100;

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
        let frames = this.allowance.frames();
        let fine = this.allowance.received(read, || this.clock.now()) && this.keeps_few();
        this.portion.took(read.len() + FRAME * (this.allowance.frames() - frames));
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

    /// What is read of frames of so many bytes of DATA before the next round.
    fn read_in_a_round(length: u16) -> usize {
        let [high, low] = length.to_be_bytes();
        let frame = [&[0, high, low, 0, 0, 0, 0, 0, 1][..], &vec![b'x'; length.into()]].concat();
        let frames = frame.repeat((1 << 20) / frame.len());
        let clock = Clock::start();
        let mut stream = Metered::backend(&frames[..], &clock, Rc::default());
        let mut read = 0;
        let mut buf = [0; 8 << 10];
        while let Some(length) = pin!(stream.read(&mut buf)).now_or_never() {
            read += length.unwrap();
        }
        read
    }

    #[tokio::test]
    async fn of_frames_without_end_a_portion_is_read_in_a_round() {
        assert_eq!(read_in_a_round(16 << 10), 64 << 10);
    }

    #[tokio::test]
    async fn of_tiny_frames_few_are_read_in_a_round() {
        for length in [1, 4] {
            assert_eq!(read_in_a_round(length), 8 << 10, "{length} bytes each");
        }
    }
}
