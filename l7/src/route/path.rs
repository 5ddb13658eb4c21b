//! Patterns of paths, and what they capture.

use std::fmt;
use std::ops::Range;

use regex::bytes::Regex;

use crate::http1::target;

/// Captures that a pattern may have.
pub(super) const CAPTURES: usize = 8;

/// What `*` at the end of a path is called in templates.
pub const REST: &str = "rest";

/// Memory that a compiled regular expression may take, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// Which paths.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Those of these segments: `/`, `/a/b`, `/users/{id}/*`.
    Segments(Segments),
    /// Those in which a regular expression finds something.
    Regex(Regex),
}

/// Segments of a path, some of which may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// As it was written.
    text: Box<str>,
    parts: Vec<Part>,
    /// How the last segment begins, if any rest may follow.
    rest: Option<Box<[u8]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    /// One segment that is not empty.
    Capture(Box<str>),
}

/// Why a text is no pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with `/`.
    NoSlash,
    /// `*` stands elsewhere than at the end.
    Star,
    /// `{` and `}` are not around the name of a whole segment: letters, digits, `-` and `_`.
    Braces,
    /// Two captures have the same name, or one is called `rest`.
    SameName(String),
    /// There are more than `CAPTURES`.
    TooMany,
    /// No request has such a path; this is the form that it has once it is normalised, if it has any.
    NotNormal(Option<String>),
    /// The regular expression is none, or too large.
    Regex(String),
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash => f.write_str("a path begins with `/`"),
            Self::Star => f.write_str("`*` stands at the end alone"),
            Self::Braces => f.write_str("`{` and `}` are around the name of a whole segment"),
            Self::SameName(name) => write!(f, "`{name}` would be captured twice"),
            Self::TooMany => write!(f, "a path captures at most {CAPTURES} segments"),
            Self::NotNormal(Some(normal)) => write!(f, "requests have this path as `{normal}`"),
            Self::NotNormal(None) => f.write_str("no request has such a path"),
            Self::Regex(error) => write!(f, "not a regular expression: {error}"),
        }
    }
}

impl PathPattern {
    /// The pattern that is written as `text`: a path, whose segments may be `{name}`, and which may end
    /// with `*`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        Ok(Self::Segments(Segments::parse(text)?))
    }

    /// The paths in which the regular expression `text` finds something; named groups are captured. It
    /// takes time in proportion to the path, whatever it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn regex(text: &str) -> Result<Self, BadPath> {
        let regex = compile(text).map_err(BadPath::Regex)?;
        if regex.capture_names().flatten().count() > CAPTURES {
            return Err(BadPath::TooMany);
        }
        Ok(Self::Regex(regex))
    }

    /// Whether `path` is one of them.
    pub fn fits(&self, path: &[u8]) -> bool {
        match self {
            Self::Segments(segments) => segments.walk(path, |_, _| {}),
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// What `path`, which fits, has for each capture.
    pub fn capture(&self, path: &[u8], mut take: impl FnMut(&str, Range<usize>)) {
        match self {
            Self::Segments(segments) => drop(segments.walk(path, take)),
            Self::Regex(regex) => {
                let Some(found) = regex.captures(path) else { return };
                for name in regex.capture_names().flatten() {
                    if let Some(group) = found.name(name) {
                        take(name, group.range());
                    }
                }
            }
        }
    }

    /// The names of its captures.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Segments(segments) => segments.names(),
            Self::Regex(regex) => regex.capture_names().flatten().collect(),
        }
    }

    /// The one path that fits, if no other does.
    pub(super) fn exact(&self) -> Option<&[u8]> {
        match self {
            Self::Segments(segments) if segments.is_exact() => Some(segments.text.as_bytes()),
            _ => None,
        }
    }

    /// Whole segments with which every path begins that fits: `/a/b`, or nothing.
    pub(super) fn prefix(&self) -> Vec<u8> {
        match self {
            Self::Segments(segments) => segments.prefix(),
            Self::Regex(regex) => literal_begin(regex.as_str()),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segments(segments) => f.write_str(&segments.text),
            Self::Regex(regex) => f.write_str(regex.as_str()),
        }
    }
}

/// Compiles a regular expression over bytes, of bounded size.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    let built = regex::bytes::RegexBuilder::new(text).size_limit(REGEX_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        // The crate draws a picture over several lines; the last says what it is.
        other => {
            let shown = other.to_string();
            let last = shown.lines().last().unwrap_or_default().trim();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    })
}

/// The whole segments with which a regular expression begins, if it is anchored.
fn literal_begin(regex: &str) -> Vec<u8> {
    let Some(rest) = regex.strip_prefix('^') else { return Vec::new() };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_~%".contains(byte);
    let mut end = rest.bytes().position(|byte| !plain(&byte)).unwrap_or(rest.len());
    // Then the last character need not be there; `|` says that of all.
    if rest.get(end..).is_some_and(|behind| behind.starts_with(['?', '*', '{'])) {
        end = end.saturating_sub(1);
    }
    let literal = rest.get(..end).unwrap_or_default();
    match literal.rfind('/') {
        Some(slash) if !rest.contains('|') => literal.as_bytes()[..slash].to_vec(),
        _ => Vec::new(),
    }
}

impl Segments {
    fn parse(text: &str) -> Result<Self, BadPath> {
        let Some(path) = text.strip_prefix('/') else { return Err(BadPath::NoSlash) };
        let (path, starred) = match path.strip_suffix('*') {
            Some(path) => (path, true),
            None => (path, false),
        };
        if path.contains('*') {
            return Err(BadPath::Star);
        }
        let mut parts = path.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        let rest = match parts.pop() {
            Some(Part::Literal(begin)) if starred => Some(begin),
            Some(Part::Capture(_)) if starred => return Err(BadPath::Star),
            last => {
                parts.extend(last);
                None
            }
        };
        let segments = Self { text: text.into(), parts, rest };
        let mut names = segments.names();
        if names.len() > CAPTURES {
            return Err(BadPath::TooMany);
        }
        names.sort_unstable();
        if let Some([same, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BadPath::SameName((*same).to_owned()));
        }
        segments.check_normal()?;
        Ok(segments)
    }

    /// Nothing that a request never has may be asked for.
    fn check_normal(&self) -> Result<(), BadPath> {
        // A capture and the rest stand for what a path can have.
        let plain = self.text.trim_end_matches('*').replace(['{', '}'], "");
        if !target::is_target(plain.as_bytes()) || plain.contains('?') {
            return Err(BadPath::NotNormal(None));
        }
        match target::normal_path(plain.as_bytes()) {
            Ok(normal) if *normal == *plain.as_bytes() => Ok(()),
            Ok(normal) => {
                Err(BadPath::NotNormal(Some(String::from_utf8_lossy(&normal).into_owned())))
            }
            Err(_) => Err(BadPath::NotNormal(None)),
        }
    }

    fn names(&self) -> Vec<&str> {
        let captures = self.parts.iter().filter_map(|part| match part {
            Part::Capture(name) => Some(&**name),
            Part::Literal(_) => None,
        });
        captures.chain(self.rest.is_some().then_some(REST)).collect()
    }

    fn is_exact(&self) -> bool {
        self.rest.is_none() && self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    fn prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::new();
        for part in &self.parts {
            let Part::Literal(text) = part else { break };
            prefix.push(b'/');
            prefix.extend_from_slice(text);
        }
        prefix
    }

    /// Whether `path` fits; what it has for each capture.
    fn walk(&self, path: &[u8], mut take: impl FnMut(&str, Range<usize>)) -> bool {
        let mut at = 0;
        for part in &self.parts {
            let Some((b'/', rest)) = path.get(at..).and_then(<[u8]>::split_first) else {
                return false;
            };
            let len = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            let segment = rest.get(..len).unwrap_or_default();
            match part {
                Part::Literal(text) if **text == *segment => {}
                Part::Capture(name) if !segment.is_empty() => take(name, at + 1..at + 1 + len),
                _ => return false,
            }
            at += 1 + len;
        }
        let left = path.get(at..).unwrap_or_default();
        let Some(begin) = &self.rest else { return left.is_empty() };
        let fits = left.first() == Some(&b'/')
            && left.get(1..).is_some_and(|left| left.starts_with(begin));
        if fits {
            take(REST, at + 1 + begin.len()..path.len());
        }
        fits
    }
}

fn part(segment: &str) -> Result<Part, BadPath> {
    let is_name = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !name.is_empty() && name.bytes().all(plain)
    };
    match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(REST) => Err(BadPath::SameName(REST.to_owned())),
        Some(name) if is_name(name) => Ok(Part::Capture(name.into())),
        None if !segment.contains(['{', '}']) => Ok(Part::Literal(segment.as_bytes().into())),
        _ => Err(BadPath::Braces),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &PathPattern, path: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        pattern.capture(path.as_bytes(), |name, range| {
            found.push((name.to_owned(), path[range].to_owned()));
        });
        pattern.fits(path.as_bytes()).then_some(found)
    }

    #[test]
    fn paths_are_exact_or_begin_alike_or_have_segments_of_any_name() {
        for (pattern, path, expected) in [
            ("/", "/", Some(&[][..])),
            ("/", "/a", None),
            ("/a/b", "/a/b", Some(&[])),
            ("/a/b", "/a/b/", None),
            ("/a/b", "/a", None),
            ("/*", "/", Some(&[("rest", "")])),
            ("/*", "/a/b", Some(&[("rest", "a/b")])),
            ("/v1/*", "/v1/", Some(&[("rest", "")])),
            ("/v1/*", "/v1", None),
            ("/v1*", "/v1", Some(&[("rest", "")])),
            ("/v1*", "/v12/x", Some(&[("rest", "2/x")])),
            ("/users/{id}", "/users/7", Some(&[("id", "7")])),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users/7/x", None),
            ("/users/{id}/p-*", "/users/7/p-1/2", Some(&[("id", "7"), ("rest", "1/2")])),
            ("/users/{id}/p-*", "/users/7/q", None),
            ("/a//b", "/a//b", Some(&[])),
            ("/a/{x}/{y-z}/c", "/a/1/2/c", Some(&[("x", "1"), ("y-z", "2")])),
        ] {
            let expected: Option<Vec<_>> = expected.map(|all: &[(&str, &str)]| {
                all.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect()
            });
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(captured(&parsed, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_regular_expression_captures_its_named_groups() {
        let pattern = PathPattern::regex("^/v(?<version>[0-9]+)/(?<what>.*)$").unwrap();
        let expected = [("version", "12"), ("what", "x/y")];
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(captured(&pattern, "/v12/x/y"), Some(expected.into()));
        assert_eq!(captured(&pattern, "/vx/y"), None);
    }

    #[test]
    fn what_no_request_can_have_is_refused() {
        use BadPath::{Braces, NoSlash, NotNormal, SameName, Star, TooMany};
        for (text, why) in [
            ("", NoSlash),
            ("a", NoSlash),
            ("*", NoSlash),
            ("/a*b", Star),
            ("/{a}*", Star),
            ("/a{b}", Braces),
            ("/{}", Braces),
            ("/{a b}", Braces),
            ("/{a}/{a}", SameName("a".to_owned())),
            ("/{rest}/*", SameName("rest".to_owned())),
            ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/*", TooMany),
            ("/a/../b", NotNormal(Some("/b".to_owned()))),
            ("/%61", NotNormal(Some("/a".to_owned()))),
            ("/a?b", NotNormal(None)),
            ("/a b", NotNormal(None)),
        ] {
            assert_eq!(PathPattern::parse(text).map(|p| p.to_string()), Err(why), "{text}");
        }
        assert!(matches!(PathPattern::regex("(").unwrap_err(), BadPath::Regex(_)));
        let large = PathPattern::regex("(\\w{1000}){1000}").unwrap_err();
        assert_eq!(large, BadPath::Regex("it is too large".to_owned()));
    }

    #[test]
    fn what_patterns_begin_with_is_known() {
        for (pattern, prefix) in [("/", "/"), ("/a/b/*", "/a/b"), ("/a/{b}/c", "/a"), ("/ab*", "")]
        {
            assert_eq!(PathPattern::parse(pattern).unwrap().prefix(), prefix.as_bytes());
        }
        for (regex, prefix) in [
            ("^/a/b[0-9]", "/a"),
            ("^/a/b?", "/a"),
            ("^/a/?", ""),
            ("/a/", ""),
            ("^/a/|b", ""),
            ("^/a/b", "/a"),
        ] {
            assert_eq!(PathPattern::regex(regex).unwrap().prefix(), prefix.as_bytes(), "{regex}");
        }
    }
}
