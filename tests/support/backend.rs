//! A backend that records what reaches it, byte by byte, and answers by script.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};

use rustls::{ServerConnection, StreamOwned};
use socket2::SockRef;

use super::exchange::{Connection, Exchange, Then, serve};
use super::guardian::judge;
use super::{TestCertificate, ports, response, wait};

type Script = dyn Fn(&mut Exchange<'_>) -> io::Result<Then> + Send + Sync;

/// A listener on a port of its own. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Backend {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    /// What it gets comes from the proxy under test.
    judges: bool,
}

/// One request as it reached the backend.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Request line and fields with the empty line, exactly.
    pub raw: Vec<u8>,
    /// The same as text.
    pub head: String,
    /// What the script has read of the body, without framing.
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The connection ended after this request, by the other side.
    pub abandoned: bool,
}

pub(super) struct Shared {
    script: Box<Script>,
    pub(super) seen: Mutex<Vec<Seen>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    stopped: AtomicBool,
    streams: Mutex<Vec<Weak<TcpStream>>>,
    certificate: Option<TestCertificate>,
}

/// What a connection is, with or without TLS.
pub(super) trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A TCP stream that the backend may close from another thread.
struct Socket(Arc<TcpStream>);

impl Backend {
    /// Answers every request with 200 and this body.
    pub fn answering(body: &str) -> Self {
        Self::listening(ports::listener(), body)
    }

    /// The same at this address.
    pub fn answering_at(address: SocketAddr, body: &str) -> Self {
        Self::listening(ports::listener_at(address), body)
    }

    fn listening(listener: TcpListener, body: &str) -> Self {
        let body = body.to_owned();
        let answer = move |exchange: &mut Exchange<'_>| {
            exchange.body()?;
            exchange.reply("200 OK", &body)
        };
        Self::start(listener, Box::new(answer), None)
    }

    /// Answers every request with these bytes after its body was read, and keeps the connection.
    pub fn sending(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::scripted(move |exchange| {
            exchange.body()?;
            exchange.send(&response)?;
            Ok(Then::KeepAlive)
        })
    }

    /// Answers as the script says.
    pub fn scripted(script: impl Fn(&mut Exchange<'_>) -> io::Result<Then> + Send + Sync + 'static) -> Self {
        Self::start(ports::listener(), Box::new(script), None)
    }

    /// Behind another proxy, whose requests are not judged.
    pub fn behind_another(mut self) -> Self {
        self.judges = false;
        self
    }

    /// As [`Backend::scripted`], behind TLS with this certificate.
    pub fn tls(
        certificate: TestCertificate,
        script: impl Fn(&mut Exchange<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        Self::start(ports::listener(), Box::new(script), Some(certificate))
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The only request so far; waits for it.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let mut seen = self.wait_for(1);
        assert_eq!(seen.len(), 1, "requests: {seen:#?}");
        seen.remove(0)
    }

    /// The last request so far.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.wait_for(1).pop().unwrap()
    }

    /// The last request with this path and query.
    #[track_caller]
    pub fn request_to(&self, target: &str) -> Seen {
        wait::until(&format!("a request to {target}"), || self.seen().into_iter().rfind(|seen| seen.target() == target))
    }

    /// Waits until this many requests have come.
    #[track_caller]
    pub fn wait_for(&self, requests: usize) -> Vec<Seen> {
        wait::until(&format!("{requests} requests"), || Some(self.seen()).filter(|seen| seen.len() >= requests))
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// Closes the listener and every connection.
    pub fn stop(&self) {
        if !self.shared.stopped.swap(true, SeqCst) {
            // Wakes the thread that accepts, which then drops the listener.
            let _ = TcpStream::connect(self.address);
            self.close_connections();
        }
    }

    /// Closes every connection by FIN, whatever goes on there.
    pub fn close_connections(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn start(listener: TcpListener, script: Box<Script>, certificate: Option<TestCertificate>) -> Self {
        let address = listener.local_addr().unwrap();
        // Else each may leave 4 MiB to the kernel, and a thousand all that it has for sockets of the whole machine.
        SockRef::from(&listener).set_tcp_notsent_lowat(128 << 10).unwrap();
        let shared = Arc::new(Shared {
            script,
            seen: Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            streams: Mutex::default(),
            certificate,
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Backend { address, shared, judges: true }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
        if self.judges && !std::thread::panicking() {
            // Whatever a test is about: nothing is forwarded that another server may read in another way.
            let seen = self.seen();
            let wrong: Vec<_> = seen.iter().filter_map(|seen| Some((judge(seen)?, &seen.head))).collect();
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.stopped.load(SeqCst) {
                return;
            }
            stream.set_nodelay(true).unwrap();
            let stream = Arc::new(stream);
            let number = self.accepted.fetch_add(1, SeqCst);
            self.open.fetch_add(1, SeqCst);
            self.streams.lock().unwrap().push(Arc::downgrade(&stream));
            let shared = Arc::clone(&self);
            std::thread::spawn(move || {
                shared.converse(&stream, number);
                drop(stream);
                shared.open.fetch_sub(1, SeqCst);
            });
        }
    }

    fn converse(&self, tcp: &Arc<TcpStream>, number: usize) {
        let mut plain = Socket(Arc::clone(tcp));
        let stream: Box<dyn Duplex> = match &self.certificate {
            None => Box::new(plain),
            Some(certificate) => {
                let mut tls = ServerConnection::new(certificate.server_config()).unwrap();
                while tls.is_handshaking() {
                    if tls.complete_io(&mut plain).is_err() {
                        return;
                    }
                }
                Box::new(StreamOwned::new(tls, plain))
            }
        };
        let mut connection = Connection { stream, number, incoming: response::Incoming::default(), requests: 0 };
        if let Then::Reset = serve(self, &mut connection, &*self.script) {
            let _ = SockRef::from(&**tcp).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Seen {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn method(&self) -> &str {
        self.line().split(' ').next().unwrap_or_default()
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    /// The value of a field that may stand there once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.all(name).into_iter();
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands there twice:\n{}", self.head);
        value
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        let fields = self.fields().into_iter();
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub fn fields(&self) -> Vec<(String, String)> {
        response::fields(self.head.split("\r\n").skip(1))
    }
}
