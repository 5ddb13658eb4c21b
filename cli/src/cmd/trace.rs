//! `balun trace`.

use std::path::Path;

use netstack::LegId;

use super::capture::only_instance;
use super::check::{count, unreadable};
use crate::args::TraceArgs;
use crate::config::model::Config;
use crate::config::render::{self, Source};
use crate::config::{self, Severity};
use crate::console::Console;
use crate::control::{CallError, Connection, Request, directory};
use crate::exit::ExitCode;
use crate::plan::engine_config;
use crate::trace::live::{self, Asked};
use crate::trace::story::{BadQuestion, Form, Story, Told};
use crate::trace::{Event, Tracer, frames};

/// How the command ends early.
struct Stop {
    code: ExitCode,
    message: String,
}

impl From<BadQuestion> for Stop {
    fn from(BadQuestion(message): BadQuestion) -> Self {
        Self { code: ExitCode::Usage, message }
    }
}

/// Tells what would become of the packets of a command line.
pub(super) fn run(args: &TraceArgs, console: &Console) -> ExitCode {
    let told = if args.live { ask_running(args) } else { ask_file(args, console) };
    match told {
        Ok(told) => show(args, console, &told),
        Err(Stop { code, message }) => {
            if !message.is_empty() {
                console.error(&message);
            }
            code
        }
    }
}

/// Asks the engine of a configuration file.
fn ask_file(args: &TraceArgs, console: &Console) -> Result<Told, Stop> {
    let said = |code| Stop { code, message: String::new() };
    let loaded = config::load(&args.config, false)
        .map_err(|error| said(unreadable(&args.config, &error, console)))?;
    let source = Source { file: &loaded.file, text: &loaded.text };
    let Some(config) = &loaded.config else {
        console.say(&render::text(&source, &loaded.diagnostics, console.color()));
        let errors = count(loaded.count(Severity::Error), "error");
        console.talk(&format!("{}: {errors}, nothing was traced", loaded.file));
        return Err(said(ExitCode::Config));
    };
    let wrong = |message| Stop { code: ExitCode::Config, message };
    let engine = engine_config(config, args.seed).map_err(|e| wrong(e.to_string()))?;
    let tracer = Tracer::new(engine).map_err(|e| wrong(e.to_string()))?;
    let mut story = Story::new(config, tracer);
    for word in &args.backend {
        story.set_backend(word)?;
    }
    let leg = args.leg.as_ref().map(|name| story.leg(name)).transpose()?;
    let questions = story.read(&args.packets)?;
    story.wait(args.at);
    if let Some(path) = &args.pcap {
        hand_in_frames(args, config, &mut story, console, (path, leg))?;
    }
    story.ask(questions, leg)?;
    Ok(story.tell(source, &form(args)))
}

/// Asks an instance that runs.
fn ask_running(args: &TraceArgs) -> Result<Told, Stop> {
    let could_not = |message| Stop { code: ExitCode::CouldNot, message };
    let socket = match &args.control {
        Some(path) => path.clone(),
        None => only_instance(&directory::path()).map_err(could_not)?,
    };
    let asked = Asked {
        packets: args.packets.clone(),
        leg: args.leg.clone(),
        backend: args.backend.clone(),
        form: form(args),
    };
    let call = Connection::open(&socket)
        .and_then(|mut connection| connection.call(&Request::Trace(asked)));
    let (_, descriptors) = call.map_err(|error: CallError| could_not(error.to_string()))?;
    let silent = |why: &dyn std::fmt::Display| {
        could_not(format!("the instance at `{}` did not answer: {why}", socket.display()))
    };
    let pipe = descriptors.into_iter().next().ok_or_else(|| silent(&"it sent no pipe"))?;
    let told = live::read(pipe).map_err(|error| silent(&error))?;
    told.map_err(|refusal| Stop { code: ExitCode::Usage, message: refusal.message })
}

fn form(args: &TraceArgs) -> Form {
    Form { format: args.format, svg: args.svg.is_some(), title: args.title.clone() }
}

/// Hands in frames of a capture, in their own time.
fn hand_in_frames(
    args: &TraceArgs,
    config: &Config,
    story: &mut Story<'_>,
    console: &Console,
    (path, leg): (&Path, Option<LegId>),
) -> Result<(), Stop> {
    let numbers = args.frame.as_deref().unwrap_or_default();
    let numbers = frames::numbers(numbers).map_err(|e| BadQuestion(e.to_string()))?;
    let (mut begin, mut result) = (None, Ok(()));
    let (mut earlier, mut refused) = (0, 0);
    let read = frames::read(path, &numbers, args.with_earlier, |frame| {
        if result.is_err() {
            return;
        }
        let begin = *begin.get_or_insert(frame.time);
        let due = args.at + frame.time.saturating_sub(begin);
        let before = story.events.len();
        story.wait(due.saturating_sub(story.now()));
        if frame.cut > 0 && frame.wanted {
            let (number, cut) = (frame.number, frame.cut);
            console.talk(&format!("frame {number} lacks its last {cut} bytes: the capture cut it"));
        }
        let mut legs = (0..).zip(&config.legs);
        let own = legs.find(|(_, leg)| leg.name.value == frame.interface);
        result = story.hand_in(frame.packet, leg.or(own.map(|(id, _)| LegId(id))));
        if !frame.wanted {
            earlier += 1;
            let last = story.events.last();
            refused += u64::from(matches!(last, Some(Event::Passage(p)) if p.is_refused()));
            story.events.truncate(before);
        }
    });
    let failed = |e: &frames::FrameError| match e {
        frames::FrameError::NoFrame(_) => ExitCode::No,
        _ => ExitCode::CouldNot,
    };
    read.map_err(|e| Stop { code: failed(&e), message: format!("`{}`: {e}", path.display()) })?;
    if earlier > 0 {
        let dropped = match refused {
            0 => String::new(),
            n => format!(", {n} of them dropped or refused"),
        };
        console.talk(&format!("{} handed in before{dropped}\n", count(earlier, "frame")));
    }
    Ok(result?)
}

fn show(args: &TraceArgs, console: &Console, told: &Told) -> ExitCode {
    let ended = console.finish_with(&told.shown);
    if ended != ExitCode::Done {
        return ended;
    }
    if let (Some(path), Some(svg)) = (&args.svg, &told.svg) {
        if let Err(error) = std::fs::write(path, svg) {
            console.error(&format!("cannot write `{}`: {error}", path.display()));
            return ExitCode::CouldNot;
        }
        console.talk(&format!("picture: {}", path.display()));
    }
    for line in &told.talk {
        console.talk(line);
    }
    if told.refused { ExitCode::No } else { ExitCode::Done }
}
