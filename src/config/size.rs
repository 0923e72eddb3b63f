//! Sizes in bytes as Kubernetes writes quantities: `512`, `64Ki`, `8Mi`, `1.5Gi`, `10k`, `2M`.

const UNITS: [(&str, u64); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("", 1),
];

/// A text that is no number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size this can have; write bytes as 512, 64Ki or 8Mi")]
pub struct InvalidSize;

/// Reads a number of bytes; a fraction must come out whole.
pub fn parse(text: &str) -> Result<u64, InvalidSize> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidSize)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || fraction.len() > 18 {
        return Err(InvalidSize);
    }
    let whole: u64 = whole.parse().map_err(|_| InvalidSize)?;
    let scale = 10u128.pow(fraction.len() as u32);
    let fraction: u128 = fraction.parse().map_err(|_| InvalidSize)?;
    let part = fraction * u128::from(*unit);
    if !part.is_multiple_of(scale) {
        return Err(InvalidSize);
    }
    let bytes = u128::from(whole) * u128::from(*unit) + part / scale;
    u64::try_from(bytes).map_err(|_| InvalidSize)
}

/// Reads a size that bounds something and is held in memory.
pub fn parse_bound<T: TryFrom<u64>>(text: &str) -> Result<T, InvalidSize> {
    match parse(text)? {
        0 => Err(InvalidSize),
        bytes => T::try_from(bytes).map_err(|_| InvalidSize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_understood() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64Ki", 65_536),
            ("8Mi", 8 << 20),
            ("1.5Gi", 3 << 29),
            ("10k", 10_000),
            ("0.5M", 500_000),
            ("1Ti", 1 << 40),
            ("15Ei", 15 << 60),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_of_bytes_is_refused() {
        for text in ["", "Ki", "-1", "1K", "1kb", "64 Ki", "0.5", "1.Ki", ".5Ki", "1.2.3Ki", "16Ei", "1e3", "100m"] {
            assert_eq!(parse(text), Err(InvalidSize), "{text}");
        }
    }

    #[test]
    fn a_bound_is_neither_zero_nor_beyond_its_type() {
        assert_eq!(parse_bound::<u32>("0"), Err(InvalidSize));
        assert_eq!(parse_bound::<u32>("4Gi"), Err(InvalidSize));
        assert_eq!(parse_bound::<u32>("16Ki"), Ok(16_384));
    }
}
