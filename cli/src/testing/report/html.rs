//! One page that asks for nothing else: a row a test, and a ladder of each failure.

use std::fmt::Write as _;

use super::{Outcome, Report};
use crate::xml::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--drop:#b3261e;--faint:#6e7781;--line:#d0d7de}\
@media(prefers-color-scheme:dark){:root{--drop:#ff7b72;--faint:#9198a1;--line:#3d444d}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;width:100%}td{padding:.3em .6em;border-top:1px solid var(--line)}\
.fail{color:var(--drop);font-weight:bold}.faint{color:var(--faint)}\
pre{overflow-x:auto}figure{margin:1em 0;overflow-x:auto}";

pub(super) fn render(report: &Report) -> String {
    let failed = report.failed();
    let title = format!("balun test: {failed} failed, {} passed", report.outcomes.len() - failed);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<table>\n"
    );
    for (number, outcome) in (1..).zip(&report.outcomes) {
        row(&mut out, number, outcome);
    }
    out.push_str("</table>\n");
    for (number, outcome) in (1..).zip(&report.outcomes) {
        if outcome.failure.is_some() {
            failure(&mut out, number, outcome);
        }
    }
    if let Some(rerun) = super::rerun(report) {
        let _ = writeln!(out, "<p>Rerun: <code>{}</code></p>", escape(&rerun));
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn row(out: &mut String, number: usize, outcome: &Outcome) {
    let name = escape(&outcome.name);
    let (state, name) = if outcome.failure.is_some() {
        ("<td class=\"fail\">FAIL</td>", format!("<a href=\"#test-{number}\">{name}</a>"))
    } else {
        ("<td>ok</td>", name)
    };
    let _ = writeln!(
        out,
        "<tr>{state}<td>{name}</td><td class=\"faint\">{}</td><td class=\"faint\">seed {:#x}</td>\
         <td class=\"faint\">{:.1} ms</td></tr>",
        escape(&outcome.place()),
        outcome.seed,
        outcome.took.as_secs_f64() * 1_000.0
    );
}

fn failure(out: &mut String, number: usize, outcome: &Outcome) {
    let _ = write!(
        out,
        "<section id=\"test-{number}\">\n<h2>{}</h2>\n<p class=\"faint\">{}, seed {:#x}</p>\n\
         <pre>{}</pre>\n",
        escape(&outcome.name),
        escape(&outcome.place()),
        outcome.seed,
        escape(&outcome.facts().join("\n"))
    );
    let ladder = outcome.failure.as_ref().map(|failure| &failure.ladder);
    if let Some(ladder) = ladder.filter(|ladder| !ladder.events.is_empty()) {
        let _ = write!(out, "<figure>\n{}</figure>\n", ladder.to_svg());
    }
    out.push_str("</section>\n");
}
