//! Tests as a file of lines: the `.pkt` form of `[[test]]`, one step a line.
//!
//! ```text
//! # Comments, and headers in front of the first test.
//! config = balun.toml
//!
//! test a connection is forwarded
//! send   client: tcp 10.1.0.5:40000 > 10.99.0.1:80 S
//! expect backend: tcp $snat > 10.2.0.0/24:8080 S ttl=63
//! +100ms reply S. seq=500
//! expect client: within 1s S. ack=1
//! verdict forward
//! counters forwarded=2
//! ```

use std::path::PathBuf;
use std::time::Duration;

use nat::DropReason;
use toml::de::DeTable;

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, alternatives, quoted};
use super::super::model::{Act, BackendStep, Span, Spanned, Step, Test, VerdictName, Wait};
use super::super::reader::{Complaint, Reader, Table};
use super::super::suggest::nearest;
use super::super::value;
use super::test;

/// What a `.pkt` file says.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Script {
    /// The configuration that it is about, relative to its own folder.
    pub(in super::super) config: Option<Spanned<PathBuf>>,
    /// Its tests, in order.
    pub(in super::super) tests: Vec<Test>,
}

const VERBS: [&str; 8] =
    ["send", "expect", "reply", "verdict", "counters", "flows", "backend", "sim"];

/// Reads a text whose tests, if it names none, are one called `name`.
pub(in super::super) fn script(text: &str, name: &str) -> (Script, Vec<Diagnostic>) {
    let mut parser =
        Parser { r: Reader::default(), script: Script::default(), seed: None, health: false };
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let words = Words::new(line.trim_end(), offset);
        offset += line.len();
        parser.line(words, name);
    }
    let mut r = parser.r;
    for test in &parser.script.tests {
        test::limit_steps(&mut r, test.steps.len(), test.span.clone());
        // Of a test whose steps are wrong it is enough to say so.
        if test.steps.is_empty() && r.diagnostics.is_empty() {
            let help = "write a step such as `send tcp 10.1.0.5:40000 > 10.99.0.1:80 S`";
            let title = format!("test {} has no step", quoted(&test.name.value));
            let label = "a test needs something to do";
            r.report(Diagnostic::new(Code::MissingKey, title, test.span.clone(), label, help));
        }
    }
    if parser.script.tests.is_empty() && r.diagnostics.is_empty() {
        let help = "write a step such as `send tcp 10.1.0.5:40000 > 10.99.0.1:80 S`";
        let title = "the file has no test";
        r.report(Diagnostic::new(Code::MissingKey, title, 0..0, "nothing is tried here", help));
    }
    (parser.script, r.diagnostics)
}

struct Parser {
    r: Reader,
    script: Script,
    seed: Option<u64>,
    health: bool,
}

/// What is left of a line, and where it stands.
#[derive(Clone, Debug)]
struct Words<'a> {
    rest: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn new(line: &'a str, at: usize) -> Self {
        let rest = line.trim_start();
        Self { rest, at: at + line.len() - rest.len() }
    }

    fn next(&mut self) -> Option<Spanned<&'a str>> {
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        if end == 0 {
            return None;
        }
        let word = Spanned::new(&self.rest[..end], self.at..self.at + end);
        *self = Self::new(&self.rest[end..], self.at + end);
        Some(word)
    }

    fn span(&self) -> Span {
        self.at..self.at + self.rest.len()
    }

    fn all(&self) -> Spanned<String> {
        Spanned::new(self.rest.to_owned(), self.span())
    }

    /// The leg in front: `client:`.
    fn leg(&mut self) -> Option<Spanned<String>> {
        let mut ahead = self.clone();
        let word = ahead.next()?;
        let leg = word
            .value
            .strip_suffix(':')
            .filter(|leg| !leg.is_empty() && !leg.contains([':', '[']))?;
        let span = word.span.start..word.span.end - 1;
        *self = ahead;
        Some(Spanned::new(leg.to_owned(), span))
    }
}

impl Parser {
    fn line(&mut self, mut words: Words<'_>, name: &str) {
        if words.rest.is_empty() || words.rest.starts_with('#') {
            return;
        }
        let span = words.span();
        if let Some(title) = words.rest.strip_prefix("test ").map(str::trim) {
            let at = span.end - title.len();
            let name = Spanned::new(title.to_owned(), at..span.end);
            self.begin(name, span);
            return;
        }
        if self.script.tests.is_empty()
            && let Some((key, value)) = words.rest.split_once('=')
            && !key.trim().is_empty()
            && !key.trim().contains(char::is_whitespace)
        {
            let start = words.at + key.len() + 1;
            let value = Words::new(value, start);
            self.header(key.trim(), words.at, &value);
            return;
        }
        if self.script.tests.is_empty() {
            self.begin(Spanned::new(name.to_owned(), span.clone()), span.clone());
        }
        let wait = self.wait(&mut words);
        let act = match words.next() {
            Some(verb) => self.act(&verb, words),
            None => wait.map(|_| Act::Pass),
        };
        if let (Some(test), Some(act)) = (self.script.tests.last_mut(), act) {
            test.steps.push(Step { span, wait, act });
        }
    }

    fn begin(&mut self, name: Spanned<String>, span: Span) {
        let (seed, health) = (self.seed, self.health);
        self.script.tests.push(Test { name, span, seed, health, steps: Vec::new() });
    }

    fn header(&mut self, key: &str, at: usize, value: &Words<'_>) {
        let text = value.rest;
        match key {
            "config" if !text.is_empty() => {
                self.script.config = Some(Spanned::new(PathBuf::from(text), value.span()));
            }
            "seed" => self.seed = self.number(&Spanned::new(text, value.span())),
            "health" if matches!(text, "true" | "false") => self.health = text == "true",
            "config" | "health" => {
                let expected = if key == "config" { "a file name" } else { "true or false" };
                let title = format!("`{key}` must be {expected}");
                let span = if text.is_empty() { at..at + key.len() } else { value.span() };
                let help = format!("write {expected} behind the `=`");
                self.report(Code::WrongType, title, span, "not this", help);
            }
            _ => {
                let help = match nearest(key, ["config", "seed", "health"]) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "write one of `config`, `seed` or `health`".to_owned(),
                };
                let title = format!("{} is not a known header", quoted(key));
                self.report(Code::UnknownKey, title, at..at + key.len(), "unknown header", help);
            }
        }
    }

    fn report(
        &mut self,
        code: Code,
        title: impl Into<String>,
        span: Span,
        label: &str,
        help: impl Into<String>,
    ) {
        self.r.report(Diagnostic::new(code, title, span, label, help));
    }

    /// A value in the words of [`value`], or a report of what is wrong with it.
    fn parse<T>(
        &mut self,
        word: &Spanned<&str>,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        match parse(word.value) {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.r.complain(word.value, word.span.clone(), complaint);
                None
            }
        }
    }

    fn number(&mut self, word: &Spanned<&str>) -> Option<u64> {
        let number = word.value.parse().ok().filter(|&n: &u64| i64::try_from(n).is_ok());
        if number.is_none() {
            let title = format!("{} is not a number", quoted(word.value));
            let help = "write a whole number in digits";
            self.report(Code::WrongType, title, word.span.clone(), "not a number", help);
        }
        number
    }

    /// `+100ms`, `@5s`; a number without a unit is of seconds.
    fn wait(&mut self, words: &mut Words<'_>) -> Option<Wait> {
        let make = match words.rest.bytes().next() {
            Some(b'+') => Wait::After as fn(Duration) -> Wait,
            Some(b'@') => Wait::At,
            _ => return None,
        };
        let word = words.next()?;
        let text = &word.value[1..];
        let seconds = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
        let time = seconds.or_else(|| {
            let span = word.span.start + 1..word.span.end;
            self.parse(&Spanned::new(text, span), value::duration)
        });
        time.map(make)
    }

    fn act(&mut self, verb: &Spanned<&str>, mut words: Words<'_>) -> Option<Act> {
        match verb.value {
            "send" => {
                let leg = words.leg();
                let line = words.all();
                test::sendable(&mut self.r, &line).then_some(Act::Send { line, leg })
            }
            "expect" => {
                let leg = words.leg();
                let mut ahead = words.clone();
                let mut within = Duration::ZERO;
                if ahead.next().is_some_and(|word| word.value == "within")
                    && let Some(time) = ahead.next()
                {
                    within = self.parse(&time, value::duration)?;
                    words = ahead;
                }
                let pattern = test::pattern(&mut self.r, &words.all())?;
                Some(Act::Expect { pattern, leg, within })
            }
            "reply" => Some(Act::Reply { words: words.all() }),
            "verdict" => self.verdict(verb, words),
            "counters" => {
                let mut counters = Vec::new();
                while let Some(word) = words.next() {
                    let (name, count) = self.assignment(&word)?;
                    counters.push((test::counter(&mut self.r, &name)?, count));
                }
                Some(Act::Counters(counters))
            }
            "flows" => {
                let count = self.required(verb, words.next(), "a number")?;
                self.number(&count).map(Act::Flows)
            }
            "backend" => self.backend(verb, words),
            "sim" => self.sim(&words),
            unknown => {
                let help = match nearest(unknown, VERBS) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("begin with {}", alternatives(&VERBS)),
                };
                let title = format!("{} is not a step", quoted(unknown));
                self.report(Code::UnknownKey, title, verb.span.clone(), "unknown step", help);
                None
            }
        }
    }

    fn required<'a>(
        &mut self,
        verb: &Spanned<&str>,
        word: Option<Spanned<&'a str>>,
        what: &str,
    ) -> Option<Spanned<&'a str>> {
        if word.is_none() {
            let title = format!("`{}` needs {what}", verb.value);
            let help = format!("write {what} behind `{}`", verb.value);
            self.report(Code::MissingKey, title, verb.span.clone(), "this says nothing", help);
        }
        word
    }

    /// `name=N`.
    fn assignment(&mut self, word: &Spanned<&str>) -> Option<(Spanned<String>, u64)> {
        let Some((name, number)) = word.value.split_once('=') else {
            let title = format!("{} has no value", quoted(word.value));
            let help = format!("write `{}=1`", word.value);
            self.report(Code::MissingKey, title, word.span.clone(), "expected name=number", help);
            return None;
        };
        let at = word.span.start + name.len();
        let number = self.number(&Spanned::new(number, at + 1..word.span.end))?;
        Some((Spanned::new(name.to_owned(), word.span.start..at), number))
    }

    fn choice<T: Copy>(
        &mut self,
        word: &Spanned<&str>,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == word.value).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let help = match nearest(word.value, names.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None if names.len() > 8 => "`balun explain` lists them all".to_owned(),
                None => format!("write {}", alternatives(&names)),
            };
            let title = format!("{} is not {what}", quoted(word.value));
            self.report(Code::UnknownChoice, title, word.span.clone(), "no such word", help);
        }
        found
    }

    fn verdict(&mut self, verb: &Spanned<&str>, mut words: Words<'_>) -> Option<Act> {
        let word = self.required(verb, words.next(), "a verdict")?;
        let verdict = self.choice(&word, "a verdict", &VerdictName::ALL)?;
        let reasons: Vec<_> = DropReason::ALL.iter().map(|r| (r.name(), *r)).collect();
        let reason = match words.next() {
            Some(word) => Some(self.choice(&word, "a drop reason", &reasons)?),
            None => None,
        };
        self.nothing_more(&words)?;
        Some(Act::Verdict { verdict, reason })
    }

    fn nothing_more(&mut self, words: &Words<'_>) -> Option<()> {
        if words.rest.is_empty() {
            return Some(());
        }
        let title = format!("{} is too much", quoted(words.rest));
        self.report(
            Code::UnknownKey,
            title,
            words.span(),
            "the step ends before this",
            "remove it",
        );
        None
    }

    /// `web/web1 drain`; `web/web1 is drain flows=3 active=1`.
    fn backend(&mut self, verb: &Spanned<&str>, mut words: Words<'_>) -> Option<Act> {
        let name = self.required(verb, words.next(), "a backend, such as web/web1")?;
        let mut step = BackendStep {
            name: Spanned::new(name.value.to_owned(), name.span),
            set: None,
            is: None,
            flows: None,
            active: None,
        };
        if words.rest.is_empty() {
            self.required(verb, None, "a state, `is` and a state, `flows=N` or `active=N`");
        }
        while let Some(word) = words.next() {
            if word.value == "is" {
                let state = self.required(&word, words.next(), "a state")?;
                step.is = Some(self.choice(&state, "a state", &test::STATES)?);
            } else if word.value.contains('=') {
                let (name, count) = self.assignment(&word)?;
                let name = Spanned::new(name.value.as_str(), name.span);
                let flows = [("flows", true), ("active", false)];
                if self.choice(&name, "a count of backends", &flows)? {
                    step.flows = Some(count);
                } else {
                    step.active = Some(count);
                }
            } else {
                step.set = Some(self.choice(&word, "a state", &test::STATES)?);
            }
        }
        Some(Act::Backend(step))
    }

    /// `sim { service = "web", client = "10.1.0.5" }`: the table of the other form.
    fn sim(&mut self, words: &Words<'_>) -> Option<Act> {
        // In front of it stand spaces, so that its places are those of the file.
        let key = "sim=";
        let text = format!("{:>width$}{}", key, words.rest, width = words.at.max(key.len()));
        let document = match DeTable::parse(&text) {
            Ok(document) => document,
            Err(error) => {
                let help = "write `sim { service = \"web\", client = \"10.1.0.5\" }` on one line";
                let title = "the table is not valid TOML";
                self.report(Code::Syntax, title, words.span(), error.message(), help);
                return None;
            }
        };
        let mut root = Table::root(document.get_ref());
        let item = root.take(&mut self.r, "sim")?;
        test::simulation(&mut self.r, &item).map(|sim| Act::Sim(Box::new(sim)))
    }
}

#[cfg(test)]
#[path = "pkt_tests.rs"]
mod tests;
