//! The answer on its way to the client: streamed frame by frame, never gathered, counted and watched on the way. The
//! other direction is `request_body`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::backend_http1::Http1;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::failure;
use super::headers;
use super::pool::{Connected, Sender};
use super::source::Broken;

/// Of a larger last piece for an HTTP/2 client, the last byte goes by itself. hyper hands a piece on whole as soon as the
/// client has window for its first byte, and the next one when there is window for all before. So that byte keeps the
/// exchange, and its clock, until the client has made room for the answer.
const PIECE: usize = 2 << 10;

/// The answer on its way to the client.
pub(super) enum ResponseBody {
    /// Our own answer, whole.
    Own {
        content: Option<Bytes>,
        exchange: Rc<Exchange>,
    },
    Backend(BackendBody),
    /// The head of a tunnel; its exchange goes on.
    Tunnel,
}

/// A backend's body. The connection it comes from goes back to the pool when the body is complete.
pub(super) struct BackendBody {
    /// Keeps the body itself, if that is one of HTTP/2.
    exchange: Rc<Exchange>,
    /// Over HTTP/1.1, the body is read of it.
    connected: Option<Connected>,
    trailers: bool,
    /// The answer has none, whatever an HTTP/2 backend sends.
    bodyless: bool,
    /// What of the body came with the head; boxed where it is trailers, which is seldom and large.
    first: Option<Result<Bytes, Box<Frame<Bytes>>>>,
    /// The last byte of the piece before, if it goes by itself; else empty.
    last: Bytes,
    /// hyper may not have written yet what it has, the head or a piece: it would not any more, told that the body breaks off.
    on_its_way: bool,
}

impl ResponseBody {
    pub(super) fn own(content: Bytes, exchange: &Rc<Exchange>) -> Self {
        let content = Some(content).filter(|content| !content.is_empty());
        ResponseBody::Own { content, exchange: exchange.clone() }
    }

    /// `incoming`: the body, where it is not read of the connection itself. `trailers`: the client can take them.
    /// `bodyless`: none is to come, whatever an HTTP/2 backend says.
    /// Fails if what came with the head is broken, for then nothing has been said to the client yet.
    pub(super) fn backend(
        incoming: Option<Incoming>,
        exchange: Rc<Exchange>,
        connected: Connected,
        trailers: bool,
        bodyless: bool,
    ) -> Result<Self, ProxyError> {
        exchange.waits_for_backend();
        if let Some(incoming) = incoming {
            exchange.answer.hold(incoming);
        }
        if let Sender::Http2(shared, _) = &connected.sender {
            shared.answers.add(&exchange);
        }
        let connected = Some(connected);
        let (first, last, on_its_way) = (None, Bytes::new(), true);
        let mut body = BackendBody { exchange, connected, trailers, bodyless, first, last, on_its_way };
        if body.is_over() || bodyless {
            body.complete();
        } else if !body.exchange.connection.worker.shared.memory.is_full() {
            body.begin()?;
        }
        Ok(ResponseBody::Backend(body))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        match self.get_mut() {
            ResponseBody::Own { content, exchange } => {
                let content = content.take();
                if let Some(content) = &content {
                    exchange.backend_sent(content.len());
                }
                Poll::Ready(content.map(|content| Ok(Frame::data(content))))
            }
            ResponseBody::Backend(body) => body.poll_frame(cx),
            ResponseBody::Tunnel => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Own { content, .. } => content.is_none(),
            ResponseBody::Backend(body) => body.is_end_stream(),
            ResponseBody::Tunnel => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Own { content, .. } => SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64),
            ResponseBody::Backend(body) => body.size_hint(),
            ResponseBody::Tunnel => SizeHint::with_exact(0),
        }
    }
}

impl BackendBody {
    /// Takes what has come already. Whoever polls the answer next is woken by what is still to come.
    fn begin(&mut self) -> Result<(), ProxyError> {
        match self.next_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => self.first = Some(frame?.into_data().map_err(Box::new)),
            Poll::Ready(None) | Poll::Pending => {}
        }
        Ok(())
    }

    fn next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first.map_or_else(|trailers| *trailers, Frame::data))));
        }
        if let Some(Connected { sender: Sender::Http1(connection), .. }) = &mut self.connected {
            return connection.poll_frame(cx).map_err(|error| failure::of_http1(&error));
        }
        Poll::Ready(match ready!(self.exchange.answer.poll_frame(cx)) {
            Some(frame) => Some(frame.map_err(|error| match error {
                Broken::Hyper(error) => failure::of(&error),
                Broken::Unread => ProxyError::MemoryScarce,
            })),
            None if self.is_cut() => Some(Err(ProxyError::Reset)),
            None => None,
        })
    }

    /// What hyper gives as the end is none: to it, a stream that is reset with NO_ERROR has ended, also if the endpoint has
    /// not said so.
    fn is_cut(&self) -> bool {
        let http2 = self.connected.as_ref().is_some_and(|connected| matches!(connected.sender, Sender::Http2(..)));
        http2 && !self.exchange.answer.is_end_stream()
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.last.is_empty() && self.is_over()
    }

    /// Asked for before the first frame is taken.
    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()).map_or(0, Bytes::len) as u64;
        self.left().map_or_else(SizeHint::default, |left| SizeHint::with_exact(first + left))
    }

    /// The connection, if the body is read of it and not all was.
    fn http1(&self) -> Option<&Http1> {
        match &self.connected {
            Some(Connected { sender: Sender::Http1(connection), .. }) => Some(connection),
            _ => None,
        }
    }

    /// The backend has no more of the body.
    fn is_over(&self) -> bool {
        self.http1().map_or_else(|| self.exchange.answer.is_end_stream(), Http1::is_end_stream)
    }

    /// How much of the body is still to be read, if that is known.
    fn left(&self) -> Option<u64> {
        self.http1().map_or_else(|| self.exchange.answer.size_hint(), Http1::size_hint).exact()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        #[cfg(test)]
        super::faults::strike(super::faults::Place::ResponseBody);
        if let Some(error) = self.exchange.poll_failure(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        // What has come is let go.
        if self.first.is_none() && self.last.is_empty() && self.exchange.pauses() {
            return Poll::Pending;
        }
        if !self.last.is_empty() {
            self.exchange.backend_sent(self.last.len());
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.last)))));
        }
        loop {
            match self.next_frame(cx) {
                Poll::Pending => {
                    self.exchange.waits_for_backend();
                    self.on_its_way = false;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(passed) = self.pass(frame) {
                        self.on_its_way = true;
                        return Poll::Ready(Some(Ok(passed)));
                    }
                }
                Poll::Ready(Some(Err(failure))) => {
                    self.exchange.backend_failed(failure);
                    // Which wakes whoever polls.
                    self.exchange.fail(failure);
                    return if self.on_its_way { Poll::Pending } else { Poll::Ready(Some(Err(failure))) };
                }
                Poll::Ready(None) => {
                    self.complete();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(_) if self.bodyless => None,
            Ok(mut data) => {
                if data.len() > PIECE && self.exchange.head.version == Version::HTTP_2 && self.may_be_over() {
                    self.last = data.split_off(data.len() - 1);
                }
                self.exchange.backend_sent(data.len());
                if self.is_over() {
                    self.complete();
                }
                Some(Frame::data(data))
            }
            Err(last) => {
                self.complete();
                passing_trailers(last, self.trailers, headers::response_trailers)
            }
        }
    }

    /// The piece just read may be the last.
    fn may_be_over(&self) -> bool {
        self.left().is_none_or(|left| left == 0)
    }

    /// The whole body was read: the connection can serve the next request.
    fn complete(&mut self) {
        if let Some(connected) = self.connected.take()
            && self.exchange.body_complete.get()
        {
            connected.give_back(|| self.exchange.route().map_or(Duration::ZERO, |route| route.policy.send_timeout));
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        match self {
            ResponseBody::Own { exchange, content } => {
                // Nobody took it.
                if content.is_some() && exchange.failure() != Some(ProxyError::ClientGone) {
                    exchange.connection.answer_unwanted();
                }
                exchange.finish(true);
            }
            ResponseBody::Backend(body) => {
                if body.is_over() {
                    body.complete();
                }
                body.exchange.answer.let_go();
                let handed_on = body.first.is_none() && body.last.is_empty();
                body.exchange.finish(body.connected.is_none() && handed_on);
            }
            ResponseBody::Tunnel => {}
        }
    }
}

/// The trailers that pass, if the other side takes any.
pub(super) fn passing_trailers(frame: Frame<Bytes>, wanted: bool, clean: fn(&mut HeaderMap)) -> Option<Frame<Bytes>> {
    let mut trailers = frame.into_trailers().ok().filter(|_| wanted)?;
    clean(&mut trailers);
    Some(Frame::trailers(trailers))
}
