//! How lines of an access log look.

use l7::log::{Field, Format, FormatErrorKind};

use super::super::codes::Code;
use super::super::suggest::nearest;
use super::{Parsed, complain};

/// Formats that have a name.
const NAMES: [&str; 3] = ["json", "combined", "common"];

/// `json`, `combined`, `common`, or text with names of fields in braces.
pub(in super::super) fn log_format(text: &str) -> Parsed<Format> {
    const HELP: &str = "write `json`, `combined`, `common`, or fields in braces, such as \
                        `{client} {line} {status}`; `balun explain E0475` lists them";
    let what = "is not a format of a log";
    match text {
        "json" => return Ok(Format::json()),
        "combined" => return Ok(Format::combined()),
        "common" => return Ok(Format::common()),
        word if !word.contains(['{', '}']) => {
            let help = nearest(word, NAMES).map(|name| format!("did you mean `{name}`?"));
            let help = help.unwrap_or_else(|| HELP.to_owned());
            return complain(Code::BadLogFormat, what, "names no field", help);
        }
        _ => {}
    }
    Format::parse(text).or_else(|error| {
        let part = text.get(error.at.clone()).unwrap_or(text);
        let fields = Field::ALL.iter().map(|field| field.name());
        let meant = nearest(part, fields).filter(|_| error.kind == FormatErrorKind::UnknownField);
        let help =
            meant.map_or_else(|| HELP.to_owned(), |name| format!("did you mean `{{{name}}}`?"));
        let label = match error.kind {
            FormatErrorKind::TooMuch | FormatErrorKind::Constant => error.to_string(),
            _ => format!("at `{}`: {error}", part.escape_debug()),
        };
        complain(Code::BadLogFormat, what, label, help)
    })
}
