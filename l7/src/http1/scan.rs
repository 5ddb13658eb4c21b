//! Where a head ends, and whether its lines are lines.
//!
//! This pass comes before any parser, because parsers are kind: `httparse` takes a bare LF for a
//! line end, and a backend that does not would see another message than we do.

use http::StatusCode;

use super::reject::{Reject, Rule};
use crate::limits::{HEAD_BYTES, METHOD_BYTES, TARGET_BYTES};

/// The longest first line that is no request with too long a target.
const START_LINE_BYTES: usize = METHOD_BYTES + TARGET_BYTES + " HTTP/1.1 \r\n".len();

/// Finds the end of a head in a growing buffer, looking at each byte once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scanner {
    /// Bytes already judged.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    /// Length of the empty line before the head: 0 or 2.
    skipped: usize,
}

/// A head found in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where its first line begins: 2 after an empty line, else 0.
    pub start: usize,
    /// One past its closing empty line.
    pub end: usize,
}

impl Scanner {
    /// Judges the bytes that came since the last call on the same, grown `bytes`.
    ///
    /// `Ok(None)` asks for more.
    ///
    /// # Errors
    /// R06 for a CR or LF alone, R07 for a line that begins with white space, R18 for too much.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<Extent>, Reject> {
        while let Some(offset) =
            bytes.get(self.seen..).and_then(|rest| memchr::memchr2(b'\r', b'\n', rest))
        {
            let at = self.seen + offset;
            if at >= HEAD_BYTES {
                break;
            }
            match (bytes.get(at), bytes.get(at + 1)) {
                (Some(b'\n'), _) => return Err(Reject::bad(Rule::R06, "bare LF in the head")),
                (_, Some(b'\n')) => {}
                (_, Some(_)) => return Err(Reject::bad(Rule::R06, "bare CR in the head")),
                (_, None) => {
                    self.seen = at;
                    return self.too_long(bytes.len());
                }
            }
            let (begin, next) = (self.line, at + 2);
            self.seen = next;
            self.line = next;
            if at == begin {
                if begin > self.skipped {
                    return self.complete(next);
                }
                // RFC 9112 section 2.2: at least one empty line before the request line is ignored.
                // We ignore exactly one.
                if begin > 0 {
                    return Err(Reject::bad(Rule::R07, "empty lines before the head"));
                }
                self.skipped = next;
            } else if matches!(bytes.get(begin), Some(b' ' | b'\t')) {
                return Err(Reject::bad(Rule::R07, "a line begins with white space"));
            } else if begin == self.skipped && next - begin > START_LINE_BYTES {
                return Err(TARGET_TOO_LONG);
            }
        }
        self.seen = bytes.len();
        self.too_long(bytes.len())
    }

    fn complete(&self, end: usize) -> Result<Option<Extent>, Reject> {
        if end > HEAD_BYTES {
            return Err(HEAD_TOO_LONG);
        }
        Ok(Some(Extent { start: self.skipped, end }))
    }

    /// Whether an unfinished head of `len` bytes can still become a good one.
    fn too_long(&self, len: usize) -> Result<Option<Extent>, Reject> {
        if self.line == self.skipped && len - self.line > START_LINE_BYTES {
            return Err(TARGET_TOO_LONG);
        }
        if len >= HEAD_BYTES {
            return Err(HEAD_TOO_LONG);
        }
        Ok(None)
    }
}

/// The answer to a target over [`TARGET_BYTES`].
pub(super) const TARGET_TOO_LONG: Reject =
    Reject::new(Rule::R18, StatusCode::URI_TOO_LONG, "the request target is too long");
const HEAD_TOO_LONG: Reject =
    Reject::new(Rule::R18, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long");

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<Extent>, Reject> {
        Scanner::default().scan(bytes)
    }

    /// Every split gives the same verdict as the whole.
    fn bytewise(bytes: &[u8]) -> Result<Option<Extent>, Reject> {
        let mut scanner = Scanner::default();
        for end in 0..=bytes.len() {
            match scanner.scan(&bytes[..end]) {
                Ok(None) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    #[test]
    fn r06_only_crlf_ends_a_line() {
        for (bytes, verdict) in [
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n", Ok(Some(Extent { start: 0, end: 24 }))),
            ("GET / HTTP/1.1\r\n\r\nrest", Ok(Some(Extent { start: 0, end: 18 }))),
            ("GET / HTTP/1.1\r\nA: b\r\n", Ok(None)),
            ("GET / HTTP/1.1\n\n", Err(Rule::R06)),
            ("GET / HTTP/1.1\r\nA: b\n\r\n", Err(Rule::R06)),
            ("GET / HTTP/1.1\r\nA: b\r\n\n", Err(Rule::R06)),
            ("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", Err(Rule::R06)),
            ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", Err(Rule::R06)),
            ("GET / HTTP/1.1\r\rX", Err(Rule::R06)),
        ] {
            assert_eq!(whole(bytes.as_bytes()).map_err(|r| r.rule), verdict, "{bytes:?}");
            assert_eq!(bytewise(bytes.as_bytes()).map_err(|r| r.rule), verdict, "{bytes:?}");
        }
    }

    #[test]
    fn r07_no_line_begins_with_white_space_and_one_empty_line_is_forgiven() {
        for (bytes, verdict) in [
            ("\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some(Extent { start: 2, end: 20 }))),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Err(Rule::R07)),
            (" GET / HTTP/1.1\r\n\r\n", Err(Rule::R07)),
            ("GET / HTTP/1.1\r\n A: b\r\n\r\n", Err(Rule::R07)),
            ("GET / HTTP/1.1\r\nA: b\r\n\tfold\r\n\r\n", Err(Rule::R07)),
        ] {
            assert_eq!(whole(bytes.as_bytes()).map_err(|r| r.rule), verdict, "{bytes:?}");
            assert_eq!(bytewise(bytes.as_bytes()).map_err(|r| r.rule), verdict, "{bytes:?}");
        }
    }

    #[test]
    fn r18_a_head_of_the_limit_passes_and_one_byte_more_does_not() {
        for (extra, status) in [(0, None), (1, Some(431)), (70_000, Some(431))] {
            let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
            let pad = "a".repeat(HEAD_BYTES - frame + extra);
            let head = format!("GET / HTTP/1.1\r\nA: {pad}\r\n\r\n");
            for verdict in [whole(head.as_bytes()), bytewise(head.as_bytes())] {
                assert_eq!(verdict.err().map(|r| r.status.as_u16()), status, "{extra}");
            }
        }
    }

    #[test]
    fn r18_an_endless_first_line_is_refused_before_the_head_limit() {
        let line = format!("GET /{}", "a".repeat(START_LINE_BYTES));
        assert_eq!(bytewise(line.as_bytes()).unwrap_err().status, 414);
    }
}
