//! The PROXY protocol header: the same client as by a second reading, whatever part of it has come, and no byte too many.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use headgate::proxy::proxy_protocol::{Parsed, parse};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header of version 2 may have behind its 16 bytes.
const MAX_PAYLOAD: usize = 4096;

pub fn judge(data: &[u8]) {
    // Most bytes are no header, which is soon seen: the first says how the others begin.
    let Some((first, rest)) = data.split_first() else { return };
    let start: &[u8] = [&b""[..], SIGNATURE, b"PROXY ", b"PROXY TCP4 "][usize::from(first % 4)];
    let bytes = [start, rest].concat();
    let whole = parse(&bytes);
    match whole {
        Parsed::Complete { source, consumed } => {
            assert!(consumed <= bytes.len());
            assert_eq!(read(&bytes[..consumed]), Some(source));
            assert_eq!(parse(&bytes[..consumed]), whole, "what follows makes no difference");
            for length in 0..consumed {
                assert_eq!(parse(&bytes[..length]), Parsed::Incomplete, "{length} of {consumed}");
            }
            assert!(source.is_none_or(|source| source.ip() == source.ip().to_canonical()));
        }
        Parsed::Incomplete => assert!(bytes.len() < 16 + MAX_PAYLOAD),
        Parsed::Invalid => {
            assert_eq!(parse(&[&bytes[..], b"\r\n"].concat()), Parsed::Invalid, "nothing that follows mends it");
        }
    }
    // A header that a second reading takes whole is not refused.
    if let Some(expected) = read(&bytes) {
        assert_eq!(whole, Parsed::Complete { source: expected, consumed: bytes.len() });
    }
}

/// A header and nothing else: the client that it states.
fn read(header: &[u8]) -> Option<Option<SocketAddr>> {
    match header.strip_prefix(SIGNATURE) {
        Some(rest) => read_binary(rest),
        None => read_line(header),
    }
}

fn read_line(header: &[u8]) -> Option<Option<SocketAddr>> {
    let line = header.strip_prefix(b"PROXY ")?.strip_suffix(b"\r\n").filter(|_| header.len() <= 107)?;
    if line.contains(&b'\n') {
        return None;
    }
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else { return None };
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text);
    port(destination_port)?;
    let address: IpAddr = match family {
        "TCP4" => destination.parse::<Ipv4Addr>().and(source.parse::<Ipv4Addr>()).ok()?.into(),
        "TCP6" => destination.parse::<Ipv6Addr>().and(source.parse::<Ipv6Addr>()).ok()?.into(),
        _ => return None,
    };
    Some(Some(SocketAddr::new(address.to_canonical(), port(source_port)?)))
}

fn read_binary(rest: &[u8]) -> Option<Option<SocketAddr>> {
    let (&[version, family, high, low], payload) = rest.split_first_chunk()?;
    if payload.len() != usize::from(u16::from_be_bytes([high, low])) || payload.len() > MAX_PAYLOAD {
        return None;
    }
    if version == 0x20 {
        return Some(None);
    }
    let needed = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return None,
    };
    if version != 0x21 || family & 0xf > 2 || payload.len() < needed {
        return None;
    }
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    Some(match family {
        0x11 => Some(SocketAddr::new(IpAddr::from(*payload.first_chunk::<4>()?), port(8))),
        0x21 => Some(SocketAddr::new(IpAddr::from(*payload.first_chunk::<16>()?).to_canonical(), port(32))),
        _ => None,
    })
}
