//! Numbers and times as digits, written without asking for memory.

use std::cell::Cell;
use std::time::Duration;

use super::escape::HEX;
use crate::http1::encode::push_decimal as decimal;

/// Appends milliseconds with three decimals: `1.250`.
pub(super) fn millis(duration: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    decimal(micros / 1000, out);
    out.push(b'.');
    padded::<3>(micros % 1000, out);
}

/// Appends `bytes` in hexadecimal.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
}

/// Appends the last `N` decimal digits of `value`.
fn padded<const N: usize>(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

/// A second of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    /// The date of `unix` seconds from the Unix epoch.
    ///
    /// Years are counted from March, so that the leap day is the last of its year, and in eras of 400
    /// years, which all have the same number of days.
    const fn of(unix: u64) -> Self {
        const DAYS_OF_ERA: u64 = 146_097;
        // The first of March of the year 0 is that long before the Unix epoch.
        let days = unix / 86_400 + 719_468;
        let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + (month <= 2) as u64;
        let of_day = unix % 86_400;
        Self {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }
}

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Writes times, and remembers the date of the last second: most requests come in the same one.
#[derive(Debug, Default)]
pub(super) struct Calendar(Cell<Option<(u64, Civil)>>);

impl Calendar {
    fn civil(&self, unix: u64) -> Civil {
        match self.0.get() {
            Some((known, civil)) if known == unix => civil,
            _ => {
                let civil = Civil::of(unix);
                self.0.set(Some((unix, civil)));
                civil
            }
        }
    }

    /// Appends a time from the Unix epoch as ISO 8601 has it: `2026-11-21T22:56:50.123Z`.
    pub(super) fn iso(&self, time: Duration, out: &mut Vec<u8>) {
        let civil = self.civil(time.as_secs());
        padded::<4>(civil.year, out);
        for (mark, part) in [
            (b'-', civil.month),
            (b'-', civil.day),
            (b'T', civil.hour),
            (b':', civil.minute),
            (b':', civil.second),
        ] {
            out.push(mark);
            padded::<2>(part, out);
        }
        out.push(b'.');
        padded::<3>(u64::from(time.subsec_millis()), out);
        out.push(b'Z');
    }

    /// Appends it as the Common Log Format does: `21/Nov/2026:22:56:50 +0000`.
    pub(super) fn clf(&self, time: Duration, out: &mut Vec<u8>) {
        let civil = self.civil(time.as_secs());
        padded::<2>(civil.day, out);
        out.push(b'/');
        let month = usize::try_from(civil.month).unwrap_or_default();
        out.extend_from_slice(MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or_default());
        out.push(b'/');
        padded::<4>(civil.year, out);
        for part in [civil.hour, civil.minute, civil.second] {
            out.push(b':');
            padded::<2>(part, out);
        }
        out.extend_from_slice(b" +0000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        // Checked with `date -u -d @SECONDS`.
        let calendar = Calendar::default();
        for (seconds, iso, clf) in [
            (0, "1970-01-01T00:00:00.007Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "2000-02-28T23:59:59.007Z", "28/Feb/2000:23:59:59 +0000"),
            (951_868_799, "2000-02-29T23:59:59.007Z", "29/Feb/2000:23:59:59 +0000"),
            (951_868_800, "2000-03-01T00:00:00.007Z", "01/Mar/2000:00:00:00 +0000"),
            (1_795_301_810, "2026-11-21T22:56:50.007Z", "21/Nov/2026:22:56:50 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            let time = Duration::from_secs(seconds) + Duration::from_millis(7);
            assert_eq!(written(|out| calendar.iso(time, out)), iso);
            assert_eq!(written(|out| calendar.clf(time, out)), clf);
        }
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for value in [0, 7, 10, 12_345, u64::MAX] {
            assert_eq!(written(|out| decimal(value, out)), value.to_string());
        }
        assert_eq!(written(|out| millis(Duration::from_nanos(1_250_999), out)), "1.250");
        assert_eq!(written(|out| millis(Duration::from_secs(61), out)), "61000.000");
        assert_eq!(written(|out| hex(&[0, 0xa7, 0xff], out)), "00a7ff");
    }
}
