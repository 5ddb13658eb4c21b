//! `balun explain`.

use std::fmt::Write as _;
use std::iter;

use nat::DropReason;

use super::check::unreadable;
use crate::args::ExplainArgs;
use crate::config::model::Route;
use crate::config::render::{self, Source};
use crate::config::{self, Code, Severity};
use crate::console::Console;
use crate::exit::ExitCode;
use crate::route::Question;

/// Prints the page of a code or of a drop reason, or a list of all.
pub(super) fn run(args: &ExplainArgs, console: &Console) -> ExitCode {
    let Some(topic) = &args.topic else { return console.finish_with(&list()) };
    if topic.contains("://") {
        return route(topic, args, console);
    }
    if let Some(page) = page(topic) {
        return console.finish_with(&page);
    }
    let shown: String = topic.chars().take(40).flat_map(char::escape_debug).collect();
    console.error(&format!("`{shown}` is no error code, drop reason or request"));
    console.say("help: `balun explain` lists them all\n");
    ExitCode::Usage
}

/// Says which route the request would take.
fn route(request: &str, args: &ExplainArgs, console: &Console) -> ExitCode {
    let usage = |message: String| {
        console.error(&message);
        ExitCode::Usage
    };
    let question = match Question::new(request, &args.header, args.client) {
        Ok(question) => question,
        Err(message) => return usage(message),
    };
    let loaded = match config::load(&args.config, false) {
        Ok(loaded) => loaded,
        Err(error) => return unreadable(&args.config, &error, console),
    };
    let Some(config) = &loaded.config else {
        let source = Source { file: &loaded.file, text: &loaded.text };
        console.say(&render::text(&source, &loaded.diagnostics, console.color()));
        return ExitCode::Config;
    };
    let line = |route: &Route| {
        let before = loaded.text.get(..route.span.start).unwrap_or_default();
        before.matches('\n').count() + 1
    };
    match question.answer(config, args.service.as_deref(), line) {
        Ok(answer) => console.finish_with(&answer),
        Err(message) => usage(message),
    }
}

fn page(topic: &str) -> Option<String> {
    // A summary shows a reason without the prefix.
    let name = topic.strip_prefix("drop:").unwrap_or(topic);
    if let Some(reason) = DropReason::ALL.iter().find(|reason| reason.name() == name) {
        let about = about(*reason).unwrap_or_default();
        return Some(format!("drop:{name}\n\n{}\n\n{about}\n", reason.description()));
    }
    // Accept the code as a message shows it: `error[E0304]`.
    let code = topic.trim_start_matches("error").trim_start_matches("warning");
    Code::find(code.trim_matches(['[', ']'])).map(|code| code.page().to_owned())
}

/// What a drop reason means for whoever meets it, what causes it, and what to change.
fn about(reason: DropReason) -> Option<&'static str> {
    drops().find(|(name, _)| *name == reason.name()).map(|(_, about)| about)
}

/// The sections of the file about drop reasons, by their names.
fn drops() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut rest = include_str!("drops.txt");
    iter::from_fn(move || {
        let (_, from) = rest.split_once("\n\n[")?;
        let (name, body) = from.split_once("]\n")?;
        rest = body;
        let end = body.find("\n\n[").unwrap_or(body.len());
        Some((name, body.get(..end)?.trim_end()))
    })
}

fn list() -> String {
    let mut out = String::new();
    for (severity, heading) in [(Severity::Error, "errors"), (Severity::Warning, "warnings")] {
        let _ = writeln!(out, "{heading}");
        for code in Code::ALL.iter().filter(|code| code.severity() == severity) {
            let _ = writeln!(out, "  {code}  {}", code.title());
        }
    }
    out.push_str("drop reasons\n");
    for reason in DropReason::ALL {
        let _ = writeln!(out, "  drop:{reason:<20}  {}", reason.description());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_as_it_is_shown() {
        for topic in ["E0304", "e0304", "error[E0304]", "[E0304]"] {
            assert!(page(topic).is_some_and(|page| page.starts_with("E0304: ")), "{topic}");
        }
        assert!(page("warning[W0001]").is_some());
        for topic in ["", "E", "E9999", "drop:", "drop:no-such-reason", "error"] {
            assert_eq!(page(topic), None, "{topic}");
        }
    }

    #[test]
    fn a_drop_reason_is_found_with_and_without_its_prefix() {
        for reason in DropReason::ALL {
            let page = page(reason.name());
            assert!(page.as_ref().is_some_and(|page| page.contains(reason.description())));
            assert_eq!(page, super::page(&format!("drop:{reason}")));
        }
    }

    #[test]
    fn every_drop_reason_has_its_page_and_every_page_its_reason() {
        let reasons: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        let pages: Vec<_> = drops().map(|(name, _)| name).collect();
        assert_eq!(pages, reasons, "in the same order");
        for (name, about) in drops() {
            assert!((3..=6).contains(&about.lines().count()), "{name}: {about}");
            assert!(about.lines().all(|line| (1..=104).contains(&line.len())), "{name}: {about}");
            assert!(about.ends_with('.'), "{name}: {about}");
        }
    }

    #[test]
    fn pages_of_drop_reasons_name_keys_that_exist() {
        let reference = include_str!("../../../examples/reference.toml");
        for (name, about) in drops() {
            for word in about.split('`').skip(1).step_by(2) {
                let key = word.split(" = ").next().unwrap_or(word).trim_matches(['[', ']', '"']);
                assert!(reference.contains(key), "{name}: no key `{key}`");
            }
        }
    }

    #[test]
    fn the_list_is_whole() {
        let list = list();
        assert!(DropReason::ALL.iter().all(|reason| list.contains(reason.description())));
        assert!(Code::ALL.iter().all(|code| list.contains(code.as_str())));
    }
}
