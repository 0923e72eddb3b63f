//! A client's HTTP/2 stream as one end of a tunnel. hyper gives a reset (CANCEL) as the end of what the client sends, after
//! which the other direction would go on for nobody; here it is an error.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::exchange::Exchange;

pub(super) struct Http2Stream {
    io: TokioIo<Upgraded>,
    /// The client sends no more; how that came is still to be seen.
    ended: bool,
    exchange: Rc<Exchange>,
}

impl Http2Stream {
    pub(super) fn new(upgraded: Upgraded, exchange: Rc<Exchange>) -> Self {
        Http2Stream { io: TokioIo::new(upgraded), ended: false, exchange }
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.io).poll_read(cx, buf);
            self.exchange.tunnel_is_read.set(read.is_pending());
            ready!(read)?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            self.ended = true;
            // The half that sends learns of a reset in a task of its own, which was woken too and is to have its turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
