//! Points in time as text. The text of a second is made once and used for all lines of that second.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

use super::digits;

/// The text of the last second that was asked for.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Since the Unix epoch. 0 in a new clock, whose texts are empty.
    second: u64,
    /// `2026-01-31T23:59:59`
    rfc3339: Vec<u8>,
    /// `31/Jan/2026:23:59:59`
    common: Vec<u8>,
}

/// The last second of the year 9999, which is the last that all formats can write.
const LAST_SECOND: u64 = 253_402_300_799;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

impl Clock {
    /// RFC 3339, UTC, with milliseconds.
    pub(super) fn rfc3339(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let millis = self.set(time);
        out.extend_from_slice(&self.rfc3339);
        out.push(b'.');
        digits::three(out, millis);
        out.push(b'Z');
    }

    /// The common log format's, UTC, with seconds.
    pub(super) fn common(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        self.set(time);
        out.extend_from_slice(&self.common);
        out.extend_from_slice(b" +0000");
    }

    /// Makes the texts those of `time`; returns its milliseconds.
    fn set(&mut self, time: SystemTime) -> u64 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(LAST_SECOND);
        if second != self.second || self.rfc3339.is_empty() {
            self.second = second;
            self.write(second);
        }
        since.subsec_millis().into()
    }

    fn write(&mut self, second: u64) {
        // `Sat, 31 Jan 2026 23:59:59 GMT`
        let mut date = [0; 29];
        let shown = HttpDate::from(UNIX_EPOCH + Duration::from_secs(second));
        write!(&mut date[..], "{shown}").expect("an HTTP date has 29 bytes");
        let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
        let number = 1 + MONTHS.iter().position(|name| *name == month).unwrap_or_default() as u8;
        let number = [b'0' + number / 10, b'0' + number % 10];
        replace(&mut self.rfc3339, &[year, b"-", &number, b"-", day, b"T", time]);
        replace(&mut self.common, &[day, b"/", month, b"/", year, b":", time]);
    }
}

fn replace(text: &mut Vec<u8>, parts: &[&[u8]]) {
    text.clear();
    for part in parts {
        text.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(clock: &mut Clock, time: SystemTime) -> (String, String) {
        let (mut rfc3339, mut common) = (Vec::new(), Vec::new());
        clock.rfc3339(&mut rfc3339, time);
        clock.common(&mut common, time);
        (String::from_utf8(rfc3339).unwrap(), String::from_utf8(common).unwrap())
    }

    #[test]
    fn one_clock_writes_any_time_in_any_order() {
        let clock = &mut Clock::default();
        for (millis, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z", "29/Feb/2024:23:59:59 +0000"),
            (1_709_251_199_007, "2024-02-29T23:59:59.007Z", "29/Feb/2024:23:59:59 +0000"),
            (1_709_251_200_010, "2024-03-01T00:00:00.010Z", "01/Mar/2024:00:00:00 +0000"),
            (1_798_761_599_000, "2026-12-31T23:59:59.000Z", "31/Dec/2026:23:59:59 +0000"),
            (500, "1970-01-01T00:00:00.500Z", "01/Jan/1970:00:00:00 +0000"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(texts(clock, time), (rfc3339.to_owned(), common.to_owned()));
        }
    }

    #[test]
    fn times_that_no_format_has_are_moved_to_the_nearest_that_has() {
        let clock = &mut Clock::default();
        assert_eq!(texts(clock, UNIX_EPOCH - Duration::from_secs(5)).0, "1970-01-01T00:00:00.000Z");
        let far = UNIX_EPOCH + Duration::from_secs(LAST_SECOND + 1);
        assert_eq!(texts(clock, far).0, "9999-12-31T23:59:59.000Z");
    }
}
