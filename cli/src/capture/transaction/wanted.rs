//! Which requests are captured.

use std::fmt;
use std::time::Duration;

use l7::transaction::Transaction;

/// Which requests are captured: those of which all of this holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of the service of this number.
    pub service: Option<u16>,
    /// Asking for this.
    pub request: RequestPattern,
    /// Answered so.
    pub status: Option<StatusPattern>,
    /// That took this long, or longer.
    pub slow: Option<Duration>,
}

impl Wanted {
    /// True for a request that is wanted.
    pub fn has(&self, transaction: &Transaction) -> bool {
        self.service.is_none_or(|service| service == transaction.service)
            && self.request.matches(&transaction.method, &transaction.target)
            && self.status.is_none_or(|status| status.matches(transaction.status))
            && self.slow.is_none_or(|slow| transaction.duration >= slow)
    }
}

/// A method and a target, as `GET /path*`: either may be left out, and `*` in the target stands for
/// anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPattern {
    method: Option<String>,
    target: Option<String>,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest;

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a request: write it as `GET /path*`, `POST` or `/path`")
    }
}

impl std::error::Error for BadRequest {}

impl RequestPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is neither a method, nor a target, nor one behind the other.
    pub fn parse(text: &str) -> Result<Self, BadRequest> {
        let mut words = text.split_ascii_whitespace();
        let (first, second) = (words.next().ok_or(BadRequest)?, words.next());
        let is_target = |word: &str| word.starts_with('/') || word.starts_with('*');
        let is_method = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let (method, target) = match (first, second) {
            (target, None) if is_target(target) => (None, Some(target)),
            (method, None) if is_method(method) => (Some(method), None),
            (method, Some(target)) if is_method(method) && is_target(target) => {
                (Some(method), Some(target))
            }
            _ => return Err(BadRequest),
        };
        if words.next().is_some() {
            return Err(BadRequest);
        }
        Ok(Self { method: method.map(str::to_owned), target: target.map(str::to_owned) })
    }

    /// True if a request of this method and target is meant.
    pub fn matches(&self, method: &str, target: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.target.as_deref().is_none_or(|wanted| is_like(target, wanted))
    }
}

/// True if `text` is what `pattern` says, whose `*` each stand for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        // The first place is as good as any: what follows has the most room behind it.
        let Some(at) = text.find(piece) else { return false };
        text = text.get(at + piece.len()..).unwrap_or_default();
    }
    true
}

/// A status, or all of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPattern {
    /// This one.
    Exactly(u16),
    /// All that begin with this digit.
    Class(u16),
}

impl StatusPattern {
    /// Reads `503` or `5xx`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix("xx") {
            Some(digit) => digit.parse().ok().filter(|d| (1..=5).contains(d)).map(Self::Class),
            None => text.parse().ok().filter(|s| (100..600).contains(s)).map(Self::Exactly),
        }
    }

    /// True for a request that was answered so. One that was not answered at all has no status.
    pub fn matches(self, status: Option<u16>) -> bool {
        status.is_some_and(|status| match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Class(digit) => status / 100 == digit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_method_a_target_or_both() {
        for (pattern, method, target, matches) in [
            ("GET /a*", "GET", "/a/b?c", true),
            ("GET /a*", "GET", "/b/a", false),
            ("GET /a*", "POST", "/a", false),
            ("POST", "POST", "/x", true),
            ("/a", "PUT", "/a", true),
            ("/a", "PUT", "/ab", false),
            ("/a*z", "GET", "/abcz", true),
            ("/a*z", "GET", "/abcz?", false),
            ("*.png", "GET", "/i/x.png", true),
            ("/a*b*c", "GET", "/a-b-b-c", true),
            ("/a*b*c", "GET", "/a-c-b", false),
            ("*", "GET", "", true),
        ] {
            let parsed = RequestPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(method, target), matches, "{pattern}: {method} {target}");
        }
        assert!(RequestPattern::default().matches("", ""));
        for bad in ["", "get /", "GET a", "GET / HTTP/1.1", "/a GET"] {
            assert_eq!(RequestPattern::parse(bad), Err(BadRequest), "{bad}");
        }
    }

    #[test]
    fn a_status_is_one_or_a_hundred() {
        let five = StatusPattern::parse("5xx").unwrap();
        assert!(five.matches(Some(500)) && five.matches(Some(599)));
        assert!(!five.matches(Some(404)) && !five.matches(None));
        assert_eq!(StatusPattern::parse("404"), Some(StatusPattern::Exactly(404)));
        for bad in ["", "xx", "6xx", "5x", "99", "600", "ok"] {
            assert_eq!(StatusPattern::parse(bad), None, "{bad}");
        }
    }
}
