//! `[[test]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use nat::{BackendState, DropReason};
use netstack::wire::text;

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, quoted};
use super::super::model::{
    Act, BackendStep, Counter, Kill, LinkFaults, Simulation, Span, Spanned, Step, Test,
    VerdictName, Wait,
};
use super::super::reader::{Item, Reader, Table};
use super::super::suggest::nearest;
use super::super::value;
use super::exactly_one;
use crate::testing::Pattern;

/// Steps of one test.
const MAX_STEPS: usize = 10_000;
const FLOWS: RangeInclusive<u32> = 1..=100_000;
const CLIENTS: RangeInclusive<u32> = 1..=100;
const SECONDS: RangeInclusive<u32> = 1..=3_600;
const COUNT: RangeInclusive<u64> = 0..=i64::MAX as u64;

pub(super) const STATES: [(&str, BackendState); 5] = [
    ("ready", BackendState::Ready),
    ("drain", BackendState::Drain),
    ("maint", BackendState::Maint),
    ("down", BackendState::Down),
    ("starting", BackendState::Starting),
];

pub(super) fn test(r: &mut Reader, item: &Item<'_>) -> Option<Test> {
    let mut table = item.table(r)?;
    let name = table.require(r, "name", "\"a syn is forwarded\"").and_then(|item| item.words(r));
    let seed = table.take(r, "seed").and_then(|item| item.integer(r, COUNT));
    let health = table.take(r, "health").and_then(|item| item.boolean(r));
    let example = "[{ send = 'tcp 10.1.0.5:40000 > 10.99.0.1:80 S' }]";
    let steps = table.require(r, "step", example).map(|item| {
        let span = item.span.clone();
        let steps =
            item.filled_list(r, "a test needs something to do", example, |r, item| step(r, &item));
        limit_steps(r, steps.len(), span);
        steps
    });
    let span = table.span.clone();
    table.finish(r);
    Some(Test {
        name: name?,
        span,
        seed: seed.map(|seed| seed.value),
        health: health.is_some_and(|health| health.value),
        steps: steps?,
    })
}

/// Refuses tests of more steps than one may have.
pub(super) fn limit_steps(r: &mut Reader, steps: usize, span: Span) {
    if steps > MAX_STEPS {
        r.report(Diagnostic::new(
            Code::OutOfRange,
            format!("a test of {steps} steps is too long"),
            span,
            format!("at most {MAX_STEPS} steps"),
            "make several tests of it",
        ));
    }
}

fn step(r: &mut Reader, item: &Item<'_>) -> Option<Step> {
    const KEYS: [&str; 8] =
        ["send", "expect", "reply", "verdict", "counters", "flows", "backend", "sim"];
    let mut table = item.table(r)?;
    let within = (table.path(), table.span.clone());
    let span = item.span.clone();
    let waits = table.has("after") || table.has("at");
    let wait = wait(r, &mut table);
    let mut acts = Vec::new();
    for key in KEYS {
        // Of a step about a backend, `flows` is a part.
        if key == "flows" && table.has("backend") {
            continue;
        }
        let Some(item) = table.take(r, key) else { continue };
        let act = act(r, key, &item, &mut table);
        acts.push((item, act));
    }
    // Of a misspelt act it is enough to say that it is not known.
    let misspelt = table.is_left();
    table.finish(r);
    if acts.is_empty() && (waits || misspelt) {
        return Some(Step { span, wait, act: Act::Pass });
    }
    let act = exactly_one(r, within, acts, &KEYS)?;
    Some(Step { span, wait, act })
}

fn wait(r: &mut Reader, table: &mut Table<'_>) -> Option<Wait> {
    let mut written = Vec::new();
    for (key, wait) in [("after", Wait::After as fn(Duration) -> Wait), ("at", Wait::At)] {
        let Some(item) = table.take(r, key) else { continue };
        let time = item.parse(r, value::duration).map(|time| wait(time.value));
        written.push((item, time));
    }
    if written.is_empty() {
        return None;
    }
    exactly_one(r, (table.path(), table.span.clone()), written, &["after", "at"])
}

fn act(r: &mut Reader, key: &str, item: &Item<'_>, table: &mut Table<'_>) -> Option<Act> {
    match key {
        "send" => {
            let line = item.text(r).map(|text| text.map(str::to_owned));
            let leg = table.take(r, "leg").and_then(|item| item.words(r));
            let line = line.filter(|line| sendable(r, line))?;
            Some(Act::Send { line, leg })
        }
        "expect" => {
            let pattern = item.text(r).map(|text| text.map(str::to_owned));
            let leg = table.take(r, "leg").and_then(|item| item.words(r));
            let within = table.take(r, "within").and_then(|item| item.parse(r, value::duration));
            let pattern = pattern.and_then(|text| self::pattern(r, &text))?;
            let within = within.map(|time| time.value).unwrap_or_default();
            Some(Act::Expect { pattern, leg, within })
        }
        "reply" => item.text(r).map(|text| Act::Reply { words: text.map(str::to_owned) }),
        "verdict" => {
            let verdict = item.choice(r, "a verdict", &VerdictName::ALL);
            let reasons: Vec<_> = DropReason::ALL.iter().map(|r| (r.name(), *r)).collect();
            let reason = table.take(r, "reason");
            let reason = reason.and_then(|item| item.choice(r, "a drop reason", &reasons));
            let reason = reason.map(|reason| reason.value);
            Some(Act::Verdict { verdict: verdict?.value, reason })
        }
        "counters" => counters(r, item).map(Act::Counters),
        "flows" => item.integer(r, COUNT).map(|count| Act::Flows(count.value)),
        "backend" => backend(r, item, table),
        _ => simulation(r, item).map(|sim| Act::Sim(Box::new(sim))),
    }
}

/// Reports what is wrong with a packet line. One with variables is only known when they are.
pub(super) fn sendable(r: &mut Reader, line: &Spanned<String>) -> bool {
    if line.value.contains('$') {
        return true;
    }
    let Err(error) = text::packet(&line.value) else { return true };
    let help = "write a line such as `tcp 10.1.0.5:40000 > 10.99.0.1:80 S`";
    r.report(Diagnostic::new(
        Code::BadPacket,
        format!("{} is not a packet", quoted(&line.value)),
        inner(line, error.span),
        error.message,
        help,
    ));
    false
}

/// The pattern that `text` is, or what is wrong with it.
pub(super) fn pattern(r: &mut Reader, text: &Spanned<String>) -> Option<Spanned<Pattern>> {
    match Pattern::parse(&text.value) {
        Ok(pattern) => Some(Spanned::new(pattern, text.span.clone())),
        Err(error) => {
            let help = "write a packet line without what may be anything, such as \
                        `tcp * > 10.2.0.0/24:8080 S ttl=63`, or `nothing`";
            r.report(Diagnostic::new(
                Code::BadPattern,
                format!("{} is not a pattern of packets", quoted(&text.value)),
                inner(text, error.span),
                error.message,
                help,
            ));
            None
        }
    }
}

/// Where a part of a text stands: within quotes if these, and nothing else, stand around it.
fn inner(text: &Spanned<String>, part: Span) -> Span {
    let quotes = text.span.len().checked_sub(text.value.len());
    match quotes.filter(|_| !part.is_empty()) {
        Some(quotes @ (0 | 2)) => {
            let start = text.span.start + quotes / 2;
            start + part.start..start + part.end
        }
        _ => text.span.clone(),
    }
}

fn counters(r: &mut Reader, item: &Item<'_>) -> Option<Vec<(Counter, u64)>> {
    let mut table = item.table(r)?;
    let named = table.take_named(r);
    let mut counters = Vec::new();
    for (name, item) in named {
        let value = item.integer(r, COUNT);
        counters.extend(counter(r, &name).zip(value.map(|value| value.value)));
    }
    Some(counters)
}

/// The counter of that name, or a report that there is none.
pub(super) fn counter(r: &mut Reader, name: &Spanned<String>) -> Option<Counter> {
    let found = Counter::find(&name.value);
    if found.is_none() {
        let stats = super::super::model::COUNTERS.iter().map(|(name, _)| *name);
        let known = nearest(&name.value, stats.chain(DropReason::ALL.iter().map(|r| r.name())));
        let help = known.map_or_else(
            || "write a counter such as `forwarded`, or a drop reason such as `no-service`".into(),
            |known| format!("did you mean `{known}`?"),
        );
        r.report(Diagnostic::new(
            Code::Undefined,
            format!("counter {} is not defined", quoted(&name.value)),
            name.span.clone(),
            "no counter or drop reason has this name",
            help,
        ));
    }
    found
}

fn backend(r: &mut Reader, item: &Item<'_>, table: &mut Table<'_>) -> Option<Act> {
    let name = item.words(r);
    let state = |r: &mut Reader, item: Option<Item<'_>>| {
        item.and_then(|item| item.choice(r, "a state", &STATES)).map(|state| state.value)
    };
    let (set, is) = (table.take(r, "state"), table.take(r, "is"));
    let (flows, active) = (table.take(r, "flows"), table.take(r, "active"));
    if set.is_none() && is.is_none() && flows.is_none() && active.is_none() {
        let keys = ["state", "is", "flows", "active"];
        exactly_one::<()>(r, (table.path(), table.span.clone()), Vec::new(), &keys);
    }
    let mut count = |item: Option<Item<'_>>| {
        item.and_then(|item| item.integer(r, COUNT)).map(|count| count.value)
    };
    let (flows, active) = (count(flows), count(active));
    let (set, is) = (state(r, set), state(r, is));
    Some(Act::Backend(BackendStep { name: name?, set, is, flows, active }))
}

pub(super) fn simulation(r: &mut Reader, item: &Item<'_>) -> Option<Simulation> {
    let mut table = item.table(r)?;
    let span = item.span.clone();
    let service = table.require(r, "service", "\"web\"").and_then(|item| item.words(r));
    let client = table.require(r, "client", "\"10.1.0.5\"");
    let client = client.and_then(|item| item.parse(r, value::ip));
    let mut number = |r: &mut Reader, key, range, default| {
        let number = table.take(r, key).and_then(|item| item.integer(r, range));
        number.map_or(default, |number| number.value)
    };
    let clients = number(r, "clients", CLIENTS, 1);
    let flows = number(r, "flows", FLOWS, 100);
    let seconds = number(r, "seconds", SECONDS, 10);
    let link = faults(r, &mut table);
    let kill = kill(r, &mut table);
    let errors = table.take(r, "errors").and_then(|item| item.integer(r, COUNT));
    let mut shares = |r: &mut Reader, key| {
        let table = table.take(r, key).and_then(|item| item.table(r));
        let named = table.map(|mut table| table.take_named(r)).unwrap_or_default();
        let mut shares = Vec::new();
        for (name, item) in named {
            shares.extend(item.integer(r, COUNT).map(|count| (name, count.value)));
        }
        shares
    };
    let (at_least, at_most) = (shares(r, "at-least"), shares(r, "at-most"));
    table.finish(r);
    Some(Simulation {
        span,
        service: service?,
        client: client?,
        clients,
        flows,
        seconds,
        link,
        kill,
        errors: errors.map_or(0, |errors| errors.value),
        at_least,
        at_most,
    })
}

fn faults(r: &mut Reader, table: &mut Table<'_>) -> LinkFaults {
    let mut link = LinkFaults::default();
    for (key, time) in [("delay", &mut link.delay), ("jitter", &mut link.jitter)] {
        let written = table.take(r, key).and_then(|item| item.parse(r, value::duration));
        *time = written.map(|time| time.value).unwrap_or_default();
    }
    for (key, share) in [
        ("loss", &mut link.loss),
        ("duplicate", &mut link.duplicate),
        ("reorder", &mut link.reorder),
        ("corrupt", &mut link.corrupt),
    ] {
        let written = table.take(r, key).and_then(|item| item.parse(r, value::percentage));
        *share = written.map(|share| share.value).unwrap_or_default();
    }
    link
}

fn kill(r: &mut Reader, table: &mut Table<'_>) -> Option<Kill> {
    let backend = table.take(r, "kill");
    let back = table.take(r, "back");
    if backend.is_none() {
        for item in table.take(r, "at").iter().chain(&back) {
            r.report(Diagnostic::new(
                Code::MissingKey,
                format!("{} is of no use without `kill`", item.path()),
                item.key_span.clone(),
                "nothing dies here",
                "add `kill = \"web/web1\"`, or remove it",
            ));
        }
        return None;
    }
    let at = table.require(r, "at", "\"5s\"").and_then(|item| item.parse(r, value::duration));
    let back = back.and_then(|item| item.parse(r, value::duration));
    let backend = backend.and_then(|item| item.words(r))?;
    Some(Kill { backend, at: at?.value, back: back.map(|back| back.value) })
}
