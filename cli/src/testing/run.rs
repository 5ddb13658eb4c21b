//! Runs the tests of a configuration.

use std::path::Path;

use nat::Verdict;
use netstack::Instant;

use super::bench::Bench;
use super::error::BenchError;
use super::setup::{Setup, state_name};
use super::simulate;
use crate::config::model::{Act, BackendStep, Config, Simulation, Step, Test, VerdictName, Wait};
use crate::config::render::Source;
use crate::ladder::Ladder;

/// What a test is run with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The configuration that it is about.
    pub config: &'a Config,
    /// Where the files lie that the configuration names.
    pub folder: &'a Path,
    /// The text that the test stands in.
    pub source: Source<'a>,
}

/// Why a test failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The number of the step, from 1.
    pub step: usize,
    /// Where the step stands: the line, from 1.
    pub line: usize,
    /// What was sent, expected and seen: a word for each, and a text.
    pub facts: Vec<(&'static str, String)>,
    /// What happened up to then.
    pub ladder: Ladder,
}

/// Runs a test with a seed.
///
/// # Errors
/// The first step that did not come out as it should.
pub fn run(subject: Subject<'_>, test: &Test, seed: u64) -> Result<(), Failure> {
    let setup = Setup { seed: Some(seed), health: test.health };
    let bench = Bench::from_model(subject.config, subject.folder, setup);
    let bench = bench.map_err(|error| Failure {
        line: subject.source.position(test.span.start).line,
        facts: vec![("error", error.to_string())],
        ..Failure::default()
    })?;
    let mut run = Run { subject, test, setup, bench, sent: None, set: Vec::new() };
    for (number, step) in (1..).zip(&test.steps) {
        if let Err(facts) = run.step(number, step) {
            let line = subject.source.position(step.span.start).line;
            let ladder = run.bench.history().ladder(&test.name.value);
            return Err(Failure { step: number, line, facts, ladder });
        }
    }
    Ok(())
}

type Facts = Vec<(&'static str, String)>;

struct Run<'a> {
    subject: Subject<'a>,
    test: &'a Test,
    setup: Setup,
    bench: Bench,
    /// The line of the last packet sent.
    sent: Option<String>,
    /// The backends whose state steps have set: which, to what, and the step.
    set: Vec<(String, &'static str, usize)>,
}

impl Run<'_> {
    fn step(&mut self, number: usize, step: &Step) -> Result<(), Facts> {
        self.wait(step)?;
        match &step.act {
            Act::Pass => Ok(()),
            Act::Send { line, leg } => {
                self.sent = Some(line.value.clone());
                let leg = leg.as_ref().map(|leg| leg.value.as_str());
                let sent = self.bench.send(leg, &line.value);
                sent.map(drop).map_err(|e| self.with_sent(failed(&e)))
            }
            Act::Reply { words } => {
                self.sent = Some(format!("(reply) {}", words.value));
                let sent = self.bench.reply(&words.value);
                sent.map(drop).map_err(|e| self.with_sent(failed(&e)))
            }
            Act::Expect { pattern, leg, within } => {
                if !within.is_zero() {
                    self.bench.wait_for_packet(*within).map_err(|e| failed(&e))?;
                }
                let leg = leg.as_ref().map(|leg| leg.value.as_str());
                let seen = self.bench.expect_pattern(leg, &pattern.value);
                seen.map(drop).map_err(|e| self.unexpected(leg, e))
            }
            Act::Verdict { verdict, reason } => {
                let wanted = match reason {
                    Some(reason) => format!("{}, {reason}", word_of(*verdict)),
                    None => word_of(*verdict).to_owned(),
                };
                let Some(got) = self.bench.verdict() else { return Err(differs(wanted, "none")) };
                let same = name_of(got) == *verdict
                    && reason.is_none_or(|reason| self.bench.drop_reason() == Some(reason));
                if same { Ok(()) } else { Err(self.with_sent(differs(wanted, said(got)))) }
            }
            Act::Counters(counters) => counters.iter().try_for_each(|(counter, wanted)| {
                let is = counter.read(self.bench.counters());
                same(counter.name(), is, *wanted)
            }),
            Act::Flows(wanted) => {
                same("tracked flows", self.bench.engine().flows().len() as u64, *wanted)
            }
            Act::Backend(step) => self.backend(number, step),
            Act::Sim(sim) => self.simulate(sim),
        }
    }

    fn wait(&mut self, step: &Step) -> Result<(), Facts> {
        let time = match step.wait {
            None => return Ok(()),
            Some(Wait::After(time)) => time,
            Some(Wait::At(at)) => {
                let (at, now) = (Instant::ZERO + at, self.bench.now());
                if at < now {
                    return Err(vec![("error", format!("it is {now} already, later than {at}"))]);
                }
                at - now
            }
        };
        self.bench.advance(time).map_err(|e| failed(&e))
    }

    fn backend(&mut self, number: usize, step: &BackendStep) -> Result<(), Facts> {
        let name = &step.name.value;
        if let Some(state) = step.set {
            self.bench.set_backend(name, state).map_err(|e| failed(&e))?;
            self.set.retain(|(set, ..)| set != name);
            self.set.push((name.clone(), state_name(state), number));
        }
        let unknown = || failed(&BenchError::NoBackend(name.clone()));
        let backend = self.bench.backend(name).ok_or_else(unknown)?;
        if let Some(wanted) = step.is.filter(|wanted| *wanted != backend.state) {
            let wanted = format!("{name} is {}", state_name(wanted));
            return Err(differs(wanted, state_name(backend.state)));
        }
        let (flows, active) = (backend.flows, u64::from(backend.active));
        for (what, is, wanted) in [("flows", flows, step.flows), ("active", active, step.active)] {
            if let Some(wanted) = wanted {
                same(&format!("{what} of {name}"), is, wanted)?;
            }
        }
        Ok(())
    }

    fn simulate(&self, sim: &Simulation) -> Result<(), Facts> {
        let Subject { config, folder, .. } = self.subject;
        let observed = simulate::run(config, folder, self.setup, sim).map_err(|e| failed(&e))?;
        let mut facts = observed.differences(sim);
        if facts.is_empty() {
            return Ok(());
        }
        facts.push(("seen", observed.to_string()));
        facts.extend(observed.first_error().map(|error| ("first", error)));
        Err(facts)
    }

    fn with_sent(&self, mut facts: Facts) -> Facts {
        facts.splice(0..0, self.sent.iter().map(|line| ("sent", line.clone())));
        facts
    }

    /// What is to be said of a packet that is not the expected one.
    fn unexpected(&self, leg: Option<&str>, error: BenchError) -> Facts {
        let at = leg.map(|leg| format!("  at {leg}")).unwrap_or_default();
        let facts = match error {
            BenchError::Differs { expected, got, leg, difference } => {
                let note = self.backend_in(&expected).or_else(|| self.backend_in(&got));
                let mut facts = vec![
                    ("expect", format!("{expected}{at}")),
                    ("got", format!("{got}  at {leg}")),
                    ("differs", difference),
                ];
                facts.extend(note.map(|note| ("note", note)));
                facts
            }
            BenchError::Nothing { expected } => {
                let mut facts =
                    vec![("expect", format!("{expected}{at}")), ("got", "nothing".to_owned())];
                facts.extend(self.bench.verdict().map(|verdict| ("verdict", said(verdict))));
                facts
            }
            other => failed(&other),
        };
        self.with_sent(facts)
    }

    /// What steps have done to the backend that a line or a pattern names.
    fn backend_in(&self, line: &str) -> Option<String> {
        let (name, state, number) = self.set.iter().find(|(name, ..)| {
            let address = self.bench.backend(name).map(|b| b.config.address.to_string());
            address.is_some_and(|address| line.split(' ').any(|word| word == address))
        })?;
        let place = self.test.steps.get(number - 1)?.span.start;
        let Source { file, .. } = self.subject.source;
        let line = self.subject.source.position(place).line;
        Some(format!("{name} is {state} (step {number}, {file}:{line})"))
    }
}

fn failed(error: &BenchError) -> Facts {
    vec![("error", error.to_string())]
}

fn differs(expected: impl Into<String>, got: impl Into<String>) -> Facts {
    vec![("expect", expected.into()), ("got", got.into())]
}

fn same(what: &str, is: u64, wanted: u64) -> Result<(), Facts> {
    if is == wanted { Ok(()) } else { Err(differs(format!("{what}: {wanted}"), is.to_string())) }
}

const fn name_of(verdict: Verdict) -> VerdictName {
    match verdict {
        Verdict::Forward => VerdictName::Forward,
        Verdict::Reply => VerdictName::Reply,
        Verdict::Divert(_) => VerdictName::Divert,
        Verdict::Hold => VerdictName::Hold,
        Verdict::Consumed => VerdictName::Consumed,
        Verdict::Reject(_) => VerdictName::Reject,
        Verdict::Drop(_) => VerdictName::Drop,
    }
}

fn word_of(verdict: VerdictName) -> &'static str {
    VerdictName::ALL.iter().find(|(_, name)| *name == verdict).map_or("?", |(word, _)| word)
}

/// A verdict in words: `drop, no-service`.
fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Drop(reason) | Verdict::Reject(reason) => {
            format!("{}, {reason}", word_of(name_of(verdict)))
        }
        _ => word_of(name_of(verdict)).to_owned(),
    }
}

/// True if the test simulates hosts: the seed then decides more than a name or a port.
pub fn is_simulated(test: &Test) -> bool {
    test.steps.iter().any(|step| matches!(step.act, Act::Sim(_)))
}
