//! Whole numbers as flag values: the number, or the range it must lie in.

use std::ops::RangeInclusive;

/// A parser of numbers in `range`.
pub(super) fn within<T>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| complaint(&range))
    }
}

/// A port to listen on.
pub fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "not a port; write a number from 1 to 65535, or 0 for any free one".into())
}

fn complaint(range: &RangeInclusive<u64>) -> String {
    let (least, most) = (range.start(), range.end());
    match *most >= u64::from(u32::MAX) {
        true => format!("write a whole number, {least} or more"),
        false => format!("write a whole number from {least} to {most}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_are_in_it() {
        let parse = within::<u16>(1..=1024);
        assert_eq!((parse("1"), parse("1024")), (Ok(1), Ok(1024)));
        for text in ["0", "1025", "70000", "-1", "1.5", "", "x", "99999999999999999999"] {
            assert_eq!(parse(text), Err("write a whole number from 1 to 1024".into()), "{text}");
        }
    }

    #[test]
    fn what_the_type_cannot_hold_is_refused() {
        let parse = within::<u32>(1..=u64::MAX);
        assert_eq!(parse("4294967296"), Err("write a whole number, 1 or more".into()));
    }

    #[test]
    fn zero_is_any_port() {
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
        for text in ["65536", "http", "", "-1", "tcp://10.0.0.1:80"] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
