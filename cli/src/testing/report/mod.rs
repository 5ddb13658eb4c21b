//! Reports of a run, each a function of its data.

mod html;
mod json;
mod junit;
mod tap;
mod text;

use std::time::Duration;

use super::run::Failure;

pub use text::rerun;

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// The file that it stands in.
    pub file: String,
    /// Its line there.
    pub line: usize,
    /// With how many seeds it ran; fewer than asked for if one failed.
    pub runs: u32,
    /// The seed of the failure, or of the last run.
    pub seed: u64,
    /// Whether the seed is worth telling even if nothing failed.
    pub simulated: bool,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each test, in the order of running.
    pub outcomes: Vec<Outcome>,
    /// The words of the command line that named what to run: files and `-c`.
    pub arguments: Vec<String>,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// What continuous integration reads: `JUnit`'s XML
    #[value(help = "JUnit XML")]
    Junit,
    /// Test Anything Protocol, version 14
    Tap,
    /// One JSON object a line
    Json,
    /// One page with a ladder of each failure
    Html,
}

impl Report {
    /// How many tests failed.
    pub fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some()).count()
    }

    /// The report in that form.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => text::render(self),
            Format::Junit => junit::render(self),
            Format::Tap => tap::render(self),
            Format::Json => json::render(self),
            Format::Html => html::render(self),
        }
    }
}

impl Outcome {
    /// The line of the step that failed, or of the test.
    fn place(&self) -> String {
        let line = self.failure.as_ref().map_or(self.line, |failure| failure.line);
        format!("{}:{line}", self.file)
    }

    /// What the failure says, a line each.
    fn facts(&self) -> Vec<String> {
        let facts = self.failure.iter().flat_map(|failure| &failure.facts);
        facts.map(|(word, text)| format!("{word:<8}{}", text.replace('\n', "\n        "))).collect()
    }
}

#[cfg(test)]
mod tests;
