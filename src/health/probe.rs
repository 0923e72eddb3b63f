//! One check: a GET over a connection of its own, and whether the answer is one that was expected. When it is asked is
//! `checks`' matter.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connecting::is_ours;
use crate::snapshot::{HealthCheck, Protocol};
use crate::tables::{LiveBackend, LiveEndpoint, LiveTls};

/// The largest head of an answer, and how much of its body is read.
const MOST: usize = 64 << 10;

/// The longest reason that is told, in characters. What an endpoint shows of itself may be in it, as all names of a
/// certificate.
const LONGEST_REASON: usize = 300;

/// What is asked of an endpoint, again and again.
#[derive(Debug)]
pub(super) struct Probe {
    address: SocketAddr,
    protocol: Protocol,
    tls: Option<Arc<LiveTls>>,
    host: String,
    path: String,
    timeout: Duration,
    expected: Vec<(u16, u16)>,
}

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Failure {
    /// The process lacks what a connection needs, which says nothing of the endpoint.
    Ours(io::Error),
    /// For people.
    Theirs(String),
}

type Answer = Result<StatusCode, Box<dyn Error + Send + Sync>>;

impl Probe {
    pub(super) fn new(backend: &LiveBackend, endpoint: &LiveEndpoint, check: &HealthCheck) -> Self {
        let own = backend.terms_at(endpoint.address).map(|terms| terms.authority.clone());
        let host = || own.unwrap_or_else(|| format!("{}.{}", backend.id.service, backend.id.namespace));
        Probe {
            address: SocketAddr::new(endpoint.address.ip(), check.port.unwrap_or(endpoint.address.port())),
            protocol: endpoint.protocol,
            tls: endpoint.tls.clone(),
            host: check.host.clone().unwrap_or_else(host),
            path: check.path.clone(),
            timeout: check.timeout,
            expected: check.expected.clone(),
        }
    }

    /// Asks once. The whole answer has to come within the timeout, or the first 64 KiB of a long one.
    pub(super) async fn ask(&self) -> Result<(), Failure> {
        let answer = tokio::time::timeout(self.timeout, self.answer()).await;
        let why = match answer {
            Ok(Ok(status)) if self.expects(status) => return Ok(()),
            Ok(Ok(status)) => format!("status {}", status.as_u16()),
            Ok(Err(error)) => match error.downcast::<io::Error>() {
                Ok(error) if is_ours(&error, self.address) => return Err(Failure::Ours(*error)),
                Ok(error) => error.to_string(),
                Err(error) => chain(&*error),
            },
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        Err(Failure::Theirs(why.chars().take(LONGEST_REASON).collect()))
    }

    fn expects(&self, status: StatusCode) -> bool {
        self.expected.iter().any(|(from, to)| (*from..=*to).contains(&status.as_u16()))
    }

    async fn answer(&self) -> Answer {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        match self.protocol {
            Protocol::Http1 => over_http1(tcp, self.request()?).await,
            Protocol::Https => over_http1(self.encrypted(tcp).await?, self.request()?).await,
            Protocol::H2c => over_http2(tcp, self.request()?).await,
        }
    }

    fn request<T: Default>(&self) -> http::Result<Request<T>> {
        let request = Request::builder().header(header::USER_AGENT, "headgate-health");
        let request = match self.protocol {
            Protocol::H2c => request.uri(format!("http://{}{}", self.host, self.path)),
            Protocol::Http1 | Protocol::Https => {
                request.uri(&self.path).header(header::HOST, &self.host).header(header::CONNECTION, "close")
            }
        };
        request.body(T::default())
    }

    /// As requests are, but that the check's host stands for theirs.
    async fn encrypted(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let tls = self.tls.as_ref().expect("an https endpoint is made with it");
        let host = self.host.rsplit_once(':').map_or(&*self.host, |(host, _)| host);
        TlsConnector::from(tls.config.clone()).connect(tls.name(host, self.address.ip()), tcp).await
    }
}

async fn over_http1(io: impl AsyncRead + AsyncWrite + Unpin, request: Request<Empty<Bytes>>) -> Answer {
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MOST).handshake(TokioIo::new(io)).await?;
    let asking = async {
        let mut answer = sender.send_request(request).await?;
        let mut read = 0;
        // A backend whose connection is closed before its last byte would call that an error.
        while read < MOST
            && let Some(frame) = answer.frame().await
        {
            read += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(answer.status())
    };
    beside(asking, connection).await
}

async fn over_http2(io: impl AsyncRead + AsyncWrite + Unpin, request: Request<()>) -> Answer {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(MOST as u32);
    let (sender, connection) = builder.handshake::<_, Bytes>(io).await?;
    let asking = async {
        let (answer, _) = sender.ready().await?.send_request(request, true)?;
        let (head, mut body) = answer.await?.into_parts();
        let mut read = 0;
        while read < MOST
            && let Some(data) = body.data().await
        {
            let data = data?;
            read += data.len();
            body.flow_control().release_capacity(data.len())?;
        }
        Ok(head.status)
    };
    beside(asking, connection).await
}

/// What `asking` comes to, while the connection is driven.
async fn beside<T>(asking: impl Future<Output = T>, connection: impl Future) -> T {
    match select(pin!(asking), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, asking)) => asking.await,
    }
}

/// An error and what led to it, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
