//! How diagnostics are shown: to people as `rustc` does, to programs as JSON, to GitHub as annotations.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::codes::Severity;
use super::diagnostic::{Diagnostic, Label};
use super::model::Span;

/// Errors and warnings that the text form shows of one file; the rest is counted.
pub const MAX_SHOWN: usize = 20;

/// A text, its name, and what lies where in it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name to show.
    pub file: &'a str,
    /// The text that spans point into.
    pub text: &'a str,
}

/// A place in a text, counted from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Character within the line.
    pub column: usize,
}

impl Source<'_> {
    /// Where byte `offset` is.
    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The part of `span` on its first line, so that a table of many lines is shown by its head.
    fn first_line(&self, span: &Span) -> Span {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end).max(start);
        let line = self.text[start..end].lines().next().unwrap_or_default();
        start..start + line.trim_end().len()
    }
}

/// The text form of all of them, the first [`MAX_SHOWN`] in full.
pub fn text(source: &Source<'_>, diagnostics: &[Diagnostic], color: bool) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(MAX_SHOWN) {
        out.push_str(&one(source, diagnostic, color));
        out.push_str("\n\n");
    }
    if let Some(more) = diagnostics.len().checked_sub(MAX_SHOWN).filter(|&more| more > 0) {
        let _ = writeln!(out, "... and {more} more\n");
    }
    out
}

fn one(source: &Source<'_>, diagnostic: &Diagnostic, color: bool) -> String {
    let level = match diagnostic.code.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let annotation = |kind: AnnotationKind, label: &Label| {
        kind.span(source.first_line(&label.span)).label(label.text.clone())
    };
    let snippet = Snippet::source(source.text)
        .path(source.file)
        .annotation(annotation(AnnotationKind::Primary, &diagnostic.primary))
        .annotations(diagnostic.secondary.iter().map(|l| annotation(AnnotationKind::Context, l)));
    let title = level.primary_title(&diagnostic.title).id(diagnostic.code.as_str());
    let help = Level::HELP.secondary_title(&diagnostic.help);
    let report = [title.element(snippet), annotate_snippets::Group::with_title(help)];
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let labels = std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary);
    let last = labels.map(|l| source.position(l.span.start).line).max().unwrap_or(1);
    let gutter = last.to_string().len();
    let body = renderer.render(&report);
    format!("{body}\n{:gutter$} = balun explain {}", "", diagnostic.code)
}

/// One JSON object a line.
pub fn json(source: &Source<'_>, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let _ = write!(
            out,
            "{{\"code\":\"{}\",\"severity\":\"{}\",\"title\":{},\"file\":{},\"primary\":",
            diagnostic.code,
            diagnostic.code.severity().name(),
            json_string(&diagnostic.title),
            json_string(source.file),
        );
        json_label(source, &diagnostic.primary, &mut out);
        out.push_str(",\"secondary\":[");
        for (i, label) in diagnostic.secondary.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            json_label(source, label, &mut out);
        }
        let _ = writeln!(out, "],\"help\":{}}}", json_string(&diagnostic.help));
    }
    out
}

fn json_label(source: &Source<'_>, label: &Label, out: &mut String) {
    let (start, end) = (source.position(label.span.start), source.position(label.span.end));
    let _ = write!(
        out,
        "{{\"line\":{},\"column\":{},\"end_line\":{},\"end_column\":{},\"text\":{}}}",
        start.line,
        start.column,
        end.line,
        end.column,
        json_string(&label.text)
    );
}

/// `text` as a JSON string (RFC 8259 section 7).
pub(crate) fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Workflow commands that GitHub Actions shows beside the lines of a change.
pub fn github(source: &Source<'_>, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let (start, end) = (
            source.position(diagnostic.primary.span.start),
            source.position(diagnostic.primary.span.end),
        );
        let message = format!(
            "{}: {}\nhelp: {}\nbalun explain {}",
            diagnostic.title, diagnostic.primary.text, diagnostic.help, diagnostic.code
        );
        let _ = write!(
            out,
            "::{} file={},line={},col={}",
            diagnostic.code.severity().name(),
            github_property(source.file),
            start.line,
            start.column,
        );
        // Columns of one line alone: GitHub takes no others.
        if start.line == end.line {
            let _ = write!(out, ",endColumn={}", end.column);
        }
        let _ = writeln!(out, ",title={}::{}", diagnostic.code, github_data(&message));
    }
    out
}

fn github_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn github_property(text: &str) -> String {
    github_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::codes::Code;

    #[test]
    fn columns_count_characters() {
        let source = Source { file: "f", text: "a\nüü b\n" };
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(7), Position { line: 2, column: 4 });
        assert_eq!(source.position(3), Position { line: 2, column: 1 }, "within a character");
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
    }

    fn sample() -> (Source<'static>, Vec<Diagnostic>) {
        let source = Source { file: "a,b.toml", text: "x = \"é\"\ny = [\n 1 ]\n" };
        let first = Diagnostic::new(Code::Undefined, "pool `é` \\ \"", 4..8, "100% no", "try\nit")
            .with(9..10, "here");
        let second = Diagnostic::new(Code::Unused, "list `y`", 13..19, "unused", "remove it");
        (source, vec![first, second])
    }

    #[test]
    fn json_is_escaped_and_one_line_each() {
        let (source, diagnostics) = sample();
        assert_eq!(
            json(&source, &diagnostics),
            concat!(
                r#"{"code":"E0304","severity":"error","title":"pool `é` \\ \"","file":"a,b.toml","#,
                r#""primary":{"line":1,"column":5,"end_line":1,"end_column":8,"text":"100% no"},"#,
                r#""secondary":[{"line":2,"column":1,"end_line":2,"end_column":2,"text":"here"}],"#,
                r#""help":"try\u000ait"}"#,
                "\n",
                r#"{"code":"W0002","severity":"warning","title":"list `y`","file":"a,b.toml","#,
                r#""primary":{"line":2,"column":5,"end_line":3,"end_column":5,"text":"unused"},"#,
                r#""secondary":[],"help":"remove it"}"#,
                "\n",
            )
        );
    }

    #[test]
    fn github_annotations_are_escaped() {
        let (source, diagnostics) = sample();
        assert_eq!(
            github(&source, &diagnostics),
            "::error file=a%2Cb.toml,line=1,col=5,endColumn=8,title=E0304\
             ::pool `é` \\ \": 100%25 no%0Ahelp: try%0Ait%0Abalun explain E0304\n\
             ::warning file=a%2Cb.toml,line=2,col=5,title=W0002\
             ::list `y`: unused%0Ahelp: remove it%0Abalun explain W0002\n"
        );
    }

    #[test]
    fn only_so_many_are_shown() {
        let (source, diagnostics) = sample();
        let many = vec![diagnostics[0].clone(); MAX_SHOWN + 2];
        let shown = text(&source, &many, false);
        assert_eq!(shown.matches("error[E0304]").count(), MAX_SHOWN);
        assert!(shown.ends_with("... and 2 more\n\n"), "{shown}");
        let exactly = text(&source, &many[..MAX_SHOWN], false);
        assert!(!exactly.contains("more"));
    }

    #[test]
    fn a_text_without_color_has_no_escapes() {
        let (source, diagnostics) = sample();
        assert!(!text(&source, &diagnostics, false).contains('\x1b'));
        assert!(text(&source, &diagnostics, true).contains('\x1b'));
    }
}
