//! The client's body on its way to the backend: streamed frame by frame, never gathered, counted and watched on the way.
//!
//! The body itself stays with the exchange, and what a connection gets is a handle on it: a request that went out to no
//! effect takes its body with it again, as long as nothing of it was handed out. `forward` decides about that.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::passing_trailers;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::failure::is_malformed;
use super::headers;
use super::source::{Broken, Source};

const BAD_FRAMING: ProxyError = ProxyError::BadRequest("the body's framing is malformed");

/// What the exchange keeps of the client's body.
#[derive(Default)]
pub(super) struct ClientBody(RefCell<State>);

#[derive(Default)]
struct State {
    /// `None` once it is neither read nor needed again; the client's side then learns that nobody reads on.
    incoming: Option<Source>,
    max_size: u64,
    /// Both sides speak HTTP/2, so trailers go through.
    trailers: bool,
    /// The handle that may read; those of earlier tries may still lie in a connection that ends.
    turn: u32,
    /// That handle is alive.
    held: bool,
    /// Something of the body was handed out.
    taken: bool,
    /// The request may have to be sent again.
    pending: bool,
    /// The client sends the body once it is asked to (`Expect: 100-continue`), which reading does.
    unasked: bool,
}

/// A handle on the client's body. Dropping it ends the reading, unless the request may still be sent again.
pub(super) struct RequestBody {
    exchange: Rc<Exchange>,
    turn: u32,
}

impl RequestBody {
    /// The body of the request that `exchange` is about, for the first try.
    pub(super) fn new(exchange: Rc<Exchange>, max_size: Option<u64>, trailers: bool) -> Self {
        let mut state = exchange.body.0.borrow_mut();
        state.max_size = max_size.unwrap_or(u64::MAX);
        state.trailers = trailers;
        state.held = true;
        let turn = state.turn;
        drop(state);
        RequestBody { exchange, turn }
    }

    /// The body for another try; the handle of the try before reads no more.
    pub(super) fn again(exchange: Rc<Exchange>) -> Self {
        let mut state = exchange.body.0.borrow_mut();
        state.turn += 1;
        state.held = true;
        let turn = state.turn;
        drop(state);
        RequestBody { exchange, turn }
    }
}

impl ClientBody {
    /// A try begins: the body outlives its handle.
    pub(super) fn keep(&self) {
        self.0.borrow_mut().pending = true;
    }

    /// No further try will be made.
    pub(super) fn settle(&self) {
        let mut state = self.0.borrow_mut();
        state.pending = false;
        if !state.held {
            state.incoming = None;
        }
    }

    /// How large it is at least.
    pub(super) fn least_size(&self) -> u64 {
        self.0.borrow().incoming.as_ref().map_or(0, |incoming| incoming.size_hint().lower())
    }

    /// It is neither read to its end nor given up.
    pub(super) fn is_open(&self) -> bool {
        self.0.borrow().incoming.as_ref().is_some_and(|incoming| !incoming.is_end_stream())
    }

    /// Takes what has come of it out of the HTTP/2 library.
    pub(super) fn gather(&self) {
        self.0.borrow_mut().incoming.iter_mut().for_each(Source::gather);
    }

    /// Nothing of it was handed out, so that it can be sent from the start.
    pub(super) fn is_whole(&self) -> bool {
        !self.0.borrow().taken
    }
}

impl Exchange {
    /// The request's body is `incoming`; `unasked`: the client waits to be asked for it.
    pub(super) fn hold_body(&self, incoming: Incoming, unasked: bool) {
        self.body_complete.set(incoming.is_end_stream());
        let mut state = self.body.0.borrow_mut();
        (state.incoming, state.unasked) = (Some(Source::new(incoming)), unasked);
    }

    /// Nobody wants the body any more. What has come of it is taken, for that may be all.
    pub(super) fn discard_body(&self) {
        let mut state = self.body.0.borrow_mut();
        state.turn += 1;
        let Some(mut incoming) = state.incoming.take() else { return };
        let mut complete = incoming.is_end_stream();
        let mut cx = Context::from_waker(Waker::noop());
        while !complete && !state.unasked {
            match Pin::new(&mut incoming).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => self.client_sent(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(None) => complete = true,
                Poll::Ready(Some(Err(_))) | Poll::Pending => break,
            }
        }
        self.body_ended(complete);
    }
}

impl State {
    fn pass(&mut self, exchange: &Exchange, frame: Frame<Bytes>) -> Option<Result<Frame<Bytes>, ProxyError>> {
        let passed = match frame.into_data() {
            Ok(data) => {
                exchange.client_sent(data.len());
                match exchange.received.get() > self.max_size {
                    true => Some(Err(ProxyError::BodyTooLarge)),
                    false => Some(Ok(Frame::data(data))),
                }
            }
            Err(other) => passing_trailers(other, self.trailers, headers::request_trailers).map(Ok),
        };
        self.taken |= passed.is_some();
        passed
    }

    fn poll(&mut self, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        loop {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Pending => {
                    exchange.waits_for_client();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(passed) = self.pass(exchange, frame) {
                        return Poll::Ready(Some(passed));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = match error {
                        Broken::Hyper(error) if is_malformed(&error) => BAD_FRAMING,
                        Broken::Hyper(_) => ProxyError::ClientGone,
                        Broken::Unread => ProxyError::MemoryScarce,
                    };
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    exchange.body_ended(true);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Source::is_end_stream)
    }

    /// All of it; HTTP/2 may still say that this was the end.
    fn has_come(&self) -> bool {
        self.incoming.as_ref().is_none_or(|body| body.is_end_stream() || body.size_hint().exact() == Some(0))
    }
}

/// What a backend is told of a body that breaks off, whatever the reason: hyper resets an HTTP/2 stream with the reason
/// that it finds in the body's error.
fn cancelled() -> h2::Error {
    h2::Error::from(h2::Reason::CANCEL)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        #[cfg(test)]
        super::faults::strike(super::faults::Place::RequestBody);
        let mut state = self.exchange.body.0.borrow_mut();
        if state.turn != self.turn {
            return Poll::Ready(Some(Err(cancelled())));
        }
        state.poll(&self.exchange, cx).map_err(|error| {
            self.exchange.fail(error);
            cancelled()
        })
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.body.0.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.exchange.body.0.borrow();
        state.incoming.as_ref().map_or(SizeHint::with_exact(0), Source::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.exchange.fail(ProxyError::Panic);
        }
        let mut state = self.exchange.body.0.borrow_mut();
        if state.turn != self.turn {
            return;
        }
        state.held = false;
        // A body whose size was known ends without a last poll.
        self.exchange.body_ended(state.has_come());
        if !state.pending || state.taken {
            state.incoming = None;
        }
    }
}
