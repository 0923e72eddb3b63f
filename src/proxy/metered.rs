//! The byte stream of an HTTP/2 connection, of a client or to a backend, which ends once its allowance of frames that carry
//! nothing is used up, and of which a portion is read at a time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::Clock;
use super::frames::Allowance;
use super::rounds::Portion;

pub(super) struct Metered<S> {
    stream: S,
    allowance: Allowance,
    clock: Clock,
    portion: Portion,
}

impl<S> Metered<S> {
    pub(super) fn client(stream: S, clock: &Clock) -> Self {
        Metered::new(stream, Allowance::of_client(clock.now()), clock)
    }

    pub(super) fn backend(stream: S, clock: &Clock) -> Self {
        Metered::new(stream, Allowance::of_backend(clock.now()), clock)
    }

    fn new(stream: S, allowance: Allowance, clock: &Clock) -> Self {
        Metered { stream, allowance, clock: clock.clone(), portion: Portion::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.portion.poll(cx));
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        this.portion.took(read.len());
        let fine = this.allowance.received(read, || this.clock.now());
        Poll::Ready(if fine { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.allowance.sent(&buf[..written]);
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
            self.allowance.sent(&buf[..taken]);
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
        let mut stream = Metered::backend(&frames[..], &clock);
        let mut read = 0;
        let mut buf = [0; 8 << 10];
        while let Some(length) = pin!(stream.read(&mut buf)).now_or_never() {
            read += length.unwrap();
        }
        assert_eq!(read, 64 << 10);
    }
}
