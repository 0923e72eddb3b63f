//! Who asks: HTTP/1.1 on connections that are kept, HTTP/1.1 and HTTPS on new connections, HTTP/2 with and without TLS.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::question::{Question, SAFE, certificate};
use super::tally::Tally;
use super::timeline::Timeline;
use crate::support::client::tcp;
use crate::support::h2_client::{H2Client, finish};
use crate::support::tls::{self, Tls};
use crate::support::{Client, Response};

/// Threads with a connection that is kept, and threads that open one per request.
const KEEPING: usize = 4;
const CONNECTING: usize = 2;

/// Streams of one HTTP/2 connection that are busy at any time.
const STREAMS: usize = 8;

/// All who ask.
#[derive(Debug)]
pub(super) struct Load {
    asking: Arc<Asking>,
    threads: Vec<JoinHandle<()>>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Asking {
    http: SocketAddr,
    https: SocketAddr,
    timeline: Arc<Timeline>,
    tally: Arc<Tally>,
    /// Number of the next request.
    next: AtomicU64,
}

impl Load {
    pub(super) fn start(
        runtime: &Runtime,
        http: SocketAddr,
        https: SocketAddr,
        timeline: &Arc<Timeline>,
        tally: &Arc<Tally>,
    ) -> Self {
        let (timeline, tally) = (Arc::clone(timeline), Arc::clone(tally));
        let asking = Arc::new(Asking { http, https, timeline, tally, next: AtomicU64::new(0) });
        let mut threads = Vec::new();
        let mut start = |ask: fn(&Asking)| {
            let asking = Arc::clone(&asking);
            threads.push(std::thread::spawn(move || ask(&asking)));
        };
        (0..KEEPING).for_each(|_| start(Asking::on_a_kept_connection));
        (0..CONNECTING).for_each(|_| start(Asking::on_new_connections));
        start(Asking::on_new_tls_connections);
        let mut tasks = JoinSet::new();
        for safe in [false, true] {
            tasks.spawn_on(Arc::clone(&asking).on_http2(safe), runtime.handle());
        }
        Load { asking, threads, tasks }
    }

    /// Lets everybody finish. A panic of theirs is one of the caller.
    pub(super) fn stop(self, runtime: &Runtime) {
        self.asking.tally.stop();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        runtime.block_on(self.tasks.join_all());
    }
}

impl Asking {
    fn on_a_kept_connection(&self) {
        let mut client = Client::connect(self.http);
        while !self.tally.stopping() {
            let question = Question::plain(self.number());
            let start = Instant::now();
            client.send(question.http1(""));
            match client.try_response() {
                Ok(response) => self.answered(&question, &response, start),
                Err(error) => {
                    self.tally.answered(Err(format!("{question:?}: {error}")));
                    self.tally.closed_by_proxy("a kept connection".to_owned());
                    client = Client::connect(self.http);
                }
            }
        }
    }

    fn on_new_connections(&self) {
        while !self.tally.stopping() {
            let question = Question::plain(self.number());
            let mut client = Client::connect(self.http);
            let start = Instant::now();
            client.send(question.http1("Connection: close\r\n"));
            match client.try_response() {
                Ok(response) => self.answered(&question, &response, start),
                Err(error) => self.tally.answered(Err(format!("{question:?}: {error}"))),
            }
        }
    }

    fn on_new_tls_connections(&self) {
        let tls = Tls::to(SAFE);
        while !self.tally.stopping() {
            let question = Question::safe(self.number());
            match self.safely(&tls, tcp(self.https), &question) {
                Ok((response, start)) => self.answered(&question, &response, start),
                Err(error) => self.tally.answered(Err(format!("{question:?}: {error}"))),
            }
        }
    }

    /// One handshake whose certificate must be that of its time, and one request.
    fn safely(&self, tls: &Tls, tcp: TcpStream, question: &Question) -> Result<(Response, Instant), String> {
        let start = Instant::now();
        let mut client = Client::over(tls.handshake(tcp).map_err(|error| error.to_string())?);
        let shown = certificate(&tls::certificate(&client));
        if !self.timeline.held(&shown, start, Instant::now()) {
            return Err(format!("{shown} is not a certificate of this time"));
        }
        let start = Instant::now();
        client.send(question.http1("Connection: close\r\n"));
        client.try_response().map(|response| (response, start)).map_err(|error| error.to_string())
    }

    /// One connection that stays, with several streams at any time.
    async fn on_http2(self: Arc<Self>, safe: bool) {
        let client = match safe {
            true => H2Client::tls(self.https, SAFE).await,
            false => H2Client::plain(self.http).await,
        };
        let client = Arc::new(client);
        let mut streams = JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn(Arc::clone(&self).on_streams(Arc::clone(&client), safe));
        }
        streams.join_all().await;
    }

    async fn on_streams(self: Arc<Self>, client: Arc<H2Client>, safe: bool) {
        while !self.tally.stopping() {
            let question = if safe { Question::safe(self.number()) } else { Question::plain(self.number()) };
            let start = Instant::now();
            match over_http2(&client, &question, safe).await {
                Ok((status, text)) => {
                    self.tally.answered(question.judge(status, &text, start, &self.timeline));
                }
                Err(error) => {
                    self.tally.answered(Err(format!("{question:?}: {error}")));
                    self.tally.closed_by_proxy("a stream of a kept connection".to_owned());
                    return;
                }
            }
        }
    }

    fn answered(&self, question: &Question, response: &Response, start: Instant) {
        self.tally.answered(question.judge(response.status, &response.text(), start, &self.timeline));
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }
}

async fn over_http2(client: &H2Client, question: &Question, safe: bool) -> Result<(u16, String), h2::Error> {
    let Question { host, target, body } = question;
    let scheme = if safe { "https" } else { "http" };
    let request = Request::builder().method(question.method()).uri(format!("{scheme}://{host}{target}"));
    let (response, mut send) = client.open(request.body(()).unwrap(), *body == 0).await?;
    if *body > 0 {
        send.send_data(Bytes::from(vec![b'x'; *body]), true)?;
    }
    let response = finish(response).await?;
    Ok((response.status, response.text()))
}
