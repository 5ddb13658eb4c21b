//! Where a body ends (RFC 9112 section 6.3), by rules R1 to R3, R13 and R16.

use http::{Method, StatusCode, Version};

use super::chars;
use super::reject::{Reject, Rule};
use crate::limits::BODY_BYTES;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// This many bytes; zero for an explicit `Content-Length: 0`.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes until the connection ends; responses only.
    UntilClose,
}

impl Framing {
    /// Whether no byte of a body will follow.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// What the framing fields of a head say, gathered field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    length: Option<u64>,
    chunked: bool,
}

impl Declared {
    /// Takes a `Content-Length` field.
    ///
    /// # Errors
    /// R02 for anything but digits up to 2^63 - 1, and for a second field, equal or not.
    pub fn content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.length.is_some() {
            return Err(Reject::bad(Rule::R02, "several Content-Length fields"));
        }
        self.length = Some(parse_length(value)?);
        Ok(())
    }

    /// Takes a `Transfer-Encoding` field.
    ///
    /// # Errors
    /// R03 for anything but `chunked`: 501 for codings that exist, 400 for what is none, for `chunked`
    /// twice or before another, and for a second field.
    pub fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.chunked {
            return Err(Reject::bad(Rule::R03, "several Transfer-Encoding fields"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        if !lists_known_codings(value) {
            return Err(Reject::bad(Rule::R03, "Transfer-Encoding is not a list of codings"));
        }
        let status = StatusCode::NOT_IMPLEMENTED;
        Err(Reject::new(Rule::R03, status, "a transfer coding other than chunked"))
    }

    /// The framing of a request.
    ///
    /// # Errors
    /// R01 for both fields, R03 for `Transfer-Encoding` in HTTP/1.0.
    pub fn of_request(self, version: Version) -> Result<Framing, Reject> {
        self.consistent(version)?;
        Ok(match (self.chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        })
    }

    /// The framing of a response with `status` to a request with `method`.
    ///
    /// # Errors
    /// As for requests, with 502.
    pub fn of_response(
        self,
        version: Version,
        method: &Method,
        status: StatusCode,
    ) -> Result<Framing, Reject> {
        self.consistent(version).map_err(Reject::in_response)?;
        let never = status.is_informational() || status == StatusCode::NO_CONTENT;
        if never && (self.chunked || self.length.is_some_and(|length| length > 0)) {
            let detail = "a body is declared where there can be none";
            return Err(Reject::bad(Rule::R16, detail).in_response());
        }
        let bodiless = never || status == StatusCode::NOT_MODIFIED || *method == Method::HEAD;
        Ok(match (bodiless, self.chunked, self.length) {
            (true, ..) => Framing::None,
            (_, true, _) => Framing::Chunked,
            (_, _, Some(length)) => Framing::Length(length),
            _ => Framing::UntilClose,
        })
    }

    /// The length that was declared, whether or not a body follows.
    pub const fn length(self) -> Option<u64> {
        self.length
    }

    fn consistent(self, version: Version) -> Result<(), Reject> {
        if self.chunked && self.length.is_some() {
            let detail = "Content-Length and Transfer-Encoding together";
            return Err(Reject::bad(Rule::R01, detail));
        }
        if self.chunked && version == Version::HTTP_10 {
            return Err(Reject::bad(Rule::R03, "Transfer-Encoding in HTTP/1.0"));
        }
        Ok(())
    }
}

/// Transfer codings that exist (RFC 9112 section 12.3), besides `chunked`. A name that is none of them
/// is no coding that a client may hope for; it is one that some server takes for `chunked`.
const CODINGS: [&[u8]; 6] =
    [b"gzip", b"deflate", b"compress", b"x-gzip", b"x-compress", b"identity"];

/// Whether `value` names codings that exist, and `chunked` at most once and last.
fn lists_known_codings(value: &[u8]) -> bool {
    let mut others = 0;
    let mut members = chars::members(value);
    while let Some(member) = members.next() {
        if member.eq_ignore_ascii_case(b"chunked") {
            return others > 0 && members.next().is_none();
        }
        if !CODINGS.iter().any(|coding| coding.eq_ignore_ascii_case(member)) {
            return false;
        }
        others += 1;
    }
    others > 0
}

/// Digits only: no sign, no list, no white space.
fn parse_length(value: &[u8]) -> Result<u64, Reject> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::bad(Rule::R02, "Content-Length is not a number"));
    }
    value
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .filter(|&length| length <= BODY_BYTES)
        .ok_or(Reject::bad(Rule::R02, "Content-Length is too great"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)], version: Version) -> Result<Framing, (Rule, u16)> {
        let mut declared = Declared::default();
        let mut judge = || {
            for (name, value) in fields {
                match *name {
                    "cl" => declared.content_length(value.as_bytes())?,
                    _ => declared.transfer_encoding(value.as_bytes())?,
                }
            }
            declared.of_request(version)
        };
        judge().map_err(|reject: Reject| (reject.rule, reject.status.as_u16()))
    }

    #[test]
    fn r01_both_fields_are_refused_in_either_order() {
        for fields in [[("cl", "5"), ("te", "chunked")], [("te", "chunked"), ("cl", "5")]] {
            assert_eq!(request(&fields, Version::HTTP_11), Err((Rule::R01, 400)));
        }
    }

    #[test]
    fn r02_content_length_is_digits_once() {
        let top = "9223372036854775807";
        for (value, length) in [("0", 0), ("5", 5), ("007", 7), (top, i64::MAX as u64)] {
            let framing = request(&[("cl", value)], Version::HTTP_11);
            assert_eq!(framing, Ok(Framing::Length(length)), "{value}");
        }
        for value in [
            "",
            "+5",
            "-1",
            "5 ",
            " 5",
            "5,5",
            "5, 5",
            "0x5",
            "5_0",
            "1e3",
            "5;",
            "\u{661}",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            let framing = request(&[("cl", value)], Version::HTTP_11);
            assert_eq!(framing, Err((Rule::R02, 400)), "{value:?}");
        }
        let twice = request(&[("cl", "5"), ("cl", "5")], Version::HTTP_11);
        assert_eq!(twice, Err((Rule::R02, 400)));
    }

    #[test]
    fn r03_transfer_encoding_is_chunked_once_in_http_11() {
        for value in ["chunked", "Chunked", "CHUNKED"] {
            let framing = request(&[("te", value)], Version::HTTP_11);
            assert_eq!(framing, Ok(Framing::Chunked), "{value}");
        }
        for (value, status) in [
            ("gzip", 501),
            ("gzip, chunked", 501),
            ("identity", 501),
            ("identity, chunked", 501),
            ("chunked, gzip", 400),
            ("xchunked", 400),
            ("chunk", 400),
            ("chunked,", 400),
            ("chunked, chunked", 400),
            ("", 400),
            ("chunked;q=1", 400),
            ("\"chunked\"", 400),
            ("chun ked", 400),
            ("chunked\u{b}", 400),
        ] {
            let framing = request(&[("te", value)], Version::HTTP_11);
            assert_eq!(framing, Err((Rule::R03, status)), "{value:?}");
        }
        let twice = request(&[("te", "chunked"), ("te", "chunked")], Version::HTTP_11);
        assert_eq!(twice, Err((Rule::R03, 400)));
        assert_eq!(request(&[("te", "chunked")], Version::HTTP_10), Err((Rule::R03, 400)));
    }

    #[test]
    fn r13_any_method_may_have_a_body_and_none_has_one_by_default() {
        assert_eq!(request(&[], Version::HTTP_11), Ok(Framing::None));
        assert!(Framing::Length(0).is_empty() && !Framing::Chunked.is_empty());
    }

    #[test]
    fn r16_responses() {
        let of = |length: Option<&str>, chunked: bool, method: Method, status: u16| {
            let mut declared = Declared::default();
            if let Some(length) = length {
                declared.content_length(length.as_bytes()).unwrap();
            }
            if chunked {
                declared.transfer_encoding(b"chunked").unwrap();
            }
            let status = StatusCode::from_u16(status).unwrap();
            declared
                .of_response(Version::HTTP_11, &method, status)
                .map_err(|reject| (reject.rule, reject.status.as_u16()))
        };
        assert_eq!(of(Some("5"), false, Method::GET, 200), Ok(Framing::Length(5)));
        assert_eq!(of(None, true, Method::GET, 200), Ok(Framing::Chunked));
        assert_eq!(of(None, false, Method::GET, 200), Ok(Framing::UntilClose));
        assert_eq!(of(Some("5"), false, Method::HEAD, 200), Ok(Framing::None));
        assert_eq!(of(Some("5"), false, Method::GET, 304), Ok(Framing::None));
        assert_eq!(of(None, false, Method::GET, 204), Ok(Framing::None));
        assert_eq!(of(None, false, Method::GET, 103), Ok(Framing::None));
        assert_eq!(of(Some("5"), true, Method::GET, 200), Err((Rule::R01, 502)));
    }
}
