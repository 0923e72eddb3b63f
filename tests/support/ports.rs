//! Addresses to listen on, and addresses at which nobody answers, held so that no other test gets them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A port that is bound and not listened on: connecting is refused at once.
#[derive(Debug)]
pub struct ClosedPort {
    pub address: SocketAddr,
    _socket: Socket,
}

/// A port whose accept queue is full: a connection attempt is never answered.
#[derive(Debug)]
pub struct BlackHole {
    pub address: SocketAddr,
    socket: Socket,
    _fill: Vec<Socket>,
}

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listener on any loopback port.
pub fn listener() -> TcpListener {
    listener_at(ANY)
}

/// A listener with room for a burst of connections: in a full queue an attempt costs a second.
pub fn listener_at(address: SocketAddr) -> TcpListener {
    let socket = bound(address);
    socket.listen(4096).unwrap();
    socket.into()
}

impl ClosedPort {
    pub fn new() -> Self {
        let socket = bound(ANY);
        ClosedPort { address: address_of(&socket), _socket: socket }
    }
}

impl BlackHole {
    pub fn new() -> Self {
        let socket = bound(ANY);
        socket.listen(0).unwrap();
        let address = address_of(&socket);
        let fill = (0..4).map(|_| start_connecting(address)).collect();
        let hole = BlackHole { address, socket, _fill: fill };
        let answered = TcpStream::connect_timeout(&address, Duration::from_millis(50));
        assert!(answered.is_err(), "the accept queue of a black hole is full");
        hole
    }

    /// From now on it answers. What tried before is heard at its next attempt, after a second or more; first in the queue
    /// are connections that say nothing.
    pub fn open(self) -> TcpListener {
        self.socket.listen(4096).unwrap();
        self.socket.into()
    }
}

fn start_connecting(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    // "In progress" is the expected answer.
    let _ = socket.connect(&address.into());
    socket
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
