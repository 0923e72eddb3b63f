//! Carries bytes both ways between a client and a backend after a 101 or a CONNECT, until both have finished.
//!
//! Between two plain TCP sockets the bytes stay in the kernel (splice(2)); else they are copied. A tunnel in which
//! nothing moves holds neither pipe nor buffer. The request calls [`run`] with what it got from the upgrade; dropping
//! that future closes both sides, which is how a drain ends tunnels.

mod flow;
mod pipes;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use flow::{Broken, Flow};

/// One end of a tunnel. `read` is what was read of the stream already; it goes first.
pub enum Side {
    /// A TCP socket with nothing on top.
    Plain { stream: TcpStream, read: Bytes },
    /// Anything else: TLS, an HTTP/2 stream.
    Other { io: Box<dyn Duplex>, read: Bytes },
}

/// What [`Side::Other`] can be.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// Why a tunnel ended: the first thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One side finished, and the other was then heard to its end.
    Closed,
    /// Nothing moved either way for the time allowed.
    Idle,
    ClientFailed,
    BackendFailed,
}

/// Runs a tunnel to its end. The end of one side's bytes is passed on to the other, which may go on. `idle`: nothing
/// moved either way for so long. `progress` is told what was handed on since it was told last: bytes to the client,
/// bytes to the backend.
pub async fn run(client: Side, backend: Side, idle: Duration, progress: impl Fn(u64, u64)) -> End {
    let mut tunnel = Tunnel::new(client, backend);
    // One timer, moved only when it fires: a chunk costs a clock reading, not a timer operation.
    let mut timer = pin!(sleep(idle));
    let mut quiet_since = Instant::now();
    poll_fn(|cx| {
        let before = (tunnel.down.carried(), tunnel.up.carried());
        let ended = tunnel.poll(cx);
        let moved = (tunnel.down.carried() - before.0, tunnel.up.carried() - before.1);
        if moved != (0, 0) {
            progress(moved.0, moved.1);
            quiet_since = Instant::now();
        }
        if ended.is_ready() {
            return ended;
        }
        while timer.as_mut().poll(cx).is_ready() {
            let quiet = quiet_since.elapsed();
            if quiet >= idle {
                return Poll::Ready(End::Idle);
            }
            timer.as_mut().reset(Instant::now() + (idle - quiet));
        }
        Poll::Pending
    })
    .await
}

struct Tunnel {
    client: Wire,
    backend: Wire,
    /// From the client to the backend.
    up: Flow,
    /// From the backend to the client.
    down: Flow,
    /// What happened first, if anything did.
    first: Option<End>,
}

impl Tunnel {
    fn new(client: Side, backend: Side) -> Self {
        let (client, from_client) = client.split();
        let (backend, from_backend) = backend.split();
        Tunnel { client, backend, up: Flow::new(from_client), down: Flow::new(from_backend), first: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let up = self.up.poll(cx, &mut self.client, &mut self.backend);
        let down = self.down.poll(cx, &mut self.backend, &mut self.client);
        if let Some(happened) = self.happened(&up, &down) {
            self.first.get_or_insert(happened);
        }
        // Who cannot be read will not read either. Who cannot be written to may have left last words.
        let lost = [&up, &down].iter().any(|flow| matches!(flow, Poll::Ready(Err(Broken::Source))));
        match self.first {
            Some(first) if lost || (up.is_ready() && down.is_ready()) => Poll::Ready(first),
            _ => Poll::Pending,
        }
    }

    fn happened(&self, up: &Poll<Result<(), Broken>>, down: &Poll<Result<(), Broken>>) -> Option<End> {
        match (up, down) {
            (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Sink))) => Some(End::ClientFailed),
            (_, Poll::Ready(Err(Broken::Source))) | (Poll::Ready(Err(Broken::Sink)), _) => Some(End::BackendFailed),
            _ => (self.up.source_ended() || self.down.source_ended()).then_some(End::Closed),
        }
    }
}

/// A [`Side`] without the bytes that were read ahead.
enum Wire {
    Plain(TcpStream),
    Other(Box<dyn Duplex>),
}

impl Side {
    fn split(self) -> (Wire, Bytes) {
        match self {
            Side::Plain { stream, read } => (Wire::Plain(stream), read),
            Side::Other { io, read } => (Wire::Other(io), read),
        }
    }
}

impl Wire {
    /// 0: the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Wire::Other(io) => Pin::new(io).poll_read(cx, &mut buffer),
        };
        match ready!(read) {
            Ok(()) => Poll::Ready(Ok(buffer.filled().len())),
            // TLS clients often close without saying so; what a message needs is for the ends to judge.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(match self {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Other(io) => Pin::new(io).poll_write(cx, bytes),
        })?;
        Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(_) => Poll::Ready(Ok(())),
            Wire::Other(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(match self {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Other(io) => Pin::new(io).poll_shutdown(cx),
        });
        match shut {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            shut => Poll::Ready(shut),
        }
    }
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Plain { .. } => "Plain",
            Side::Other { .. } => "Other",
        })
    }
}

#[cfg(test)]
mod tests;
