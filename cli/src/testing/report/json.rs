//! One JSON object a test, and one for all.

use std::fmt::Write as _;

use super::Report;
use crate::config::render::json_string;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for outcome in &report.outcomes {
        let result = if outcome.failure.is_none() { "pass" } else { "fail" };
        let _ = write!(
            out,
            "{{\"test\":{},\"file\":{},\"line\":{},\"result\":\"{result}\",\"runs\":{},\
             \"seed\":\"{:#x}\",\"seconds\":{:.6}",
            json_string(&outcome.name),
            json_string(&outcome.file),
            outcome.line,
            outcome.runs,
            outcome.seed,
            outcome.took.as_secs_f64()
        );
        if let Some(failure) = &outcome.failure {
            let _ = write!(
                out,
                ",\"failure\":{{\"step\":{},\"line\":{},\"facts\":[",
                failure.step, failure.line
            );
            for (n, (word, text)) in failure.facts.iter().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                let _ = write!(out, "{comma}[{},{}]", json_string(word), json_string(text));
            }
            out.push_str("]}");
        }
        out.push_str("}\n");
    }
    let failed = report.failed();
    let _ = writeln!(
        out,
        "{{\"summary\":{{\"passed\":{},\"failed\":{failed},\"rerun\":{}}}}}",
        report.outcomes.len() - failed,
        super::rerun(report).map_or_else(|| "null".to_owned(), |rerun| json_string(&rerun))
    );
    out
}
