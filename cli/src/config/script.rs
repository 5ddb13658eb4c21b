//! Tests in a file of their own.

use std::io;
use std::path::{Path, PathBuf};

use super::check::check_tests;
use super::diagnostic::Diagnostic;
use super::model::{Config, Spanned, Test};
use super::parse::pkt::script;

/// The longest `.pkt` file that is read, in bytes.
const MAX_SCRIPT_LEN: u64 = 1 << 20;

/// A `.pkt` file with all that was found in it.
#[derive(Clone, Debug)]
pub struct LoadedScript {
    /// The file's name, as it was given.
    pub file: String,
    /// Its text, which the spans of tests and diagnostics point into.
    pub text: String,
    /// The configuration that it names, relative to its own folder.
    pub config: Option<Spanned<PathBuf>>,
    /// Its tests.
    pub tests: Vec<Test>,
    /// What is wrong with it, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a `.pkt` file. One test that it does not name is called as the file is.
///
/// # Errors
/// The file cannot be read, is longer than 1 MiB, or is not UTF-8. What is wrong *in* it is a
/// diagnostic.
pub fn load_script(path: &Path) -> io::Result<LoadedScript> {
    let bytes = super::read(path, MAX_SCRIPT_LEN)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let (script, diagnostics) = script(&text, &name.unwrap_or_default());
    let file = path.display().to_string();
    Ok(LoadedScript { file, text, config: script.config, tests: script.tests, diagnostics })
}

impl LoadedScript {
    /// Compares what its tests refer to with the configuration that they are about.
    pub fn check(&mut self, config: &Config) {
        check_tests(config, &self.tests, &mut self.diagnostics);
        self.diagnostics.sort_by_key(|d| d.primary.span.start);
    }
}
