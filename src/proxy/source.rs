//! A body as hyper hands it out, and what of it was taken out of the HTTP/2 library before anybody asked for it.
//!
//! The library keeps each unread piece in the 8 KiB in which it came, so a byte with the data of other streams around it
//! keeps all of them. `metered` counts such pieces, and once there are many, everything unread is taken together here.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::Exchange;
use super::pool::MAX_SHARED;

/// The most that is taken ahead of a reader: taking makes room for more, of which nobody can tell how small it is.
const MOST: usize = 256 << 10;

/// How much of it is handed on at once.
const PIECE: usize = 16 << 10;

pub(super) struct Source {
    /// `None` once it was given up.
    incoming: Option<Incoming>,
    ahead: BytesMut,
    /// What came behind `ahead`, if that was no data.
    then: Option<Option<Result<Frame<Bytes>, Broken>>>,
    /// Who was told last to wait.
    reader: Waker,
}

/// The body of an answer over HTTP/2, which the exchange keeps for who sends it on.
#[derive(Default)]
pub(super) struct Answer(RefCell<Option<Source>>);

/// The requests that have an answer to come on one HTTP/2 connection to a backend.
#[derive(Default)]
pub(super) struct Answers(RefCell<Vec<Weak<Exchange>>>);

/// Why a body breaks off.
#[derive(Debug)]
pub(super) enum Broken {
    Hyper(hyper::Error),
    /// More of it lies unread than can be kept.
    Unread,
}

impl Source {
    pub(super) fn new(incoming: Incoming) -> Self {
        Source { incoming: Some(incoming), ahead: BytesMut::new(), then: None, reader: Waker::noop().clone() }
    }

    /// Takes all that has come, so that the library keeps nothing of it.
    pub(super) fn gather(&mut self) {
        let mut cx = Context::from_waker(&self.reader);
        while self.then.is_none()
            && let Some(incoming) = &mut self.incoming
            && let Poll::Ready(frame) = Pin::new(incoming).poll_frame(&mut cx)
        {
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.ahead.extend_from_slice(&data),
                Some(Ok(Err(trailers))) => self.then = Some(Some(Ok(trailers))),
                Some(Err(error)) => self.then = Some(Some(Err(Broken::Hyper(error)))),
                None => self.then = Some(None),
            }
            if self.ahead.len() > MOST {
                (self.incoming, self.ahead) = (None, BytesMut::new());
            }
        }
        self.reader.wake_by_ref();
    }
}

impl Answer {
    pub(super) fn hold(&self, incoming: Incoming) {
        self.0.replace(Some(Source::new(incoming)));
    }

    pub(super) fn let_go(&self) {
        self.0.take();
    }

    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.borrow_mut().as_mut().map_or(Poll::Ready(None), |source| Pin::new(source).poll_frame(cx))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.0.borrow().as_ref().is_none_or(Source::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.0.borrow().as_ref().map_or(SizeHint::with_exact(0), Source::size_hint)
    }
}

impl Answers {
    pub(super) fn add(&self, exchange: &Rc<Exchange>) {
        let mut exchanges = self.0.borrow_mut();
        // Not each time: most end before there are so many.
        if exchanges.len() >= MAX_SHARED {
            exchanges
                .retain(|exchange| exchange.upgrade().is_some_and(|exchange| exchange.answer.0.borrow().is_some()));
        }
        exchanges.push(Rc::downgrade(exchange));
    }

    /// Takes all that has come of them out of the HTTP/2 library.
    pub(super) fn gather(&self) {
        for exchange in self.0.borrow().iter().filter_map(Weak::upgrade) {
            exchange.answer.0.borrow_mut().iter_mut().for_each(Source::gather);
        }
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(PIECE);
            return Poll::Ready(Some(Ok(Frame::data(self.ahead.split_to(length).freeze()))));
        }
        if let Some(then) = self.then.take() {
            return Poll::Ready(then);
        }
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(Some(Err(Broken::Unread))) };
        let polled = Pin::new(incoming).poll_frame(cx);
        if polled.is_pending() && !self.reader.will_wake(cx.waker()) {
            self.reader.clone_from(cx.waker());
        }
        polled.map_err(Broken::Hyper)
    }

    fn is_end_stream(&self) -> bool {
        let over = || self.incoming.as_ref().is_some_and(Incoming::is_end_stream);
        self.ahead.is_empty() && self.then.as_ref().map_or_else(over, Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint);
        let ahead = self.ahead.len() as u64;
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(rest + ahead),
            None => rest,
        }
    }
}
