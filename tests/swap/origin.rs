//! A backend that says who it is, and that leaves as a Pod does: it takes no new connection, finishes what it has, and
//! lets those who stay connected stay.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Path at which a request body comes back as it comes in.
pub(super) const STREAM: &str = "/stream";

/// HTTP/1.1 and h2c on a port of its own.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) id: Arc<str>,
    pub(super) address: SocketAddr,
    leave: watch::Sender<bool>,
}

type Body = Either<Full<Bytes>, Incoming>;

impl Origin {
    pub(super) fn start(id: String) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (leave, leaving) = watch::channel(false);
        let id = Arc::<str>::from(id);
        tokio::spawn(accept(TcpListener::from_std(listener).unwrap(), Arc::clone(&id), leaving));
        Origin { id, address, leave }
    }

    /// Stops listening, closes idle connections and tells the others that no request is welcome any more.
    pub(super) fn leave(self) {
        self.leave.send_replace(true);
    }
}

async fn accept(listener: TcpListener, id: Arc<str>, mut leaving: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                tokio::spawn(converse(accepted.unwrap().0, Arc::clone(&id), leaving.clone()));
            }
            _ = leaving.changed() => return,
        }
    }
}

async fn converse(stream: TcpStream, id: Arc<str>, mut leaving: watch::Receiver<bool>) {
    stream.set_nodelay(true).unwrap();
    let builder = auto::Builder::new(TokioExecutor::new());
    let service = service_fn(move |request| answer(request, Arc::clone(&id)));
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = leaving.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(mut request: Request<Incoming>, id: Arc<str>) -> Result<Response<Body>, hyper::Error> {
    if request.headers().contains_key(UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move { echo(upgrade.await.unwrap()).await });
        return Ok(switching(request.headers()));
    }
    if request.uri().path() == STREAM {
        return Ok(Response::new(Either::Right(request.into_body())));
    }
    let (head, body) = request.into_parts();
    let length = body.collect().await?.to_bytes().len();
    let target = head.uri.path_and_query().unwrap();
    Ok(Response::new(Either::Left(Full::from(format!("{id} {target} {length}")))))
}

fn switching(asked: &HeaderMap) -> Response<Body> {
    let digest = Sha1::new()
        .chain_update(&asked[SEC_WEBSOCKET_KEY])
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header(CONNECTION, "upgrade");
    let response = response.header(UPGRADE, "websocket").header(SEC_WEBSOCKET_ACCEPT, accept);
    response.body(Either::Left(Full::default())).unwrap()
}

/// Sends every short masked frame back without its mask.
async fn echo(upgraded: Upgraded) {
    let mut stream = TokioIo::new(upgraded);
    let mut head = [0; 6];
    while stream.read_exact(&mut head).await.is_ok() {
        let [first, length, mask @ ..] = head;
        let mut frame = vec![0; usize::from(length & 0x7f)];
        let _ = stream.read_exact(&mut frame).await;
        frame.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        frame.splice(0..0, [first, length & 0x7f]);
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
}
