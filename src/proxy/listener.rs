//! The listening sockets of one port: one per worker, all on the same port, so that the kernel spreads connections.
//!
//! Binding comes before any worker runs, so that a port that is taken ends the process at once. Workers [`accept`] from
//! theirs and at drain [`close`] them. Other options of accepted sockets are set by the connection.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::telemetry::Seldom;

/// Connections that wait for `accept`; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The most that the kernel takes for a client and cannot send yet: else up to 4 MiB (`net.ipv4.tcp_wmem`). What is on its
/// way is not bounded by it, so that distance costs no speed. Accepted sockets have it from their listener.
const UNSENT: u32 = 128 << 10;

/// How long a closing listener waits for clients in the middle of their handshake: one round trip to the other side of
/// the world.
const HANDSHAKE: Duration = Duration::from_millis(250);

/// How long a worker leaves `accept` alone when the process is out of descriptors or the kernel out of memory.
const STARVED_PAUSE: Duration = Duration::from_millis(50);

/// The port cannot be listened on. Says what to change.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}; {}", advice(cause, by))]
pub struct BindError {
    pub address: SocketAddr,
    by: ChangedBy,
    cause: io::Error,
}

/// What the user changes to get another address or port: a flag or a key of a file.
#[derive(Clone, Copy, Debug)]
pub struct ChangedBy {
    pub address: &'static str,
    pub port: &'static str,
}

/// `workers` listeners on one port, and where they listen (`port` 0: the kernel chooses). `[::]` takes IPv4
/// too, and is `0.0.0.0` where IPv6 is off.
pub fn bind(
    address: IpAddr,
    port: u16,
    workers: usize,
    by: ChangedBy,
) -> Result<(SocketAddr, Vec<StdListener>), BindError> {
    let mut wanted = SocketAddr::new(address, port);
    let mut first = exclusive(wanted);
    if address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && first.as_ref().is_err_and(ipv6_is_off) {
        wanted.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        first = exclusive(wanted);
    }
    let failed = |cause| BindError { address: wanted, by, cause };
    let first: StdListener = first.map_err(failed)?.into();
    let bound = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(shared(bound).map_err(failed)?.into());
    }
    Ok((bound, listeners))
}

/// The next connection. Never fails: errors of one connection are passed over, and while descriptors or memory are
/// missing it waits, calling `starved` at each try.
pub async fn accept(listener: &TcpListener, starved: impl Fn()) -> (TcpStream, SocketAddr) {
    static WARNING: Seldom = Seldom::new();
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                starved();
                if let Some(times) = WARNING.occurred(Instant::now()) {
                    tracing::warn!(%error, times, "connections wait: none can be accepted (see ulimit -n)");
                }
                tokio::time::sleep(STARVED_PAUSE).await;
            }
        }
    }
}

/// Closes the listener so that nobody is lost. Closing resets whoever is in its queue or on the way there, so first new
/// clients are ignored (they try again, and then meet another replica or a closed port) and those who are in the middle
/// of a handshake or waiting are taken.
pub async fn close(listener: TcpListener, starved: impl Fn(), mut accepted: impl FnMut(TcpStream, SocketAddr)) {
    // Where filters are not permitted each worker finds that out for each port.
    static WARNING: Seldom = Seldom::new();
    if let Err(error) = ignore_new_clients(&listener)
        && WARNING.occurred(Instant::now()).is_some()
    {
        tracing::warn!(%error, "ports are closed without a filter; clients that connect at this moment are reset");
    }
    let arriving = async {
        loop {
            let (stream, peer) = accept(&listener, &starved).await;
            accepted(stream, peer);
        }
    };
    // Ends by running out.
    let _: Result<(), _> = tokio::time::timeout(HANDSHAKE, arriving).await;
    let Ok(listener) = listener.into_std() else { return };
    queued(&listener).for_each(|(stream, peer)| accepted(stream, peer));
}

fn ignore_new_clients(listener: &TcpListener) -> io::Result<()> {
    // Classic BPF over the TCP header: SYN and nothing else is dropped. Byte 13 holds the flags.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_ACK_RST: u32 = 0x16;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN_ACK_RST),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// What the queue holds, without waiting.
fn queued(listener: &StdListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(|| {
        loop {
            match listener.accept().and_then(|(stream, peer)| Ok((registered(stream)?, peer))) {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return None,
            }
        }
    })
}

fn registered(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// The first listener: it must get the port without SO_REUSEPORT, else two processes that both set it would share the
/// port and each see half of the connections. Once it has the port it admits the others.
fn exclusive(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address)?;
    start(&socket, address)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn shared(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address)?;
    socket.set_reuse_port(true)?;
    start(&socket, address)?;
    Ok(socket)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    // Connections of a predecessor in TIME_WAIT do not hold the port; a listener does.
    socket.set_reuse_address(true)?;
    // Where the kernel is a sandbox's it may not know that.
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn start(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}

fn ipv6_is_off(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// accept(2) hands out errors of the connection it would have returned; the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    let Some(errno) = Errno::from_io_error(error) else { return false };
    [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::INTR,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NONET,
        Errno::TIMEDOUT,
        Errno::PERM,
    ]
    .contains(&errno)
}

fn advice(cause: &io::Error, by: &ChangedBy) -> String {
    let ChangedBy { address, port } = by;
    match cause.kind() {
        ErrorKind::AddrInUse => format!("another process has the port, choose another with {port}"),
        ErrorKind::PermissionDenied => {
            format!("low ports need CAP_NET_BIND_SERVICE, choose one from 1024 with {port}")
        }
        ErrorKind::AddrNotAvailable => format!("this machine does not have the address, change {address}"),
        _ => format!("see {address} and {port}"),
    }
}

#[cfg(test)]
mod tests;
