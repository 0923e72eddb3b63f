//! Who stays connected: websockets over plain TCP and TLS, and HTTP/2 streams open both ways, to an h2c backend and
//! over TLS to an HTTP/1.1 backend. Each says something every now and then and must hear it back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::Request;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::origin::STREAM;
use super::question::{ONE, SAFE, TWO};
use super::tally::Tally;
use crate::support::h2_client::H2Client;
use crate::support::tls::Tls;

/// Between two words of one of them.
const PAUSE: Duration = Duration::from_secs(2);

/// For an answer to come on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Streams that share a connection.
const STREAMS: usize = 25;

/// How many are being opened at the same time.
const OPENING: usize = 50;

/// All who stay.
#[derive(Debug)]
pub(super) struct LongLived {
    tasks: JoinSet<()>,
}

/// What one of them has hold of.
enum Line {
    WebSocket(Box<dyn Duplex>),
    Stream(SendStream<Bytes>, RecvStream),
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl LongLived {
    /// Opens all of them.
    pub(super) fn open(
        runtime: &Runtime,
        http: SocketAddr,
        https: SocketAddr,
        websockets: usize,
        streams: usize,
        tally: &Arc<Tally>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let lines = runtime.block_on(async {
            let (websockets, streams) =
                tokio::join!(open_websockets(http, https, websockets), open_streams(http, https, streams),);
            websockets.into_iter().chain(streams)
        });
        for (number, line) in lines.enumerate() {
            tasks.spawn_on(stay(line, number, Arc::clone(tally)), runtime.handle());
        }
        LongLived { tasks }
    }

    /// Lets each of them say a last word once the tally stops.
    pub(super) fn end(self, runtime: &Runtime) {
        runtime.block_on(self.tasks.join_all());
    }
}

async fn open_websockets(http: SocketAddr, https: SocketAddr, count: usize) -> Vec<Line> {
    let gate = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for number in 0..count {
        let gate = Arc::clone(&gate);
        opening.spawn(async move {
            let _turn = gate.acquire().await.unwrap();
            // Plain ones are spliced by the kernel, those over TLS are not.
            match number % 4 {
                0 => open_websocket(tls(https).await, SAFE).await,
                _ => open_websocket(tcp(http).await, ONE).await,
            }
        });
    }
    opening.join_all().await
}

async fn open_websocket(mut stream: impl Duplex + 'static, host: &str) -> Line {
    let request = format!(
        "GET /websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    Line::WebSocket(Box::new(stream))
}

async fn open_streams(http: SocketAddr, https: SocketAddr, count: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for connection in 0..count.div_ceil(STREAMS) {
        let (client, url) = match connection % 2 {
            0 => (H2Client::plain(http).await, format!("http://{TWO}{STREAM}")),
            _ => (H2Client::tls(https, SAFE).await, format!("https://{SAFE}{STREAM}")),
        };
        for _ in 0..STREAMS.min(count - lines.len()) {
            let (response, mut send) = client.open(Request::post(&url).body(()).unwrap(), false).await.unwrap();
            // Whatever is between us and the backend may wait for a first byte.
            send.send_data(Bytes::from_static(b"hello"), false).unwrap();
            let response = timeout(PATIENCE, response).await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            let mut line = Line::Stream(send, response.into_body());
            line.hear(b"hello").await.unwrap();
            lines.push(line);
        }
    }
    lines
}

async fn stay(mut line: Line, number: usize, tally: Arc<Tally>) {
    // Not all at the same moment.
    let mut next = Instant::now() + PAUSE.mul_f64((number % 64) as f64 / 64.0);
    for round in 0.. {
        let last = tally.stopping();
        let word = format!("{number} in round {round}");
        if let Err(error) = line.converse(word.as_bytes()).await {
            return tally.closed_by_proxy(format!("{}: {error}", line.name()));
        }
        if last {
            return;
        }
        while Instant::now() < next && !tally.stopping() {
            sleep_until(next.min(Instant::now() + PAUSE / 8)).await;
        }
        next += PAUSE;
    }
}

impl Line {
    fn name(&self) -> &'static str {
        match self {
            Line::WebSocket(_) => "a websocket",
            Line::Stream(..) => "a stream",
        }
    }

    /// Says something and hears it back.
    async fn converse(&mut self, word: &[u8]) -> Outcome<()> {
        match self {
            Line::WebSocket(stream) => stream.write_all(&masked(word)).await?,
            Line::Stream(send, _) => send.send_data(Bytes::copy_from_slice(word), false)?,
        }
        timeout(PATIENCE, self.hear(word)).await?
    }

    async fn hear(&mut self, word: &[u8]) -> Outcome<()> {
        let heard = match self {
            Line::WebSocket(stream) => {
                let mut frame = vec![0; word.len() + 2];
                stream.read_exact(&mut frame).await?;
                frame.split_off(2)
            }
            Line::Stream(_, receive) => {
                let mut heard = BytesMut::new();
                while heard.len() < word.len() {
                    let data = receive.data().await.ok_or("it ended")??;
                    receive.flow_control().release_capacity(data.len())?;
                    heard.extend_from_slice(&data);
                }
                heard.to_vec()
            }
        };
        if heard == word { Ok(()) } else { Err("it said something else".into()) }
    }
}

/// A text frame, with a mask as clients must have one.
fn masked(text: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    let masked = text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [0x81, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
}

async fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn tls(address: SocketAddr) -> impl Duplex {
    let connector = TlsConnector::from(Arc::new(Tls::to(SAFE).config()));
    connector.connect(ServerName::try_from(SAFE).unwrap(), tcp(address).await).await.unwrap()
}
