//! Host names in the one form that is matched, logged and forwarded.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

/// A host in normal form: lower case, no trailing dot, no port; a DNS name or an IP literal (IPv6 in brackets).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

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
        normalize(text).map(|host| HostName(host.into_owned()))
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
            HostPattern::Wildcard(suffix) => host.0.split_once('.').is_some_and(|(_, rest)| rest == suffix.0),
        }
    }
}

/// The normal form of a host without a port: lower case, one trailing dot removed. Borrows where nothing changes.
pub fn normalize(text: &str) -> Result<Cow<'_, str>, InvalidHost> {
    todo!("{text}")
}

/// Splits the value of a Host field or an authority into the host in normal form and the port (RFC 9110 §7.2).
pub fn split_port(text: &str) -> Result<(Cow<'_, str>, Option<u16>), InvalidHost> {
    todo!("{text}")
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
