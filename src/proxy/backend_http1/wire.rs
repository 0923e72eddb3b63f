//! The stream under a connection to an endpoint, what was read of it ahead, and how much is read at a time. While nothing
//! is under way it holds no buffer.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::proxy::backend_sockets::Place;
use crate::proxy::io::{BackendTransport, Transport};
use crate::proxy::rounds::Portion;

/// The most that is read ahead of an endpoint, and so its largest head and the largest piece of its body.
const MOST: usize = 64 << 10;

/// What is read at a time at first. More only while all of that is there.
const FIRST: usize = 8 << 10;

thread_local! {
    /// Small reads go through here, so that a connection on which nothing comes needs no memory to wait in.
    static SCRATCH: RefCell<[u8; FIRST]> = const { RefCell::new([0; FIRST]) };
}

pub(super) struct Wire {
    transport: BackendTransport,
    portion: Portion,
    /// Read, not taken.
    pub(super) ahead: Bytes,
    size: Size,
    /// All of the request was written.
    pub(super) sent: bool,
    /// A large piece of the body was handed out, and nothing was read since.
    pub(super) handed_out: bool,
    /// Why the endpoint takes nothing any more, which a write has found. It may have answered: what it is sent is thrown away
    /// until its side has ended.
    deaf: Option<io::ErrorKind>,
    /// Given back when the stream is closed.
    place: Place,
}

/// How much is read at a time: twice as much as before where that was there, half of it where twice in a row less was.
#[derive(Debug)]
struct Size {
    bytes: usize,
    shrinks: bool,
}

impl Wire {
    pub(super) fn new(transport: BackendTransport, place: Place) -> Self {
        Wire {
            transport,
            portion: Portion::default(),
            ahead: Bytes::new(),
            size: Size { bytes: FIRST, shrinks: false },
            sent: true,
            handed_out: false,
            deaf: None,
            place,
        }
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.sent = false;
        self.handed_out = false;
    }

    /// The stream, and what was read of it ahead.
    pub(super) fn into_parts(self) -> (BackendTransport, Bytes, Place) {
        (self.transport, self.ahead, self.place)
    }

    /// Nothing is there that nobody asked for, and neither is the end.
    pub(super) fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        match &mut self.transport {
            Transport::Plain(stream) => {
                matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // The session may hold what the socket has not any more.
            Transport::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// Request and answer were passed on, and nothing else is there.
    pub(super) fn rests(&mut self) -> bool {
        self.let_go();
        self.sent && self.deaf.is_none() && self.ahead.is_empty()
    }

    /// Of what was taken to its end, the memory is still there.
    fn let_go(&mut self) {
        if self.ahead.is_empty() {
            self.ahead = Bytes::new();
        }
    }

    /// Says good-bye in TLS. What does not fit into the socket at once is left out.
    pub(super) fn shut(&mut self) {
        if let Transport::Tls(stream) = &mut self.transport {
            let _: Poll<io::Result<()>> = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// No more is read before something of what was read is taken.
    pub(super) fn is_full(&self) -> bool {
        self.ahead.len() >= MOST
    }

    /// Reads more behind what is there, which may not be full. False: the endpoint has ended.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.let_go();
        ready!(self.portion.poll(cx));
        let most = self.size.bytes.min(MOST - self.ahead.len());
        let read = match most <= FIRST {
            true => ready!(self.read_little(cx, most))?,
            false => ready!(self.read_much(cx, most))?,
        };
        self.portion.took(read);
        self.size.found(read);
        match self.deaf {
            // The write that met a reset has taken it away: this end is not the endpoint's.
            Some(reset) if read == 0 && reset != io::ErrorKind::BrokenPipe => Poll::Ready(Err(reset.into())),
            _ => Poll::Ready(Ok(read > 0)),
        }
    }

    fn read_little(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| -> Poll<io::Result<usize>> {
            let mut read = ReadBuf::new(&mut scratch[..most]);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
            let read = read.filled();
            self.ahead = match self.ahead.is_empty() {
                true => Bytes::copy_from_slice(read),
                false => {
                    let mut all = BytesMut::from(std::mem::take(&mut self.ahead));
                    all.extend_from_slice(read);
                    all.freeze()
                }
            };
            Poll::Ready(Ok(read.len()))
        })
    }

    fn read_much(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let mut all = BytesMut::from(std::mem::take(&mut self.ahead));
        all.reserve(most);
        let mut room = (&mut all).limit(most);
        let read = pin!(self.transport.read_buf(&mut room)).poll(cx);
        self.ahead = match all.len() {
            // Not in the memory for much more.
            ..=FIRST => Bytes::copy_from_slice(&all),
            _ => all.freeze(),
        };
        read
    }

    /// Writes some of these, or seems to: of an endpoint that takes nothing, all is gone.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<usize> {
        if self.deaf.is_none() {
            let transport = Pin::new(&mut self.transport);
            let written = match bytes {
                [one] => transport.poll_write(cx, one),
                more => transport.poll_write_vectored(cx, more),
            };
            match ready!(written) {
                Ok(written @ 1..) => return Poll::Ready(written),
                Ok(0) => self.deaf = Some(io::ErrorKind::WriteZero),
                Err(error) => self.deaf = Some(error.kind()),
            }
        }
        Poll::Ready(bytes.iter().map(|bytes| bytes.len()).sum())
    }

    /// Ready once nothing of what was written is kept back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deaf.is_none()
            && let Err(error) = ready!(Pin::new(&mut self.transport).poll_flush(cx))
        {
            self.deaf = Some(error.kind());
        }
        Poll::Ready(())
    }
}

impl Size {
    /// A read has found so many bytes.
    fn found(&mut self, read: usize) {
        let half = self.bytes / 2;
        if read >= self.bytes {
            *self = Size { bytes: (2 * self.bytes).min(MOST), shrinks: false };
        } else if read < half && self.shrinks {
            *self = Size { bytes: half.max(FIRST), shrinks: false };
        } else {
            self.shrinks = read < half;
        }
    }
}

#[cfg(test)]
mod tests;
