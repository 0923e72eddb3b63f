//! One HTTP/1.1 connection to an endpoint. It has no task of its own: who waits for an answer drives it, first `forward`,
//! which sends the request and reads up to the head, then the answer's `body`.
//!
//! Opened by `connect`, kept by `pool`. `wire` is the stream and what was read of it ahead, `sending` the request on its way,
//! `answer` what a backend may write. A request that is given up ends the connection: it is dropped with whoever drives it.
//!
//! Only where a backend answers before all of the request was sent, a task sends the rest: a client may want to send all of
//! it before it takes anything of the answer, and a backend may want all of it.

mod answer;
mod chunks;
mod sending;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

use self::answer::{Answer, Body, Heads};
use self::sending::Sending;
use self::wire::Wire;
use super::backend_sockets::Place;
use super::io::BackendTransport;
use super::request_body::RequestBody;

/// Fields in the head of an answer, and in its trailers.
pub(super) const MAX_FIELDS: usize = 100;

/// A piece of an answer that is not put together with the next.
const LARGE: usize = 4 << 10;

/// The connection. Dropped while a request is on it, it is cut at once, whatever is still to be written.
pub(super) struct Http1 {
    wire: Rc<RefCell<Wire>>,
    /// What is still to come of the answer.
    body: Body,
    /// The endpoint keeps the connection behind its answer.
    keeps: bool,
    /// Where the answer came before all of the request was sent.
    sending_on: Option<SendingOn>,
}

/// The task that sends the rest of a request. Dropping this ends it.
struct SendingOn(JoinHandle<()>);

impl Http1 {
    pub(super) fn new(transport: BackendTransport, place: Place) -> Self {
        let wire = Rc::new(RefCell::new(Wire::new(transport, place)));
        Http1 { wire, body: Body::Length(0), keeps: false, sending_on: None }
    }

    /// Between two requests: the endpoint has neither closed it, as far as is known, nor sent what nobody asked for.
    pub(super) fn is_silent(&self) -> bool {
        self.wire.borrow_mut().is_silent()
    }

    /// Sends a request, up to the head of the answer. The error says why there is none.
    pub(super) async fn send(&mut self, head: &Parts, body: RequestBody) -> io::Result<Response<()>> {
        let mut sending = Sending::new(head, body);
        let mut heads = Heads::new(head.method == Method::HEAD);
        self.wire.borrow_mut().begin();
        let answer = poll_fn(|cx| -> Poll<io::Result<Answer>> {
            let mut wire = self.wire.borrow_mut();
            if !wire.sent {
                // Pending or not: the answer may come before all is sent.
                let _: Poll<()> = sending.poll(cx, &mut wire)?;
            }
            poll_head(cx, &mut wire, &mut heads)
        });
        let Answer { response, body, keeps } = answer.await?;
        if !self.wire.borrow().sent {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(malformed("a change of protocols within a request"));
            }
            self.sending_on = Some(SendingOn::start(self.wire.clone(), sending));
        }
        (self.body, self.keeps) = (body, keeps);
        Ok(response)
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut wire = self.wire.borrow_mut();
        loop {
            if let Some(frame) = self.body.next(&mut wire.ahead)? {
                wire.handed_out = frame.data_ref().is_some_and(|data| data.len() >= LARGE) && !self.body.is_over();
                if wire.handed_out {
                    // Who has no room for all of it takes one more, as far as there is room: then nothing of ours is polled
                    // before the client takes something.
                    cx.waker().wake_by_ref();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.body.is_over() {
                return Poll::Ready(None);
            }
            // It is on its way before more is read: no more goes to a client at once than was read at once.
            if std::mem::take(&mut wire.handed_out) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !ready!(wire.poll_more(cx))? {
                self.body.end()?;
            }
        }
    }

    /// All of the answer was taken.
    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_over()
    }

    /// How much of the answer's body is to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The connection, as far as another request may go out on it. Else it is closed in due form, once all of the request is
    /// written or `patience` is over.
    pub(super) fn reusable(mut self, patience: impl FnOnce() -> Duration) -> Option<Self> {
        let whole = self.keeps && self.body.is_over();
        if whole && self.wire.borrow_mut().rests() {
            self.sending_on = None;
            return Some(self);
        }
        match self.sending_on.take() {
            Some(sending_on) if whole => sending_on.leave(patience()),
            _ => self.close(),
        }
        None
    }

    /// Ends it in due form.
    pub(super) fn close(self) {
        self.wire.borrow_mut().shut();
    }

    /// The stream, and what was read of it ahead, once protocols were switched. `None`: something else uses it.
    pub(super) fn into_tunnel(self) -> Option<(BackendTransport, Bytes, Place)> {
        Some(Rc::into_inner(self.wire)?.into_inner().into_parts())
    }
}

fn poll_head(cx: &mut Context<'_>, wire: &mut Wire, heads: &mut Heads) -> Poll<io::Result<Answer>> {
    loop {
        if let Some(answer) = heads.next(&mut wire.ahead)? {
            return Poll::Ready(Ok(answer));
        }
        if wire.is_full() {
            return Poll::Ready(Err(malformed("a head that is too large")));
        }
        if !ready!(wire.poll_more(cx))? {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

impl SendingOn {
    fn start(wire: Rc<RefCell<Wire>>, mut sending: Sending) -> Self {
        let task = async move {
            // What breaks the request off, its exchange knows.
            let _: io::Result<()> = poll_fn(|cx| sending.poll(cx, &mut wire.borrow_mut())).await;
            // Nobody waits for the rest of the answer any more.
            if let Some(wire) = Rc::into_inner(wire) {
                wire.into_inner().shut();
            }
        };
        SendingOn(spawn_local(task))
    }

    /// Lets it come to its end by itself, within `patience`.
    fn leave(mut self, patience: Duration) {
        spawn_local(async move { timeout(patience, &mut self.0).await.is_ok() });
    }
}

impl Drop for SendingOn {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The endpoint breaks the rules; `failure` knows it by its kind.
fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
