//! The chunks of one body (RFC 9112 §7.1): where they end, and whether they are written without a second reading.

use super::Bounds;
use super::head::{TOKEN, is_value_byte};

/// Bytes of chunk extensions in one body. They are read and dropped, so nobody needs more.
const MAX_EXTENSIONS: usize = 16 << 10;
/// Hexadecimal digits of a chunk size: more do not fit what counts it.
const MAX_DIGITS: u8 = 15;

/// The bytes are not chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    extensions: usize,
    /// Bytes and lines of trailers.
    trailers: usize,
    fields: usize,
}

/// Which byte is to come next.
#[derive(Clone, Copy, Debug)]
enum At {
    Size { digits: u8, size: u64 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerLine,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

impl Default for At {
    fn default() -> Self {
        At::Size { digits: 0, size: 0 }
    }
}

impl Chunks {
    /// How many of `bytes`, which continue those before, belong to the body, and whether it ends there.
    pub(super) fn resume(&mut self, bytes: &[u8], bounds: Bounds) -> (usize, Option<Result<(), Malformed>>) {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if let At::Data { left } = self.at {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                taken += here;
                let left = left - here as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data { left } };
                continue;
            }
            match self.step(byte, bounds) {
                Ok(next) => {
                    taken += 1;
                    match next {
                        Some(next) => self.at = next,
                        None => return (taken, Some(Ok(()))),
                    }
                }
                Err(malformed) => return (taken, Some(Err(malformed))),
            }
        }
        (taken, None)
    }

    /// What comes after `byte`; `None`: the body is over.
    fn step(&mut self, byte: u8, bounds: Bounds) -> Result<Option<At>, Malformed> {
        let next = match (self.at, byte) {
            (At::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                At::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (At::Size { digits: 1.., size }, b';') => At::Extension { size },
            (At::Size { digits: 1.., size } | At::Extension { size }, b'\r') => At::SizeLf { size },
            (At::Extension { size }, byte) if is_value_byte(byte) && self.extensions < MAX_EXTENSIONS => {
                self.extensions += 1;
                At::Extension { size }
            }
            (At::SizeLf { size: 0 }, b'\n') => At::TrailerLine,
            (At::SizeLf { size }, b'\n') => At::Data { left: size },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::default(),
            (At::TrailerLine, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => return Ok(None),
            _ => return self.trailer(byte, bounds).map(Some),
        };
        Ok(Some(next))
    }

    fn trailer(&mut self, byte: u8, bounds: Bounds) -> Result<At, Malformed> {
        self.trailers += 1;
        if self.trailers > bounds.size {
            return Err(Malformed);
        }
        match (self.at, byte) {
            (At::TrailerLine, byte) if TOKEN[byte as usize] && self.fields < bounds.fields => {
                self.fields += 1;
                Ok(At::TrailerName)
            }
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerName, byte) if TOKEN[byte as usize] => Ok(At::TrailerName),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, byte) if is_value_byte(byte) => Ok(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::TrailerLine),
            _ => Err(Malformed),
        }
    }
}
