//! Texts with `*` for any rest.

use crate::limits::PATTERN_BYTES;

/// Whether capital letters differ from small ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// They do.
    #[default]
    Counts,
    /// They do not.
    Ignored,
}

/// A text in which each `*` stands for any bytes, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What is between the stars; one part is a pattern without any.
    parts: Vec<Vec<u8>>,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPattern {
    /// Nothing stands there.
    Empty,
    /// It is longer than [`PATTERN_BYTES`].
    Long,
    /// It has a control character.
    Control,
}

impl std::fmt::Display for BadPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing stands here"),
            Self::Long => write!(f, "longer than {PATTERN_BYTES} bytes"),
            Self::Control => f.write_str("it has a control character"),
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`BadPattern`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > PATTERN_BYTES {
            return Err(BadPattern::Long);
        }
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(BadPattern::Control);
        }
        Ok(Self { parts: text.split('*').map(|part| part.as_bytes().to_vec()).collect() })
    }

    /// Whether `text` is such a one.
    pub fn fits(&self, text: &[u8], case: Case) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return same(first, text, case) };
        let Some((begin, mut text)) = text.split_at_checked(first.len()) else { return false };
        if !same(first, begin, case) {
            return false;
        }
        // The leftmost place is the best for each part: it leaves the most to those behind it.
        for part in middle.iter().filter(|part| !part.is_empty()) {
            let at = text.windows(part.len()).position(|window| same(part, window, case));
            let Some(rest) = at.and_then(|at| text.get(at + part.len()..)) else { return false };
            text = rest;
        }
        let end = text.len().checked_sub(last.len());
        end.and_then(|end| text.get(end..)).is_some_and(|end| same(last, end, case))
    }
}

fn same(one: &[u8], other: &[u8], case: Case) -> bool {
    match case {
        Case::Counts => one == other,
        Case::Ignored => one.eq_ignore_ascii_case(other),
    }
}

/// Patterns of which one must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    list: Vec<Pattern>,
    case: Case,
}

impl Patterns {
    /// These.
    pub const fn new(list: Vec<Pattern>, case: Case) -> Self {
        Self { list, case }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one of them fits.
    pub fn fits(&self, text: &[u8]) -> bool {
        self.list.iter().any(|pattern| pattern.fits(text, self.case))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_or_nothing() {
        for (pattern, text, fits) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a", "/A", false),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/a", false),
            ("*", "", true),
            ("*.php", "/x/y.php", true),
            ("*.php", "/x/y.php7", false),
            ("*sqlmap*", "sqlmap/1.0", true),
            ("*sqlmap*", "a sqlmap", true),
            ("*sqlmap*", "sqlma", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXc", false),
            ("**", "x", true),
            ("a**b", "ab", true),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.fits(text.as_bytes(), Case::Counts), fits, "{pattern} {text}");
        }
        let any_case = Pattern::parse("*BOT*").unwrap();
        assert!(any_case.fits(b"GoogleBot/2", Case::Ignored));
        assert!(!any_case.fits(b"GoogleBot/2", Case::Counts));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Pattern::parse(""), Err(BadPattern::Empty));
        assert_eq!(Pattern::parse("a\nb"), Err(BadPattern::Control));
        assert!(Pattern::parse(&"x".repeat(PATTERN_BYTES)).is_ok());
        assert_eq!(Pattern::parse(&"x".repeat(PATTERN_BYTES + 1)), Err(BadPattern::Long));
    }

    /// No pattern of a bounded length makes a long text expensive.
    #[test]
    fn many_stars_cost_no_more_than_their_parts() {
        let pattern = Pattern::parse(&"a*".repeat(PATTERN_BYTES / 2)).unwrap();
        assert!(!pattern.fits(&[b'a'; 100], Case::Counts));
        assert!(pattern.fits(&[b'a'; 8192], Case::Counts));
    }
}
