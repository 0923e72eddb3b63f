//! One direction of a tunnel: what was taken from the source and not yet handed to the sink, and what to do next.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Wire;
use super::pipes::{self, Pipe};
use crate::proxy::rounds;

/// Size of the buffer that copying flows read into.
const COPY: usize = 16 << 10;

/// Steps of one poll. A fast pair of peers then lets the worker's other connections have their turn.
const STEPS: usize = 16;

thread_local! {
    /// All copying flows of a worker read into this; only what the sink does not take at once gets memory of its own.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

pub(super) struct Flow {
    /// Taken from the source, not yet taken by the sink. While there is any, nothing more is read.
    held: Held,
    phase: Phase,
    /// The sink may keep bytes back until it is flushed.
    unflushed: bool,
    /// splice(2) works with these sockets, as far as is known.
    splices: bool,
    carried: u64,
}

enum Held {
    Nothing,
    Bytes(Bytes),
    Piped(Pipe),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The source ended; the sink is to be told once nothing is held.
    Ended,
    Over(Result<(), Broken>),
}

/// Which end of a flow failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Source,
    Sink,
}

impl Flow {
    /// `read`: bytes that go first.
    pub(super) fn new(read: Bytes) -> Self {
        let held = if read.is_empty() { Held::Nothing } else { Held::Bytes(read) };
        Flow { held, phase: Phase::Open, unflushed: false, splices: true, carried: 0 }
    }

    /// Bytes handed to the sink.
    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    pub(super) fn source_ended(&self) -> bool {
        self.phase != Phase::Open && !matches!(self.phase, Phase::Over(Err(_)))
    }

    /// Ready once the end of `source` was passed on to `sink`, or one of them failed; may be polled again then.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Wire,
        sink: &mut Wire,
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..STEPS {
            if let Phase::Over(result) = self.phase {
                return Poll::Ready(result);
            }
            let step = match &self.held {
                Held::Nothing if self.phase == Phase::Ended => self.poll_finish(cx, sink),
                Held::Nothing => self.poll_take(cx, source, sink),
                Held::Bytes(_) | Held::Piped(_) => self.poll_hand_over(cx, sink),
            };
            if let Err(broken) = ready!(step) {
                self.held = Held::Nothing;
                self.phase = Phase::Over(Err(broken));
            }
        }
        rounds::next(cx);
        Poll::Pending
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, sink: &mut Wire) -> Poll<Result<(), Broken>> {
        let shut = ready!(sink.poll_shutdown(cx)).map_err(sink_failed);
        self.phase = Phase::Over(shut);
        Poll::Ready(shut)
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, source: &mut Wire, sink: &mut Wire) -> Poll<Result<(), Broken>> {
        if let (Wire::Plain(socket), Wire::Plain(_), true) = (&*source, &*sink, self.splices)
            && let Some(spliced) = ready!(self.poll_splice(cx, socket))
        {
            return Poll::Ready(spliced);
        }
        self.poll_copy(cx, source, sink)
    }

    /// `None`: copying has to do.
    fn poll_splice(&mut self, cx: &mut Context<'_>, source: &TcpStream) -> Poll<Option<Result<(), Broken>>> {
        loop {
            if let Err(error) = ready!(source.poll_read_ready(cx)) {
                return Poll::Ready(Some(Err(source_failed(error))));
            }
            let Some(mut pipe) = pipes::lend() else { return Poll::Ready(None) };
            match source.try_io(Interest::READABLE, || pipe.fill(source)) {
                Ok(0) => self.phase = Phase::Ended,
                Ok(_) => self.held = Held::Piped(pipe),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) if cannot_splice(&error) => {
                    self.splices = false;
                    return Poll::Ready(None);
                }
                Err(error) => return Poll::Ready(Some(Err(source_failed(error)))),
            }
            return Poll::Ready(Some(Ok(())));
        }
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, source: &mut Wire, sink: &mut Wire) -> Poll<Result<(), Broken>> {
        let mut scratch = SCRATCH.take().unwrap_or_else(|| vec![0; COPY].into());
        let copied = match source.poll_read(cx, &mut scratch) {
            Poll::Ready(Ok(0)) => {
                self.phase = Phase::Ended;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(length)) => Poll::Ready(self.write_through(cx, &scratch[..length], sink)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(source_failed(error))),
            Poll::Pending => self.poll_flush(cx, sink),
        };
        SCRATCH.set(Some(scratch));
        copied
    }

    /// Hands on what it can and holds the rest.
    fn write_through(&mut self, cx: &mut Context<'_>, bytes: &[u8], sink: &mut Wire) -> Result<(), Broken> {
        let written = match sink.poll_write(cx, bytes) {
            Poll::Ready(written) => written.map_err(sink_failed)?,
            Poll::Pending => 0,
        };
        self.carried += written as u64;
        self.unflushed = true;
        if written < bytes.len() {
            self.held = Held::Bytes(Bytes::copy_from_slice(&bytes[written..]));
        }
        Ok(())
    }

    /// Nothing is to be read, so what the sink keeps back goes out now. Ready only on failure.
    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &mut Wire) -> Poll<Result<(), Broken>> {
        if self.unflushed {
            ready!(sink.poll_flush(cx)).map_err(sink_failed)?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    fn poll_hand_over(&mut self, cx: &mut Context<'_>, sink: &mut Wire) -> Poll<Result<(), Broken>> {
        let (handed, nothing_left) = match &mut self.held {
            Held::Nothing => (0, true),
            Held::Bytes(bytes) => {
                let written = ready!(sink.poll_write(cx, bytes)).map_err(sink_failed)?;
                bytes.advance(written);
                self.unflushed = true;
                (written, bytes.is_empty())
            }
            Held::Piped(pipe) => {
                let written = ready!(poll_empty(cx, pipe, sink)).map_err(sink_failed)?;
                (written, pipe.is_empty())
            }
        };
        self.carried += handed as u64;
        if nothing_left {
            self.held = Held::Nothing;
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_empty(cx: &mut Context<'_>, pipe: &mut Pipe, sink: &mut Wire) -> Poll<io::Result<usize>> {
    let Wire::Plain(socket) = sink else { return Poll::Ready(Err(ErrorKind::Unsupported.into())) };
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, || pipe.empty_into(&*socket)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
            result => return Poll::Ready(result),
        }
    }
}

/// Sandboxes and exotic sockets refuse the call itself; nothing was taken from the source then.
fn cannot_splice(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP))
}

fn source_failed(_: io::Error) -> Broken {
    Broken::Source
}

fn sink_failed(_: io::Error) -> Broken {
    Broken::Sink
}
