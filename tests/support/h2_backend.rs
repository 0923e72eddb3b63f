//! A backend that speaks HTTP/2 with prior knowledge (h2c), records and answers by script.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::h2_client::body;
use super::{ports, wait};

/// A request whose head has come.
pub struct H2Exchange {
    /// Which request of the backend this is, from 0.
    pub number: usize,
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    seen: Arc<Mutex<Vec<H2Seen>>>,
}

/// One request as it reached the backend.
#[derive(Clone, Debug)]
pub struct H2Seen {
    pub connection: usize,
    pub method: String,
    /// `scheme://authority/path?query`.
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

/// A listener with a runtime of its own. Dropping it ends both.
#[derive(Debug)]
pub struct H2Backend {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<H2Seen>>>,
    accepted: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

/// How a request is answered. A failed exchange shows at the client; here it only ends.
pub trait Script: AsyncFn(H2Exchange) -> Result<(), h2::Error> + Clone + 'static {}

impl<T: AsyncFn(H2Exchange) -> Result<(), h2::Error> + Clone + 'static> Script for T {}

impl H2Backend {
    /// Answers every request with 200 and this body.
    pub fn answering(text: &'static str) -> Self {
        Self::scripted(async move |mut exchange| {
            exchange.body().await?;
            exchange.reply(Response::new(()), text)
        })
    }

    pub fn scripted(script: impl Script + Send) -> Self {
        Self::taking(100, script)
    }

    /// Takes so many requests at a time on one connection, and says so.
    pub fn taking(streams: u32, script: impl Script + Send) -> Self {
        Self::on(ports::listener(), streams, script)
    }

    pub fn on(listener: std::net::TcpListener, streams: u32, script: impl Script + Send) -> Self {
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, accepted) = (Arc::default(), Arc::<AtomicUsize>::default());
        let (stop, stopped) = oneshot::channel();
        let (recorded, counted) = (Arc::clone(&seen), Arc::clone(&accepted));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    _ = accept(listener, streams, script, recorded, counted) => {}
                    _ = stopped => {}
                }
            });
        });
        H2Backend { address, seen, accepted, _stop: stop }
    }

    pub fn seen(&self) -> Vec<H2Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far; waits for it.
    #[track_caller]
    pub fn only(&self) -> H2Seen {
        let mut seen = wait::until("a request", || Some(self.seen()).filter(|seen| !seen.is_empty()));
        assert_eq!(seen.len(), 1, "requests: {seen:#?}");
        seen.remove(0)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

impl H2Exchange {
    /// Reads the whole body and the trailers, and records them.
    pub async fn body(&mut self) -> Result<Vec<u8>, h2::Error> {
        let read = body(self.request.body_mut()).await?;
        let trailers = self.request.body_mut().trailers().await?;
        let mut seen = self.seen.lock().unwrap();
        seen[self.number].body.clone_from(&read);
        seen[self.number].trailers = trailers;
        Ok(read)
    }

    /// A whole answer without trailers.
    pub fn reply(&mut self, head: Response<()>, text: &'static str) -> Result<(), h2::Error> {
        let mut send = self.respond.send_response(head, text.is_empty())?;
        if !text.is_empty() {
            send.send_data(Bytes::from_static(text.as_bytes()), true)?;
        }
        Ok(())
    }
}

async fn accept(
    listener: TcpListener,
    streams: u32,
    script: impl Script,
    seen: Arc<Mutex<Vec<H2Seen>>>,
    accepted: Arc<AtomicUsize>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = accepted.fetch_add(1, SeqCst);
        tokio::task::spawn_local(converse(stream, connection, streams, script.clone(), Arc::clone(&seen)));
    }
}

async fn converse(
    stream: TcpStream,
    connection: usize,
    streams: u32,
    script: impl Script,
    seen: Arc<Mutex<Vec<H2Seen>>>,
) {
    stream.set_nodelay(true).unwrap();
    let mut builder = h2::server::Builder::new();
    // Whatever it is sent, the proxy is to blame for a connection that ends.
    builder.max_concurrent_streams(streams).data_frame_budget(1 << 30);
    let Ok(mut server) = builder.handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = server.accept().await {
        let number = record(&seen, connection, &request);
        let exchange = H2Exchange { number, request, respond, seen: Arc::clone(&seen) };
        let script = script.clone();
        tokio::task::spawn_local(async move { drop(script(exchange).await) });
    }
}

fn record(seen: &Mutex<Vec<H2Seen>>, connection: usize, request: &Request<RecvStream>) -> usize {
    let mut seen = seen.lock().unwrap();
    seen.push(H2Seen {
        connection,
        method: request.method().to_string(),
        uri: request.uri().to_string(),
        headers: request.headers().clone(),
        body: Vec::new(),
        trailers: None,
    });
    seen.len() - 1
}
