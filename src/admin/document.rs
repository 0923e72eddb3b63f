//! The body of an answer. Large ones are sent in pieces, so that a slow reader keeps its permit, not a second copy.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that are known whole.
#[derive(Debug)]
pub(super) struct Document {
    rest: Bytes,
    /// Given back when the last piece was taken, or the connection is gone.
    _permit: Option<OwnedSemaphorePermit>,
}

const PIECE: usize = 64 << 10;

impl Document {
    /// Small enough to need no permit.
    pub(super) fn short(text: String) -> Self {
        Document { rest: text.into(), _permit: None }
    }

    pub(super) fn long(bytes: Vec<u8>, permit: OwnedSemaphorePermit) -> Self {
        Document { rest: bytes.into(), _permit: Some(permit) }
    }
}

impl Body for Document {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
