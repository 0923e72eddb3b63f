//! ingress-nginx's `upstreaminfo` format, field for field, so that its parsers go on working:
//!
//! `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"
//! $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr
//! $upstream_response_length $upstream_response_time $upstream_status $req_id`
//!
//! Times are UTC. Two fields mean a little less than nginx's: `$request_length` is that of the body, and a try that got
//! no response has status 502, or 504 where the request as a whole timed out.

use super::clock::Clock;
use super::{Entry, Try, capped, digits};

pub(super) fn line(out: &mut Vec<u8>, clock: &mut Clock, entry: &Entry<'_>) {
    digits::ip(out, entry.client);
    out.extend_from_slice(b" - - [");
    clock.common(out, entry.start + entry.duration);
    out.extend_from_slice(b"] \"");
    request(out, entry);
    out.extend_from_slice(b"\" ");
    digits::decimal(out, entry.status.into());
    out.push(b' ');
    digits::decimal(out, entry.bytes_sent);
    out.extend_from_slice(b" \"");
    optional(out, entry.referer);
    out.extend_from_slice(b"\" \"");
    optional(out, entry.user_agent);
    out.extend_from_slice(b"\" ");
    digits::decimal(out, entry.bytes_received);
    out.push(b' ');
    digits::seconds(out, entry.duration);
    out.extend_from_slice(b" [");
    optional(out, entry.backend.as_bytes());
    out.extend_from_slice(b"] [] ");
    tried(out, entry, |out, attempt| digits::socket(out, attempt.endpoint));
    out.push(b' ');
    tried(out, entry, |out, attempt| digits::decimal(out, attempt.response_bytes));
    out.push(b' ');
    tried(out, entry, |out, attempt| digits::seconds(out, attempt.duration));
    out.push(b' ');
    tried(out, entry, |out, attempt| status(out, entry, attempt));
    out.push(b' ');
    optional(out, entry.request_id.as_bytes());
    out.push(b'\n');
}

fn request(out: &mut Vec<u8>, entry: &Entry<'_>) {
    escape(out, entry.method.as_bytes());
    out.push(b' ');
    escape(out, entry.path);
    if !entry.query.is_empty() {
        out.push(b'?');
        escape(out, entry.query);
    }
    out.push(b' ');
    escape(out, entry.protocol.as_bytes());
}

/// One value per try, as nginx lists them.
fn tried(out: &mut Vec<u8>, entry: &Entry<'_>, mut value: impl FnMut(&mut Vec<u8>, &Try)) {
    for (place, attempt) in entry.tries.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(b", ");
        }
        value(out, attempt);
    }
    if entry.tries.is_empty() {
        out.push(b'-');
    }
}

fn status(out: &mut Vec<u8>, entry: &Entry<'_>, attempt: &Try) {
    let is_last = entry.tries.last().is_some_and(|last| std::ptr::eq(last, attempt));
    match (attempt.status, entry.status) {
        (0, 499) if is_last => out.push(b'-'),
        (0, 504) if is_last => digits::decimal(out, 504),
        (0, _) => digits::decimal(out, 502),
        (status, _) => digits::decimal(out, status.into()),
    }
}

fn optional(out: &mut Vec<u8>, value: &[u8]) {
    match value {
        b"" => out.push(b'-'),
        _ => escape(out, value),
    }
}

/// nginx's default escaping: quote, backslash and what is not printable ASCII as `\xHH`.
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    let (value, cut) = capped(value);
    for byte in value {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let hex = b"0123456789ABCDEF";
                out.extend([b'\\', b'x', hex[usize::from(byte >> 4)], hex[usize::from(byte & 0xf)]]);
            }
            _ => out.push(*byte),
        }
    }
    if cut {
        out.extend_from_slice(b"...");
    }
}
