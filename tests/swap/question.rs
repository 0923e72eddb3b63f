//! One request whose answer tells who gave it, and the judgement whether that one was in charge at the time.

use std::time::Instant;

use super::timeline::Timeline;

/// Hosts: of the Service that speaks HTTP/1.1, of the one that speaks h2c, with routes that change, with a certificate.
pub(super) const ONE: &str = "one.example";
pub(super) const TWO: &str = "two.example";
pub(super) const ROUTED: &str = "routed.example";
pub(super) const SAFE: &str = "safe.example";

/// Path that leads to one backend or another, and path that is there or is not.
pub(super) const TURN: &str = "/turn";
pub(super) const SOMETIMES: &str = "/sometimes";

/// What [`Timeline`] calls the answer that a path is not there.
pub(super) const NOWHERE: &str = "nowhere";

const BODY: usize = 1000;

/// One request.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) host: &'static str,
    /// Not the same for any two requests, so that answers cannot be mixed up unnoticed.
    pub(super) target: String,
    /// Bytes of the body; with none it is a GET.
    pub(super) body: usize,
}

impl Question {
    /// The `n`th request over plain HTTP.
    pub(super) fn plain(n: u64) -> Self {
        let (host, path, body) = match n % 8 {
            0..=2 => (ONE, "/", 0),
            3 => (ONE, "/", BODY),
            4 => (TWO, "/", 0),
            5 => (TWO, "/", BODY),
            6 => (ROUTED, TURN, 0),
            _ => (ROUTED, SOMETIMES, 0),
        };
        Question { host, target: format!("{path}?{n}"), body }
    }

    /// The `n`th request over HTTPS.
    pub(super) fn safe(n: u64) -> Self {
        Question { host: SAFE, target: format!("/?{n}"), body: if n.is_multiple_of(4) { BODY } else { 0 } }
    }

    pub(super) fn method(&self) -> &'static str {
        if self.body == 0 { "GET" } else { "POST" }
    }

    /// As HTTP/1.1 with these further fields.
    pub(super) fn http1(&self, fields: &str) -> String {
        let Question { host, target, body } = self;
        let method = self.method();
        let framing = if *body == 0 { String::new() } else { format!("Content-Length: {body}\r\n") };
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{framing}\r\n{}", "x".repeat(*body))
    }

    /// What is wrong with an answer to this request that was sent at `start` and answered by now.
    pub(super) fn judge(&self, status: u16, text: &str, start: Instant, timeline: &Timeline) -> Result<(), String> {
        let end = Instant::now();
        let Question { host, target, body } = self;
        let path = target.split('?').next().unwrap_or_default();
        let origin = match status {
            404 => NOWHERE,
            200 => text.split(' ').next().unwrap_or_default(),
            _ => return Err(format!("{host}{target}: {status} {text}")),
        };
        if status == 200 && text != format!("{origin} {target} {body}") {
            return Err(format!("{host}{target} with {body} bytes: {text}"));
        }
        let answer = if *host == ROUTED { routed(path, origin) } else { origin.to_owned() };
        match timeline.held(&answer, start, end) {
            true => Ok(()),
            false => Err(format!("{host}{target}: {origin} was not in charge within {:?}", end - start)),
        }
    }
}

/// What [`Timeline`] calls it that `origin` answers where routes change. Elsewhere the origin alone says it.
pub(super) fn routed(path: &str, origin: &str) -> String {
    format!("{path} {origin}")
}

/// What [`Timeline`] calls it that this certificate is shown.
pub(super) fn certificate(der: &[u8]) -> String {
    format!("certificate {}", String::from_utf8_lossy(der))
}
