use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

const IPV4: u8 = 0x10;
const IPV6: u8 = 0x20;
const UNIX: u8 = 0x30;
const STREAM: u8 = 0x01;
const DATAGRAM: u8 = 0x02;

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A v2 header as a balancer writes it for a TCP client, TLVs behind the addresses.
fn v2_of(source: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let (family, mut payload) = match source.ip() {
        IpAddr::V4(ip) => (IPV4, [ip.octets(), [10, 0, 0, 1]].concat()),
        IpAddr::V6(ip) => (IPV6, [ip.octets(), [0xfd; 16]].concat()),
    };
    payload.extend(source.port().to_be_bytes());
    payload.extend(443u16.to_be_bytes());
    payload.extend(tlvs);
    v2(1, family | STREAM, &payload)
}

fn v1_of(source: SocketAddr) -> Vec<u8> {
    let (family, destination) = if source.is_ipv4() { ("TCP4", "10.0.0.1") } else { ("TCP6", "fd00::1") };
    format!("PROXY {family} {} {destination} {} 443\r\n", source.ip(), source.port()).into_bytes()
}

fn source(text: &str) -> Parsed {
    match parse(text.as_bytes()) {
        Parsed::Complete { consumed, .. } if consumed != text.len() => panic!("{consumed} of {}", text.len()),
        parsed => parsed,
    }
}

fn complete(source: Option<&str>, consumed: usize) -> Parsed {
    Parsed::Complete { source: source.map(|text| text.parse().unwrap()), consumed }
}

#[test]
fn v1_states_the_source() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 5000 443\r\n", Some("192.0.2.1:5000")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
        ("PROXY TCP6 2001:db8::1 fd00::1 5000 443\r\n", Some("[2001:db8::1]:5000")),
        ("PROXY TCP6 ::ffff:192.0.2.1 fd00::1 5000 443\r\n", Some("192.0.2.1:5000")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN 192.0.2.1 10.0.0.1 5000 443\r\n", None),
        ("PROXY UNKNOWN whatever a balancer may want to say here\r\n", None),
    ] {
        assert_eq!(source(line), complete(expected, line.len()), "{line:?}");
    }
}

#[test]
fn v1_that_is_malformed_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1));
    for line in [
        "PROXY TCP4 192.0.2.1 10.0.0.1 5000\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 5000 443\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 5000 443 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 5000 443 \n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 5000 65536\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 05000 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 +5000 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 5000 +443\r\n",
        "PROXY TCP4 192.0.2.256 10.0.0.1 5000 443\r\n",
        "PROXY TCP4 2001:db8::1 fd00::1 5000 443\r\n",
        "PROXY  TCP4 192.0.2.1 10.0.0.1 5000 443\r\n",
        "PROXY TCP5 192.0.2.1 10.0.0.1 5000 443\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 10.0.0.1 5000 443\r\n",
        "GET / HTTP/1.1\r\n",
        "PO",
        &long,
    ] {
        assert_eq!(source(line), Parsed::Invalid, "{line:?}");
    }
}

#[test]
fn a_v1_line_of_the_greatest_length_is_taken_and_one_byte_more_is_not() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(source(&line(MAX_V1)), complete(None, MAX_V1));
    assert_eq!(source(&line(MAX_V1 + 1)), Parsed::Invalid);
}

#[test]
fn v2_states_the_source() {
    for address in ["192.0.2.1:5000", "[2001:db8::1]:65535"] {
        let bytes = v2_of(address.parse().unwrap(), &[]);
        assert_eq!(parse(&bytes), complete(Some(address), bytes.len()));
    }
    let mapped = v2_of("[::ffff:192.0.2.1]:5000".parse().unwrap(), &[]);
    assert_eq!(parse(&mapped), complete(Some("192.0.2.1:5000"), mapped.len()));
}

#[test]
fn v2_without_a_tcp_client_lets_the_peer_speak() {
    let addresses = [0u8; 216];
    for bytes in [
        v2(0, 0, &[]),
        v2(0, IPV4 | STREAM, &[]),
        v2(0, IPV4 | STREAM, &addresses[..12]),
        v2(1, 0, &addresses[..20]),
        v2(1, UNIX | STREAM, &addresses),
        v2(1, IPV4 | DATAGRAM, &addresses[..12]),
    ] {
        assert_eq!(parse(&bytes), complete(None, bytes.len()), "{bytes:?}");
    }
}

#[test]
fn v2_skips_what_follows_the_addresses() {
    let bytes = v2_of("192.0.2.1:5000".parse().unwrap(), &[0xea, 0, 5, 1, b'v', b'p', b'c', b'e']);
    assert_eq!(parse(&bytes), complete(Some("192.0.2.1:5000"), bytes.len()));
}

#[test]
fn v2_of_the_greatest_length_is_taken_and_one_byte_more_is_refused_at_once() {
    let tlvs = |payload: usize| vec![4u8; payload - 12];
    let bytes = v2_of("192.0.2.1:5000".parse().unwrap(), &tlvs(MAX_V2_PAYLOAD));
    assert_eq!(parse(&bytes), complete(Some("192.0.2.1:5000"), V2_HEAD + MAX_V2_PAYLOAD));
    let over = v2_of("192.0.2.1:5000".parse().unwrap(), &tlvs(MAX_V2_PAYLOAD + 1));
    assert_eq!(parse(&over[..V2_HEAD]), Parsed::Invalid);
}

#[test]
fn v2_that_is_malformed_is_refused() {
    let version_one = [v2::PROTOCOL_PREFIX, &[0x11, 0x11, 0, 12], &[0; 12]].concat();
    for bytes in [
        version_one,
        v2(2, IPV4 | STREAM, &[0; 12]),
        v2(1, 0x40 | STREAM, &[0; 12]),
        v2(1, IPV4 | 0x03, &[0; 12]),
        v2(1, IPV4 | STREAM, &[0; 11]),
        v2(1, IPV6 | STREAM, &[0; 35]),
    ] {
        assert_eq!(parse(&bytes), Parsed::Invalid, "{bytes:?}");
    }
}

/// Sends `bytes` in the given parts.
fn received(bytes: Vec<u8>, cuts: Vec<usize>) -> io::Result<(Option<SocketAddr>, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut balancer, mut us) = tokio::io::duplex(7);
        let send = async move {
            let mut rest = &bytes[..];
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                balancer.write_all(part).await?;
                tokio::task::yield_now().await;
                rest = after;
            }
            balancer.write_all(rest).await?;
            drop(balancer);
            io::Result::Ok(())
        };
        let read_all = async {
            let (source, first) = read(&mut us).await?;
            let mut own = first.to_vec();
            us.read_to_end(&mut own).await?;
            Ok((source, Bytes::from(own)))
        };
        tokio::join!(read_all, send).0
    })
}

#[test]
fn a_connection_that_ends_within_the_header_is_an_error() {
    let whole = v2_of("192.0.2.1:5000".parse().unwrap(), &[]);
    for length in 0..whole.len() {
        let error = received(whole[..length].to_vec(), vec![]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
    }
    assert_eq!(received(b"HELO".to_vec(), vec![]).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

fn any_client() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = any::<[u8; 16]>().prop_map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    (prop_oneof![v4, v6], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn any_header() -> impl Strategy<Value = (SocketAddr, Vec<u8>)> {
    (any_client(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..600)))
        .prop_map(|(client, tlvs)| (client, tlvs.map_or_else(|| v1_of(client), |tlvs| v2_of(client, &tlvs))))
}

proptest! {
    #[test]
    fn any_segmenting_gives_source_and_all_that_follows(
        (client, header) in any_header(),
        own in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in proptest::collection::vec(1usize..40, 0..12),
    ) {
        let (source, rest) = received([&header[..], &own].concat(), cuts).unwrap();
        prop_assert_eq!(source, Some(canonical(client)));
        prop_assert_eq!(&rest[..], &own[..]);
    }

    #[test]
    fn a_part_of_a_header_is_incomplete((_, header) in any_header(), at in any::<proptest::sample::Index>()) {
        prop_assert_eq!(parse(&header[..at.index(header.len())]), Parsed::Incomplete);
    }

    #[test]
    fn whatever_is_consumed_was_given_and_within_bounds(
        head in prop_oneof![Just(v2::PROTOCOL_PREFIX.to_vec()), Just(b"PROXY ".to_vec()), Just(Vec::new())],
        tail in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        let bytes = [head, tail].concat();
        match parse(&bytes) {
            Parsed::Complete { consumed, .. } => prop_assert!(consumed <= bytes.len()),
            Parsed::Incomplete => prop_assert!(bytes.len() < V2_HEAD + MAX_V2_PAYLOAD),
            Parsed::Invalid => {}
        }
    }
}
