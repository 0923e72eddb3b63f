//! Durations as Go writes them (`5s`, `1h30m`, `500ms`, `1.5h`), which is also how Kubernetes does.

use std::time::Duration;

const WAY_OUT: &str = "write it with its units, as 500ms, 5s or 1h30m";

/// `ms` before `m`, of which it is the longer reading.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDuration(String);

/// Reads a duration that may be nothing (`0`, `0s`).
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() || text.starts_with('-') {
        return Err(InvalidDuration(format!("not a duration; {WAY_OUT}")));
    }
    let mut nanoseconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = leading_part(rest)?;
        nanoseconds = nanoseconds.checked_add(part).ok_or_else(too_long)?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The same, and whole seconds without a unit, as a flag of ingress-nginx has them.
pub fn parse_or_seconds(text: &str) -> Result<Duration, InvalidDuration> {
    text.parse().map(Duration::from_secs).or_else(|_| parse(text))
}

/// Reads a duration that bounds something, so that nothing would mean "never".
pub fn parse_bound(text: &str) -> Result<Duration, InvalidDuration> {
    match parse(text)? {
        Duration::ZERO => {
            Err(InvalidDuration("this bound can be raised but not be switched off; give a longer time".into()))
        }
        duration => Ok(duration),
    }
}

/// The nanoseconds of the first number and unit of `text`, and what follows them.
fn leading_part(text: &str) -> Result<(u64, &str), InvalidDuration> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let no_digits = whole.is_empty() && fraction.is_empty();
    if no_digits || fraction.contains('.') {
        return Err(InvalidDuration(format!("no number before '{rest}'; {WAY_OUT}")));
    }
    let Some((name, nanoseconds)) = UNITS.iter().find(|(name, _)| rest.starts_with(name)) else {
        return Err(InvalidDuration(format!("no unit after '{number}'; {WAY_OUT}")));
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_long())? };
    let value =
        whole.checked_mul(*nanoseconds).and_then(|value| value.checked_add(fraction_of(fraction, *nanoseconds)));
    Ok((value.ok_or_else(too_long)?, &rest[name.len()..]))
}

/// `0.fraction` of a unit, without the digits that are below a nanosecond.
fn fraction_of(fraction: &str, unit: u64) -> u64 {
    let mut value = 0;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        value += u64::from(digit - b'0') * scale;
    }
    value
}

fn too_long() -> InvalidDuration {
    InvalidDuration("longer than 584 years".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_understood() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("1m", 60_000),
            ("1m5ms", 60_005),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("1h2m3s4ms", 3_723_004),
            ("250000us", 250),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("3ns"), Ok(Duration::from_nanos(3)));
        assert_eq!(parse("3µs"), Ok(Duration::from_micros(3)));
        assert_eq!(parse("0.0000000019s"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn what_is_no_duration_says_how_to_write_one() {
        for text in ["", "5", "s", "-5s", "5x", "5s 1m", "1..5s", "1.2.3s", ".s", "5 s", "5S"] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains("1h30m"), "{text}: {error}");
        }
    }

    #[test]
    fn a_duration_beyond_64_bits_is_refused() {
        for text in ["99999999h", "99999999999999999999s", "5000000h5000000h"] {
            assert_eq!(parse(text), Err(too_long()), "{text}");
        }
    }

    #[test]
    fn a_bound_is_never_zero() {
        assert!(parse_bound("0s").is_err());
        assert_eq!(parse_bound("1ns"), Ok(Duration::from_nanos(1)));
    }
}
