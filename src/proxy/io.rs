//! The streams of connections. [`ClientIo`], under hyper, hands out what was read before hyper came (PROXY protocol,
//! protocol choice), on HTTP/1 only what `inlet` lets through, and notes what moves; deadlines themselves are the
//! connection's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::framing::Bounds;
use super::inlet::Inlet;

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
    reading: Reading,
    activity: Arc<Activity>,
    /// Our side was closed.
    shut: bool,
    /// Closed before that, the stream ends by a reset: its end is also that of an answer, which would look complete, or
    /// its client takes nothing.
    resets: bool,
    /// Undone when the connection ends, also if hyper has handed the stream on to a tunnel.
    _open: Box<dyn Send>,
}

/// What stands between the transport and hyper's reader.
enum Reading {
    Http1(Inlet),
    /// Read ahead of hyper, handed out first.
    Http2(Bytes),
}

impl ClientIo {
    /// `prefix` was read before; `open` is dropped when the connection ends.
    pub(super) fn http1(
        transport: ClientTransport,
        prefix: Bytes,
        bounds: Bounds,
        activity: Arc<Activity>,
        open: Box<dyn Send>,
    ) -> Self {
        let reading = Reading::Http1(Inlet::new(bounds, prefix.into(), &activity));
        ClientIo { transport, reading, activity, shut: false, resets: false, _open: open }
    }

    pub(super) fn http2(
        transport: ClientTransport,
        prefix: Bytes,
        activity: Arc<Activity>,
        open: Box<dyn Send>,
    ) -> Self {
        let reading = Reading::Http2(prefix);
        ClientIo { transport, reading, activity, shut: false, resets: false, _open: open }
    }

    /// The stream, what was read of it and not handed out, and the guard that ends with the connection.
    pub(super) fn into_parts(self) -> (ClientTransport, Bytes, Box<dyn Send>) {
        let held = match self.reading {
            Reading::Http1(inlet) => inlet.into_held().into(),
            Reading::Http2(prefix) => prefix,
        };
        (self.transport, held, self._open)
    }

    /// Before the first byte of an answer that nothing else ends, and before the stream of a client that takes nothing is
    /// dropped.
    fn reset_if_cut(&mut self) {
        if self.activity.take_resets() {
            self.resets = self.transport.linger(Some(Duration::ZERO)).is_ok();
        }
    }

    /// Reads for nothing until the client has seen that we are done: closed while bytes come in, the kernel would reset
    /// the connection and the client lose our answer (RFC 9112 §9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4 << 10];
        loop {
            self.activity.lingers();
            let mut buf = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.reading {
            Reading::Http1(inlet) => inlet.poll_read(Pin::new(&mut this.transport), &this.activity, cx, buf),
            Reading::Http2(prefix) if !prefix.is_empty() => {
                let fits = prefix.len().min(buf.remaining());
                buf.put_slice(&prefix.split_to(fits));
                Poll::Ready(Ok(()))
            }
            Reading::Http2(_) => Pin::new(&mut this.transport).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.reset_if_cut();
        let result = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.activity.wrote(&result, self.transport.socket());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.reset_if_cut();
        let result = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.activity.wrote(&result, self.transport.socket());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reset_if_cut();
        let result = Pin::new(&mut self.transport).poll_flush(cx);
        // A plain socket has nothing to flush, so its answer says nothing about the client.
        if let Transport::Tls(_) = self.transport {
            self.activity.wrote(&result, self.transport.socket());
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            self.shut = true;
            if self.resets {
                self.transport.linger(None)?;
            }
        }
        match &self.reading {
            Reading::Http1(inlet) if inlet.leaves_unread() => self.poll_linger(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl ClientTransport {
    fn socket(&self) -> &TcpStream {
        match self {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        }
    }

    fn linger(&self, time: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.socket()).set_linger(time)
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
