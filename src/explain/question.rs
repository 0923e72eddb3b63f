//! The request that is asked about, from a URL and a few fields: the bytes that a client of HTTP/1.1 would send for it,
//! read as those would be.

use std::net::{IpAddr, Ipv4Addr};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, header};

use crate::proxy::error::ProxyError;
use crate::proxy::framing::{Bounds, Requests, Waits};

/// A question about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `http://` or `https://`, host, port, path and query; `http://` may be left out.
    pub url: String,
    pub method: String,
    /// Lines of the head, as `name: value`. A Host among them replaces the URL's.
    pub fields: Vec<String>,
    /// Who connects.
    pub client: IpAddr,
}

/// A question that is about no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoQuestion(String);

/// A question as the listener gets it.
pub(super) struct Arrival {
    pub(super) tls: bool,
    head: String,
    target: String,
}

impl Default for Question {
    /// A GET from this machine.
    fn default() -> Self {
        Question {
            url: String::new(),
            method: "GET".to_owned(),
            fields: Vec::new(),
            client: Ipv4Addr::LOCALHOST.into(),
        }
    }
}

impl Question {
    /// Reads `url=…&method=…&header=…&client=…`, escaped as forms are; all but `url` may be left out, `header` be there
    /// more than once.
    pub fn of_query(query: &str) -> Result<Self, NoQuestion> {
        let mut question = Question::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = unescaped(value).ok_or_else(|| NoQuestion(format!("{name} is not escaped as it should be")))?;
            match name {
                "url" => question.url = value,
                "method" => question.method = value,
                "header" => question.fields.push(value),
                "client" => {
                    question.client =
                        value.parse().map_err(|_| NoQuestion(format!("client is no IP address: {value:?}")))?;
                }
                _ => return Err(NoQuestion(format!("{name:?} is none of url, method, header, client"))),
            }
        }
        if question.url.is_empty() {
            return Err(NoQuestion("no url: ask for /debug/explain?url=http%3A%2F%2Fhost%2Fpath".to_owned()));
        }
        question.arrival()?;
        Ok(question)
    }

    /// What goes to which listener.
    pub(super) fn arrival(&self) -> Result<Arrival, NoQuestion> {
        let wrong = |what: String| Err(NoQuestion(what));
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("http", &self.url));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return wrong(format!("the URL is neither http nor https: {:?}", self.url)),
        };
        let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.is_empty() || authority.contains('@') {
            return wrong(format!("the URL needs a host, and no user: {:?}", self.url));
        }
        // What follows # stays with the client.
        let target = after.split('#').next().unwrap_or_default();
        let (authority, target) = match target {
            "" | "/" if self.method == "CONNECT" => {
                let authority = with_port(authority, tls);
                (authority.clone(), authority)
            }
            _ if self.method == "CONNECT" => {
                return wrong(format!("CONNECT asks for a host and a port, not for a path: {:?}", self.url));
            }
            path if path.starts_with('/') => (authority.to_owned(), path.to_owned()),
            path => (authority.to_owned(), format!("/{path}")),
        };
        if let Some(line) = self.fields.iter().find(|line| !line.contains(':')) {
            return wrong(format!("a field is written 'name: value': {line:?}"));
        }
        let mut lines = vec![format!("{} {target} HTTP/1.1", self.method)];
        if !self.fields.iter().any(|line| name_of(line).eq_ignore_ascii_case(header::HOST.as_str())) {
            lines.push(format!("Host: {authority}"));
        }
        lines.extend(self.fields.iter().cloned());
        if let Some(line) = lines.iter().find(|line| line.contains(['\r', '\n'])) {
            return wrong(format!("a line of a head cannot hold a line break: {line:?}"));
        }
        Ok(Arrival { tls, head: lines.join("\r\n") + "\r\n\r\n", target })
    }
}

impl Arrival {
    /// The head as requests have it, if it is one that passes.
    pub(super) fn parts(&self, bounds: Bounds) -> Result<Parts, ProxyError> {
        let mut requests = Requests::new(bounds);
        requests.pass(self.head.as_bytes());
        if let Waits::Refused(error) = requests.waits() {
            return Err(error);
        }
        let mut lines = self.head.lines();
        let method = lines.next().and_then(|line| line.split(' ').next()).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(self.target.as_str());
        for line in lines.take_while(|line| !line.is_empty()) {
            let value = line.split_once(':').map_or("", |(_, value)| value.trim_matches([' ', '\t']));
            let name = HeaderName::from_bytes(name_of(line).as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
                return Err(ProxyError::BadRequest("malformed field"));
            };
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|_| ProxyError::BadRequest("malformed head"))?;
        Ok(request.into_parts().0)
    }
}

/// A CONNECT names the port in any case.
fn with_port(authority: &str, tls: bool) -> String {
    match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => authority.to_owned(),
        _ => format!("{authority}:{}", if tls { 443 } else { 80 }),
    }
}

fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                let digits =
                    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
                u8::from_str_radix(digits?, 16).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}
