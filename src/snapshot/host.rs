//! Host names in the one form that is matched, logged and forwarded.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::Ipv6Addr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A host in normal form: lower case, no trailing dot, no port; a DNS name or an IP literal (IPv6 in brackets).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// Which hosts a set of routes serves. In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    Exact(HostName),
    /// `*.suffix`: exactly one label before the suffix, which is what is held here.
    Wildcard(HostName),
    Any,
}

/// Not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    #[error("the host is empty")]
    Empty,
    #[error("the host is longer than 253 bytes")]
    TooLong,
    #[error("the host holds a byte that no host name has")]
    Byte,
    #[error("a label of the host is empty or longer than 63 bytes")]
    Label,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the IPv6 address is malformed")]
    Address,
}

impl HostName {
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        normalize(text).map(|host| HostName(host.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostPattern {
    /// Reads `""` (any host), `*.suffix` and plain names, as `spec.rules[].host` has them.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        match text.strip_prefix("*.") {
            _ if text.is_empty() => Ok(HostPattern::Any),
            Some(suffix) => HostName::parse(suffix).map(HostPattern::Wildcard),
            None => HostName::parse(text).map(HostPattern::Exact),
        }
    }

    /// The pattern takes requests for `host` (a wildcard: exactly one label before its suffix).
    pub fn covers(&self, host: &HostName) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(name) => name == host,
            HostPattern::Wildcard(suffix) => host.0.split_once('.').is_some_and(|(_, rest)| *rest == *suffix.0),
        }
    }
}

/// The normal form of a host without a port: lower case, one trailing dot removed. Borrows where nothing changes.
pub fn normalize(text: &str) -> Result<Cow<'_, str>, InvalidHost> {
    let (host, rest) = scan(text)?;
    if rest.is_empty() { Ok(host) } else { Err(InvalidHost::Byte) }
}

/// Splits the value of a Host field or an authority into the host in normal form and the port (RFC 9110 §7.2). An
/// empty port (`host:`) is none, as RFC 3986 §3.2.3 has it.
pub fn split_port(text: &str) -> Result<(Cow<'_, str>, Option<u16>), InvalidHost> {
    let (host, rest) = scan(text)?;
    Ok((host, port(rest)?))
}

/// What a byte is within a name. Underscores are no letters of DNS names, but real clients send them.
#[derive(Clone, Copy)]
enum Class {
    Label,
    Upper,
    Dot,
    Colon,
    Refused,
}

static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Refused; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => Class::Label,
            b'A'..=b'Z' => Class::Upper,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            _ => Class::Refused,
        };
        byte += 1;
    }
    classes
}

/// Reads a host up to a colon or the end: its normal form and what is left, from the colon on.
fn scan(text: &str) -> Result<(Cow<'_, str>, &str), InvalidHost> {
    if text.starts_with('[') {
        return scan_ipv6(text);
    }
    let mut label_start = 0;
    let mut upper = false;
    let mut end = text.len();
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        match CLASSES[byte as usize] {
            Class::Label => {}
            Class::Upper => upper = true,
            Class::Dot => {
                check_label(at - label_start)?;
                label_start = at + 1;
            }
            Class::Colon => {
                end = at;
                break;
            }
            Class::Refused => return Err(InvalidHost::Byte),
        }
    }
    if end == 0 {
        return Err(InvalidHost::Empty);
    }
    let (host, rest) = text.split_at(end);
    let name = match end - label_start {
        0 => &host[..end - 1],
        length => check_label(length).map(|()| host)?,
    };
    if name.len() > 253 {
        return Err(InvalidHost::TooLong);
    }
    Ok((if upper { name.to_ascii_lowercase().into() } else { name.into() }, rest))
}

fn check_label(length: usize) -> Result<(), InvalidHost> {
    if (1..=63).contains(&length) { Ok(()) } else { Err(InvalidHost::Label) }
}

/// IPv6 addresses have many spellings; the normal form is the one of RFC 5952. No zones: they mean something on the
/// client's machine only (RFC 6874).
fn scan_ipv6(text: &str) -> Result<(Cow<'_, str>, &str), InvalidHost> {
    let end = text.find(']').ok_or(InvalidHost::Address)?;
    let address: Ipv6Addr = text[1..end].parse().map_err(|_| InvalidHost::Address)?;
    let (host, rest) = text.split_at(end + 1);
    if !(rest.is_empty() || rest.starts_with(':')) {
        return Err(InvalidHost::Byte);
    }
    let mut unread = Unread(&host[1..end]);
    let normal = write!(unread, "{address}").is_ok() && unread.0.is_empty();
    Ok((if normal { host.into() } else { format!("[{address}]").into() }, rest))
}

/// Compares what is written to it with a text, so that an address in normal form costs no allocation.
struct Unread<'a>(&'a str);

impl fmt::Write for Unread<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(written).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Reads what follows the host: nothing, or a colon and a port.
fn port(rest: &str) -> Result<Option<u16>, InvalidHost> {
    let digits = rest.strip_prefix(':').unwrap_or_default();
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidHost::Port);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(InvalidHost::Port),
        Ok(port) => Ok(Some(port)),
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Exact(name) => name.fmt(f),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
