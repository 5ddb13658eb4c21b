//! `balun trace`.

use std::path::Path;
use std::time::Duration;

use nat::BackendState;
use netstack::wire::text::Line;
use netstack::{LegId, Packet};

use super::check::{count, unreadable};
use crate::args::{TraceArgs, TraceFormat};
use crate::config::model::Config;
use crate::config::render::{self, Source};
use crate::config::{self, Severity};
use crate::console::Console;
use crate::exit::ExitCode;
use crate::plan::engine_config;
use crate::trace::places::Places;
use crate::trace::question::{self, What};
use crate::trace::{Event, Narrator, Tracer, frames, json, ladder, text};

/// States that a backend can be given.
const STATES: [BackendState; 4] =
    [BackendState::Ready, BackendState::Drain, BackendState::Maint, BackendState::Down];

/// How the command ends early.
struct Stop {
    code: ExitCode,
    message: String,
}

/// Tells what would become of the packets of a command line.
pub(super) fn run(args: &TraceArgs, console: &Console) -> ExitCode {
    if args.live {
        console.error(
            "a running instance cannot be asked yet\nhelp: without `--live`, the same configuration \
             answers for an instance that has just begun",
        );
        return ExitCode::CouldNot;
    }
    let loaded = match config::load(&args.config, false) {
        Ok(loaded) => loaded,
        Err(error) => return unreadable(&args.config, &error, console),
    };
    let source = Source { file: &loaded.file, text: &loaded.text };
    let Some(config) = &loaded.config else {
        console.say(&render::text(&source, &loaded.diagnostics, console.color()));
        let errors = count(loaded.count(Severity::Error), "error");
        console.talk(&format!("{}: {errors}, nothing was traced", loaded.file));
        return ExitCode::Config;
    };
    let story = tracer(args, config).and_then(|tracer| {
        let mut story = Story { args, console, config, tracer, events: Vec::new() };
        story.run()?;
        Ok(story)
    });
    let story = match story {
        Ok(story) => story,
        Err(Stop { code, message }) => {
            console.error(&message);
            return code;
        }
    };
    let narrator = Narrator { tracer: &story.tracer, places: Places::new(config, source) };
    tell(args, console, &narrator, &story.events)
}

/// The engine, in the state that the question asks for.
fn tracer(args: &TraceArgs, config: &Config) -> Result<Tracer, Stop> {
    let engine = engine_config(config, args.seed)
        .map_err(|e| Stop { code: ExitCode::Config, message: e.to_string() })?;
    let mut tracer =
        Tracer::new(engine).map_err(|e| Stop { code: ExitCode::Config, message: e.to_string() })?;
    for word in &args.backend {
        let state = word.rsplit_once('=').and_then(|(name, state)| {
            Some((name, STATES.into_iter().find(|known| known.name() == state)?))
        });
        let Some((name, state)) = state else {
            return Err(usage(format!(
                "`--backend {word}` is no POOL/NAME=STATE; states are ready, drain, maint and down"
            )));
        };
        if !tracer.set_backend(name, state) {
            return Err(usage(format!("no backend is called `{name}`; write POOL/NAME")));
        }
    }
    Ok(tracer)
}

const fn usage(message: String) -> Stop {
    Stop { code: ExitCode::Usage, message }
}

struct Story<'a> {
    args: &'a TraceArgs,
    console: &'a Console,
    config: &'a Config,
    tracer: Tracer,
    events: Vec<Event>,
}

impl Story<'_> {
    /// Hands in all packets of the command line: those of a capture first.
    fn run(&mut self) -> Result<(), Stop> {
        let legs: Vec<_> = self.config.legs.iter().map(|leg| leg.name.value.as_str()).collect();
        let named = |name: &String| {
            let at = legs.iter().position(|leg| leg == name);
            let at = at.map(|at| LegId(at as u16));
            at.ok_or_else(|| {
                usage(format!("no leg is called `{name}`; there is {}", legs.join(", ")))
            })
        };
        let leg = self.args.leg.as_ref().map(named).transpose()?;
        let questions = self.args.packets.iter().map(|argument| {
            let read = question::parse(argument, &legs);
            read.map_err(|error| usage(format!("a packet line cannot be read\n{error}")))
        });
        // All are read before anything is done, so that a bad one says nothing else.
        let questions = questions.collect::<Result<Vec<_>, _>>()?;
        self.wait(self.args.at);
        if let Some(path) = &self.args.pcap {
            self.frames(path, leg)?;
        }
        for question in questions {
            self.wait(question.after);
            match question.what {
                What::Packet(packet, own) => self.hand_in(*packet, own.or(leg))?,
                What::Reply(words) => {
                    let (packet, leg) = self.tracer.reply(&words).map_err(usage)?;
                    self.hand_in(packet, Some(leg))?;
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        if !time.is_zero() {
            self.events.extend(self.tracer.wait(time));
        }
    }

    fn hand_in(&mut self, packet: Packet, leg: Option<LegId>) -> Result<(), Stop> {
        let leg = leg.or_else(|| self.tracer.leg_toward_source(&packet)).ok_or_else(|| {
            usage(format!(
                "no leg leads to the source of `{}`\nsay which it comes by: `@LEG ` in front of the \
                 packet, or --leg",
                Line::of(&packet)
            ))
        })?;
        let passage = self.tracer.hand_in(packet, leg);
        self.events.push(Event::Passage(Box::new(passage)));
        Ok(())
    }

    /// Hands in frames of a capture, in their own time.
    fn frames(&mut self, path: &Path, leg: Option<LegId>) -> Result<(), Stop> {
        let numbers = self.args.frame.as_deref().unwrap_or_default();
        let numbers = frames::numbers(numbers).map_err(|e| usage(e.to_string()))?;
        let (mut begin, mut result) = (None, Ok(()));
        let (mut earlier, mut refused) = (0, 0);
        let read = frames::read(path, &numbers, self.args.with_earlier, |frame| {
            if result.is_err() {
                return;
            }
            let begin = *begin.get_or_insert(frame.time);
            let due = self.args.at + frame.time.saturating_sub(begin);
            let now = self.tracer.now().saturating_since(netstack::Instant::ZERO);
            let before = self.events.len();
            self.wait(due.saturating_sub(now));
            if frame.cut > 0 && frame.wanted {
                let (number, cut) = (frame.number, frame.cut);
                self.console.talk(&format!(
                    "frame {number} lacks its last {cut} bytes: the capture cut it"
                ));
            }
            let mut legs = (0..).zip(&self.config.legs);
            let own = legs.find(|(_, leg)| leg.name.value == frame.interface);
            result = self.hand_in(frame.packet, leg.or(own.map(|(id, _)| LegId(id))));
            if !frame.wanted {
                earlier += 1;
                let last = self.events.last();
                refused += u64::from(matches!(last, Some(Event::Passage(p)) if p.is_refused()));
                self.events.truncate(before);
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
            self.console.talk(&format!("{} handed in before{dropped}\n", count(earlier, "frame")));
        }
        result
    }
}

fn tell(
    args: &TraceArgs,
    console: &Console,
    narrator: &Narrator<'_>,
    events: &[Event],
) -> ExitCode {
    let shown = match args.format {
        TraceFormat::Text => text(narrator, events),
        TraceFormat::Json => json(narrator, events),
    };
    let ended = console.finish_with(&shown);
    if ended != ExitCode::Done {
        return ended;
    }
    if let Some(path) = &args.svg {
        let title = args.title.clone().unwrap_or_else(|| title(events));
        let svg = ladder(narrator, events, &title).to_svg();
        if let Err(error) = std::fs::write(path, svg) {
            console.error(&format!("cannot write `{}`: {error}", path.display()));
            return ExitCode::CouldNot;
        }
        console.talk(&format!("picture: {}", path.display()));
    }
    let passages = || {
        events.iter().filter_map(|event| match event {
            Event::Passage(passage) => Some(passage),
            Event::Sent(..) => None,
        })
    };
    if let Some(scheduler) = passages().find_map(|passage| narrator.chance(passage)) {
        console.talk(&format!(
            "an example: {scheduler} draws, and another --seed may choose another backend"
        ));
    }
    let refused = passages().find(|passage| passage.is_refused());
    if let Some(passage) = refused.or_else(|| passages().next_back()) {
        console.talk(&format!("next: {}", narrator.next(passage)));
    }
    if refused.is_some() { ExitCode::No } else { ExitCode::Done }
}

/// The picture's title: the first packet.
fn title(events: &[Event]) -> String {
    events
        .iter()
        .find_map(|event| match event {
            Event::Passage(passage) => Some(Line::of(&passage.came).to_string()),
            Event::Sent(..) => None,
        })
        .unwrap_or_default()
}
