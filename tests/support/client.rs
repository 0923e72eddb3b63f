//! An HTTP/1 client that sends exactly what it is told and reads exactly one response at a time.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::response::{Incoming, Response};
use super::wait::PATIENCE;

/// One connection.
#[derive(Debug)]
pub struct Client<S = TcpStream> {
    pub stream: S,
    incoming: Incoming,
}

/// One GET on a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, host: &str, path: &str) -> Response {
    request(address, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// One request as written, on a connection of its own.
#[track_caller]
pub fn request(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    let mut client = Client::connect(address);
    client.send(bytes);
    client.response()
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(tcp(address))
    }

    /// From this local address.
    #[track_caller]
    pub fn connect_from(local: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(local, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(prepared(socket.into()))
    }

    /// Ends the connection by RST.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub fn shutdown_write(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// How long a read may wait.
    pub fn patience(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Self {
        Client { stream, incoming: Incoming::default() }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// The final response to a request that was not a HEAD. An interim one is a failure.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Response {
        let mut response = self.head();
        assert!(response.status >= 200 || response.status == 101, "an interim response: {}", response.raw_head);
        self.body(&mut response, method);
        response
    }

    /// The next head, also of an interim response.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        self.incoming.head(&mut self.stream).unwrap_or_else(|e| panic!("no head: {e}; got {:?}", self.text_so_far()))
    }

    #[track_caller]
    pub fn body(&mut self, response: &mut Response, method: &str) {
        let read = self.incoming.body(&mut self.stream, response, method);
        read.unwrap_or_else(|e| panic!("no body: {e}; got {:?}", self.text_so_far()));
    }

    /// As [`Client::body`], for responses that may break off.
    pub fn try_body(&mut self, response: &mut Response) -> io::Result<()> {
        self.incoming.body(&mut self.stream, response, "GET")
    }

    /// A final response or the reason why none came.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let mut response = self.incoming.head(&mut self.stream)?;
        self.incoming.body(&mut self.stream, &mut response, "GET")?;
        Ok(response)
    }

    #[track_caller]
    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        let read = self.incoming.exactly(&mut self.stream, length);
        read.unwrap_or_else(|e| panic!("{e} before {length} bytes; got {:?}", self.text_so_far()))
    }

    /// Sends one request and reads its response, keeping the connection.
    #[track_caller]
    pub fn get(&mut self, host: &str, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response()
    }

    /// Waits for the peer to close; panics if it sends anything before.
    #[track_caller]
    pub fn expect_close(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "before the close came {:?}", String::from_utf8_lossy(&rest));
    }

    /// All bytes until the peer closes, by FIN or RST.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        match self.incoming.rest(&mut self.stream) {
            Ok(rest) => rest,
            Err(error) if closed(&error) => std::mem::take(&mut self.incoming.bytes),
            Err(error) => panic!("not closed: {error}; got {:?}", self.text_so_far()),
        }
    }

    fn text_so_far(&self) -> String {
        String::from_utf8_lossy(&self.incoming.bytes).into_owned()
    }
}

/// The peer ended the connection, however it did that.
pub fn closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[track_caller]
pub fn tcp(address: SocketAddr) -> TcpStream {
    prepared(TcpStream::connect(address).unwrap())
}

fn prepared(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}
