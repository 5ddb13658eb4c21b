//! `cargo xtask compare`: balun and its rivals, measured in turn on one machine.
//!
//! # Theory of operation
//!
//! For each measure, each round and each rival, one **session**: fresh namespaces
//! ([`topology`]), the servers ([`backend`]), the rival ([`rival`]), one measurement ([`measure`]),
//! and everything removed. Nothing that a session leaves behind (ports in TIME-WAIT, conntrack
//! entries, learnt metrics) can help or hurt the next.
//!
//! Rivals take turns within a round, and each round begins with another one. A machine that is
//! shared gets slower and faster over minutes; so a ratio is taken within a round, and the median of
//! those ratios is what the table shows, not the ratio of the medians.
//!
//! **Everything ends.** Each child has a time limit and is killed when its owner goes
//! ([`children`]); signals set a flag that every wait looks at ([`interrupt`]), so the owners go in
//! order; a namespace takes down with it what still runs inside; children are told to die with this
//! process; and what a killed run left is removed by the next ([`topology::sweep`]).

mod backend;
mod build;
mod certificate;
mod children;
mod interrupt;
mod machine;
mod measure;
mod options;
mod results;
mod rival;
mod sink;
mod table;
mod tools;
mod topology;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use self::certificate::Certificate;
use self::children::Scratch;
use self::measure::Measure;
use self::options::Options;
use self::results::Results;
use self::rival::{Rival, Wires};
use self::topology::Topology;
use crate::Exit;

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// A signal asked for the end.
    Interrupted,
    /// A sentence for the table.
    Because(String),
}

impl Failure {
    fn because(reason: impl fmt::Display) -> Self {
        Self::Because(reason.to_string())
    }
}

/// Where a session takes place.
struct Site<'a> {
    topology: &'a Topology,
    scratch: &'a Scratch,
    /// The binary under test, or why there is none.
    balun: &'a Result<PathBuf, String>,
    /// Of services within TLS; none if nobody asks for one.
    certificate: Option<&'a Certificate>,
}

/// Writes `text` to stdout.
pub(crate) fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::CouldNot,
    }
}

/// Runs the command; `arguments` are those after its name.
pub(crate) fn main(arguments: &[String]) -> Exit {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("error: {complaint}; see `cargo xtask help`");
            return Exit::WrongCommandLine;
        }
    };
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("error: namespaces can be made by root only; try `sudo -E cargo xtask compare`");
        return Exit::NotAllowed;
    }
    let missing = tools::missing(&tools::needed_always(&options.measures));
    if !missing.is_empty() {
        eprintln!("error: programs are missing; try `apt-get install {}`", missing.join(" "));
        return Exit::CouldNot;
    }
    match compare(&options) {
        Ok(()) => Exit::Done,
        Err(Failure::Interrupted) => {
            eprintln!("interrupted: everything is removed");
            Exit::Interrupted
        }
        Err(Failure::Because(reason)) => {
            eprintln!("error: {reason}");
            Exit::CouldNot
        }
    }
}

fn compare(options: &Options) -> Result<(), Failure> {
    interrupt::watch().map_err(|error| Failure::because(format!("signals: {error}")))?;
    children::adopt()?;
    topology::sweep();
    let scratch = Scratch::create()?;
    let balun = match (&options.balun, options.rivals.iter().any(|rival| rival.is_balun())) {
        (_, false) => Err("not asked for".to_owned()),
        (Some(path), true) => Ok(path.clone()),
        (None, true) => build::balun(&scratch)?,
    };
    let machine = machine::describe();
    let mut results = Results::new(options.rounds);
    let outcome = all_sessions(options, &scratch, &balun, &mut results);
    if !results.is_empty() {
        let mut text = format!("{machine}\n{}\n", options.describe());
        for &measure in &options.measures {
            text.push('\n');
            text.push_str(&table::render(measure, &options.rivals_of(measure), &results));
        }
        if print(&text) != Exit::Done {
            return Err(Failure::because("stdout is closed"));
        }
    }
    outcome
}

/// Fills `results` as far as it gets; only an interruption ends it early.
fn all_sessions(
    options: &Options,
    scratch: &Scratch,
    balun: &Result<PathBuf, String>,
    results: &mut Results,
) -> Result<(), Failure> {
    for &measure in &options.measures {
        let mut rivals = options.rivals_of(measure);
        for round in 0..options.rounds {
            for &rival in &rivals {
                let outcome = session(measure, rival, options.seconds, scratch, balun);
                let (measure_name, rival_name) = (measure.name(), rival.name());
                let progress = format!("round {}/{}", round + 1, options.rounds);
                match outcome {
                    Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                    Ok(value) => {
                        let (shown, unit) = (measure.format(value), measure.unit());
                        eprintln!("{measure_name} {progress} {rival_name}: {shown} {unit}");
                        results.record(measure, rival, round, Ok(value));
                    }
                    Err(Failure::Because(reason)) => {
                        eprintln!("{measure_name} {progress} {rival_name}: {reason}");
                        results.record(measure, rival, round, Err(reason));
                    }
                }
            }
            // Nobody is always the first after a pause or always next to the same neighbour's heat.
            if !rivals.is_empty() {
                rivals.rotate_left(1);
            }
        }
    }
    Ok(())
}

/// One rival, one measurement, in namespaces that live as long.
fn session(
    measure: Measure,
    rival: Rival,
    seconds: u32,
    scratch: &Scratch,
    balun: &Result<PathBuf, String>,
) -> Result<f64, Failure> {
    let missing = tools::missing(rival.tools());
    if !missing.is_empty() {
        let packages = missing.join(" ");
        return Err(Failure::because(format!("not installed: apt-get install {packages}")));
    }
    let topology = Topology::create()?;
    if rival.wires() == Wires::Veth {
        topology.join_by_veth()?;
    }
    let certificate = measure.is_secure().then(|| Certificate::make(scratch)).transpose()?;
    let certificate = certificate.as_ref();
    let site = Site { topology: &topology, scratch, balun, certificate };
    let mut backends = backend::start(&site, measure)?;
    let mut running = rival.start(&site)?;
    running.wait_until_ready(&site)?;
    let value = measure.take(&site, &running, seconds)?;
    // A figure got while something had died is a figure of something else.
    running.check()?;
    for backend in &mut backends {
        backend.check()?;
    }
    Ok(value)
}
