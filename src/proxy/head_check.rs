//! Is the head of a request one that can be served, and which host and path does it ask for?
//!
//! The head is parsed, its bytes and its framing are judged (by `framing` on HTTP/1, by h2 on HTTP/2). Left open is what
//! stands here: one Host, one form of the target, a method that has a meaning. What passes has a single meaning, which is
//! what is matched and what is forwarded.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};
use hyper::ext::Protocol;

use super::error::ProxyError;
use super::framing;
use super::headers::has_few_options;
use crate::snapshot::{host, path};

/// The longest method that passes; the longest registered one has 17 letters.
pub(super) const MAX_METHOD: usize = 32;

/// What a request asks for, in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The host and the port, if that is not the default one.
    authority: HeaderValue,
    /// Length of the host within `authority`.
    host_length: usize,
    /// Where it differs from the path as sent.
    path: Option<Box<str>>,
    pub connect: Option<Connect>,
}

/// What a CONNECT asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// A tunnel (RFC 9110 §9.3.6). Its path is `/`.
    Tunnel,
    /// A websocket over HTTP/2 (RFC 8441).
    Websocket,
}

impl Checked {
    /// The host without its port; empty if a request of HTTP/1.0 named none.
    pub fn host(&self) -> &str {
        let host = &self.authority.as_bytes()[..self.host_length];
        std::str::from_utf8(host).expect("a host in normal form is ASCII")
    }

    /// The value of Host for the backend.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The path without its query. `uri` is the target that was checked.
    pub fn path<'a>(&'a self, uri: &'a Uri) -> &'a str {
        self.path.as_deref().unwrap_or_else(|| uri.path())
    }

    /// Path and query for the backend. `uri` is the target that was checked.
    pub fn target(&self, uri: &Uri) -> PathAndQuery {
        match uri.path_and_query() {
            Some(sent) if self.path.is_none() && sent.as_str().starts_with('/') => sent.clone(),
            _ => with_query(self.path(uri), uri.query()),
        }
    }
}

/// Checks a head that came over a connection with or without TLS. `max_fields` holds for HTTP/2, where nobody else
/// counts.
pub fn check(parts: &Parts, tls: bool, max_fields: usize) -> Result<Checked, ProxyError> {
    if parts.headers.len() > max_fields {
        return Err(ProxyError::HeadTooLarge);
    }
    check_framing(&parts.headers, parts.version)?;
    let connect = check_method(parts)?;
    let (host, path) = match connect {
        Some(Connect::Tunnel) => (tunnelled_host(parts, tls)?, Some("/".into())),
        _ => (named_host(parts, tls)?, check_target(parts)?),
    };
    let (authority, host_length) = host.authority()?;
    Ok(Checked { authority, host_length, path, connect })
}

fn check_framing(headers: &HeaderMap, version: Version) -> Result<(), ProxyError> {
    if version == Version::HTTP_2 {
        check_http2_values(headers)?;
    }
    if !has_few_options(headers) {
        return Err(ProxyError::BadRequest("too many options in Connection"));
    }
    let mut expectations = headers.get_all(EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        _ if version < Version::HTTP_11 => Ok(()),
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(ProxyError::ExpectationFailed),
    }
}

/// What `framing` judges on HTTP/1.
fn check_http2_values(headers: &HeaderMap) -> Result<(), ProxyError> {
    // h2 knows that it is a number, but not whether a body can have it.
    if let Some(value) = headers.get(CONTENT_LENGTH) {
        framing::length(value.as_bytes())?;
    }
    let padded = |value: &HeaderValue| matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if headers.values().any(padded) {
        // RFC 9113 §8.2.1.
        return Err(ProxyError::BadRequest("a blank before or behind the value of a field"));
    }
    Ok(())
}

fn check_method(parts: &Parts) -> Result<Option<Connect>, ProxyError> {
    if parts.method != Method::CONNECT {
        let fits = parts.method.as_str().len() <= MAX_METHOD;
        return fits.then_some(None).ok_or(ProxyError::BadRequest("method too long"));
    }
    match parts.extensions.get::<Protocol>() {
        Some(protocol) if protocol.as_str() == "websocket" => Ok(Some(Connect::Websocket)),
        Some(_) => Err(ProxyError::NotImplemented),
        // What follows the head is the tunnel's.
        None if [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| parts.headers.contains_key(name)) => {
            Err(ProxyError::BadRequest("CONNECT with a body"))
        }
        None if parts.headers.contains_key(EXPECT) => Err(ProxyError::ExpectationFailed),
        None => Ok(Some(Connect::Tunnel)),
    }
}

/// A host as a Host field or an authority names it.
struct Named<'a> {
    text: &'a str,
    host: Cow<'a, str>,
    port: Option<u16>,
    /// `port` is what the scheme says anyway.
    usual_port: bool,
    /// The Host field, where `text` is its value.
    field: Option<&'a HeaderValue>,
}

/// The host that the request is for. In the absolute form of HTTP/1 the target decides (RFC 9112 §3.2.2), in HTTP/2
/// `:authority` and Host must agree.
fn named_host(parts: &Parts, tls: bool) -> Result<Named<'_>, ProxyError> {
    let field = host_field(&parts.headers, parts.version)?;
    let field = field.map(|(text, field)| Named::parse(text, Some(field), tls)).transpose()?;
    let http2 = parts.version == Version::HTTP_2;
    match (parts.uri.scheme_str(), parts.uri.authority()) {
        (None, None) => match field {
            Some(named) => Ok(named),
            None if http2 => Err(ProxyError::BadRequest("no authority")),
            None => Ok(Named { text: "", host: "".into(), port: None, usual_port: true, field: None }),
        },
        (Some(scheme), Some(authority)) => {
            let served = match tls {
                // Clients behind something that does TLS for them send the other one in HTTP/2; it decides nothing.
                _ if http2 => matches!(scheme, "http" | "https"),
                true => scheme == "https",
                false => scheme == "http",
            };
            if !served {
                return Err(ProxyError::BadRequest("scheme is not the listener's"));
            }
            let named = Named::parse(authority.as_str(), None, tls)?;
            match field {
                Some(field) if http2 && !named.agrees(&field) => Err(ProxyError::BadRequest("two hosts")),
                _ => Ok(named),
            }
        }
        _ => Err(ProxyError::BadRequest("target is not in origin form")),
    }
}

/// The host of a tunnel: the target is a host and a port and nothing else (RFC 9112 §3.2.3, RFC 9113 §8.5), and a Host
/// field names the same host. Its port, which decides nothing, is often left out there.
fn tunnelled_host(parts: &Parts, tls: bool) -> Result<Named<'_>, ProxyError> {
    let no_authority = ProxyError::BadRequest("CONNECT to something else than host and port");
    let authority = match (parts.uri.scheme(), parts.uri.authority(), parts.uri.path()) {
        (None, Some(authority), "") => authority,
        _ => return Err(no_authority),
    };
    let named = Named::parse(authority.as_str(), None, tls)?;
    if named.port.is_none() {
        return Err(no_authority);
    }
    match host_field(&parts.headers, parts.version)? {
        Some((text, _)) if Named::parse(text, None, tls)?.host != named.host => {
            Err(ProxyError::BadRequest("two hosts"))
        }
        _ => Ok(named),
    }
}

/// The Host field, which there must be exactly one of in HTTP/1.1 and at most one elsewhere, as text and as it is.
fn host_field(headers: &HeaderMap, version: Version) -> Result<Option<(&str, &HeaderValue)>, ProxyError> {
    let mut fields = headers.get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => match std::str::from_utf8(field.as_bytes()) {
            Ok(text) => Ok(Some((text, field))),
            Err(_) => Err(ProxyError::BadRequest("malformed host")),
        },
        (None, _) if version != Version::HTTP_11 => Ok(None),
        (None, _) => Err(ProxyError::BadRequest("no Host")),
        (Some(_), Some(_)) => Err(ProxyError::BadRequest("more than one Host")),
    }
}

impl<'a> Named<'a> {
    fn parse(text: &'a str, field: Option<&'a HeaderValue>, tls: bool) -> Result<Self, ProxyError> {
        let (host, port) = host::split_port(text).map_err(|_| ProxyError::BadRequest("malformed host"))?;
        let usual_port = port.is_none() || port == Some(if tls { 443 } else { 80 });
        Ok(Named { text, host, port, usual_port, field })
    }

    fn agrees(&self, other: &Named<'_>) -> bool {
        self.host == other.host && (self.port == other.port || self.usual_port && other.usual_port)
    }

    /// The value of Host for the backend, and the length of the host in it. Shares the client's if that is in normal
    /// form, as it nearly always is.
    fn authority(&self) -> Result<(HeaderValue, usize), ProxyError> {
        let port = if self.usual_port { None } else { self.port };
        let port_length = port.map_or(0, |port| 2 + port.checked_ilog10().unwrap_or(0) as usize);
        let normal = matches!(self.host, Cow::Borrowed(_)) && self.text.len() == self.host.len() + port_length;
        let value = match self.field {
            Some(sent) if normal => Ok(sent.clone()),
            _ if normal => HeaderValue::from_str(self.text),
            _ => HeaderValue::from_maybe_shared(Bytes::from(self.rebuilt(port))),
        };
        Ok((value.map_err(|_| ProxyError::BadRequest("malformed host"))?, self.host.len()))
    }

    fn rebuilt(&self, port: Option<u16>) -> String {
        let mut authority = String::with_capacity(self.host.len() + ":65535".len());
        authority.push_str(&self.host);
        if let Some(port) = port {
            write!(authority, ":{port}").expect("writing to a String never fails");
        }
        authority
    }
}

/// The path in normal form, if it differs from the one sent.
fn check_target(parts: &Parts) -> Result<Option<Box<str>>, ProxyError> {
    let sent = parts.uri.path();
    if sent == "*" && parts.method == Method::OPTIONS {
        // It asks about the server as a whole, which is nobody's Ingress.
        return Err(ProxyError::NoRoute);
    }
    if parts.uri.query().is_some_and(|query| query.bytes().any(|byte| byte >= 0x7f)) {
        return Err(ProxyError::BadRequest("raw byte in the query"));
    }
    match path::normalize(sent) {
        Ok(Cow::Borrowed(_)) => Ok(None),
        Ok(Cow::Owned(normal)) => Ok(Some(normal.into_boxed_str())),
        Err(_) => Err(ProxyError::BadRequest("malformed path")),
    }
}

fn with_query(path: &str, query: Option<&str>) -> PathAndQuery {
    let mut target = String::with_capacity(path.len() + 1 + query.map_or(0, str::len));
    target.push_str(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(target)).expect("both parts were parsed as parts of a target")
}

#[cfg(test)]
mod tests;
