//! Values of annotations and `--configmap` keys, in exactly the grammar that ingress-nginx reads: no blanks, no units
//! but those listed, nothing guessed.
//!
//! Leaves to the callers what an invalid value means.

use std::time::Duration;

/// What ingress-nginx allows a request body if nothing (or nothing legible) is said.
pub(super) const STANDARD_BODY_SIZE: u64 = 1 << 20;

/// A size, and whether its unit is one that ingress-nginx accepts but does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodySize {
    /// `None`: no limit.
    pub limit: Option<u64>,
    /// The value ended in `b`: it passes ingress-nginx's check, is then left out, and its standard limit counts.
    pub unit_ignored: bool,
}

/// `1 t T TRUE true True` and `0 f F FALSE false False`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whole seconds from 1 on: decimal digits with an optional sign.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let seconds: i64 = text.parse().ok()?;
    let seconds = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

/// Digits and at most one of `b k m g` in either case; 0 is no limit.
pub(super) fn body_size(text: &str) -> Option<BodySize> {
    let (digits, shift, unit_ignored) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'b' => (&text[..text.len() - 1], 0, true),
        b'k' => (&text[..text.len() - 1], 10, false),
        b'm' => (&text[..text.len() - 1], 20, false),
        b'g' => (&text[..text.len() - 1], 30, false),
        _ => (text, 0, false),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bytes = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    let bytes = if unit_ignored { STANDARD_BODY_SIZE } else { bytes };
    Some(BodySize { limit: (bytes > 0).then_some(bytes), unit_ignored })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_twelve_words() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", " true", "true ", "true\n", "yes", "on", "tRUE", "2", "01"] {
            assert_eq!(boolean(text), None, "{text:?}");
        }
    }

    #[test]
    fn seconds_are_decimal_with_an_optional_sign() {
        assert_eq!(seconds("1"), Some(Duration::from_secs(1)));
        assert_eq!(seconds("+60"), Some(Duration::from_secs(60)));
        assert_eq!(seconds("007"), Some(Duration::from_secs(7)));
        assert_eq!(seconds("4294967295"), Some(Duration::from_secs(4_294_967_295)));
        for text in ["", "0", "-1", "5s", " 5", "5 ", "1_000", "0x10", "1.5", "4294967296", "99999999999999999999"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_have_one_letter_units_of_1024() {
        let limit = |limit| Some(BodySize { limit, unit_ignored: false });
        assert_eq!(body_size("1"), limit(Some(1)));
        assert_eq!(body_size("8k"), limit(Some(8 << 10)));
        assert_eq!(body_size("8K"), limit(Some(8 << 10)));
        assert_eq!(body_size("2m"), limit(Some(2 << 20)));
        assert_eq!(body_size("3G"), limit(Some(3 << 30)));
        assert_eq!(body_size("0"), limit(None));
        assert_eq!(body_size("0g"), limit(None));
        assert_eq!(body_size("17179869183g"), limit(Some(17_179_869_183 << 30)));
        for text in [
            "",
            "m",
            "-1",
            "+1",
            "1t",
            "1mb",
            "1 m",
            "1m ",
            "1m\n",
            "1.5m",
            "８m",
            "17179869184g",
            "99999999999999999999",
        ] {
            assert_eq!(body_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_unit_b_leaves_the_standard_limit() {
        assert_eq!(body_size("500b"), Some(BodySize { limit: Some(STANDARD_BODY_SIZE), unit_ignored: true }));
        assert_eq!(body_size("0B"), Some(BodySize { limit: Some(STANDARD_BODY_SIZE), unit_ignored: true }));
    }
}
