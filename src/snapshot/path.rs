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
/// escapes kept with upper-case digits, `//` kept. Dot segments raw or encoded (also with parameters: `..;x`), NUL, CR,
/// LF (raw or encoded), blanks, other controls, bytes beyond ASCII, raw backslash and `#` are refused. What clients send
/// unescaped against the letter of RFC 3986, such as `|`, `{` and `"`, stays as it is. Borrows where nothing changes.
pub fn normalize(text: &str) -> Result<Cow<'_, str>, InvalidPath> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(InvalidPath::NotAbsolute);
    }
    let mut normal = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match CLASSES[byte as usize] {
            Class::Plain => at += 1,
            Class::Slash if dot_segment(&bytes[at + 1..]).is_some() => return Err(InvalidPath::DotSegment),
            Class::Slash => at += 1,
            Class::Escape => {
                let byte = escaped(&bytes[at..])?;
                if is_unreserved(byte) {
                    normal.push_str(&text[copied..at]);
                    normal.push(char::from(byte));
                    copied = at + 3;
                } else if bytes[at..at + 3].iter().any(u8::is_ascii_lowercase) {
                    normal.push_str(&text[copied..at]);
                    normal.extend(text[at..at + 3].chars().map(|digit| digit.to_ascii_uppercase()));
                    copied = at + 3;
                }
                at += 3;
            }
            Class::Refused => return Err(InvalidPath::Byte),
        }
    }
    if copied == 0 {
        return Ok(text.into());
    }
    normal.push_str(&text[copied..]);
    Ok(normal.into())
}

/// The number of dots, 1 or 2, if the segment that starts here is `.` or `..`: raw or encoded, also with parameters,
/// which some servers cut off before they resolve the path.
pub(crate) fn dot_segment(mut rest: &[u8]) -> Option<usize> {
    let mut dots = 0;
    while let [b'.', tail @ ..] | [b'%', b'2', b'e' | b'E', tail @ ..] = rest {
        rest = tail;
        dots += 1;
    }
    let ends = matches!(rest.first(), None | Some(b'/' | b';'));
    (ends && (1..=2).contains(&dots)).then_some(dots)
}

#[derive(Clone, Copy)]
enum Class {
    Plain,
    Slash,
    Escape,
    Refused,
}

static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Refused; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        classes[byte as usize] = match byte {
            b'/' => Class::Slash,
            b'%' => Class::Escape,
            b'\\' | b'#' | b'?' => Class::Refused,
            _ => Class::Plain,
        };
        byte += 1;
    }
    classes
}

/// The byte that the escape at the start of `bytes` stands for.
fn escaped(bytes: &[u8]) -> Result<u8, InvalidPath> {
    let digit = |at: usize| bytes.get(at).and_then(|&digit| char::from(digit).to_digit(16)).ok_or(InvalidPath::Escape);
    match (16 * digit(1)? + digit(2)?) as u8 {
        b'\0' | b'\r' | b'\n' => Err(InvalidPath::Byte),
        byte => Ok(byte),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests;
