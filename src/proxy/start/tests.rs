use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Parser;
use h2::RecvStream;
use h2::client::SendRequest;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::config::Args;
use crate::proxy::self_made_certificate;
use crate::snapshot::*;

mod deadline;

const PATIENCE: Duration = Duration::from_secs(20);

/// One worker in this process, before a backend of one endpoint.
struct Running {
    proxy: Proxy,
    metrics: Arc<Metrics>,
    /// Lets the backend answer what it holds.
    release: watch::Sender<bool>,
    /// Requests that reached the backend.
    reached: watch::Receiver<usize>,
    folder: tempfile::TempDir,
}

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

impl Running {
    async fn start() -> Self {
        Self::with(RoutePolicy::default(), &[]).await
    }

    /// Requests are under `policy`, the process under `flags`.
    async fn with(policy: RoutePolicy, flags: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let snapshot = Arc::new(snapshot(listener.local_addr().unwrap(), policy));
        let (release, released) = watch::channel(false);
        let (count, reached) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, released.clone(), count.clone()));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let log = format!("--access-log={}", folder.path().join("log").display());
        let always = ["serve", "--dir=.", "--bind-address=127.0.0.1", "--http-port=0", "--https-port=0", &log];
        let flags = [&always[..], flags].concat();
        let config = Config::resolve(Typed::parse_from(flags).args, None, 1).unwrap();
        let metrics = Metrics::new(1);
        let published = Published::new(self_made_certificate(), metrics.clone());
        published.publish(snapshot);
        let access_log = AccessLog::open(config.access_log.clone(), config.access_log_format).unwrap();
        let proxy = Proxy::start(&config, published, metrics.clone(), access_log).unwrap();
        Running { proxy, metrics, release, reached, folder }
    }

    /// Sends one request, or several; what comes is read by [`rest`].
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.proxy.http_address().unwrap()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Waits until the backend has this many requests.
    async fn reached(&self, requests: usize) {
        let mut reached = self.reached.clone();
        timeout(PATIENCE, reached.wait_for(|count| *count >= requests)).await.unwrap().unwrap();
    }

    /// The access log line of the request for this path.
    async fn line(&self, path: &str) -> Value {
        let log: PathBuf = self.folder.path().join("log");
        let find = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["path"] == path)
        };
        let search = async {
            loop {
                if let Some(line) = find() {
                    return line;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, search).await.unwrap()
    }

    #[track_caller]
    fn assert_panics(&self, count: usize) {
        let text = self.metrics.encode();
        let line = text.lines().find(|line| line.starts_with("proxy_panics_total ")).unwrap();
        assert_eq!(line, format!("proxy_panics_total {count}"));
    }
}

/// Everything goes to this address.
fn snapshot(address: SocketAddr, policy: RoutePolicy) -> Snapshot {
    let id = BackendId { namespace: "n".into(), service: "s".into(), port: ServicePort::Number(80) };
    let route = Route {
        path: PathMatch { kind: PathKind::Prefix, path: NormalPath::parse("/").unwrap() },
        owner: Reference::new("n", "i"),
        action: Action::Forward(id.clone()),
        https_redirect: false,
        policy: Arc::new(policy),
    };
    let host = Host { tls: false, routes: vec![route] };
    Snapshot {
        hosts: Arc::new(BTreeMap::from([(HostPattern::Any, Arc::new(host))])),
        backends: BTreeMap::from([(id, Arc::new(Backend { endpoints: vec![address], ..Backend::default() }))]),
        ..Snapshot::default()
    }
}

/// Reads heads and answers each; one for `/held` once it is released, one for `/large` with more than a window holds.
async fn answer(mut stream: TcpStream, mut released: watch::Receiver<bool>, count: watch::Sender<usize>) {
    let mut read = Vec::new();
    loop {
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap();
        count.send_modify(|count| *count += 1);
        if head.contains("/held") {
            released.wait_for(|released| *released).await.unwrap();
        }
        let body = "ok".repeat(if head.contains("/large") { 500_000 } else { 1 });
        // The proxy may be gone, or have had enough.
        drop(
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await,
        );
    }
}

fn get(path: &str, field: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{field}\r\n")
}

fn closing(path: &str) -> String {
    get(path, "Connection: close\r\n")
}

/// All that comes until the end of the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends it as well.
    drop(timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the connection ends"));
    String::from_utf8(text).unwrap()
}

/// One GET over HTTP/2, up to the response head.
async fn ask(
    client: SendRequest<Bytes>,
    path: &str,
    fault: Option<&str>,
) -> Result<http::Response<RecvStream>, h2::Error> {
    let mut request = http::Request::get(format!("http://a.test{path}"));
    if let Some(fault) = fault {
        request = request.header("x-fault", fault);
    }
    let mut ready = client.ready().await?;
    let (response, _) = ready.send_request(request.body(()).unwrap(), true)?;
    timeout(PATIENCE, response).await.unwrap()
}

#[tokio::test]
async fn a_panic_in_a_request_is_500_and_ends_its_connection_alone() {
    let running = Running::start().await;
    let other = running.send(&closing("/held")).await;
    running.reached(1).await;
    let answer = rest(running.send(&(get("/panic", "x-fault: request\r\n") + &get("/behind", ""))).await).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 500 internal server error\r\n"), "{head}");
    for field in ["content-type: text/plain", "content-length: 26", "connection: close", "server: headgate"] {
        assert!(head.contains(&format!("\r\n{field}")), "{field} in {head}");
    }
    assert_eq!(body, "500 Internal Server Error\n");
    running.release.send_replace(true);
    assert!(rest(other).await.ends_with("\r\n\r\nok"), "a request in flight on the same worker");
    assert!(rest(running.send(&closing("/after")).await).await.ends_with("\r\n\r\nok"), "and one after it");
    let line = running.line("/panic").await;
    assert_eq!((&line["status"], &line["flag"]), (&500.into(), &"IE".into()));
    running.assert_panics(1);
    let counted = running.metrics.encode();
    let answered = counted.lines().filter(|line| line.starts_with("proxy_requests_total{") && line.contains("\"500\""));
    assert_eq!(answered.map(|line| line.rsplit(' ').next().unwrap()).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn a_panic_in_a_stream_leaves_the_other_streams_of_its_connection() {
    let running = Running::start().await;
    let stream = TcpStream::connect(running.proxy.http_address().unwrap()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let other = tokio::spawn(ask(client.clone(), "/held", None));
    running.reached(1).await;
    let response = ask(client.clone(), "/panic", Some("request")).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-length"].as_bytes()), (500, &b"26"[..]));
    assert!(!response.headers().contains_key("connection"));
    let body: Bytes = response.into_body().data().await.unwrap().unwrap();
    assert_eq!(body, "500 Internal Server Error\n");
    let broken = ask(client.clone(), "/breaks", Some("response-body")).await;
    let broken = match broken {
        Ok(response) => response.into_body().data().await.unwrap().unwrap_err(),
        Err(error) => error,
    };
    assert!(broken.is_reset(), "{broken:?}");
    running.release.send_replace(true);
    assert_eq!(other.await.unwrap().unwrap().status(), 200);
    let line = running.line("/panic").await;
    assert_eq!((&line["status"], &line["flag"]), (&500.into(), &"IE".into()));
    assert_eq!(running.line("/breaks").await["flag"], "IE");
    running.assert_panics(2);
}

#[tokio::test]
async fn a_panic_in_a_body_is_counted_and_hurts_nobody_else() {
    let running = Running::start().await;
    let other = running.send(&closing("/held")).await;
    running.reached(1).await;
    let post = "POST /up HTTP/1.1\r\nHost: a.test\r\nx-fault: request-body\r\nContent-Length: 2\r\n\r\nhi";
    let answer = rest(running.send(post).await).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let answer = rest(running.send(&get("/down", "x-fault: response-body\r\n")).await).await;
    assert!(!answer.contains("ok"), "{answer}");
    running.release.send_replace(true);
    assert!(rest(other).await.ends_with("\r\n\r\nok"));
    let line = running.line("/up").await;
    assert_eq!((&line["status"], &line["flag"]), (&500.into(), &"IE".into()));
    assert_eq!(running.line("/down").await["flag"], "IE");
    running.assert_panics(2);
}

/// The error with which the data plane ends once a request has armed `fault`, while connections come.
async fn death_by(fault: &str) -> String {
    let mut running = Running::start().await;
    let _armed = running.send(&get("/arms", &format!("x-fault: {fault}\r\n"))).await;
    let address = running.proxy.http_address().unwrap();
    let visitors = tokio::spawn(async move {
        loop {
            drop(TcpStream::connect(address).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let error = timeout(PATIENCE, running.proxy.ended()).await.expect("the worker's end is told").unwrap_err();
    visitors.abort();
    format!("{error:#}")
}

#[tokio::test]
async fn a_worker_that_dies_ends_the_data_plane_with_its_reason() {
    assert_eq!(death_by("accept").await, "worker 0 panicked: a fault in Accept");
    assert_eq!(death_by("tick").await, "worker 0 panicked: a fault in Tick");
}

#[test]
fn a_worker_that_fails_says_why() {
    let failed = std::io::Error::other("no runtime");
    assert_eq!(format!("{:#}", outcome(3, Ok(Err(failed))).unwrap_err()), "worker 3: no runtime");
    let panicked = outcome(3, Err(Box::new("text".to_owned()))).unwrap_err();
    assert_eq!(panicked.to_string(), "worker 3 panicked: text");
    assert!(outcome(3, Ok(Ok(()))).is_ok());
}
