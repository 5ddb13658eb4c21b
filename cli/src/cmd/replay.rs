//! `balun replay`.

use std::io::{self, BufWriter};
use std::path::Path;

use super::check::unreadable;
use crate::args::{Health, ReplayArgs, ReplayFormat};
use crate::config::events::{self, Events};
use crate::config::render::{self, Source};
use crate::config::{self, Loaded};
use crate::console::Console;
use crate::exit::ExitCode;
use crate::replay::input::{Fault, Input};
use crate::replay::{Capture, Choices, Finished, Listing, Replay, Shown, diff, prepare};

/// Bytes of lines that are written at once.
const BUFFER: usize = 64 << 10;

/// Replays a capture.
pub(super) fn run(args: &ReplayArgs, console: &Console) -> ExitCode {
    replay(args, console).unwrap_or_else(|code| code)
}

fn replay(args: &ReplayArgs, console: &Console) -> Result<ExitCode, ExitCode> {
    let (replay, digest) = begin(args, &args.config, true, console)?;
    if let Some(second) = &args.diff {
        let (other, _) = begin(args, second, false, console)?;
        let names = [&args.config, second].map(|path| path.display().to_string());
        let compared = diff::compare(replay, other, names.each_ref().map(String::as_str));
        if console.finish_with(&compared.text) != ExitCode::Done {
            return Err(ExitCode::CouldNot);
        }
        if let Some(fault) = compared.fault {
            return Err(could_not(&fault, console));
        }
        return Ok(if compared.same { ExitCode::Done } else { ExitCode::No });
    }
    let out = || Box::new(BufWriter::with_capacity(BUFFER, io::stdout()));
    let lines = match args.format {
        ReplayFormat::Json => Some(Listing::Json(out())),
        ReplayFormat::Text => console.verbose().then(|| Listing::Text(out())),
    };
    let output = args.output.as_ref().map(|path| Capture {
        path: path.clone(),
        comments: args.comments,
        config: digest,
    });
    let expect = args.expect.as_ref().map(|path| (path.clone(), args.tolerance));
    let finished = replay.run(Shown { output, lines, expect });
    let finished = finished.map_err(|Fault(text)| could_not(&text, console))?;
    report(args, finished, console)
}

fn report(args: &ReplayArgs, done: Finished, console: &Console) -> Result<ExitCode, ExitCode> {
    let Finished { summary, tally, expected, captured, fault, took } = done;
    let is_same = expected.as_ref().is_none_or(|(_, is_same)| *is_same);
    let mut text = if args.format == ReplayFormat::Text { summary } else { String::new() };
    if let Some((said, _)) = expected {
        if args.format == ReplayFormat::Text { text.push_str(&said) } else { console.say(&said) }
    }
    if !text.is_empty() && console.finish_with(&text) != ExitCode::Done {
        return Err(ExitCode::CouldNot);
    }
    for report in captured {
        console.talk(&format!("capture   {report}"));
    }
    let seconds = took.as_secs_f64();
    let rate = tally.packets as f64 / seconds.max(1e-9) / 1e6;
    console.talk(&format!("speed     {seconds:.3} s, {rate:.2} million packets a second"));
    match fault {
        Some(fault) => Err(could_not(&fault, console)),
        None if is_same => Ok(ExitCode::Done),
        None => Ok(ExitCode::No),
    }
}

/// Everything that a replay of one configuration needs, and what tells that configuration from another.
fn begin(
    args: &ReplayArgs,
    config: &Path,
    is_first: bool,
    console: &Console,
) -> Result<(Replay, String), ExitCode> {
    let loaded = load(config, console)?;
    let input = Input::open(&args.input, args.pad);
    let input = input.map_err(|Fault(text)| could_not(&text, console))?;
    let health = match args.health {
        Health::Auto => None,
        Health::On => Some(true),
        Health::Off => Some(false),
    };
    let choices = Choices { seed: args.seed, health, leg_of: args.leg_of.clone() };
    let prepared = prepare(&loaded, &input, &choices).map_err(|error| {
        console.error(&error);
        if error.starts_with("--") { ExitCode::Usage } else { ExitCode::Config }
    })?;
    for note in prepared.notes.iter().filter(|_| is_first) {
        console.talk(&format!("note: {note}"));
    }
    let plan = prepared.plan;
    let events = match &args.events {
        Some(path) => script(path, &plan.engine.pools, console)?,
        None => Events::default(),
    };
    let replay = Replay { plan, input, legs: prepared.legs, events, speed: args.speed };
    Ok((replay, prepared.digest))
}

fn load(path: &Path, console: &Console) -> Result<Loaded, ExitCode> {
    let loaded = config::load(path, false).map_err(|error| unreadable(path, &error, console))?;
    if loaded.config.is_none() {
        let source = Source { file: &loaded.file, text: &loaded.text };
        console.say(&render::text(&source, &loaded.diagnostics, console.color()));
        return Err(ExitCode::Config);
    }
    Ok(loaded)
}

fn script(path: &Path, pools: &[nat::PoolConfig], console: &Console) -> Result<Events, ExitCode> {
    let script = events::load(path, pools).map_err(|error| {
        could_not(&format!("cannot read `{}`: {error}", path.display()), console)
    })?;
    if script.diagnostics.is_empty() {
        return Ok(script.events);
    }
    let source = Source { file: &script.file, text: &script.text };
    console.say(&render::text(&source, &script.diagnostics, console.color()));
    Err(ExitCode::Config)
}

fn could_not(error: &str, console: &Console) -> ExitCode {
    console.error(error);
    ExitCode::CouldNot
}
