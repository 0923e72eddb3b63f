//! Tells whether a backend that decodes more than we do would see the path of another rule.
//!
//! We keep `%2F`, `%5C`, `%3B` and `%25` as they are, many backends decode them. Where the decoded path belongs to
//! another rule, a client could reach one rule's paths under the other's terms. Escapes that a rule spells out in its
//! own path are meant as they stand and are left alone.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use super::tree::{Match, PathTree};
use crate::snapshot::path::{dot_segment, normalize};

/// `path`, which `found` takes, would go elsewhere if it were decoded.
pub(super) fn is_ambiguous(tree: &PathTree, path: &str, found: Option<Match>) -> bool {
    let named = found.map_or(0, |found| found.length);
    if !holds_delimiter(&path[named..]) {
        return false;
    }
    // A server may take `%252e` for a file of that name, or decode it twice.
    let decodes_again = path[named..].contains("%25");
    leads_elsewhere(tree, &decode(path, named, false), found)
        || decodes_again && leads_elsewhere(tree, &decode(path, named, true), found)
}

fn leads_elsewhere(tree: &PathTree, decoded: &str, found: Option<Match>) -> bool {
    let climbs = segments(decoded).any(|segment| dots(segment).is_some());
    let differs = |merge| {
        let other = tree.find(&resolve(decoded, merge));
        let same = other.map(|other| other.rule) == found.map(|found| found.rule);
        // What climbs out of its rule is not meant well even where no other rule is.
        !same && (other.is_some() || climbs)
    };
    differs(false) || (climbs && differs(true))
}

/// Some escape in `text` stands for `/`, `\`, `;` or `%`.
fn holds_delimiter(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr_iter(b'%', bytes).any(|at| matches!(bytes.get(at + 1..at + 3), Some(b"2F" | b"5C" | b"3B" | b"25")))
}

/// `path` with those escapes decoded, once, from `from` on; `%25` only if it will be decoded `again`. A backslash is a
/// slash to the servers that give it a meaning.
fn decode(path: &str, from: usize, again: bool) -> String {
    let (named, mut rest) = path.split_at(from);
    let mut decoded = named.to_owned();
    while let Some(at) = memchr(b'%', rest.as_bytes()) {
        let (before, escape) = rest.split_at(at);
        let (escape, after) = escape.split_at_checked(3).unwrap_or((escape, ""));
        decoded.push_str(before);
        decoded.push_str(match escape {
            "%2F" | "%5C" => "/",
            "%3B" => ";",
            "%25" if again => "%",
            other => other,
        });
        rest = after;
    }
    decoded + rest
}

/// `path` in normal form with its dot segments resolved (RFC 3986 §5.2.4); with `merge`, as servers see it that take
/// `//` for `/`.
fn resolve(path: &str, merge: bool) -> String {
    let mut resolved = String::with_capacity(path.len());
    let mut open = false;
    for segment in segments(path) {
        let dots = dots(segment);
        let merged = merge && segment == "/";
        open = dots.is_some() || merged;
        match dots {
            None if merged => {}
            None => resolved.push_str(&normalize(segment).unwrap_or(Cow::Borrowed(segment))),
            Some(1) => {}
            Some(_) => resolved.truncate(resolved.rfind('/').unwrap_or(0)),
        }
    }
    if open {
        resolved.push('/');
    }
    resolved
}

fn dots(segment: &str) -> Option<usize> {
    dot_segment(&segment.as_bytes()[1..])
}

/// The segments of an absolute path, each with the slash before it.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let length = memchr(b'/', rest.as_bytes().get(1..)?).map_or(rest.len(), |at| at + 1);
        let segment;
        (segment, rest) = rest.split_at(length);
        Some(segment)
    })
}
