//! The answer on its way to the client: streamed frame by frame, never gathered, counted and watched on the way. The
//! other direction is `request_body`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::error::ProxyError;
use super::exchange::Exchange;
use super::forward::Failure;
use super::headers;
use super::pool::Upstream;

/// Of a larger piece for an HTTP/2 client, the last byte goes by itself. hyper hands a piece on whole as soon as the client
/// has window for its first byte, and the next one when there is window for all before. So that byte keeps the exchange,
/// and its clock, until the client has made room for the answer.
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
    inner: Incoming,
    exchange: Rc<Exchange>,
    upstream: Option<Upstream>,
    trailers: bool,
    /// The last byte of the piece before, if it goes by itself; else empty.
    last: Bytes,
}

impl ResponseBody {
    pub(super) fn own(content: Bytes, exchange: &Rc<Exchange>) -> Self {
        let content = Some(content).filter(|content| !content.is_empty());
        ResponseBody::Own { content, exchange: exchange.clone() }
    }

    /// `trailers`: the client can take them. `bodyless`: none is to come, even if an HTTP/2 backend has not said so yet.
    pub(super) fn backend(
        inner: Incoming,
        exchange: Rc<Exchange>,
        upstream: Upstream,
        trailers: bool,
        bodyless: bool,
    ) -> Self {
        exchange.waits_for_backend();
        let mut body = BackendBody { inner, exchange, upstream: Some(upstream), trailers, last: Bytes::new() };
        if body.inner.is_end_stream() || bodyless {
            body.complete();
        }
        ResponseBody::Backend(body)
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
            ResponseBody::Backend(body) => body.last.is_empty() && body.inner.is_end_stream(),
            ResponseBody::Tunnel => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Own { content, .. } => SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64),
            ResponseBody::Backend(body) => body.inner.size_hint(),
            ResponseBody::Tunnel => SizeHint::with_exact(0),
        }
    }
}

impl BackendBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        #[cfg(test)]
        super::faults::strike(super::faults::Place::ResponseBody);
        if let Some(error) = self.exchange.poll_failure(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        if !self.last.is_empty() {
            self.exchange.backend_sent(self.last.len());
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.last)))));
        }
        loop {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => {
                    self.exchange.waits_for_backend();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(passed) = self.pass(frame) {
                        return Poll::Ready(Some(Ok(passed)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let failure = Failure::of(&error);
                    self.exchange.backend_failed(failure.backend_error());
                    self.exchange.fail(failure.error());
                    return Poll::Ready(Some(Err(failure.error())));
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
            Ok(mut data) => {
                if data.len() > PIECE && self.exchange.head.version == Version::HTTP_2 {
                    self.last = data.split_off(data.len() - 1);
                }
                self.exchange.backend_sent(data.len());
                if self.inner.is_end_stream() {
                    self.complete();
                }
                Some(Frame::data(data))
            }
            Err(other) => passing_trailers(other, self.trailers, headers::response_trailers),
        }
    }

    /// The whole body was read: the upstream connection can serve the next request.
    fn complete(&mut self) {
        if let Some(upstream) = self.upstream.take()
            && self.exchange.body_complete.get()
        {
            upstream.give_back();
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
                if body.inner.is_end_stream() {
                    body.complete();
                }
                body.exchange.finish(body.upstream.is_none() && body.last.is_empty());
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
