//! Dates of HTTP (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime};

/// The longest date: `Wednesday, 09-Sep-98 00:00:00 GMT`.
const LONGEST: usize = 33;

/// The time from the Unix epoch that a date in one of the three forms means. None for what is not one, or
/// lies before the epoch. Letters may have any case: some servers write `GMT` small.
pub(super) fn parse(text: &[u8]) -> Option<Duration> {
    let mut letters = [0; LONGEST];
    let text = {
        let place = letters.get_mut(..text.len())?;
        place.copy_from_slice(text);
        place
    };
    let mut within = false;
    for byte in text.iter_mut() {
        *byte = if within { byte.to_ascii_lowercase() } else { byte.to_ascii_uppercase() };
        within = byte.is_ascii_alphabetic();
    }
    if let [.., b'G', m @ b'm', t @ b't'] = text {
        (*m, *t) = (b'M', b'T');
    }
    let date = httpdate::parse_http_date(str::from_utf8(text).ok()?).ok()?;
    date.duration_since(SystemTime::UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_mean_the_same() {
        let expected = Some(Duration::from_secs(784_111_777));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 NOV 1994 08:49:37 gMT",
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn all_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Thu, 01 Jan 1960 00:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT Sun, 06 Nov 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
