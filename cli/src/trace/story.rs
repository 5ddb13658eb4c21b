//! Packets of one question, handed in one after the other, and the answer.

use std::fmt;
use std::time::Duration;

use nat::BackendState;
use netstack::wire::text::Line;
use netstack::{Instant, LegId, Packet};
use serde::{Deserialize, Serialize};

use super::places::Places;
use super::question::{self, Question, What};
use super::{Event, Narrator, Passage, Tracer, json, ladder, text};
use crate::args::TraceFormat;
use crate::config::model::Config;
use crate::config::render::Source;

/// States that a backend can be given.
const STATES: [BackendState; 4] =
    [BackendState::Ready, BackendState::Drain, BackendState::Maint, BackendState::Down];

/// The question makes no sense: this says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadQuestion(pub String);

impl fmt::Display for BadQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadQuestion {}

/// How a story is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Form {
    /// Its form.
    #[serde(default)]
    pub format: TraceFormat,
    /// A picture is wanted too.
    #[serde(default)]
    pub svg: bool,
    /// The picture's title, if it is not to be the first packet.
    #[serde(default)]
    pub title: Option<String>,
}

/// A story that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    /// What became of the packets.
    pub shown: String,
    /// The picture, if one was wanted.
    pub svg: Option<String>,
    /// What is to be known of it besides.
    pub talk: Vec<String>,
    /// True if a packet was dropped or refused.
    pub refused: bool,
}

/// A story in the making.
#[derive(Debug)]
pub struct Story<'a> {
    config: &'a Config,
    /// Who is asked.
    pub tracer: Tracer,
    /// What has happened so far.
    pub events: Vec<Event>,
}

impl<'a> Story<'a> {
    /// Nothing has happened; `tracer` is of `config`.
    pub const fn new(config: &'a Config, tracer: Tracer) -> Self {
        Self { config, tracer, events: Vec::new() }
    }

    /// Sets the state of a backend, written `POOL/NAME=STATE`.
    ///
    /// # Errors
    /// [`BadQuestion`] if it is not written so, or there is none of that name.
    pub fn set_backend(&mut self, word: &str) -> Result<(), BadQuestion> {
        let state = word.rsplit_once('=').and_then(|(name, state)| {
            Some((name, STATES.into_iter().find(|known| known.name() == state)?))
        });
        let Some((name, state)) = state else {
            return Err(BadQuestion(format!(
                "`--backend {word}` is no POOL/NAME=STATE; states are ready, drain, maint and down"
            )));
        };
        if self.tracer.set_backend(name, state) {
            Ok(())
        } else {
            Err(BadQuestion(format!("no backend is called `{name}`; write POOL/NAME")))
        }
    }

    /// The leg of that name.
    ///
    /// # Errors
    /// [`BadQuestion`] if there is none.
    pub fn leg(&self, name: &str) -> Result<LegId, BadQuestion> {
        let legs = self.legs();
        let at = legs.iter().position(|leg| *leg == name).map(|at| LegId(at as u16));
        at.ok_or_else(|| {
            BadQuestion(format!("no leg is called `{name}`; there is {}", legs.join(", ")))
        })
    }

    /// Reads packets as a command line gives them: all, so that a bad one says nothing else.
    ///
    /// # Errors
    /// [`BadQuestion`] with the wrong part of the first that cannot be read.
    pub fn read(&self, packets: &[String]) -> Result<Vec<Question>, BadQuestion> {
        let legs = self.legs();
        let read = packets.iter().map(|argument| {
            let read = question::parse(argument, &legs);
            read.map_err(|error| BadQuestion(format!("a packet line cannot be read\n{error}")))
        });
        read.collect()
    }

    /// Hands in what was read; by `leg` where a packet does not say by which it comes.
    ///
    /// # Errors
    /// [`BadQuestion`] if no leg leads to a packet's source, or there is nothing to reply to.
    pub fn ask(&mut self, questions: Vec<Question>, leg: Option<LegId>) -> Result<(), BadQuestion> {
        for question in questions {
            self.wait(question.after);
            match question.what {
                What::Packet(packet, own) => self.hand_in(*packet, own.or(leg))?,
                What::Reply(words) => {
                    let (packet, leg) = self.tracer.reply(&words).map_err(BadQuestion)?;
                    self.hand_in(packet, Some(leg))?;
                }
            }
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        if !time.is_zero() {
            self.events.extend(self.tracer.wait(time));
        }
    }

    /// Hands in a packet that comes by `leg`, or else by the one that leads to its source.
    ///
    /// # Errors
    /// [`BadQuestion`] if there is no such leg.
    pub fn hand_in(&mut self, packet: Packet, leg: Option<LegId>) -> Result<(), BadQuestion> {
        let leg = leg.or_else(|| self.tracer.leg_toward_source(&packet)).ok_or_else(|| {
            BadQuestion(format!(
                "no leg leads to the source of `{}`\nsay which it comes by: `@LEG ` in front of the \
                 packet, or --leg",
                Line::of(&packet)
            ))
        })?;
        let passage = self.tracer.hand_in(packet, leg);
        self.events.push(Event::Passage(Box::new(passage)));
        Ok(())
    }

    /// Tells it; `source` is the text of its configuration.
    pub fn tell(&self, source: Source<'_>, form: &Form) -> Told {
        let narrator = Narrator { tracer: &self.tracer, places: Places::new(self.config, source) };
        let events = &self.events;
        let shown = match form.format {
            TraceFormat::Text => text(&narrator, events),
            TraceFormat::Json => json(&narrator, events),
        };
        let svg = form.svg.then(|| {
            let title = form.title.clone().unwrap_or_else(|| self.title());
            ladder(&narrator, events, &title).to_svg()
        });
        let mut talk = Vec::new();
        if let Some(scheduler) = self.passages().find_map(|passage| narrator.chance(passage)) {
            talk.push(if self.tracer.is_live() {
                format!("{scheduler} draws, and would draw this now")
            } else {
                format!(
                    "an example: {scheduler} draws, and another --seed may choose another backend"
                )
            });
        }
        let refused = self.passages().find(|passage| passage.is_refused());
        if let Some(passage) = refused.or_else(|| self.passages().next_back()) {
            talk.push(format!("next: {}", narrator.next(passage)));
        }
        Told { shown, svg, talk, refused: refused.is_some() }
    }

    fn passages(&self) -> impl DoubleEndedIterator<Item = &Passage> {
        self.events.iter().filter_map(|event| match event {
            Event::Passage(passage) => Some(&**passage),
            Event::Sent(..) => None,
        })
    }

    /// The picture's title: the first packet.
    fn title(&self) -> String {
        let first = self.passages().next();
        first.map(|passage| Line::of(&passage.came).to_string()).unwrap_or_default()
    }

    fn legs(&self) -> Vec<&'a str> {
        self.config.legs.iter().map(|leg| leg.name.value.as_str()).collect()
    }

    /// The time of the story.
    pub fn now(&self) -> Duration {
        self.tracer.now().saturating_since(Instant::ZERO)
    }
}
