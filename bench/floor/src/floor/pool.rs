//! Connections to one backend, kept by one thread: the one used last is used next.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) struct Pool {
    address: SocketAddr,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

impl Pool {
    pub(crate) fn new(address: SocketAddr) -> Rc<Self> {
        Rc::new(Self { address, idle: RefCell::default() })
    }

    pub(crate) async fn send(self: &Rc<Self>, request: Request<Incoming>) -> Result<Response<Answer>> {
        let kept = self.idle.borrow_mut().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.open().await?,
        };
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        let lent = Lent { pool: self.clone(), connection: Some(connection) };
        Ok(answer.map(|body| Answer { body, _lent: lent }))
    }

    async fn open(&self) -> Result<SendRequest<Incoming>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(driver);
        Ok(connection)
    }
}

/// The body of an answer, at whose end its connection is free again.
pub(crate) struct Answer {
    body: Incoming,
    _lent: Lent,
}

struct Lent {
    pool: Rc<Pool>,
    connection: Option<SendRequest<Incoming>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|connection| !connection.is_closed()) {
            self.pool.idle.borrow_mut().push(connection);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
