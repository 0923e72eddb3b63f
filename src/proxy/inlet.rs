//! The bytes of an HTTP/1 client on their way to hyper: read from the socket, judged by `framing`, kept while they have
//! to wait. A head that is refused is replaced by a clean one, for which `request` answers with the reason.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::activity::Activity;
use super::error::ProxyError;
use super::framing::{self, Bounds, Requests, Waits};
use super::rounds::Portion;

/// What is read at first of a head that did not come in one piece.
const FIRST_READ: usize = 4 << 10;

pub(super) struct Inlet {
    requests: Requests,
    bounds: Bounds,
    /// Read, not handed out.
    held: Vec<u8>,
    /// The first of these may be.
    ready: usize,
    /// The head that stands in for a refused one was handed out.
    told: bool,
    portion: Portion,
}

impl Inlet {
    /// `held` was read before.
    pub(super) fn new(bounds: Bounds, held: Vec<u8>, activity: &Activity) -> Self {
        let mut inlet =
            Inlet { requests: Requests::new(bounds), bounds, held, ready: 0, told: false, portion: Portion::default() };
        inlet.judge(activity);
        inlet
    }

    /// Something of what the client sent was not served.
    pub(super) fn leaves_unread(&self) -> bool {
        self.ready > 0 || !self.requests.is_between()
    }

    /// What was read and not handed out.
    pub(super) fn into_held(self) -> Vec<u8> {
        self.held
    }

    pub(super) fn poll_read(
        &mut self,
        transport: Pin<&mut (impl AsyncRead + Unpin)>,
        activity: &Activity,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.portion.poll(cx));
        let before = buf.filled().len();
        ready!(self.poll_next(transport, activity, cx, buf))?;
        self.portion.took(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        mut transport: Pin<&mut (impl AsyncRead + Unpin)>,
        activity: &Activity,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            self.learn(activity);
            if self.ready > 0 {
                self.hand_out(buf);
                return Poll::Ready(Ok(()));
            }
            match self.requests.waits() {
                Waits::More => {}
                Waits::Answer => {
                    activity.wants_answer();
                    if self.held.len() >= self.bounds.size {
                        return Poll::Pending;
                    }
                    // Read on all the same: the client may go away.
                }
                Waits::Refused(_) if self.told => return Poll::Pending,
                Waits::Refused(error) => {
                    self.stand_in(error, activity);
                    continue;
                }
                Waits::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
            let ended = match self.held.is_empty() {
                true => ready!(self.read_through(transport.as_mut(), activity, cx, buf))?,
                false => ready!(self.read_more(transport.as_mut(), activity, cx))?,
            };
            if ended {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads into `buf` what may go on at once. True: `buf` is what there is to say, be it the end of the stream.
    fn read_through(
        &mut self,
        transport: Pin<&mut (impl AsyncRead + Unpin)>,
        activity: &Activity,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(transport.poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        let passed = self.requests.pass(read);
        let all = passed == read.len();
        if !all {
            self.held.extend_from_slice(&read[passed..]);
            buf.set_filled(before + passed);
        }
        activity.in_head(self.is_in_head());
        Poll::Ready(Ok(all || passed > 0))
    }

    /// Reads more of what is held. True: the stream has ended.
    fn read_more(
        &mut self,
        mut transport: Pin<&mut (impl AsyncRead + Unpin)>,
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        self.make_room();
        let ended = ready!(pin!(transport.read_buf(&mut self.held)).poll(cx))? == 0;
        self.judge(activity);
        Poll::Ready(Ok(ended))
    }

    fn judge(&mut self, activity: &Activity) {
        self.ready = self.requests.pass(&self.held);
        activity.in_head(self.is_in_head());
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let fits = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..fits]);
        self.held.drain(..fits);
        self.ready -= fits;
        if self.held.is_empty() {
            // Most connections never need it again.
            self.held = Vec::new();
        }
    }

    /// What happened since the last read.
    fn learn(&mut self, activity: &Activity) {
        if activity.take_overdue() && self.is_in_head() {
            self.requests.refuse(ProxyError::RequestTimeout);
        }
        if self.requests.waits() == Waits::Answer && activity.answered() == self.requests.heads() {
            self.requests.answered();
            self.judge(activity);
        }
    }

    fn stand_in(&mut self, error: ProxyError, activity: &Activity) {
        self.held = framing::stand_in(&self.held, self.bounds).into_bytes();
        self.ready = self.held.len();
        self.told = true;
        activity.refuse(error, self.requests.heads());
    }

    fn is_in_head(&self) -> bool {
        self.requests.is_in_head() && !self.requests.is_between()
    }

    /// As much again, but not more than a head can have.
    fn make_room(&mut self) {
        if self.held.len() == self.held.capacity() {
            let rest = self.bounds.size.saturating_sub(self.held.len()).max(1);
            self.held.reserve_exact(self.held.len().max(FIRST_READ).min(rest));
        }
    }
}
