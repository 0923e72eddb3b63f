//! Chains of X-Forwarded-For: the client is the rightmost that no trusted hop vouches for, read from the left by recursion.

use std::net::{IpAddr, SocketAddr};

use arbitrary::{Result, Unstructured};
use headgate::proxy::client_address::{header_value, resolve};
use http::HeaderValue;
use ipnet::IpNet;

const NETWORKS: [&str; 4] = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "0.0.0.0/0"];
const PEERS: [&str; 5] = ["10.0.0.1", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8::5", "203.0.113.9"];
const ENTRIES: [&str; 8] =
    ["10.0.0.2", "203.0.113.5", "192.0.2.7:80", "[2001:db8::1]", "[2001:db9::1]:8", "unknown", "", ", "];

pub fn judge(data: &[u8]) {
    // An error is an input that ends too soon.
    _ = judge_chain(&mut Unstructured::new(data));
}

fn judge_chain(input: &mut Unstructured<'_>) -> Result<()> {
    let mask: u8 = input.arbitrary()?;
    let networks = (0..NETWORKS.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| NETWORKS[bit]);
    let trusted: Vec<IpNet> = networks.map(|text| text.parse().expect("a network")).collect();
    let peer: IpAddr = input.choose(&PEERS)?.parse().expect("an address");
    let mut lines = Vec::new();
    while !input.is_empty() {
        let line = match input.ratio(1, 3)? {
            true => input.arbitrary::<&[u8]>()?.to_vec(),
            false => {
                let mut entries = Vec::new();
                while !input.is_empty() && input.ratio(3, 4)? {
                    entries.push(*input.choose(&ENTRIES)?);
                }
                entries.join(",").into_bytes()
            }
        };
        lines.extend(HeaderValue::from_bytes(&line).ok());
    }
    let resolved = resolve(peer, || lines.iter(), &trusted);
    let entries: Vec<Option<IpAddr>> = lines.iter().flat_map(entries).collect();
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    assert_eq!(resolved.client, client(&entries, &trusts, peer.to_canonical()), "{lines:?}");
    assert_eq!(resolved.trusted_peer, trusts(peer.to_canonical()));
    assert_eq!(header_value(resolved.client), resolved.client.to_string());
    Ok(())
}

fn client(entries: &[Option<IpAddr>], trusts: &impl Fn(IpAddr) -> bool, hop: IpAddr) -> IpAddr {
    match entries.split_last() {
        Some((Some(entry), left)) if trusts(hop) => client(left, trusts, *entry),
        _ => hop,
    }
}

/// The entries of one line that are not empty; `None`: no address.
fn entries(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    let entries = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty());
    entries.map(|entry| address(std::str::from_utf8(entry).ok()?)).collect()
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|text| text.contains(':'));
    let address = match text.parse::<SocketAddr>() {
        Ok(with_port) => with_port.ip(),
        Err(_) => bare.unwrap_or(text).parse().ok()?,
    };
    Some(address.to_canonical())
}
