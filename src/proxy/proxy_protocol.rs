//! The PROXY protocol header (v1 and v2) with which a load balancer states the client's address.
//!
//! The connection calls [`read`] on peers it trusts, before TLS, under its own time limit; what followed the header in
//! the same segments comes back with the address. [`parse`] is the part without I/O.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line of version 1, with its CR LF.
const MAX_V1: usize = 107;

/// Bytes of version 2 before its payload.
const V2_HEAD: usize = 16;

/// Version and command of a connection that the balancer makes for itself. Whatever addresses follow mean nothing.
const V2_LOCAL: u8 = 0x20;

/// The longest payload of version 2 that is taken. Addresses need 36 bytes (216 with Unix sockets); the rest is room
/// for what load balancers add, client certificates being the largest. Memory for all of it is held while it arrives.
const MAX_V2_PAYLOAD: usize = 4096;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A header so far; more bytes decide.
    Incomplete,
    /// A whole header in the first `consumed` bytes. No `source` (v1 `UNKNOWN`, v2 `LOCAL`, no address, not a TCP
    /// connection): nobody is named.
    Complete { source: Option<SocketAddr>, consumed: usize },
    /// No bytes that follow make a header of this.
    Invalid,
}

/// Reads the header. The bytes are what was read of the connection's own data. A connection that ends within the
/// header is [`io::ErrorKind::UnexpectedEof`], anything else than a header [`io::ErrorKind::InvalidData`].
pub async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<(Option<SocketAddr>, Bytes)> {
    let mut bytes = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match parse(&bytes) {
            Parsed::Incomplete => bytes.reserve(512),
            Parsed::Complete { source, consumed } => {
                let rest = bytes.split_off(consumed).freeze();
                return Ok((source, rest));
            }
            Parsed::Invalid => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a PROXY protocol header")),
        }
    }
}

/// Reads a header from the first bytes of a connection, whatever part of it they are.
pub fn parse(bytes: &[u8]) -> Parsed {
    if begins_like(bytes, v2::PROTOCOL_PREFIX) {
        parse_v2(bytes)
    } else if begins_like(bytes, b"PROXY ") {
        parse_v1(bytes)
    } else {
        Parsed::Invalid
    }
}

/// The one is the beginning of the other.
fn begins_like(bytes: &[u8], prefix: &[u8]) -> bool {
    let common = bytes.len().min(prefix.len());
    bytes[..common] == prefix[..common]
}

/// The line is handed over whole: in parts, a port that has not arrived yet counts as malformed there.
fn parse_v1(bytes: &[u8]) -> Parsed {
    let within = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if bytes.len() < MAX_V1 { Parsed::Incomplete } else { Parsed::Invalid };
    };
    let line = &bytes[..=end];
    // A blank before a bare line feed would pass there as well.
    if !line.ends_with(b"\r\n") {
        return Parsed::Invalid;
    }
    let complete = |source| Parsed::Complete { source, consumed: line.len() };
    if line.starts_with(b"PROXY UNKNOWN ") || line == b"PROXY UNKNOWN\r\n" {
        return complete(None);
    }
    // Taken for a number there.
    if line.contains(&b'+') {
        return Parsed::Invalid;
    }
    match v1::Header::try_from(line).map(|header| header.addresses) {
        Ok(v1::Addresses::Tcp4(ip)) => complete(Some((ip.source_address, ip.source_port).into())),
        Ok(v1::Addresses::Tcp6(ip)) => complete(Some(canonical((ip.source_address, ip.source_port).into()))),
        Ok(v1::Addresses::Unknown) | Err(_) => Parsed::Invalid,
    }
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some(head) = bytes.first_chunk::<V2_HEAD>() else { return Parsed::Incomplete };
    let payload = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if payload > MAX_V2_PAYLOAD {
        return Parsed::Invalid;
    }
    let complete = |source| Parsed::Complete { source, consumed: V2_HEAD + payload };
    if head[12] == V2_LOCAL {
        return if bytes.len() < V2_HEAD + payload { Parsed::Incomplete } else { complete(None) };
    }
    match v2::Header::try_from(bytes) {
        Err(v2::ParseError::Incomplete(_) | v2::ParseError::Partial(..)) => Parsed::Incomplete,
        Err(_) => Parsed::Invalid,
        Ok(header) if header.protocol != v2::Protocol::Stream => complete(None),
        Ok(header) => complete(match header.addresses {
            v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
            v2::Addresses::IPv6(ip) => Some(canonical((ip.source_address, ip.source_port).into())),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        }),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
