//! The proxy that is measured, and who stands behind it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::ports::BlackHole;
use crate::support::tls::{Tls, TlsStream};
use crate::support::{Backend, Client, Exchange, Headgate, Then, objects};

/// Longer than any default that is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// `a.example` is answered as its path says, `idle.example` has a backend of its own; nobody answers a connection for
/// `hole.example` (one endpoint) and `holes.example` (four).
pub(crate) struct Site {
    pub(crate) proxy: Headgate,
    pub(crate) backend: Backend,
    /// Serves `idle.example` alone.
    pub(crate) idle: Backend,
    _holes: Vec<BlackHole>,
    /// Dropped, it lets the backend go on that takes nothing.
    _end: Sender<()>,
}

impl Site {
    pub(crate) fn start() -> Self {
        let (end, ended) = channel();
        let ended = Arc::new(Mutex::new(ended));
        let backend = Backend::scripted(move |exchange| answer(exchange, &ended));
        let idle = Backend::scripted(|exchange| {
            exchange.reply("200 OK", "ok")?;
            exchange.until_abandoned()
        });
        let holes: Vec<_> = (0..5).map(|_| BlackHole::new()).collect();
        let addresses: Vec<_> = holes.iter().map(|hole| hole.address).collect();
        let sites = [
            objects::site("a.example", &[backend.address]),
            objects::site("idle.example", &[idle.address]),
            objects::site("hole.example", &addresses[..1]),
            objects::site("holes.example", &addresses[1..]),
        ];
        Site { proxy: Headgate::serve(&sites.concat()), backend, idle, _holes: holes, _end: end }
    }

    /// A client that waits as long as any default takes.
    pub(crate) fn client(&self) -> Client {
        let client = Client::connect(self.proxy.http);
        client.patience(LONG);
        client
    }

    pub(crate) fn tls(&self) -> Client<TlsStream> {
        let client = Tls::to("a.example").connect(self.proxy.https);
        client.stream.sock.set_read_timeout(Some(LONG)).unwrap();
        client
    }

    /// The backend's request for this path has lost its connection.
    pub(crate) fn abandoned(&self, path: &str) -> bool {
        self.backend.seen().iter().any(|seen| seen.target() == path && seen.abandoned)
    }
}

fn answer(exchange: &mut Exchange<'_>, ended: &Mutex<Receiver<()>>) -> std::io::Result<Then> {
    match exchange.seen.target() {
        "/silent" => exchange.until_abandoned(),
        "/half" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")?;
            exchange.until_abandoned()
        }
        "/endless" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")?;
            loop {
                exchange.send([b'x'; 64 << 10])?;
            }
        }
        "/takes-nothing" => {
            // An error: the test is over.
            let _ = ended.lock().unwrap().recv();
            Ok(Then::Close)
        }
        _ => {
            exchange.body()?;
            exchange.reply("200 OK", "ok")
        }
    }
}
