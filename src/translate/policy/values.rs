//! Values of a ProxyPolicy, in the grammar that its schema has, since no API server checks a folder. What is accepted
//! here and there is the same, but that the schema bounds the length of lists and wants hosts in lower case, and leaves
//! it to us to refuse numbers within texts that are too large, ranges that run backwards and hosts that DNS does not have.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::super::problem::quoted;

/// What is wrong with a field, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Flaw {
    /// As `spec.access.allow[0]`.
    pub field: String,
    /// A part of a sentence.
    pub what: String,
    pub way_out: String,
}

pub(super) type Read<T> = Result<T, Flaw>;

impl Flaw {
    pub(super) fn new(field: impl Into<String>, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Flaw { field: field.into(), what: what.into(), way_out: way_out.into() }
    }
}

/// One to four numbers of up to five digits, each with a unit; more than nothing.
pub(super) fn duration(field: &str, text: &str) -> Read<Duration> {
    let invalid =
        || Flaw::new(field, format!("{} is not a duration above 0", quoted(text)), "write it as 500ms, 5s or 1h30m");
    let (mut rest, mut total, mut parts) = (text, Duration::ZERO, 0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| (1..=5).contains(end)).ok_or_else(invalid)?;
        let number: u64 = rest[..end].parse().map_err(|_| invalid())?;
        let (unit, after) = unit(&rest[end..]).ok_or_else(invalid)?;
        total += Duration::from_millis(number * unit);
        parts += 1;
        rest = after;
    }
    if parts > 4 || total.is_zero() { Err(invalid()) } else { Ok(total) }
}

/// Milliseconds of the unit at the start of `text`, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    units.iter().find_map(|(name, unit)| text.strip_prefix(name).map(|after| (*unit, after)))
}

/// Up to twelve digits and perhaps a unit; at least 1.
pub(super) fn size(field: &str, text: &str) -> Read<u64> {
    let invalid =
        || Flaw::new(field, format!("{} is not a size from 1", quoted(text)), "write it as \"512\", 64Ki or 8Mi");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match &text[end..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(invalid()),
    };
    if !(1..=12).contains(&end) || text.starts_with('0') {
        return Err(invalid());
    }
    let number: u64 = text[..end].parse().map_err(|_| invalid())?;
    number.checked_mul(unit).ok_or_else(invalid)
}

pub(super) fn network(field: &str, text: &str) -> Read<IpNet> {
    any_network(text).ok_or_else(|| {
        let what = format!("{} is neither an address nor a network", quoted(text));
        Flaw::new(field, what, "write it as 10.0.0.0/8 or 2001:db8::/32")
    })
}

/// An address or a network. v4-mapped v6 is v4.
pub(in crate::translate) fn any_network(text: &str) -> Option<IpNet> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let canonical = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map(IpNet::V4);
    Some(canonical.unwrap_or(network).trunc())
}

/// A path with a query perhaps, as a request line has it.
pub(in crate::translate) fn is_check_path(text: &str) -> bool {
    // Of the visible ones, those that a request line cannot hold.
    let sendable = |byte| (b'!'..=b'~').contains(&byte) && !b"\"#<>`".contains(&byte);
    text.starts_with('/') && text.len() <= 1024 && text.bytes().all(sendable)
}

pub(super) fn number(field: &str, value: i32, range: RangeInclusive<u32>) -> Read<u32> {
    u32::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| {
        let (from, to) = range.into_inner();
        Flaw::new(field, format!("{value} is not from {from} to {to}"), "correct it")
    })
}

/// The name of a header field, in lower case.
pub(super) fn field_name(field: &str, text: &str) -> Read<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
    if (1..=256).contains(&text.len()) && text.bytes().all(token) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Flaw::new(field, format!("{} is not the name of a header field", quoted(text)), "write it as X-Api-Key"))
}

/// A method, in upper case, perhaps with dashes.
pub(super) fn method(field: &str, text: &str) -> Read<String> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    if text.len() <= 32 && text.split('-').all(word) {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(field, format!("{} is not a method", quoted(text)), "write it in upper case, as GET"))
}

/// A status from 100 to 599, or a range of them.
pub(super) fn statuses(field: &str, text: &str) -> Read<(u16, u16)> {
    let status = |text: &str| -> Option<u16> {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|status| digits && (100..=599).contains(status))
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    status(from).zip(status(to)).filter(|(from, to)| from <= to).ok_or_else(|| {
        Flaw::new(field, format!("{} is neither a status nor a range of them", quoted(text)), "write it as 200-299")
    })
}

/// Reads each element of a list that has at least one; its field is that of the list with its place.
pub(super) fn each<T>(field: &str, list: &[String], read: impl Fn(&str, &str) -> Read<T>) -> Read<Vec<T>> {
    if list.is_empty() {
        return Err(Flaw::new(field, "the list is empty", "add an entry or remove the field"));
    }
    list.iter().enumerate().map(|(index, text)| read(&format!("{field}[{index}]"), text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_one_to_four_numbers_with_units() {
        let millis = |text| duration("f", text).map(|duration| duration.as_millis()).ok();
        for (text, expected) in [
            ("1ms", 1),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("99999h", 99_999 * 3_600_000),
            ("0h0m1s500ms", 1_500),
            ("0s1ms", 1),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in ["", "0s", "5", "s", "-1s", "1.5h", "100000s", "1h1m1s1ms1ms", "1d", " 1s", "1s ", "5S", "٥s"] {
            assert_eq!(millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_have_one_unit_and_are_at_least_1() {
        for (text, expected) in [
            ("1", 1),
            ("512", 512),
            ("64Ki", 64 << 10),
            ("8Mi", 8 << 20),
            ("1Gi", 1 << 30),
            ("2Ti", 2 << 40),
            ("3k", 3_000),
            ("3M", 3_000_000),
            ("3G", 3_000_000_000),
            ("3T", 3_000_000_000_000),
            ("999999999999", 999_999_999_999),
            ("16777215Ti", 16_777_215 << 40),
        ] {
            assert_eq!(size("f", text), Ok(expected), "{text}");
        }
        for text in ["", "0", "01", "Ki", "-1", "1.5Mi", "1KB", "8m", "8mi", "1000000000000", "16777216Ti", " 1"] {
            assert!(size("f", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn networks_are_canonical() {
        let shown = |text| network("f", text).map(|network| network.to_string()).ok();
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::ffff:0.0.0.0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "x", "10.0.0.0/", " 10.0.0.1", "010.0.0.1"] {
            assert_eq!(shown(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_within_their_range() {
        assert_eq!(number("f", 1, 1..=5), Ok(1));
        assert_eq!(number("f", 5, 1..=5), Ok(5));
        for value in [0, 6, -1] {
            assert_eq!(number("f", value, 1..=5).unwrap_err().what, format!("{value} is not from 1 to 5"));
        }
    }

    #[test]
    fn field_names_are_tokens_in_lower_case() {
        assert_eq!(field_name("f", "X-Api_Key.1!").as_deref(), Ok("x-api_key.1!"));
        assert!(field_name("f", &"x".repeat(256)).is_ok());
        for text in ["", "a b", "a:b", "ä", "a(b)", &"x".repeat(257)] {
            assert!(field_name("f", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn methods_are_in_upper_case() {
        for text in ["GET", "CONNECT", "VERSION-CONTROL", &"A".repeat(32)] {
            assert!(method("f", text).is_ok(), "{text}");
        }
        for text in ["", "get", "GET ", "-", "A-", "-A", "A--B", "G1", &"A".repeat(33)] {
            assert!(method("f", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn statuses_are_one_or_a_range() {
        assert_eq!(statuses("f", "200"), Ok((200, 200)));
        assert_eq!(statuses("f", "200-299"), Ok((200, 299)));
        assert_eq!(statuses("f", "100-599"), Ok((100, 599)));
        for text in ["", "99", "099", "600", "299-200", "200-", "-200", "200-600", "+20", "200-299-300", "2xx"] {
            assert!(statuses("f", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lists_have_an_entry_and_name_the_one_that_is_wrong() {
        let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(each("f", &list(&["GET", "PUT"]), method), Ok(list(&["GET", "PUT"])));
        assert_eq!(each("f", &list(&["GET", "put"]), method).unwrap_err().field, "f[1]");
        assert_eq!(each("f", &[], method).unwrap_err().field, "f");
    }
}
