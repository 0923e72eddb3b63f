//! What of the bytes written to a socket the other side has not acknowledged, as the kernel tells of it (`sock_diag`): the
//! only sign that a slow reader takes something while nothing more fits into the socket. Asked by `activity`, seldom, for
//! each question is four calls.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SOCK_DIAG, recv, send, socket_with,
};

/// Of linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h, as the structures below.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
const TCP: u8 = 6;
const ANY_STATE: u32 = u32::MAX;
/// Whatever the socket's cookie is.
const NO_COOKIE: [u32; 2] = [u32::MAX; 2];

/// `nlmsghdr`, `inet_diag_req_v2`.
const REQUEST_SIZE: usize = 16 + 56;
/// Of `idiag_wqueue` in the answer: behind `nlmsghdr`, four bytes, `inet_diag_sockid`, two numbers.
const UNACKNOWLEDGED: usize = 16 + 4 + 48 + 8;

/// Of the connected socket with these two ends. `None`: the kernel does not say.
pub(super) fn bytes(local: SocketAddr, peer: SocketAddr) -> Option<u32> {
    ask(&question(local, peer)).ok().flatten()
}

fn ask(question: &[u8]) -> io::Result<Option<u32>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))?;
    send(&kernel, question, SendFlags::empty())?;
    // It has answered by now; a refusal is of another type.
    let mut answer = [0; 1 << 10];
    let (read, _) = recv(&kernel, &mut answer, RecvFlags::empty())?;
    let told = answer[4..6] == SOCK_DIAG_BY_FAMILY.to_ne_bytes() && read >= UNACKNOWLEDGED + 4;
    let number = answer[UNACKNOWLEDGED..][..4].try_into().expect("four bytes");
    Ok(told.then(|| u32::from_ne_bytes(number)))
}

fn question(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let (local_ip, peer_ip) = (local.ip().to_canonical(), peer.ip().to_canonical());
    let family = if local_ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut bytes = Vec::with_capacity(REQUEST_SIZE);
    bytes.extend((REQUEST_SIZE as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family.as_raw() as u8, TCP, 0, 0]);
    bytes.extend(ANY_STATE.to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(peer.port().to_be_bytes());
    for address in [local_ip, peer_ip] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets().into_iter().chain([0; 12])),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    let interface = match peer {
        SocketAddr::V6(peer) => peer.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    bytes.extend(interface.to_ne_bytes());
    bytes.extend(NO_COOKIE.into_iter().flat_map(u32::to_ne_bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_is_not_read_is_not_acknowledged() {
        for (address, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let mut reader = TcpStream::connect((host, listener.local_addr().unwrap().port())).unwrap();
            let (mut writer, peer) = listener.accept().unwrap();
            let left = || bytes(writer.local_addr().unwrap(), peer);
            assert_eq!(left(), Some(0));
            writer.set_nonblocking(true).unwrap();
            let mut written = 0;
            while let Ok(more) = (&writer).write(&[0; 64 << 10]) {
                written += more;
            }
            let full = left().unwrap();
            assert!(full > 0 && (full as usize) < written, "{full} of {written}");
            reader.read_exact(&mut vec![0; written]).unwrap();
            let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while left() != Some(0) {
                assert!(std::time::Instant::now() < end, "{:?}", left());
            }
            writer.flush().unwrap();
        }
    }

    #[test]
    fn of_a_socket_that_is_not_there_nothing_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(bytes(address, address), None);
    }
}
