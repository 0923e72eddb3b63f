//! One HTTP/1.1 connection to an endpoint: hyper's half that sends, and what hyper does not bound.
//!
//! Opened by `connect`, kept by `pool`, used by `forward`. A backend may say "wait" (1xx), or write zeros before the size
//! of a chunk, for as long as it likes and hyper reads on; and before hyper closes a connection it waits until everything
//! is written, also if nobody takes it. So here the bytes before the answer's head are limited, and those between what we
//! get of the body; and a request that is given up takes the connection's task with it.
//! And hyper gives a connection up that cannot be written to, though the answer may have come: an upload that is too large
//! is refused and the connection closed. So what such a backend takes no more is thrown away, until its side has ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

use super::backend_sockets::Place;
use super::io::BackendTransport;
use super::request_body::RequestBody;
use super::rounds::Portion;

/// The most that is read ahead from a backend, and so its largest head and the largest piece of its body.
const BUFFER: usize = 64 << 10;

/// The most that is read before the head of an answer is there: that head, interim ones, and what hyper may have read of
/// the body before we learn of the head.
const BEFORE_HEAD: i64 = 8 * BUFFER as i64;

/// The most that is read of a body before a piece of it is there: what hyper and we have of it meanwhile, and twice the
/// 16 KiB that hyper lets extensions and trailers have.
const AHEAD: i64 = 4 * BUFFER as i64;

/// What may stand around each piece: the size of its chunk, which takes 20 bytes as most write it, and their line ends.
const FRAMING: usize = 32;

/// Any number of bytes may be read.
const UNLIMITED: i64 = i64::MAX;

/// The connection. Dropped while a request is on it, it is cut at once, whatever is still to be written; else it is closed
/// in due form.
pub(super) struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    task: AbortHandle,
    /// A request is on it.
    busy: bool,
    /// Bytes that may still be read; shared with [`Stream`].
    readable: Arc<AtomicI64>,
    #[expect(dead_code, reason = "a guard: its drop counts")]
    place: Place,
}

/// The stream under hyper.
pub(super) struct Stream {
    transport: BackendTransport,
    /// Atomic only because stream types must be `Send`; one thread uses it.
    readable: Arc<AtomicI64>,
    portion: Portion,
    /// The endpoint takes nothing any more.
    deaf: bool,
}

impl Http1 {
    pub(super) async fn open(transport: BackendTransport, place: Place) -> io::Result<Self> {
        let readable = Arc::new(AtomicI64::new(UNLIMITED));
        let stream = Stream { transport, readable: readable.clone(), portion: Portion::default(), deaf: false };
        let stream = TokioIo::new(stream);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake::<_, RequestBody>(stream).await.map_err(io::Error::other)?;
        // Its error reaches whoever uses the sender.
        let task = tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) }).abort_handle();
        Ok(Http1 { sender, task, busy: false, readable, place })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// The connection has finished the request before and can take one.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(cx)
    }

    /// Up to the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.busy = true;
        self.readable.store(BEFORE_HEAD, Ordering::Relaxed);
        let answer = self.sender.try_send_request(request).await;
        self.readable.store(AHEAD, Ordering::Relaxed);
        answer
    }

    /// A piece of the body is here: as much again may be read.
    pub(super) fn took(&self, length: usize) {
        let readable = self.readable.load(Ordering::Relaxed).saturating_add((length + FRAMING) as i64);
        self.readable.store(readable.min(AHEAD), Ordering::Relaxed);
    }

    /// Request and answer are complete.
    pub(super) fn completed(&mut self) {
        self.busy = false;
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        if self.busy {
            self.task.abort();
        }
    }
}

impl Stream {
    pub(super) fn into_transport(self) -> BackendTransport {
        self.transport
    }

    /// Writes, or seems to; `all` is what an endpoint that takes nothing has taken.
    fn poll_sending<T>(
        &mut self,
        all: T,
        write: impl FnOnce(Pin<&mut BackendTransport>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        if !self.deaf {
            match write(Pin::new(&mut self.transport)) {
                Poll::Ready(Err(error)) if matches!(error.kind(), BrokenPipe | ConnectionReset) => self.deaf = true,
                result => return result,
            }
        }
        Poll::Ready(Ok(all))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let readable = self.readable.load(Ordering::Relaxed);
        if readable <= 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "framing without end")));
        }
        ready!(self.portion.poll(cx));
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.portion.took(read);
        if readable != UNLIMITED {
            self.readable.store(readable - read as i64, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_sending(buf.len(), |transport| transport.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_sending(all, |transport| transport.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sending((), |transport| transport.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
