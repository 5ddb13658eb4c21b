//! The XML of `JUnit`, as continuous integration reads it: a suite a file.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Outcome, Report};
use crate::xml::escape;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<_> = report.outcomes.iter().collect();
    let _ = writeln!(out, "<testsuites name=\"balun test\" {}>", counts(&all));
    let mut files: Vec<&str> = Vec::new();
    for outcome in &report.outcomes {
        if !files.contains(&outcome.file.as_str()) {
            files.push(&outcome.file);
        }
    }
    for file in files {
        let suite: Vec<_> = report.outcomes.iter().filter(|o| o.file == file).collect();
        let _ = writeln!(out, "  <testsuite name=\"{}\" {}>", escape(file), counts(&suite));
        for outcome in suite {
            case(&mut out, outcome);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts(outcomes: &[&Outcome]) -> String {
    let failures = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let time: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{:.6}\"",
        outcomes.len(),
        time.as_secs_f64()
    )
}

fn case(out: &mut String, outcome: &Outcome) {
    let _ = write!(
        out,
        "    <testcase name=\"{}\" classname=\"{}\" file=\"{}\" line=\"{}\" time=\"{:.6}\"",
        escape(&outcome.name),
        escape(&outcome.file),
        escape(&outcome.file),
        outcome.line,
        outcome.took.as_secs_f64()
    );
    let Some(failure) = &outcome.failure else {
        out.push_str("/>\n");
        return;
    };
    let message = failure.facts.iter().map(|(word, text)| format!("{word} {text}"));
    let message = message.collect::<Vec<_>>().join("; ");
    let _ = write!(
        out,
        ">\n      <failure type=\"step {}\" message=\"{}\">{}\nseed {:#x}\n{}</failure>\n    </testcase>\n",
        failure.step,
        escape(&message.replace('\n', " ")),
        escape(&outcome.place()),
        outcome.seed,
        escape(&outcome.facts().join("\n"))
    );
}
