//! Two configurations, and what they make of the same packets.
//!
//! Each replays in a thread of its own. What it does with a packet, and what it sends until the next one,
//! is one step; the steps of both meet here, in the order of the packets.

use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use nat::{DropReason, Engine, Verdict};
use netstack::wire::text::Line;
use netstack::{Instant, LegId, Packet};

use super::Replay;
use super::input::Fault;
use super::machine::{Machine, Observe};
use super::tally::{Summary, Tally, leaves, reason, verdict_name};
use crate::sim;

/// Packets that differ and are described; the others are counted.
pub const MAX_SHOWN: u64 = 20;

/// Steps that a replay may be ahead of the comparison, in batches.
const AHEAD: usize = 16;
const BATCH: usize = 256;

/// What one packet brought about.
#[derive(Debug, Default)]
struct Step {
    /// Its number in the input; 0 for what was sent before the first.
    frame: u64,
    at: Instant,
    leg: LegId,
    came: Vec<u8>,
    verdict: Option<Verdict>,
    backend: Option<String>,
    /// What left, in that order.
    sent: Vec<(LegId, Vec<u8>)>,
}

/// What a comparison came to.
#[derive(Debug)]
pub struct Compared {
    /// Differences and counts, for people.
    pub text: String,
    /// True if both do the same.
    pub same: bool,
    /// Why it ended before its time.
    pub fault: Option<String>,
}

#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    verdict: u64,
    backend: u64,
    rewrite: u64,
    own: u64,
}

/// Replays both and compares them; their names are `names`.
pub fn compare(first: Replay, second: Replay, names: [&str; 2]) -> Compared {
    let leg_names: Vec<_> = first.plan.legs.iter().map(|leg| leg.tun.name.clone()).collect();
    thread::scope(|scope| {
        let spawn = |replay: Replay| {
            let (sender, receiver) = sync_channel(AHEAD);
            let thread = scope.spawn(move || {
                let ran = sim::run(steps(replay, sender));
                ran.unwrap_or_else(|e| Err(Fault(format!("no runtime: {e}"))))
            });
            (thread, Steps { receiver, batch: Vec::new().into_iter() }.peekable())
        };
        let (first, mut left) = spawn(first);
        let (second, mut right) = spawn(second);
        let (mut text, mut counts) = (String::new(), Counts::default());
        loop {
            // A packet of which one configuration knows no leg is a step of the other alone.
            let order = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) => a.frame.cmp(&b.frame),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
            };
            let a = if order.is_le() { left.next() } else { None };
            let b = if order.is_ge() { right.next() } else { None };
            if let Some(kind) = counts.note(a.as_ref(), b.as_ref())
                && counts.differing() <= MAX_SHOWN
            {
                describe(&mut text, kind, [a.as_ref(), b.as_ref()], names, &leg_names);
            }
        }
        drop((left, right));
        let ends = [first.join(), second.join()];
        let mut fault = None;
        if let Some(more) = counts.differing().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "… and {more} more\n");
        }
        for (name, end) in names.into_iter().zip(ends) {
            match end {
                Ok(Ok((summary, failed))) => {
                    let _ = writeln!(text, "{name}:\n{summary}");
                    fault = fault.or(failed);
                }
                Ok(Err(Fault(error))) => fault = Some(error),
                // It has said so.
                Err(_) => fault = Some("a replay panicked".to_owned()),
            }
        }
        let Counts { packets, verdict, backend, rewrite, own } = counts;
        let _ = writeln!(
            text,
            "{packets} packets: {verdict} with another verdict, {backend} to another backend, \
             {rewrite} otherwise rewritten, {own} after which another packet was sent"
        );
        Compared { text, same: counts.differing() == 0, fault }
    })
}

impl Counts {
    const fn differing(&self) -> u64 {
        self.verdict + self.backend + self.rewrite + self.own
    }

    fn note(&mut self, a: Option<&Step>, b: Option<&Step>) -> Option<&'static str> {
        self.packets += u64::from(a.or(b).is_some_and(|step| step.frame > 0));
        let (kind, count) = match (a, b) {
            (Some(a), Some(b)) if a.verdict != b.verdict => ("verdict", &mut self.verdict),
            (Some(a), Some(b)) if a.backend != b.backend => ("backend", &mut self.backend),
            (Some(a), Some(b)) if a.sent.first() != b.sent.first() => {
                ("rewrite", &mut self.rewrite)
            }
            (Some(a), Some(b)) if a.sent != b.sent => ("sent", &mut self.own),
            (Some(_), Some(_)) => return None,
            _ => ("verdict", &mut self.verdict),
        };
        *count += 1;
        Some(kind)
    }
}

fn describe(
    text: &mut String,
    kind: &str,
    steps: [Option<&Step>; 2],
    names: [&str; 2],
    legs: &[String],
) {
    let leg_name = |leg: LegId| legs.get(usize::from(leg.0)).map_or("?", String::as_str);
    let Some(step) = steps.into_iter().flatten().next() else { return };
    let at = step.at;
    if step.frame > 0 {
        let came = Packet::from_ip(&step.came);
        let (frame, leg, came) = (step.frame, leg_name(step.leg), Line::of(&came).to_string());
        let _ = writeln!(text, "{kind:<8}  frame {frame}, {at}, leg {leg}  {came}");
    } else {
        let _ = writeln!(text, "{kind:<8}  before the first packet");
    }
    for (name, step) in names.into_iter().zip(steps) {
        let Some(step) = step else {
            let _ = writeln!(text, "  {name}  by no leg");
            continue;
        };
        let verdict = step.verdict.map_or("", verdict_name);
        let reason = step.verdict.and_then(reason).map_or("", DropReason::name);
        let backend = step.backend.as_deref().unwrap_or("");
        let words = [verdict, reason, backend];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let _ = writeln!(text, "  {name}  {}", words.join(" "));
        for (leg, data) in step.sent.iter().take(4) {
            let line = Line::of(&Packet::from_ip(data)).to_string();
            let _ = writeln!(text, "    {}  {line}", leg_name(*leg));
        }
        if step.sent.len() > 4 {
            let _ = writeln!(text, "    and {} more", step.sent.len() - 4);
        }
    }
    text.push('\n');
}

/// Replays one configuration, and sends its steps.
async fn steps(
    replay: Replay,
    sender: SyncSender<Vec<Step>>,
) -> Result<(String, Option<String>), Fault> {
    let Replay { plan, mut input, legs, mut events, .. } = replay;
    let names: Vec<_> = plan.legs.iter().map(|leg| leg.tun.name.clone()).collect();
    let mut machine = Machine::new(plan).map_err(|e| Fault(e.to_string()))?;
    machine.balancer.engine.set_accounting(true);
    let mut recorder =
        Recorder { sender, batch: Vec::new(), step: Step::default(), tally: Tally::default() };
    let replayed = machine.replay(&mut input, &legs, &mut events, None, &mut recorder).await;
    recorder.next(Step::default());
    recorder.flush();
    let summary = Summary {
        tally: &recorder.tally,
        skipped: input.skipped(),
        engine: &machine.balancer.engine,
        applications: &machine.stats,
        legs: &names,
    };
    Ok((summary.to_string(), replayed.err().map(|Fault(text)| text)))
}

struct Recorder {
    sender: SyncSender<Vec<Step>>,
    batch: Vec<Step>,
    step: Step,
    tally: Tally,
}

impl Recorder {
    fn next(&mut self, step: Step) {
        let done = std::mem::replace(&mut self.step, step);
        self.batch.push(done);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        // Whoever compares is there until both have ended.
        let _ = self.sender.send(std::mem::take(&mut self.batch));
    }
}

impl Observe for Recorder {
    fn arrives(&mut self, now: Instant, frame: u64, packet: &mut Packet) {
        let (leg, came) = (packet.leg, packet.data().to_vec());
        self.next(Step { frame, at: now, leg, came, ..Step::default() });
    }

    fn decided(&mut self, _: Instant, engine: &Engine, verdict: Verdict, packet: &Packet) {
        self.tally.decided(verdict, packet);
        self.step.verdict = Some(verdict);
        let account = engine.account();
        self.step.backend = account.and_then(|account| super::lines::backend(account, engine));
        if leaves(verdict) {
            self.step.sent.push((packet.leg, packet.data().to_vec()));
        }
    }

    fn leaves(&mut self, _: Instant, _: &Engine, packet: &mut Packet) {
        self.tally.left(packet);
        self.step.sent.push((packet.leg, packet.data().to_vec()));
    }
}

/// Steps as they come.
struct Steps {
    receiver: Receiver<Vec<Step>>,
    batch: std::vec::IntoIter<Step>,
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.batch.next() {
                return Some(step);
            }
            self.batch = self.receiver.recv().ok()?.into_iter();
        }
    }
}
