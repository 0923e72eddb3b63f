//! The streams under hyper. [`ClientIo`] hands out bytes that were read before hyper came (PROXY protocol, protocol
//! choice) and notes when bytes last moved; deadlines themselves are the connection's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::clock::{Clock, Millis};

/// A byte stream, plain or under TLS; `T` is the TLS stream of the side in question.
pub(super) enum Transport<T> {
    Plain(TcpStream),
    // Boxed: a TLS session is a kilobyte, and most streams are plain.
    Tls(Box<T>),
}

pub(super) type ClientTransport = Transport<tokio_rustls::server::TlsStream<TcpStream>>;
pub(super) type BackendTransport = Transport<tokio_rustls::client::TlsStream<TcpStream>>;

/// A client's stream. Dropping it ends the connection and whatever was counted for it.
pub(super) struct ClientIo {
    transport: ClientTransport,
    /// Read ahead of hyper, handed out first.
    prefix: Bytes,
    activity: Arc<Activity>,
    /// Undone when the connection ends, also if hyper has handed the stream on to a tunnel.
    _open: Box<dyn Send>,
}

/// When bytes last moved on a client's stream. Written by [`ClientIo`], read by the connection's checks.
#[derive(Debug)]
pub(super) struct Activity {
    clock: Clock,
    /// When the first byte came since [`Activity::expect_head`]; 0 if none did.
    head_since: AtomicU64,
    /// Since when the client has taken nothing of what waits to be written; 0 if nothing waits.
    blocked_since: AtomicU64,
}

impl Activity {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Activity { clock, head_since: AtomicU64::new(0), blocked_since: AtomicU64::new(0) })
    }

    /// The next byte that comes starts a request head.
    pub(super) fn expect_head(&self) {
        self.head_since.store(0, Ordering::Relaxed);
    }

    pub(super) fn head_since(&self) -> Millis {
        self.head_since.load(Ordering::Relaxed)
    }

    pub(super) fn blocked_since(&self) -> Millis {
        self.blocked_since.load(Ordering::Relaxed)
    }

    fn read(&self) {
        if self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.clock.now(), Ordering::Relaxed);
        }
    }

    fn wrote<T>(&self, result: &Poll<io::Result<T>>) {
        if result.is_ready() {
            self.blocked_since.store(0, Ordering::Relaxed);
        } else if self.blocked_since.load(Ordering::Relaxed) == 0 {
            self.blocked_since.store(self.clock.now(), Ordering::Relaxed);
        }
    }
}

impl ClientIo {
    /// `open` is dropped when the connection ends.
    pub(super) fn new(transport: ClientTransport, prefix: Bytes, activity: Arc<Activity>, open: Box<dyn Send>) -> Self {
        if !prefix.is_empty() {
            activity.read();
        }
        ClientIo { transport, prefix, activity, _open: open }
    }

    /// The stream, what was read ahead of hyper, and the guard that ends with the connection.
    pub(super) fn into_parts(self) -> (ClientTransport, Bytes, Box<dyn Send>) {
        (self.transport, self.prefix, self._open)
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let n = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..n]);
            self.prefix.advance(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.transport).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        }
        result
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.activity.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.activity.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.transport).poll_flush(cx);
        // A plain socket has nothing to flush, so its answer says nothing about the client.
        if let Transport::Tls(_) = self.transport {
            self.activity.wrote(&result);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Transport<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Transport<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
