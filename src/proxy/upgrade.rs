//! From the head of an answer to a tunnel: takes the streams, the client's out of hyper, and lets bytes pass.

mod http2_stream;

use std::rc::Rc;

use bytes::Bytes;
use http::{Response, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use self::http2_stream::Http2Stream;
use super::body::ResponseBody;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::forward::Received;
use super::headers::{self, Framing};
use super::io::{BackendTransport, ClientIo, ClientTransport, Transport};
use super::message::{self, Asked, Upgrade};
use super::pool::{Connected, Sender};
use super::tunnel::{self, Duplex, End, Side};

/// Answers the client and starts the tunnel; the exchange ends with it. `response` is the backend's 101.
pub(super) fn start(
    exchange: &Rc<Exchange>,
    upgrade: Upgrade,
    response: Received,
    connected: Connected,
) -> Result<Response<ResponseBody>, ProxyError> {
    let (mut head, _) = response.into_parts();
    let agreed = match upgrade.asked {
        Asked::Websocket(handshake) => handshake.is_accepted(&head.headers),
        Asked::Other(protocol) => {
            let agreed = head.headers.get(header::UPGRADE);
            agreed.is_some_and(|agreed| agreed.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()))
        }
    };
    let Connected { sender: Sender::Http1(connection), lease, .. } = connected else {
        return Err(ProxyError::Protocol);
    };
    let (transport, read, place) = connection.into_tunnel().filter(|_| agreed).ok_or(ProxyError::Protocol)?;
    let framing = if exchange.head.version == Version::HTTP_2 {
        // RFC 8441 §5: where HTTP/1.1 says 101, HTTP/2 says 200, and nothing of a key.
        head.status = StatusCode::OK;
        head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        Framing::Body
    } else {
        Framing::Upgrade
    };
    headers::to_client(&mut head.headers, framing, exchange.marks());
    head.extensions.clear();
    head.version = message::response_version(exchange);
    exchange.responds(head.status);
    exchange.becomes_tunnel();
    spawn_local(tunnel(exchange.clone(), upgrade.client, backend_side(transport, read), (lease, place)));
    Ok(Response::from_parts(head, ResponseBody::Tunnel))
}

/// Answers a CONNECT and starts the tunnel to `backend`; the exchange ends with it. `held` is dropped then.
pub(super) fn accept(
    exchange: &Rc<Exchange>,
    client: OnUpgrade,
    backend: TcpStream,
    held: impl Sized + 'static,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Tunnel);
    *response.version_mut() = message::response_version(exchange);
    exchange.marks().write(response.headers_mut());
    exchange.responds(StatusCode::OK);
    exchange.becomes_tunnel();
    let backend = Side::Plain { stream: backend, read: Bytes::new() };
    spawn_local(tunnel(exchange.clone(), client, backend, held));
    response
}

/// Ends the exchange of a tunnel, also where its task is dropped in the middle.
struct Ending {
    exchange: Rc<Exchange>,
    complete: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.exchange.finish(self.complete);
    }
}

/// `held`: what counts the tunnel as in flight at its endpoint.
async fn tunnel(exchange: Rc<Exchange>, client: OnUpgrade, backend: Side, held: impl Sized) {
    let mut ending = Ending { exchange: exchange.clone(), complete: false };
    if let Ok(client) = client.await {
        let limit = exchange.connection.worker.shared.limits.tunnel_idle_timeout;
        // Undone when the tunnel ends: what was counted for the client's stream.
        let (client, _open) = client_side(client, &exchange);
        let progress = |sent: u64, received: u64| {
            exchange.sent.set(exchange.sent.get() + sent);
            exchange.received.set(exchange.received.get() + received);
        };
        let end = tunnel::run(client, backend, limit, progress).await;
        if end != End::Closed {
            // Else it would look to a client of HTTP/2 as if the other side had finished.
            exchange.cut();
        }
        match end {
            End::Closed => ending.complete = true,
            End::Idle => exchange.fail(ProxyError::ResponseTimeout),
            End::ClientFailed => exchange.fail(ProxyError::ClientGone),
            End::BackendFailed => {
                exchange.backend_failed(ProxyError::Reset);
                exchange.fail(ProxyError::Reset);
            }
        }
    }
    drop(held);
}

fn client_side(upgraded: Upgraded, exchange: &Rc<Exchange>) -> (Side, Option<Box<dyn Send>>) {
    match upgraded.downcast::<TokioIo<ClientIo>>() {
        Ok(parts) => {
            let (transport, prefix, open) = parts.io.into_inner().into_parts();
            let read = if prefix.is_empty() { parts.read_buf } else { [parts.read_buf, prefix].concat().into() };
            let side = match transport {
                ClientTransport::Plain(stream) => Side::Plain { stream, read },
                Transport::Tls(stream) => other(*stream, read),
            };
            (side, Some(open))
        }
        Err(upgraded) => (other(Http2Stream::new(upgraded, exchange.clone()), Bytes::new()), None),
    }
}

fn backend_side(transport: BackendTransport, read: Bytes) -> Side {
    match transport {
        BackendTransport::Plain(stream) => Side::Plain { stream, read },
        Transport::Tls(stream) => other(*stream, read),
    }
}

fn other(io: impl Duplex + 'static, read: Bytes) -> Side {
    Side::Other { io: Box::new(io), read }
}
