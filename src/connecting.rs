//! Whose fault it is that there is no connection to an endpoint: its own, or that of the process, which lacks what every
//! connection needs. Asked by `proxy` for requests and by `health` for checks.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;

/// The process has no descriptor left, no local port or no memory for a socket, which says nothing of the endpoint.
pub fn is_ours(error: &io::Error, endpoint: SocketAddr) -> bool {
    lacks_socket(error)
        // No port is left, or else the machine has no address from which the endpoint's could be reached.
        || Errno::from_io_error(error) == Some(Errno::ADDRNOTAVAIL)
            && source_for(endpoint).map_or_else(|error| lacks_socket(&error), |()| true)
}

fn lacks_socket(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Connecting a UDP socket sends nothing, but chooses the address that would send.
fn source_for(endpoint: SocketAddr) -> io::Result<()> {
    let any = match endpoint {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_descriptor_port_or_memory_is_ours_and_an_address_that_cannot_be_reached_is_not() {
        let loopback: SocketAddr = "127.0.0.1:80".parse().unwrap();
        // No socket may be connected to it that has not asked for broadcasts.
        let broadcast = "255.255.255.255:80".parse().unwrap();
        for (errno, endpoint, ours) in [
            (Errno::MFILE, broadcast, true),
            (Errno::NFILE, broadcast, true),
            (Errno::NOBUFS, broadcast, true),
            (Errno::NOMEM, broadcast, true),
            (Errno::ADDRNOTAVAIL, loopback, true),
            (Errno::ADDRNOTAVAIL, broadcast, false),
            (Errno::CONNREFUSED, loopback, false),
            (Errno::NETUNREACH, loopback, false),
        ] {
            assert_eq!(is_ours(&errno.into(), endpoint), ours, "{errno:?} of {endpoint}");
        }
        assert!(!is_ours(&io::ErrorKind::AddrNotAvailable.into(), loopback), "not of the system");
    }
}
