//! Replays: the whole balancer on a virtual clock, fed from a capture.
//!
//! # Theory of operation
//!
//! ```text
//!  Input ── packets, times ─┐                    ┌─► Tally    counts
//!  Events ── a script ──────┼─► Machine ── sees ─┼─► Taps     pcapng, as a live capture
//!  Pace ── how fast ────────┘                    ├─► Lines    text or JSON
//!                                                └─► Expect   the outbound side of a capture
//! ```
//!
//! A [`Machine`] is a balancer and its clock. Each packet comes at its own time;
//! between two of them timers fire at theirs, one after the other. What ends in the proxy runs on a paused
//! tokio runtime, whose clock is moved along; a plan without such services has no runtime to wait for.
//!
//! **Which packets.** Of a capture that balun took, only the inbound ones are replayed: the outbound ones
//! are what the balancer is to make of them. Of any other capture, all are. The leg of a packet is the
//! interface's of the same name, or what the command line says, or the one that leads to its source.
//!
//! **Rounds.** A live balancer does not fire a timer at its deadline but in its next round, some
//! milliseconds later, and what it then sends has the time of the round. A capture shows it: a time at
//! which something was sent is one at which the balancer had a round. So where a capture says when its
//! run began, timers that are due just before a recorded round fire in that round. A round in which
//! nothing was read or sent is not in the capture; what a task did in one it does at its own time here.
//!
//! The same input, configuration and seed give the same bytes. What they cannot give is what is drawn
//! outside of the seed: the random numbers of TLS.

pub mod diff;
mod expect;
mod folder;
pub mod input;
pub mod legs;
mod lines;
pub mod machine;
mod outputs;
pub mod pace;
mod prepare;
mod tally;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netstack::dev::pcapng::Run;

use crate::capture::{self, MAX_SNAPLEN, Origin, Report, Tap, Taps, Target};
use crate::config::events::Events;
use crate::plan::Plan;
use crate::sim;

pub use prepare::{Choices, Prepared, prepare};
pub use tally::Tally;

use expect::Expect;
use input::{Fault, Input};
use legs::Legs;
use lines::Lines;
use machine::Machine;
use outputs::Outputs;
use pace::{Pace, Speed};
use tally::Summary;

/// What is to be shown of a replay.
#[derive(Debug, Default)]
pub struct Shown {
    /// A capture of it.
    pub output: Option<Capture>,
    /// A line for each packet.
    pub lines: Option<Listing>,
    /// The capture that what leaves is compared with, and how much later or earlier it may leave.
    pub expect: Option<(PathBuf, Duration)>,
}

/// A capture that a replay makes.
#[derive(Debug)]
pub struct Capture {
    /// The file.
    pub path: PathBuf,
    /// How much is said of each packet.
    pub comments: capture::Comments,
    /// What tells the configuration from another.
    pub config: String,
}

/// Lines that a replay writes.
pub enum Listing {
    /// For people.
    Text(Box<dyn io::Write>),
    /// JSON objects.
    Json(Box<dyn io::Write>),
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Json(_) => "Json",
        })
    }
}

/// A replay that is about to begin.
#[derive(Debug)]
pub struct Replay {
    /// The balancer.
    pub plan: Plan,
    /// Its input.
    pub input: Input,
    /// By which legs packets came.
    pub legs: Legs,
    /// What happens meanwhile.
    pub events: Events,
    /// How fast.
    pub speed: Speed,
}

/// What a replay came to.
#[derive(Debug)]
pub struct Finished {
    /// The table of counts.
    pub summary: String,
    /// The counts.
    pub tally: Tally,
    /// What the comparison says, and whether all was as expected.
    pub expected: Option<(String, bool)>,
    /// What was written.
    pub captured: Vec<Report>,
    /// Why it ended before its time: what is told here was replayed in front of that.
    pub fault: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Replay {
    /// Runs it.
    ///
    /// # Errors
    /// [`Fault`] if it cannot begin.
    pub fn run(self, shown: Shown) -> Result<Finished, Fault> {
        let run = sim::run(self.replay(shown));
        run.unwrap_or_else(|e| Err(Fault(format!("no runtime: {e}"))))
    }

    async fn replay(self, shown: Shown) -> Result<Finished, Fault> {
        let Self { plan, mut input, legs, mut events, speed } = self;
        let names: Vec<_> = plan.legs.iter().map(|leg| leg.tun.name.clone()).collect();
        let mut outputs = Outputs::new(&legs);
        outputs.taps = shown.output.map(|to| tap(to, &plan, &input)).transpose()?;
        outputs.lines = shown.lines.map(|listing| match listing {
            Listing::Text(out) => Lines::new(out, lines::Form::Text, names.clone()),
            Listing::Json(out) => Lines::new(out, lines::Form::Json, names.clone()),
        });
        let expect = shown
            .expect
            .map(|(path, tolerance)| Expect::open(&path, input.epoch(), tolerance, names.clone()));
        outputs.expect = expect.transpose()?;

        let mut machine = Machine::new(plan).map_err(|e| Fault(e.to_string()))?;
        machine.balancer.engine.set_accounting(outputs.want_accounts());
        let started = Instant::now();
        let pace = Pace::of(speed);
        let replayed = machine.replay(&mut input, &legs, &mut events, pace, &mut outputs).await;
        let took = started.elapsed();

        let mut fault = replayed.err().map(|Fault(text)| text);
        let Outputs { tally, taps, lines, expect, .. } = outputs;
        let captured = taps.map(|mut taps| taps.end()).unwrap_or_default();
        if let Some(error) = captured.iter().find_map(|report| report.error.clone()) {
            fault.get_or_insert(error);
        }
        if let Some(Err(error)) = lines.map(Lines::finish) {
            fault.get_or_insert(format!("cannot write to the standard output: {error}"));
        }
        let expected = expect.map(|expect| expect.finish(&legs)).transpose();
        let expected = expected.unwrap_or_else(|Fault(text)| {
            fault.get_or_insert(text);
            None
        });
        let mut summary = String::new();
        let table = Summary {
            tally: &tally,
            skipped: input.skipped(),
            engine: &machine.balancer.engine,
            applications: &machine.stats,
            legs: &names,
        };
        // Writing to a string does not fail.
        let _ = write!(summary, "{table}");
        Ok(Finished { summary, tally, expected, captured, fault, took })
    }
}

/// Begins the capture of a replay: of whole packets, and of all of them however slow the disk is.
fn tap(to: Capture, plan: &Plan, input: &Input) -> Result<Taps, Fault> {
    let options = capture::Options {
        snaplen: MAX_SNAPLEN,
        comments: to.comments,
        ..capture::Options::default()
    };
    let origin = Origin {
        run: Run { seed: plan.engine.seed, config: to.config },
        legs: plan.legs.iter().map(|leg| leg.tun.name.clone()).collect(),
        epoch: input.epoch(),
    };
    let cannot = |e: &dyn std::fmt::Display| {
        Fault(format!("the capture `{}` cannot be written: {e}", to.path.display()))
    };
    let tap = Tap::start(Target::File(to.path.clone()), options, origin).map_err(|e| cannot(&e))?;
    let mut taps = Taps::default();
    taps.add(tap.waiting()).map_err(|e| cannot(&e))?;
    Ok(taps)
}
