//! One request at a recording backend, as its script sees it: what came, and ways to answer well or badly.

use std::io::{self, ErrorKind, Read, Write};

use super::backend::{Duplex, Seen, Shared};
use super::client::closed;
use super::response::Incoming;

/// What happens to the connection after a script has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    KeepAlive,
    /// FIN.
    Close,
    Reset,
}

/// A request whose head has come.
pub struct Exchange<'a> {
    /// Which request of the backend this is, from 0.
    pub number: usize,
    /// Which connection of the backend, from 0.
    pub connection: usize,
    /// Which request of the connection, from 0.
    pub on_connection: usize,
    pub seen: Seen,
    stream: &'a mut Box<dyn Duplex>,
    incoming: &'a mut Incoming,
    shared: &'a Shared,
    body_read: bool,
}

pub(super) struct Connection {
    pub(super) stream: Box<dyn Duplex>,
    pub(super) number: usize,
    pub(super) incoming: Incoming,
    pub(super) requests: usize,
}

impl Exchange<'_> {
    /// Reads the whole body by its framing and records it. Called again, it gives the same.
    pub fn body(&mut self) -> io::Result<Vec<u8>> {
        if !self.body_read {
            let body = self.read_body()?;
            self.body_read = true;
            let mut seen = self.shared.seen.lock().unwrap();
            seen[self.number].body.clone_from(&body);
            seen[self.number].trailers.clone_from(&self.seen.trailers);
            self.seen.body = body;
        }
        Ok(self.seen.body.clone())
    }

    /// The connection as it is, for what the other methods cannot do. Bytes read here are not recorded.
    pub fn stream(&mut self) -> &mut dyn ReadWrite {
        self.body_read = true;
        &mut *self.stream
    }

    /// Bytes that came behind the head.
    pub fn read_ahead(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.incoming.bytes)
    }

    /// Exactly these many bytes, from behind the head on.
    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.incoming.exactly(&mut self.stream, length)
    }

    /// One line of what follows the head, with its CRLF.
    pub fn read_line(&mut self) -> io::Result<Vec<u8>> {
        self.incoming.until(&mut self.stream, b"\r\n")
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// A plain answer with a length, after which the connection stays open.
    pub fn reply(&mut self, status: &str, body: &str) -> io::Result<Then> {
        let length = body.len();
        let head = self.seen.method() == "HEAD";
        let shown = if head { "" } else { body };
        self.send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{shown}"))?;
        Ok(Then::KeepAlive)
    }

    /// Blocks until the other side closes; the request is then recorded as abandoned.
    pub fn until_abandoned(&mut self) -> io::Result<Then> {
        match self.incoming.rest(&mut self.stream) {
            Err(error) if !closed(&error) => Err(error),
            _ => {
                self.shared.seen.lock().unwrap()[self.number].abandoned = true;
                Ok(Then::Close)
            }
        }
    }

    fn read_body(&mut self) -> io::Result<Vec<u8>> {
        let coding = self.seen.header("transfer-encoding");
        let length = self.seen.header("content-length");
        assert!(coding.is_none() || length.is_none(), "two framings:\n{}", self.seen.head);
        match (coding.as_deref(), length) {
            (Some("chunked"), _) => self.incoming.chunks(&mut self.stream, &mut self.seen.trailers),
            (Some(other), _) => panic!("transfer-encoding {other}"),
            (None, Some(length)) => self.incoming.exactly(&mut self.stream, length.parse().unwrap()),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// A stream with both directions.
pub trait ReadWrite: Read + Write {}

impl<T: Read + Write + ?Sized> ReadWrite for T {}

/// Runs the script for each request of a connection.
pub(super) fn serve(
    shared: &Shared,
    connection: &mut Connection,
    script: &dyn Fn(&mut Exchange<'_>) -> io::Result<Then>,
) -> Then {
    loop {
        let Ok(raw) = connection.incoming.until(&mut connection.stream, b"\r\n\r\n") else { return Then::Close };
        let head = String::from_utf8_lossy(&raw).into_owned();
        let seen = Seen { connection: connection.number, raw, head, ..Seen::default() };
        let number = {
            let mut all = shared.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let mut exchange = Exchange {
            number,
            connection: connection.number,
            on_connection: connection.requests,
            seen,
            stream: &mut connection.stream,
            incoming: &mut connection.incoming,
            shared,
            body_read: false,
        };
        match script(&mut exchange) {
            Ok(Then::KeepAlive) => {
                if exchange.body().is_err() {
                    return Then::Close;
                }
            }
            Ok(then) => return then,
            Err(error) => {
                shared.seen.lock().unwrap()[number].abandoned =
                    closed(&error) || error.kind() == ErrorKind::UnexpectedEof;
                return Then::Close;
            }
        }
        connection.requests += 1;
    }
}
