//! Why a message was refused, and the bytes that say so.

use http::StatusCode;

/// The rules by which messages are judged.
///
/// | rule | about |
/// |---|---|
/// | R01 | `Content-Length` and `Transfer-Encoding` together |
/// | R02 | `Content-Length`: one field of digits, at most 2^63 - 1 |
/// | R03 | `Transfer-Encoding`: exactly `chunked`, in HTTP/1.1 only |
/// | R04 | messages are forwarded in our framing; what the second reading finds there is what was meant |
/// | R05 | chunk sizes and extensions; the body's size limit |
/// | R06 | lines end with CRLF; no bare CR or LF |
/// | R07 | field lines: no folding, no white space around names, tokens and values |
/// | R08 | request line |
/// | R09 | `Host`, absolute and authority targets |
/// | R10 | fields named in `Connection` |
/// | R11 | `Upgrade` |
/// | R12 | `Expect` |
/// | R13 | bodies of GET, HEAD, DELETE: framed and forwarded |
/// | R14 | pipelining: what follows an error is not served |
/// | R15 | responses that come before the end of the request |
/// | R16 | responses of backends |
/// | R17 | translation from and to HTTP/2 |
/// | R18 | limits |
/// | R19 | field names that become another when `_` is read as `-` |
/// | R20 | paths |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table above")]
pub enum Rule {
    R01,
    R02,
    R03,
    R04,
    R05,
    R06,
    R07,
    R08,
    R09,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    R16,
    R17,
    R18,
    R19,
    R20,
}

impl Rule {
    /// How many rules there are.
    pub const COUNT: usize = Self::NAMES.len();
    const NAMES: [&'static str; 20] = [
        "r01", "r02", "r03", "r04", "r05", "r06", "r07", "r08", "r09", "r10", "r11", "r12", "r13",
        "r14", "r15", "r16", "r17", "r18", "r19", "r20",
    ];

    /// The rule's name in logs, counters and answers: `r01` to `r20`.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).copied().unwrap_or("r00")
    }
}

/// A message refused: the rule, the status that tells the client, and what was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The rule that the message broke.
    pub rule: Rule,
    /// 400, or the more exact 405, 408, 413, 414, 417, 431, 501, 505; 502 for a response.
    pub status: StatusCode,
    /// A few words for the log and the answer's body.
    pub detail: &'static str,
}

impl Reject {
    /// A refusal with `status`.
    pub const fn new(rule: Rule, status: StatusCode, detail: &'static str) -> Self {
        Self { rule, status, detail }
    }

    /// A refusal with 400 (Bad Request).
    pub const fn bad(rule: Rule, detail: &'static str) -> Self {
        Self::new(rule, StatusCode::BAD_REQUEST, detail)
    }

    /// The same fault found in a backend's response: the client is not to blame, so 502.
    #[must_use]
    pub const fn in_response(self) -> Self {
        Self::new(self.rule, StatusCode::BAD_GATEWAY, self.detail)
    }

    /// Appends the whole answer to `out`. It always closes the connection (R14).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let allow = match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
            }
            _ => "",
        };
        let reason = self.status.canonical_reason().unwrap_or("Error");
        let body = format!("{} {reason}\n{}: {}\n", self.status.as_u16(), self.rule, self.detail);
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nConnection: close\r\n{allow}\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            self.status.as_u16(),
            body.len(),
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body.as_bytes());
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.rule, self.detail, self.status.as_u16())
    }
}

impl std::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_complete_and_closes() {
        let mut out = Vec::new();
        Reject::bad(Rule::R01, "both lengths").write_to(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 34\r\n\r\n\
             400 Bad Request\nr01: both lengths\n"
        );
    }

    #[test]
    fn method_not_allowed_names_the_allowed_ones() {
        let mut out = Vec::new();
        Reject::new(Rule::R09, StatusCode::METHOD_NOT_ALLOWED, "CONNECT").write_to(&mut out);
        assert!(String::from_utf8(out).unwrap().contains("\r\nAllow: GET,"));
    }

    #[test]
    fn every_rule_has_its_number_as_name() {
        assert_eq!(Rule::R01.name(), "r01");
        assert_eq!(Rule::R20.name(), "r20");
        assert_eq!(Rule::COUNT, 20);
    }
}
