//! Who the client is: the peer, or behind trusted proxies the one their X-Forwarded-For names.
//!
//! The peer is the address of the TCP connection, or the one a trusted PROXY protocol header stated. Called once per
//! request; allocates nothing.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;
use ipnet::IpNet;

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Never a v4-mapped v6 address.
    pub client: IpAddr,
    /// The peer's forwarding fields are believed.
    pub trusted_peer: bool,
}

/// Walks `forwarded_for` (the values of X-Forwarded-For in the order received) from its right end: each entry was
/// written by the hop right of it, so it is believed as long as that hop is trusted. The first untrusted one is the
/// client; if all are trusted, the leftmost is. An entry that is no address ends the walk at the hop that wrote it:
/// nothing left of it is believed. Of a peer that is not trusted it is not even looked for.
pub fn resolve<'a, I: DoubleEndedIterator<Item = &'a HeaderValue>>(
    peer: IpAddr,
    forwarded_for: impl FnOnce() -> I,
    trusted: &[IpNet],
) -> Resolved {
    let mut client = peer.to_canonical();
    if !covers(trusted, client) {
        return Resolved { client, trusted_peer: false };
    }
    let entries = forwarded_for().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
        let Some(address) = parse(entry) else { break };
        client = address;
        if !covers(trusted, client) {
            break;
        }
    }
    Resolved { client, trusted_peer: true }
}

/// The address as a field value. Made once per connection.
pub fn header_value(address: IpAddr) -> HeaderValue {
    let mut text = Text { bytes: [0; 46], length: 0 };
    write!(text, "{}", address.to_canonical()).expect("no address is longer than 45 bytes");
    HeaderValue::from_bytes(&text.bytes[..text.length]).expect("an address is digits, letters, dots and colons")
}

/// `address` must be canonical (no v4-mapped v6), the networks as well.
fn covers(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// An address with or without a port: `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    let address = address.or_else(bracketed)?;
    Some(address.to_canonical())
}

/// Text on the stack.
struct Text {
    bytes: [u8; 46],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
