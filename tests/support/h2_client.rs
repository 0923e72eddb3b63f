//! An HTTP/2 client: one connection, any number of streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::tls::Tls;
use super::wait::PATIENCE;

/// One connection.
pub struct H2Client {
    pub send: SendRequest<Bytes>,
    /// Ends when the connection does, with the reason.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// A response read to its end.
#[derive(Debug)]
pub struct H2Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl H2Client {
    /// With prior knowledge, without TLS.
    pub async fn plain(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// Over TLS, agreed on by ALPN.
    pub async fn tls(address: SocketAddr, server_name: &str) -> Self {
        let config = Arc::new(Tls::to(server_name).alpn(&["h2"]).config());
        let name = ServerName::try_from(server_name.to_owned()).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(tls).await
    }

    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::with(
            h2::client::Builder::new().initial_window_size(1 << 20).initial_connection_window_size(64 << 20),
            stream,
        )
        .await
    }

    pub async fn with(
        builder: &h2::client::Builder,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        let (send, connection) = soon(builder.handshake::<_, Bytes>(stream)).await.unwrap();
        H2Client { send, connection: tokio::spawn(connection) }
    }

    /// A GET without a body.
    pub async fn get(&self, url: &str) -> H2Response {
        self.request(Request::get(url).body(()).unwrap(), b"").await
    }

    /// A request with a whole body.
    pub async fn request(&self, request: Request<()>, body: &'static [u8]) -> H2Response {
        let (response, mut send) = self.open(request, body.is_empty()).await.unwrap();
        if !body.is_empty() {
            send.send_data(Bytes::from_static(body), true).unwrap();
        }
        finish(response).await.unwrap()
    }

    /// A stream whose request body is still to be sent, unless `end`.
    pub async fn open(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        soon(self.send.clone().ready()).await?.send_request(request, end)
    }

    /// Waits until the peer ends the connection; gives the reason.
    pub async fn ended(self) -> Result<(), h2::Error> {
        let ended = soon(self.connection).await.unwrap();
        // Until here: without a handle, the client would end the connection by itself.
        drop(self.send);
        ended
    }
}

/// Reads a response to its end.
pub async fn finish(response: ResponseFuture) -> Result<H2Response, h2::Error> {
    let response = soon(response).await?;
    let (head, mut stream) = response.into_parts();
    let body = body(&mut stream).await?;
    let trailers = soon(stream.trailers()).await?;
    Ok(H2Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

/// Reads a body to its end, giving credit as it goes.
pub async fn body(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = soon(stream.data()).await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// Waits for what must come soon.
#[track_caller]
pub fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{caller}: nothing within {PATIENCE:?}"),
        }
    }
}

/// `true` if nothing comes for that long.
pub async fn silent<F: Future>(time: Duration, future: F) -> bool {
    tokio::time::timeout(time, future).await.is_err()
}

impl H2Response {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} stands there twice: {:?}", self.headers);
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}
