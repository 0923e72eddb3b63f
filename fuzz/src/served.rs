//! A proxy in this process, before a backend that records what reaches it, on loopback.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use clap::Parser;
use headgate::config::{Args, Config};
use headgate::proxy::{Proxy, self_made_certificate};
use headgate::snapshot::Reference;
use headgate::tables::Published;
use headgate::telemetry::{AccessLog, Metrics};
use headgate::translate::{Objects, Options, Translator};
use serde_json::{Value, json};

use super::legal;

/// Silence that is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A field of each answer of the backend.
pub const MARK: &str = "x-backend";

pub struct Served {
    pub http: SocketAddr,
    metrics: Arc<Metrics>,
    backend: Arc<Backend>,
    #[expect(dead_code, reason = "its workers are told to drain when it goes")]
    proxy: Proxy,
}

/// A request that reached the backend whole.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Backend {
    seen: Mutex<Vec<Seen>>,
    wrong: Mutex<Vec<String>>,
    answer: Mutex<Option<Answer>>,
}

/// Bytes in place of an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    /// Written in pieces of so many.
    pub pieces: usize,
    /// The connection ends behind them; else it serves on, if the proxy has it so.
    pub ends: bool,
}

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

impl Served {
    /// Every host and path goes to the backend.
    pub fn start() -> Served {
        let backend = Arc::new(Backend::default());
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let answering = backend.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let backend = answering.clone();
                thread::spawn(move || backend.serve(stream));
            }
        });
        let flags =
            ["serve", "--dir=.", "--bind-address=127.0.0.1", "--http-port=0", "--https-port=0", "--access-log=off"];
        let config = Config::resolve(Typed::parse_from(flags).args, None, 1).expect("flags");
        let metrics = Metrics::new(1);
        let published = Published::new(self_made_certificate(), metrics.clone());
        published.publish(Arc::new(Translator::default().translate(&objects(port), &Options::default()).snapshot));
        let log = AccessLog::open(config.access_log.clone(), config.access_log_format).expect("no log");
        let proxy = Proxy::start(&config, published, metrics.clone(), log).expect("ports");
        Served { http: proxy.http_address().expect("a port"), metrics, backend, proxy }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.http).expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    /// What the backend is to say from now on: `None`, `ok`.
    pub fn answer(&self, answer: Option<Answer>) {
        *lock(&self.backend.answer) = answer;
    }

    /// What reached the backend since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.backend.seen))
    }

    /// The answer to a clean request, to which the backend says `ok`.
    pub fn ask(&self, path: &str) -> Vec<u8> {
        self.answer(None);
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: clean.test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("the whole answer");
        text
    }

    /// What holds after anything: nothing that may not be forwarded was, nothing has panicked, and others are served.
    pub fn check(&self) {
        let text = self.ask("/clean");
        assert!(text.starts_with(b"HTTP/1.1 200 ") && text.ends_with(b"\r\n\r\nok"), "{}", text.escape_ascii());
        assert_eq!(*lock(&self.backend.wrong), [""; 0]);
        let metrics = self.metrics.encode();
        assert!(metrics.contains("\nproxy_panics_total 0\n"), "a request panicked");
    }
}

fn objects(port: u16) -> Objects {
    fn put<T: serde::de::DeserializeOwned>(value: Value) -> (Reference, Arc<T>) {
        (Reference::new("default", "shop"), Arc::new(serde_json::from_value(value).expect("an object")))
    }
    let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
    let paths = json!({"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]});
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "shop"}},
        "addressType": "IPv4",
        "ports": [{"port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    });
    let mut objects = Objects::default();
    objects.ingresses.extend([put(json!({"spec": {"rules": [{"http": paths}]}}))]);
    objects.services.extend([put(json!({"spec": {"ports": [{"port": 80}]}}))]);
    objects.endpoint_slices.extend([put(slice)]);
    objects
}

impl Backend {
    fn serve(&self, mut stream: TcpStream) {
        drop(stream.set_nodelay(true));
        let mut read = Vec::new();
        while let Ok(Some(seen)) = self.request(&mut stream, &mut read) {
            let head = seen.head.starts_with(b"HEAD ");
            lock(&self.seen).push(seen);
            let answer = lock(&self.answer).clone();
            let written = match &answer {
                None => stream.write_all(if head { OK_HEAD } else { OK }.as_bytes()),
                Some(answer) => answer.bytes.chunks(answer.pieces.max(1)).try_for_each(|piece| stream.write_all(piece)),
            };
            if written.is_err() || answer.is_some_and(|answer| answer.ends) {
                drop(stream.shutdown(Shutdown::Write));
                return;
            }
        }
    }

    /// The next request, if all of it comes.
    fn request(&self, stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<Seen>> {
        let mut more = |read: &mut Vec<u8>| {
            let mut piece = [0; 16 << 10];
            let length = stream.read(&mut piece)?;
            read.extend(&piece[..length]);
            Ok::<_, io::Error>(length > 0)
        };
        let end = loop {
            match read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if !more(read)? => return Ok(None),
                None => {}
            }
        };
        let head: Vec<u8> = read.drain(..end).collect();
        let framing = match legal::framing(&head) {
            Ok(framing) => framing,
            Err(wrong) => {
                lock(&self.wrong).push(format!("{wrong}: {}", head.escape_ascii()));
                return Ok(None);
            }
        };
        loop {
            if let Some((length, body)) = framing.body(read) {
                read.drain(..length);
                return Ok(Some(Seen { head, body }));
            }
            if !more(read)? {
                return Ok(None);
            }
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nX-Backend: 1\r\nContent-Length: 2\r\n\r\nok";
const OK_HEAD: &str = "HTTP/1.1 200 OK\r\nX-Backend: 1\r\nContent-Length: 2\r\n\r\n";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
