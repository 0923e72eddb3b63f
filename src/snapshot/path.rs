//! Paths in the one form that is both matched and forwarded.

use std::borrow::Cow;

use serde::Serialize;

/// A path in normal form (see [`normalize`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NormalPath(String);

/// Not a path that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    #[error("the path does not start with /")]
    NotAbsolute,
    #[error("the path holds a . or .. segment, raw or encoded")]
    DotSegment,
    #[error("the path holds a byte that is not allowed there")]
    Byte,
    #[error("a % in the path is not followed by two hexadecimal digits")]
    Escape,
}

impl NormalPath {
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        normalize(text).map(|path| NormalPath(path.into_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The normal form of a path without its query: escapes of unreserved characters (RFC 3986 §2.3) decoded, all other
/// escapes kept with upper-case digits, `//` kept. Dot segments raw or encoded, NUL, CR, LF (raw or encoded), raw
/// backslash and `#` are refused. Borrows where nothing changes.
pub fn normalize(text: &str) -> Result<Cow<'_, str>, InvalidPath> {
    todo!("{text}")
}
