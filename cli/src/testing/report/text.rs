//! For people: a line a test, and what failed.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Outcome, Report};

/// Columns that names get at least and at most.
const NARROW: usize = 36;
const WIDE: usize = 64;

pub(super) fn render(report: &Report) -> String {
    let longest = report.outcomes.iter().map(|o| o.name.chars().count()).max().unwrap_or(0);
    let width = longest.clamp(NARROW, WIDE);
    let mut out = String::new();
    for outcome in &report.outcomes {
        let took = shown(outcome.took);
        let name = &outcome.name;
        if outcome.failure.is_some() {
            let place = outcome.place();
            let _ = writeln!(out, " FAIL {name:<width$}  {place}  seed {:#x}", outcome.seed);
            for fact in outcome.facts().iter().flat_map(|fact| fact.lines()) {
                let _ = writeln!(out, "      {fact}");
            }
        } else {
            let seed = match (outcome.runs, outcome.simulated) {
                (2.., _) => format!("{} seeds  ", outcome.runs),
                (_, true) => format!("seed {:#x}  ", outcome.seed),
                _ => String::new(),
            };
            let _ = writeln!(out, " ok   {name:<width$}  {seed}{took}");
        }
    }
    let _ = write!(out, "{}", summary(report));
    if let Some(rerun) = rerun(report) {
        let _ = write!(out, "   rerun: {rerun}");
    }
    out.push('\n');
    out
}

/// "1 failed, 2 passed."
fn summary(report: &Report) -> String {
    let failed = report.failed();
    let passed = report.outcomes.len() - failed;
    if failed == 0 {
        format!("{passed} passed.")
    } else {
        format!("{failed} failed, {passed} passed.")
    }
}

/// The command that repeats the failure: the only one, or the first with its seed.
pub fn rerun(report: &Report) -> Option<String> {
    let mut failed = report.outcomes.iter().filter(|outcome| outcome.failure.is_some());
    let Outcome { name, seed, .. } = failed.next()?;
    let mut line = String::from("balun test");
    for argument in &report.arguments {
        let _ = write!(line, " {}", quoted(argument));
    }
    let _ = write!(line, " --filter {} --seed {seed:#x}", quoted(name));
    Some(line)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// `0.3 ms`, `1.9 s`.
fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
