//! Opens connections to endpoints: TCP, TLS where the backend wants it, and hyper's handshake for HTTP/2.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, header};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::backend_http1::Http1;
use super::backend_sockets::{self, Place};
use super::executor::LocalExecutor;
use super::io::BackendTransport;
use super::metered::Metered;
use super::opening;
use super::pool::{Allowance, Sender, Shared};
use super::request_body::RequestBody;
use super::source::Answers;
use super::worker::Worker;
use crate::snapshot::Protocol;
use crate::tables::{Lease, LiveEndpoint, LiveTls};

/// The most that waits for an HTTP/2 backend to take it, and the largest head of its answers.
const BUFFER: usize = 64 << 10;
/// What an endpoint may send ahead of a client that reads slowly.
const STREAM_WINDOW: u32 = 64 << 10;
/// The most there is: h2 ends a connection with too many small frames unread for its window, and here one slow client
/// would end the requests of others. The windows of streams bound what is in flight.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A new connection to the endpoint of `lease`, within `timeout` all told; an HTTP/2 one may be opened by another request.
/// `headers` name the host for TLS.
pub(super) async fn connect(
    worker: &Rc<Worker>,
    lease: &Lease,
    headers: &HeaderMap,
    timeout: Duration,
) -> io::Result<Sender> {
    let endpoint = lease.endpoint();
    let tcp = || tcp(worker, endpoint.address);
    let connecting = async {
        match endpoint.protocol {
            Protocol::Http1 => {
                let (stream, place) = tcp().await?;
                Ok(Sender::Http1(Http1::new(BackendTransport::Plain(stream), place)))
            }
            Protocol::Https => {
                let tls = endpoint.tls.as_ref().expect("an https endpoint is made with it");
                let name = server_name(tls, headers.get(header::HOST), endpoint.address);
                let (stream, place) = tcp().await?;
                let connected = TlsConnector::from(tls.config.clone()).connect(name, stream).await;
                let stream = connected.inspect_err(|error| tell(endpoint, error))?;
                Ok(Sender::Http1(Http1::new(BackendTransport::Tls(Box::new(stream)), place)))
            }
            Protocol::H2c => {
                let open = async || {
                    let (stream, place) = tcp().await?;
                    http2(BackendTransport::Plain(stream), place, worker).await
                };
                opening::join(worker, endpoint, open).await
            }
        }
    };
    match tokio::time::timeout(timeout, connecting).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A new TCP connection to an endpoint's address.
pub(super) async fn tcp(worker: &Worker, address: SocketAddr) -> io::Result<(TcpStream, Place)> {
    let place = backend_sockets::place(worker)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn http2(transport: BackendTransport, place: Place, worker: &Worker) -> io::Result<Shared> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(BUFFER as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let answers = Rc::<Answers>::default();
    let io = TokioIo::new(Metered::backend(transport, &worker.clock, answers.clone()));
    let (sender, connection) = builder.handshake::<_, RequestBody>(io).await.map_err(other)?;
    let allowance = Allowance::new();
    let told = allowance.clone();
    let mut connection = Box::pin(connection);
    tokio::task::spawn_local(async move {
        let driven = poll_fn(|cx| {
            let ended = connection.as_mut().poll(cx);
            told.tell(connection.current_max_send_streams(), cx);
            ended.map(drop)
        });
        driven.await;
        drop((connection, place));
        told.end();
    });
    Ok(Shared::new(sender, allowance, answers, worker.clock.now()))
}

fn server_name(tls: &LiveTls, host: Option<&HeaderValue>, address: SocketAddr) -> ServerName<'static> {
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    tls.name(name, address.ip())
}

/// Says why one side does not take the other's certificate, or whatever else keeps TLS from being spoken.
pub(super) fn tell(endpoint: &LiveEndpoint, error: &dyn Error) {
    let Some(tls) = &endpoint.tls else { return };
    if let Some(times) = tls.failures.occurred(Instant::now()) {
        let (backend, endpoint) = (&tls.backend, endpoint.address);
        tracing::warn!(%backend, %endpoint, times, "no TLS with the endpoint: {error}");
    }
}

fn other(error: hyper::Error) -> io::Error {
    io::Error::other(error)
}
