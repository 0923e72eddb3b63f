//! From an accepted socket to a served connection: caps, PROXY protocol, TLS, and which HTTP the client speaks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::{HandshakeKind, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout, timeout_at};

use super::activity::Activity;
use super::client_address;
use super::connection::{self, Connection, Facts};
use super::framing::Bounds;
use super::io::{ClientIo, ClientTransport};
use super::worker::{Counted, Open, Worker};
use super::{proxy_protocol, tls};
use crate::telemetry::{Refusal, TlsVersion};

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one accepted socket to its end. Who is refused is so at once: a task that has not run yet holds an open file too.
pub(super) fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, tls: bool, counted: Counted) {
    if worker.shared.memory.is_full() {
        return worker.shard().connection_refused(Refusal::Memory);
    }
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let stated = worker.states_its_source(peer.ip());
    // A peer that speaks for others is counted for them, once they are known.
    let admitted = worker.shared.admission.admit(Some(peer.ip()).filter(|_| !stated), || worker.makes_room());
    let Some(admitted) = worker.unless_refused(admitted) else { return };
    let asked = counted.asked.clone();
    let open = worker.open(admitted, tls, counted);
    let task = spawn_local(begin(worker.clone(), stream, peer, stated, tls, open));
    worker.room.came(&asked, task.abort_handle());
}

async fn begin(worker: Rc<Worker>, mut stream: TcpStream, peer: SocketAddr, stated: bool, tls: bool, mut open: Open) {
    // Without it the last piece of a response waits for the client's delayed acknowledgement.
    drop(stream.set_nodelay(true));
    let (mut source, mut prefix) = (peer, Bytes::new());
    if stated {
        let limit = worker.shared.limits.header_timeout;
        let Ok(Ok((named, rest))) = timeout(limit, proxy_protocol::read(&mut stream)).await else {
            return worker.shard().connection_refused(Refusal::ProxyProtocol);
        };
        (source, prefix) = (named.unwrap_or(peer), rest);
        open.unnamed = named.is_none();
        if worker.unless_refused(open.admitted.claim(source.ip())).is_none() {
            return;
        }
    }
    if tls {
        over_tls(worker, stream, prefix, source, open).await;
    } else {
        plain(worker, stream, prefix, source, open).await;
    }
}

async fn over_tls(worker: Rc<Worker>, stream: TcpStream, prefix: Bytes, peer: SocketAddr, open: Open) {
    let limit = worker.shared.limits.tls_handshake_timeout;
    let handshake = worker.shared.client_tls.accept_with(stream, |session| feed(session, &prefix));
    let in_turn = worker.handshakes.take(peer.ip(), handshake, || worker.shard().tls_handshake_waits());
    let Ok(Ok(stream)) = timeout(limit, in_turn).await else {
        return worker.shard().connection_refused(Refusal::TlsHandshake);
    };
    let session = stream.get_ref().1;
    let version = tls::version_label(session);
    let http2 = session.alpn_protocol() == Some(b"h2");
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    worker.shard().tls_handshake(if version == "TLSv1.3" { TlsVersion::V1_3 } else { TlsVersion::V1_2 }, resumed);
    let transport = ClientTransport::Tls(Box::new(stream));
    let (prefix, since) = (Bytes::new(), Instant::now());
    drive(worker, Opened { transport, prefix, since, peer, tls_version: Some(version), http2 }, open).await;
}

/// What came behind the PROXY protocol header belongs to the handshake. An error shows up again in the handshake itself.
fn feed(session: &mut ServerConnection, mut prefix: &[u8]) {
    while !prefix.is_empty() && session.read_tls(&mut prefix).is_ok() && session.process_new_packets().is_ok() {}
}

async fn plain(worker: Rc<Worker>, mut stream: TcpStream, prefix: Bytes, peer: SocketAddr, open: Open) {
    let limits = &worker.shared.limits;
    let chosen = tokio::select! {
        biased;
        chosen = first_bytes(&mut stream, prefix, limits.keep_alive_timeout, limits.header_timeout) => chosen,
        // A client that connected ahead of its requests does not hold a drain.
        () = worker.drained_for(connection::FINISH_AFTER) => return,
    };
    let Ok((prefix, since)) = chosen else { return };
    let http2 = prefix.starts_with(PREFACE);
    let opened = Opened { transport: ClientTransport::Plain(stream), prefix, since, peer, tls_version: None, http2 };
    drive(worker, opened, open).await;
}

/// A connection on which HTTP begins.
struct Opened {
    transport: ClientTransport,
    /// Read before hyper.
    prefix: Bytes,
    /// When its first byte came.
    since: Instant,
    peer: SocketAddr,
    tls_version: Option<&'static str>,
    http2: bool,
}

async fn drive(worker: Rc<Worker>, opened: Opened, open: Open) {
    let Opened { transport, prefix, since, peer, tls_version, http2 } = opened;
    worker.stir();
    let since = since.into_std();
    let activity = Activity::new(worker.clock.clone());
    let facts = Facts {
        peer,
        peer_text: client_address::header_value(peer.ip()),
        tls_version,
        requests: open.admitted.requests(),
        asked: open.counted.asked.clone(),
        unnamed: open.unnamed,
    };
    let connection = Connection::new(worker.clone(), facts, activity.clone(), http2, since);
    worker.watch(&connection);
    let open = Box::new(open);
    if http2 {
        connection::serve_http2(connection, ClientIo::http2(transport, prefix, activity, open)).await;
    } else {
        let limits = &worker.shared.limits;
        let bounds = Bounds { size: limits.max_header_size, fields: limits.max_header_fields };
        let io = ClientIo::http1(transport, prefix, bounds, activity.clone(), open);
        activity.head_began(since);
        connection::serve_http1(connection, io).await;
    }
}

/// Reads until it is clear whether the client speaks HTTP/2. What was read is to be handed on; its first byte came at
/// the time that is told.
async fn first_bytes(
    stream: &mut (impl AsyncRead + Unpin),
    prefix: Bytes,
    first: Duration,
    rest: Duration,
) -> io::Result<(Bytes, Instant)> {
    let mut read = BytesMut::from(prefix);
    let mut since = Instant::now();
    let mut deadline = since + if read.is_empty() { first } else { rest };
    while read.is_empty() || read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
        let begun = !read.is_empty();
        read.reserve(4 << 10);
        match timeout_at(deadline, stream.read_buf(&mut read)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(result) => drop(result?),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        if !begun {
            since = Instant::now();
            deadline = since + rest;
        }
    }
    Ok((read.freeze(), since))
}

impl Worker {
    /// A PROXY protocol header is expected of `peer`, and believed. Of others it is not read: they speak for themselves.
    fn states_its_source(&self, peer: IpAddr) -> bool {
        let tables = self.reader.current();
        let settings = &tables.settings;
        settings.proxy_protocol && settings.trusted_proxies.iter().any(|network| network.contains(&peer))
    }

    fn unless_refused<T>(&self, result: Result<T, Refusal>) -> Option<T> {
        result.map_err(|reason| self.shard().connection_refused(reason)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn chosen(pieces: &[&[u8]]) -> Vec<u8> {
        let mut builder = tokio_test_io(pieces);
        first_bytes(&mut builder, Bytes::new(), Duration::from_secs(5), Duration::from_secs(5))
            .await
            .unwrap()
            .0
            .to_vec()
    }

    fn tokio_test_io(pieces: &[&[u8]]) -> impl AsyncRead + Unpin + use<> {
        let (client, mut server) = tokio::io::duplex(1024);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        tokio::spawn(async move {
            for piece in pieces {
                tokio::io::AsyncWriteExt::write_all(&mut server, &piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        client
    }

    #[tokio::test]
    async fn a_preface_in_pieces_is_read_whole() {
        assert_eq!(chosen(&[b"P", b"RI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n"]).await, PREFACE);
    }

    #[tokio::test]
    async fn the_first_byte_that_differs_ends_the_wait() {
        assert_eq!(chosen(&[b"P", b"O"]).await, b"PO");
        assert_eq!(chosen(&[b"G"]).await, b"G");
    }
}
