//! The configuration file: what it may say, and what is said about it when it is wrong.
//!
//! | module | what it holds |
//! |---|---|
//! | [`model`] | what a file means, each value with its place in the text |
//! | `parse` | text to model: syntax, keys, types, the form of values |
//! | `check` | what no single value can tell: references, conflicts, files |
//! | [`load_script`] | tests in a file of their own |
//! | [`events`] | scripts of what happens during a replay |
//! | `not_yet` | keys of the format that this version refuses |
//! | [`codes`] | one code an error, with a page that explains it |
//! | [`diagnostic`], [`render`] | one error, and how it is shown |
//!
//! Nothing stops at the first error: both steps collect all that they find, and neither reports what
//! merely follows from something already reported.

mod check;
pub mod codes;
pub mod diagnostic;
pub mod events;
pub mod model;
mod not_yet;
pub(crate) mod parse;
mod reader;
pub mod render;
mod script;
mod suggest;
mod value;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub(crate) use check::target;
pub use check::{Environment, check};
pub use codes::{Code, Severity};
pub use diagnostic::{Diagnostic, Label};
pub use model::Config;
pub use parse::{change_impairment, parse};
pub use script::{LoadedScript, load_script};
pub(crate) use suggest::nearest;

/// The longest configuration file that is read, in bytes.
pub const MAX_FILE_LEN: u64 = 16 << 20;

/// A file with all that was found in it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file's name, as it was given.
    pub file: String,
    /// Its text, which the spans of the diagnostics point into.
    pub text: String,
    /// What it means; nothing if any diagnostic is an error.
    pub config: Option<Config>,
    /// Errors and warnings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// A configuration without errors, and what it was written as.
#[derive(Clone, Debug)]
pub struct Written {
    /// The file's name, as it was given.
    pub file: String,
    /// Its text.
    pub text: String,
    /// What it means.
    pub config: Config,
}

impl Written {
    /// The text, to point into.
    pub fn source(&self) -> render::Source<'_> {
        render::Source { file: &self.file, text: &self.text }
    }
}

impl Loaded {
    /// The configuration with its text; nothing if any diagnostic is an error.
    pub fn written(&self) -> Option<Written> {
        let config = self.config.clone()?;
        Some(Written { file: self.file.clone(), text: self.text.clone(), config })
    }

    /// How many diagnostics are of that severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.code.severity() == severity).count()
    }
}

/// Reads, parses and checks a file.
///
/// With `look_outside` the files that it names are looked for too, relative to its own folder.
///
/// # Errors
/// The file cannot be read, or is longer than [`MAX_FILE_LEN`]. What is wrong *in* it is a diagnostic.
pub fn load(path: &Path, look_outside: bool) -> io::Result<Loaded> {
    let bytes = read(path, MAX_FILE_LEN)?;
    let file = path.display().to_string();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Ok(not_utf8(file, &error)),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let environment =
        if look_outside { Environment::Check { folder } } else { Environment::Ignore };
    let (config, diagnostics) = examine(&text, environment);
    Ok(Loaded { file, text, config, diagnostics })
}

/// The longest file of certificates or keys that is read, in bytes.
const MAX_PEM_LEN: u64 = 4 << 20;

/// Reads a file of certificates or of a key.
///
/// # Errors
/// It cannot be read, or is longer than any such file.
pub(crate) fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    read(path, MAX_PEM_LEN)
}

/// The longest list of users, keys, networks or patterns that is read, in bytes.
const MAX_LIST_LEN: u64 = 64 << 20;

/// Reads a list.
///
/// # Errors
/// It cannot be read, or is longer than any such file.
pub(crate) fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    read(path, MAX_LIST_LEN)
}

/// A file of at most so many bytes.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let reason = format!("longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// What tells a configuration from another, as `sha256sum` prints it, with `sha256:` in front.
pub fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    std::iter::once("sha256:".to_owned()).chain(hex).collect()
}

/// A length of time as the file writes it: `500ms`, `2h4m`.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    value::duration(text).map_err(|complaint| format!("{}: {}", complaint.label, complaint.help))
}

/// Parses and checks a text. The configuration is given only if there is no error.
pub fn examine(text: &str, environment: Environment<'_>) -> (Option<Config>, Vec<Diagnostic>) {
    let (config, mut diagnostics) = parse(text);
    if let Some(config) = &config {
        diagnostics.extend(check(config, environment));
    }
    diagnostics.sort_by_key(|d| d.primary.span.start);
    let failed = diagnostics.iter().any(|d| d.code.severity() == Severity::Error);
    (config.filter(|_| !failed), diagnostics)
}

/// The text up to the first bad byte, and a diagnostic there.
fn not_utf8(file: String, error: &std::string::FromUtf8Error) -> Loaded {
    let end = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(&error.as_bytes()[..end]).into_owned();
    let diagnostic = Diagnostic::new(
        Code::Syntax,
        "the file is not UTF-8",
        end..end,
        "not UTF-8 from here",
        "save the file as UTF-8 text",
    );
    Loaded { file, text, config: None, diagnostics: vec![diagnostic] }
}

/// A length of time greater than zero, as configurations write it: `500ms`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn some_duration(text: &str) -> Result<std::time::Duration, String> {
    value::some_duration(text).map_err(|why| format!("`{text}` {}: {}", why.what, why.help))
}
