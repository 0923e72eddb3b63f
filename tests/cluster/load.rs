//! Clients outside the node that ask without end and want each answer to be the backend's.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::tls::Tls;
use crate::support::{Client, Response, wait};

/// Between two requests of a client: the cluster runs on the same processors.
const PAUSE: Duration = Duration::from_millis(5);

/// Clients of each kind.
const CLIENTS: usize = 2;

/// Running clients: over HTTP and, if there is a port, HTTPS, on connections that are kept and on new ones.
#[derive(Debug)]
pub(crate) struct Load {
    asking: Arc<Asking>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

#[derive(Debug)]
struct Asking {
    host: String,
    start: Instant,
    answered: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    pub(crate) fn start(host: &str, http: Option<SocketAddr>, https: Option<SocketAddr>) -> Self {
        let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let asking = Arc::new(Asking { host: host.to_owned(), start: Instant::now(), answered, over });
        let mut load = Load { asking, clients: Vec::new() };
        for keep in [true, false] {
            for _ in 0..CLIENTS {
                if let Some(address) = http {
                    load.client(keep, move || connect(address));
                }
                if let Some(address) = https {
                    let tls = Tls::to(host);
                    load.client(keep, move || tls.handshake(connect(address)?));
                }
            }
        }
        load.goes_on();
        load
    }

    fn client<S: Read + Write>(&mut self, keep: bool, connect: impl Fn() -> io::Result<S> + Send + 'static) {
        let asking = Arc::clone(&self.asking);
        self.clients.push(std::thread::spawn(move || asking.ask(keep, connect)));
    }

    /// Waits for some answers more.
    #[track_caller]
    pub(crate) fn goes_on(&self) {
        let wanted = self.asking.answered.load(Relaxed) + 100;
        wait::until("answers under load", || (self.asking.answered.load(Relaxed) >= wanted).then_some(()));
    }

    /// Ends it; each request must have been answered.
    #[track_caller]
    pub(crate) fn end(self) {
        self.asking.over.store(true, Relaxed);
        let failed: Vec<_> = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        let answered = self.asking.answered.load(Relaxed);
        assert!(
            failed.is_empty(),
            "{} failed and {answered} did not: {:#?}",
            failed.len(),
            &failed[..failed.len().min(20)]
        );
    }
}

impl Asking {
    /// Gives what went wrong.
    fn ask<S: Read + Write>(&self, keep: bool, connect: impl Fn() -> io::Result<S>) -> Vec<String> {
        let mut failed = Vec::new();
        let mut kept = None;
        while !self.over.load(Relaxed) {
            match self.one(keep, &mut kept, &connect).map_err(|error| error.to_string()).and_then(good) {
                Ok(()) => _ = self.answered.fetch_add(1, Relaxed),
                Err(why) => failed.push(format!("after {:?}, {}: {why}", self.start.elapsed(), kind(keep))),
            }
            // It leaves the processors to the cluster.
            std::thread::sleep(PAUSE);
        }
        failed
    }

    /// One answer, on the connection that was kept, if there is one.
    fn one<S: Read + Write>(
        &self,
        keep: bool,
        kept: &mut Option<Client<S>>,
        connect: impl Fn() -> io::Result<S>,
    ) -> io::Result<Response> {
        let mut client = kept.take().map_or_else(|| connect().map(Client::over), Ok)?;
        let fields = if keep { "" } else { "Connection: close\r\n" };
        client.stream.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.host).as_bytes())?;
        let response = client.try_response()?;
        *kept = (response.header("connection") != Some("close")).then_some(client);
        Ok(response)
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(wait::PATIENCE))?;
    Ok(stream)
}

fn good(response: Response) -> Result<(), String> {
    if response.status == 200 { Ok(()) } else { Err(format!("{} {}", response.status, response.text())) }
}

fn kind(keep: bool) -> &'static str {
    if keep { "on a kept connection" } else { "on a new connection" }
}
