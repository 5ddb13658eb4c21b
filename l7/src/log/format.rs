//! How lines look.
//!
//! A format is text with names of fields in braces: `{client} "{line}" {status}`. `{header:NAME}` is a
//! field of the request; `{{` and `}}` are braces. What has no value is `-`.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use super::entry::Entry;
use super::field::{Field, Names, Value};
use super::number::Calendar;

/// The Common Log Format, as Apache and nginx write it; nobody logs in here.
const COMMON: &str = "{client_ip} - - [{clf_time}] \"{line}\" {status} {response_body}";

/// What the combined format has behind that.
const REFERER_AND_AGENT: &str = " \"{header:referer}\" \"{header:user-agent}\"";

/// Fields of the request that a format may name.
pub const MAX_HEADERS: usize = 16;

/// Bytes of a format.
pub const MAX_FORMAT: usize = 4096;

/// How a line looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    is_json: bool,
    pieces: Vec<Piece>,
    /// Fields of requests that are needed, in small letters.
    headers: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// As it stands; in JSON a key of the next piece.
    Text(Box<[u8]>),
    Field(Field),
    Header(usize),
}

/// Why a text is no format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The bytes that are wrong.
    pub at: Range<usize>,
    /// What is wrong with them.
    pub kind: FormatErrorKind,
}

/// What is wrong with a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatErrorKind {
    /// No field has this name.
    UnknownField,
    /// A brace that is not closed, or not opened.
    Brace,
    /// Not the name of a field of requests.
    BadHeader,
    /// More than [`MAX_HEADERS`] fields of requests, or [`MAX_FORMAT`] bytes.
    TooMuch,
    /// A control character.
    Control,
    /// It names nothing.
    Constant,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FormatErrorKind::UnknownField => "no field has this name",
            FormatErrorKind::Brace => "a brace without its counterpart",
            FormatErrorKind::BadHeader => "not the name of a header field",
            FormatErrorKind::TooMuch => "too long, or too many header fields",
            FormatErrorKind::Control => "a control character",
            FormatErrorKind::Constant => "no field at all",
        })
    }
}

impl std::error::Error for FormatError {}

impl Format {
    /// One JSON object a line, with every field that has a value, `host`, `referer` and `user_agent`.
    pub fn json() -> Self {
        let headers = [("host", "host"), ("referer", "referer"), ("user_agent", "user-agent")];
        let fields = Field::ALL.iter().filter(|field| **field != Field::ClfTime);
        // The line is said by its parts, except where there are none.
        let fields = fields.map(|&field| (field.name(), Piece::Field(field)));
        let named = (0..).zip(headers).map(|(index, (key, _))| (key, Piece::Header(index)));
        let pieces = fields.chain(named).flat_map(|(key, piece)| {
            [Piece::Text(format!("\"{key}\":").into_bytes().into()), piece]
        });
        let headers = headers.iter().map(|(_, name)| (*name).into()).collect();
        Self { is_json: true, pieces: pieces.collect(), headers }
    }

    /// The Common Log Format.
    pub fn common() -> Self {
        // A constant that a test parses.
        Self::parse(COMMON).unwrap_or_else(|_| Self::json())
    }

    /// The combined format: the common one, `Referer` and `User-Agent`.
    pub fn combined() -> Self {
        Self::parse(&format!("{COMMON}{REFERER_AND_AGENT}")).unwrap_or_else(|_| Self::json())
    }

    /// A format of one's own.
    ///
    /// # Errors
    /// [`FormatError`] says what is wrong with `text`, and where.
    ///
    /// # Examples
    ///
    /// ```
    /// use l7::log::Format;
    ///
    /// Format::parse("{client} {method} {header:host}{target} {status} {total_ms}").unwrap();
    /// let error = Format::parse("{clinet}").unwrap_err();
    /// assert_eq!(error.at, 1..7);
    /// ```
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if text.len() > MAX_FORMAT {
            return Err(FormatError { at: MAX_FORMAT..text.len(), kind: FormatErrorKind::TooMuch });
        }
        if let Some(at) = text.bytes().position(|byte| byte.is_ascii_control()) {
            return Err(FormatError { at: at..at + 1, kind: FormatErrorKind::Control });
        }
        let mut format = Self { is_json: false, pieces: Vec::new(), headers: Vec::new() };
        let mut rest = text;
        let mut literal = Vec::new();
        while let Some(at) = rest.find(['{', '}']) {
            let (before, braced) = rest.split_at(at);
            literal.extend_from_slice(before.as_bytes());
            let start = text.len() - braced.len();
            if braced.starts_with("{{") || braced.starts_with("}}") {
                literal.extend_from_slice(&braced.as_bytes()[..1]);
                rest = &braced[2..];
                continue;
            }
            let named = braced.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = named else {
                return Err(FormatError { at: start..start + 1, kind: FormatErrorKind::Brace });
            };
            let piece = format.piece(name).map_err(|kind| {
                let at = start + 1..start + 1 + name.len();
                FormatError { at, kind }
            })?;
            if !literal.is_empty() {
                format.pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
            }
            format.pieces.push(piece);
            rest = after;
        }
        if format.pieces.is_empty() {
            return Err(FormatError { at: 0..text.len(), kind: FormatErrorKind::Constant });
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() {
            format.pieces.push(Piece::Text(literal.into()));
        }
        Ok(format)
    }

    fn piece(&mut self, name: &str) -> Result<Piece, FormatErrorKind> {
        let Some(header) = name.strip_prefix("header:") else {
            let field = Field::ALL.iter().find(|field| field.name() == name);
            return field.copied().map(Piece::Field).ok_or(FormatErrorKind::UnknownField);
        };
        if !crate::http1::chars::token(header.as_bytes()) {
            return Err(FormatErrorKind::BadHeader);
        }
        let header = header.to_ascii_lowercase();
        if let Some(index) = self.headers.iter().position(|known| **known == *header) {
            return Ok(Piece::Header(index));
        }
        if self.headers.len() >= MAX_HEADERS {
            return Err(FormatErrorKind::TooMuch);
        }
        self.headers.push(header.into());
        Ok(Piece::Header(self.headers.len() - 1))
    }

    /// Fields of requests that it needs.
    pub(crate) fn headers(&self) -> &[Box<str>] {
        &self.headers
    }

    /// Appends the line of `entry`, a line feed at its end.
    pub(super) fn write(
        &self,
        entry: &Entry,
        names: &Names,
        time: Duration,
        calendar: &Calendar,
        out: &mut Vec<u8>,
    ) {
        let value = |piece: &Piece| match piece {
            Piece::Text(_) => Value::None,
            Piece::Field(field) => entry.value(*field, names, time),
            Piece::Header(index) => entry.header(*index),
        };
        if !self.is_json {
            for piece in &self.pieces {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text),
                    other => value(other).text(calendar, out),
                }
            }
            out.push(b'\n');
            return;
        }
        let mut separator = b'{';
        for pair in self.pieces.chunks_exact(2) {
            let [Piece::Text(key), piece] = pair else { continue };
            let value = value(piece);
            // Parts of the line are said by themselves; it stands alone where there are none.
            let repeats = *piece == Piece::Field(Field::Line) && entry.line.is_empty();
            if repeats || matches!(value, Value::None) {
                continue;
            }
            out.push(separator);
            out.extend_from_slice(key);
            value.json(calendar, out);
            separator = b',';
        }
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
