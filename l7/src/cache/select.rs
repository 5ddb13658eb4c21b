//! What of a kept answer a request gets: all, its head, a part, or that nothing changed.

use bytes::Bytes;
use http::StatusCode;

use super::lines::{self, Lines, Text};
use super::stored::{Stored, same_strongly, same_weakly};
use super::{Time, date};
use crate::http1::chars::{self, trim};
use crate::http1::encode::push_decimal;

/// What a request makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// 304.
    Unchanged,
    /// 206: from the first to before the last.
    Range(usize, usize),
    /// 416.
    OutOfRange,
}

/// Fields that a 304 has (RFC 9110 section 15.4.5). Those that describe the body are not sent again.
const OF_UNCHANGED: [&str; 8] = [
    "cache-control",
    "content-location",
    "date",
    "etag",
    "expires",
    "vary",
    "last-modified",
    "cdn-cache-control",
];

/// The text of the head, and the body, of what a request with `fields` gets of `stored` now. `status` is
/// the value of our `Cache-Status`.
pub(super) fn answer(
    stored: &Stored,
    fields: &impl Lines,
    is_head: bool,
    status: &[u8],
    now: Time,
) -> (Vec<u8>, Bytes) {
    let part = part(stored, fields, is_head);
    let mut head = Vec::with_capacity(stored.fields.len() + status.len() + 160);
    let code = match part {
        Part::Whole => stored.status,
        Part::Unchanged => StatusCode::NOT_MODIFIED,
        Part::Range(..) => StatusCode::PARTIAL_CONTENT,
        Part::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    let reason = code.canonical_reason().unwrap_or_default();
    for text in ["HTTP/1.1 ", code.as_str(), " ", reason, "\r\n"] {
        head.extend_from_slice(text.as_bytes());
    }
    let body = match part {
        Part::Whole | Part::Range(..) => {
            head.extend_from_slice(&stored.fields);
            match part {
                Part::Range(begin, end) => {
                    push_range(Some((begin, end)), stored.body.len(), &mut head);
                    stored.body.slice(begin..end)
                }
                _ => stored.body.clone(),
            }
        }
        Part::Unchanged | Part::OutOfRange => {
            let text = Text::new(&stored.fields);
            let kept = |name: &str| OF_UNCHANGED.iter().any(|it| it.eq_ignore_ascii_case(name));
            for (name, value) in text.all().filter(|(name, _)| kept(name)) {
                lines::push(name, value, &mut head);
            }
            if part == Part::OutOfRange {
                push_range(None, stored.body.len(), &mut head);
            }
            Bytes::new()
        }
    };
    push_number("Age", stored.freshness.age(now).as_secs(), &mut head);
    lines::push("Cache-Status", status, &mut head);
    // RFC 9110 section 8.6.
    if part != Part::Unchanged && code != StatusCode::NO_CONTENT {
        push_number("Content-Length", body.len() as u64, &mut head);
    }
    head.extend_from_slice(b"\r\n");
    (head, if is_head { Bytes::new() } else { body })
}

fn push_number(name: &str, value: u64, head: &mut Vec<u8>) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    push_decimal(value, head);
    head.extend_from_slice(b"\r\n");
}

fn push_range(range: Option<(usize, usize)>, len: usize, head: &mut Vec<u8>) {
    head.extend_from_slice(b"Content-Range: bytes ");
    match range {
        Some((begin, end)) => {
            push_decimal(begin as u64, head);
            head.push(b'-');
            push_decimal(end.saturating_sub(1) as u64, head);
        }
        None => head.push(b'*'),
    }
    head.push(b'/');
    push_decimal(len as u64, head);
    head.extend_from_slice(b"\r\n");
}

/// RFC 9110 section 13.2.2, as far as caches go (RFC 9111 section 4.3.2).
fn part(stored: &Stored, fields: &impl Lines, is_head: bool) -> Part {
    // Section 13.2.1: only where the answer would be a good one.
    if stored.status != StatusCode::OK {
        return Part::Whole;
    }
    if is_unchanged(stored, fields) {
        return Part::Unchanged;
    }
    // Section 14.2: for GET alone.
    match fields.single("range") {
        Some(range) if !is_head && is_current(stored, fields) => ranged(range, stored.body.len()),
        _ => Part::Whole,
    }
}

fn is_unchanged(stored: &Stored, fields: &impl Lines) -> bool {
    let mut tags = fields.lines("if-none-match").peekable();
    if tags.peek().is_some() {
        let etag = stored.etag.as_deref();
        let mut members = tags.flat_map(chars::members);
        return members.any(|tag| tag == b"*" || etag.is_some_and(|etag| same_weakly(tag, etag)));
    }
    let Some(since) = fields.single("if-modified-since").and_then(date::parse) else {
        return false;
    };
    // RFC 9111 section 4.3.2: in the place of a missing `Last-Modified`, the date.
    let modified = stored.modified.as_deref();
    modified.map_or(Some(stored.date), date::parse).is_some_and(|modified| modified <= since)
}

/// Whether `If-Range`, if it is there, means the answer that is kept (RFC 9110 section 13.1.5).
fn is_current(stored: &Stored, fields: &impl Lines) -> bool {
    let Some(condition) = fields.lines("if-range").next() else { return true };
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        return stored.etag.as_deref().is_some_and(|etag| same_strongly(etag, condition));
    }
    // Section 8.8.2.2: a date is strong if the answer was made a while later.
    let modified = stored.modified.as_deref();
    let strong = modified
        .and_then(date::parse)
        .is_some_and(|modified| stored.date.saturating_sub(modified).as_secs() >= 1);
    strong && modified == Some(condition)
}

/// The one range that is asked for. What is no range of bytes is ignored, and so are several at once
/// (RFC 9110 section 14.2 allows both).
fn ranged(range: &[u8], len: usize) -> Part {
    let Some((unit, spec)) = range.split_at_checked(6) else { return Part::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Part::Whole;
    }
    let spec = trim(spec);
    let Some(dash) = spec.iter().position(|&byte| byte == b'-') else { return Part::Whole };
    let (first, last) = spec.split_at(dash);
    let last = last.get(1..).unwrap_or_default();
    match (position(first), position(last)) {
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), None) if !last.is_empty() || first >= len => {
            if last.is_empty() {
                Part::OutOfRange
            } else {
                Part::Whole
            }
        }
        (Some(first), _) if first >= len => Part::OutOfRange,
        (Some(first), Some(last)) => Part::Range(first, last.saturating_add(1).min(len)),
        (Some(first), None) => Part::Range(first, len),
        (None, Some(count)) if first.is_empty() => match count.min(len) {
            0 => Part::OutOfRange,
            count => Part::Range(len - count, len),
        },
        _ => Part::Whole,
    }
}

fn position(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: usize, b: &u8| sum.saturating_mul(10).saturating_add(usize::from(b - b'0'));
    Some(digits.iter().fold(0, digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 section 14.1.2, of an answer of ten bytes.
    #[test]
    fn ranges_of_bytes() {
        for (range, expected) in [
            ("bytes=0-1", Part::Range(0, 2)),
            ("Bytes=0-0", Part::Range(0, 1)),
            ("bytes=1-", Part::Range(1, 10)),
            ("bytes=-3", Part::Range(7, 10)),
            ("bytes=-30", Part::Range(0, 10)),
            ("bytes=0-99999999999999999999999", Part::Range(0, 10)),
            ("bytes=9-9", Part::Range(9, 10)),
            ("bytes=10-", Part::OutOfRange),
            ("bytes=10-12", Part::OutOfRange),
            ("bytes=-0", Part::OutOfRange),
            // Not ranges of bytes, or several: ignored.
            ("bytes=2-1", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=1-b", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(ranged(range.as_bytes(), 10), expected, "{range}");
        }
        assert_eq!(ranged(b"bytes=0-", 0), Part::OutOfRange);
    }
}
