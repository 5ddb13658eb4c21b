//! Patterns of values: of fields, of parts of a query, of cookies.

use std::fmt;

use regex::bytes::Regex;

use super::path::compile;

/// Which values.
#[derive(Clone, Debug)]
pub enum TextPattern {
    /// Any: it must be there.
    Present,
    /// This one.
    Exact(Box<[u8]>),
    /// Those that begin so.
    Prefix(Box<[u8]>),
    /// Those in which a regular expression finds something.
    Regex(Regex),
}

impl TextPattern {
    /// The pattern that is written as `text`: `*` is any, `x*` what begins with `x`, `~x` a regular
    /// expression, all else itself.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match (text, text.strip_prefix('~'), text.strip_suffix('*')) {
            ("*", ..) => Self::Present,
            (_, Some(regex), _) => Self::Regex(compile(regex)?),
            (.., Some(begin)) => Self::Prefix(begin.as_bytes().into()),
            _ => Self::Exact(text.as_bytes().into()),
        })
    }

    /// Whether `value` is one of them.
    pub fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(text) => **text == *value,
            Self::Prefix(begin) => value.starts_with(begin),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        match self {
            Self::Present => f.write_str("*"),
            Self::Exact(exact) => f.write_str(&text(exact)),
            Self::Prefix(begin) => write!(f, "{}*", text(begin)),
            Self::Regex(regex) => write!(f, "~{}", regex.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_any_or_one_or_begin_alike_or_match() {
        for (pattern, value, fits) in [
            ("*", "", true),
            ("1", "1", true),
            ("1", "11", false),
            ("1*", "11", true),
            ("1*", "2", false),
            ("~^v[0-9]+$", "v12", true),
            ("~^v[0-9]+$", "v", false),
        ] {
            let parsed = TextPattern::parse(pattern).unwrap();
            assert_eq!(parsed.fits(value.as_bytes()), fits, "{pattern} {value}");
            assert_eq!(parsed.to_string(), pattern);
        }
        assert!(TextPattern::parse("~(").is_err());
    }
}
