//! The JSON format. Keys and their order are part of the interface: log pipelines are built on them.

use std::time::Duration;

use super::clock::Clock;
use super::{Entry, Try, capped, digits};

pub(super) fn line(out: &mut Vec<u8>, clock: &mut Clock, entry: &Entry<'_>) {
    out.extend_from_slice(br#"{"timestamp":""#);
    clock.rfc3339(out, entry.start);
    out.extend_from_slice(br#"","client_ip":""#);
    digits::ip(out, entry.client);
    out.push(b'"');
    text(out, r#","method":"#, entry.method.as_bytes());
    text(out, r#","scheme":"#, entry.scheme.as_bytes());
    text(out, r#","host":"#, entry.host);
    text(out, r#","path":"#, entry.path);
    text(out, r#","query":"#, entry.query);
    text(out, r#","protocol":"#, entry.protocol.as_bytes());
    number(out, r#","status":"#, entry.status.into());
    millis(out, r#","duration_ms":"#, entry.duration);
    number(out, r#","bytes_sent":"#, entry.bytes_sent);
    number(out, r#","bytes_received":"#, entry.bytes_received);
    text(out, r#","backend":"#, entry.backend.as_bytes());
    tries(out, entry.tries);
    text(out, r#","flag":"#, entry.flag.as_bytes());
    text(out, r#","namespace":"#, entry.namespace.as_bytes());
    text(out, r#","ingress":"#, entry.ingress.as_bytes());
    text(out, r#","service":"#, entry.service.as_bytes());
    text(out, r#","route":"#, entry.route.as_bytes());
    text(out, r#","request_id":"#, entry.request_id.as_bytes());
    text(out, r#","user_agent":"#, entry.user_agent);
    text(out, r#","referer":"#, entry.referer);
    text(out, r#","tls_version":"#, entry.tls_version.as_bytes());
    out.extend_from_slice(br#","peer":""#);
    digits::socket(out, entry.peer);
    out.extend_from_slice(b"\"}\n");
}

/// The last try flat, those before it as an array that is there only if there were any.
fn tries(out: &mut Vec<u8>, tries: &[Try]) {
    let (last, failed) = match tries.split_last() {
        Some((last, failed)) => (Some(last), failed),
        None => (None, tries),
    };
    out.extend_from_slice(br#","endpoint":""#);
    if let Some(last) = last {
        digits::socket(out, last.endpoint);
    }
    out.push(b'"');
    number(out, r#","endpoint_status":"#, last.map_or(0, |last| last.status.into()));
    millis(out, r#","endpoint_duration_ms":"#, last.map_or(Duration::ZERO, |last| last.duration));
    number(out, r#","retries":"#, failed.len() as u64);
    for (place, attempt) in failed.iter().enumerate() {
        let separator: &[u8] = if place == 0 { br#","failed_tries":["# } else { b"," };
        out.extend_from_slice(separator);
        out.extend_from_slice(br#"{"endpoint":""#);
        digits::socket(out, attempt.endpoint);
        out.push(b'"');
        number(out, r#","status":"#, attempt.status.into());
        millis(out, r#","duration_ms":"#, attempt.duration);
        out.push(b'}');
    }
    if !failed.is_empty() {
        out.push(b']');
    }
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    digits::decimal(out, value);
}

fn millis(out: &mut Vec<u8>, key: &str, duration: Duration) {
    out.extend_from_slice(key.as_bytes());
    digits::millis(out, duration);
}

fn text(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    let (value, cut) = capped(value);
    if value.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        out.extend_from_slice(value);
    } else {
        escape(out, value);
    }
    if cut {
        out.extend_from_slice(b"...");
    }
    out.push(b'"');
}

/// The byte stands for itself: printable ASCII but quote and backslash. Without branches, so that a text is looked at many
/// bytes at a time.
fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// What is not UTF-8 becomes U+FFFD, once per piece that a decoder would give up on.
#[cold]
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend([b'\\', character as u8]),
                _ if is_hidden(character) => unicode(out, character),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Characters that could end a line, move a cursor or change the direction of text where a log is shown. All are below
/// U+10000.
fn is_hidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn unicode(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(b"0123456789abcdef"[character as usize >> shift & 0xf]);
    }
}
