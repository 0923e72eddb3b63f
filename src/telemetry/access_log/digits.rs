//! Numbers and addresses as text, without the formatting machinery where it would show.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `thousandths` of something, as `1.234`.
pub(super) fn thousandths(out: &mut Vec<u8>, thousandths: u64) {
    decimal(out, thousandths / 1000);
    out.push(b'.');
    three(out, thousandths % 1000);
}

/// Exactly three digits.
pub(super) fn three(out: &mut Vec<u8>, value: u64) {
    out.extend([value / 100 % 10, value / 10 % 10, value % 10].map(|digit| b'0' + digit as u8));
}

/// In milliseconds, to the microsecond.
pub(super) fn millis(out: &mut Vec<u8>, duration: Duration) {
    thousandths(out, u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}

/// In seconds, to the millisecond.
pub(super) fn seconds(out: &mut Vec<u8>, duration: Duration) {
    thousandths(out, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

pub(super) fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            decimal(out, first.into());
            for octet in rest {
                out.push(b'.');
                decimal(out, octet.into());
            }
        }
        IpAddr::V6(ip) => infallible(write!(out, "{ip}")),
    }
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
pub(super) fn socket(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            ip(out, (*address.ip()).into());
            out.push(b':');
            decimal(out, address.port().into());
        }
        SocketAddr::V6(address) => infallible(write!(out, "{address}")),
    }
}

fn infallible(result: std::io::Result<()>) {
    result.expect("writing to a Vec cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_are_written_as_display_writes_them() {
        for value in [0, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(text(|out| decimal(out, value)), value.to_string());
        }
    }

    #[test]
    fn durations_keep_their_leading_zeros() {
        assert_eq!(text(|out| millis(out, Duration::from_nanos(999))), "0.000");
        assert_eq!(text(|out| millis(out, Duration::from_micros(12_034_005))), "12034.005");
        assert_eq!(text(|out| seconds(out, Duration::from_micros(12_034_905))), "12.034");
        assert_eq!(text(|out| seconds(out, Duration::from_millis(7))), "0.007");
    }

    #[test]
    fn addresses_are_written_as_display_writes_them() {
        for address in ["192.0.2.10:80", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:443", "[::1]:8080"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(text(|out| socket(out, address)), address.to_string());
            assert_eq!(text(|out| ip(out, address.ip())), address.ip().to_string());
        }
    }
}
