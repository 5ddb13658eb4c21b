//! The Test Anything Protocol, version 14 (testanything.org).

use std::fmt::Write as _;

use super::Report;
use crate::config::render::json_string;

pub(super) fn render(report: &Report) -> String {
    let mut out = format!("TAP version 14\n1..{}\n", report.outcomes.len());
    for (number, outcome) in (1..).zip(&report.outcomes) {
        let ok = if outcome.failure.is_none() { "ok" } else { "not ok" };
        let _ = writeln!(out, "{ok} {number} - {}", escaped(&outcome.name));
        let _ = writeln!(out, "  ---\n  duration_ms: {:.3}", outcome.took.as_secs_f64() * 1_000.0);
        if let Some(failure) = &outcome.failure {
            let facts = outcome.facts().join("\n");
            let _ = writeln!(
                out,
                "  message: {}\n  severity: fail\n  seed: \"{:#x}\"\n  at:\n    file: {}\n    line: {}",
                json_string(&facts),
                outcome.seed,
                json_string(&outcome.file),
                failure.line
            );
        }
        out.push_str("  ...\n");
    }
    out
}

/// A description, in which `#` would begin a directive and lines end the test.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#").replace(['\n', '\r'], " ")
}
