//! One thing that is wrong with a file.

use super::codes::Code;
use super::model::Span;

/// An error or a warning, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of error it is.
    pub code: Code,
    /// The thing in backticks and what is wrong with it; lower case, no full stop.
    pub title: String,
    /// The value that is wrong, or the key if it is the key.
    pub primary: Label,
    /// What it is in conflict with.
    pub secondary: Vec<Label>,
    /// An edit that mends it.
    pub help: String,
}

/// A place and what to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Bytes of the text.
    pub span: Span,
    /// A few words beside the underlined text.
    pub text: String,
}

impl Diagnostic {
    /// A diagnostic that points at one place.
    pub fn new(
        code: Code,
        title: impl Into<String>,
        span: Span,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let primary = Label { span, text: label.into() };
        Self { code, title: title.into(), primary, secondary: Vec::new(), help: help.into() }
    }

    /// Adds the place of something that this one is in conflict with.
    #[must_use]
    pub fn with(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }
}

/// The longest piece of the user's text that a message repeats, in characters.
const MAX_QUOTED: usize = 60;

/// `text` in backticks, fit to stand in a message: on one line, and cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (i, c) in text.chars().enumerate() {
        if i == MAX_QUOTED {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('`');
    out
}

/// "`a`, `b` or `c`".
pub(super) fn alternatives<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => quoted(only.as_ref()),
        [front @ .., last] => {
            let front: Vec<_> = front.iter().map(|name| quoted(name.as_ref())).collect();
            format!("{} or {}", front.join(", "), quoted(last.as_ref()))
        }
    }
}
