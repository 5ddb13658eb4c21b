//! What would become of a packet, and why: `balun trace`.
//!
//! # Theory of operation
//!
//! A [`Tracer`] is the engine of a configuration with nothing around it: no device, no clock, no
//! health checks. It is handed the packets of a story one after the other; each gives a [`Passage`],
//! which holds the packet, the engine's [`Account`] of it, and what left. A [`Narrator`] turns a
//! passage into rows for people or into JSON, with the lines of the configuration that decided, and
//! [`ladder`] draws the whole story.
//!
//! Backends are taken to be ready unless the question says otherwise. Connections of diverted services
//! would end in this process; what would end them is described, not run.
//!
//! A running instance is asked the same way ([`live`]): it copies its engine, which takes it as long as
//! it has flows, and a thread of its own hands the packets to the copy.
//!
//! | module | what it holds |
//! |---|---|
//! | [`question`] | packets as the command line gives them |
//! | [`frames`] | packets out of captures |
//! | [`story`] | packets handed in one after the other, and the answer |
//! | [`live`] | questions to a running instance |
//! | [`places`] | which line of the file decided |
//! | `narrator`, `refusal`, `diverted` | a passage as rows; why it went no further; who ends it |
//! | `text`, `json` | rows on a terminal, and for programs |
//! | `picture` | the story as a ladder |

mod diverted;
pub mod frames;
mod json;
pub mod live;
mod narrator;
mod picture;
pub mod places;
pub mod question;
mod refusal;
pub mod story;
mod text;

use std::time::Duration;

use nat::account::{Note, Step};
use nat::{
    Account, BackendId, BackendState, ConfigError, Engine, LegConfig, PoolId, Prefix, Verdict,
};
use netstack::wire::{Address, Headers};
use netstack::{Instant, LegId, Packet};

pub use json::json;
pub use narrator::{Narrator, Row};
pub use picture::ladder;
pub use text::text;

/// Packets that one packet, or the time between two, may bring out; an engine that sends more is stuck.
const MAX_SENT: usize = 10_000;
/// Deadlines that pass between two packets at most.
const MAX_DEADLINES: usize = 1_000_000;

/// An engine to be asked (see the module's theory of operation).
#[derive(Debug)]
pub struct Tracer {
    engine: Engine,
    legs: Vec<Vec<Prefix>>,
    now: Instant,
    /// What left last: the packet that a reply answers.
    last: Option<Packet>,
    is_live: bool,
}

/// One packet's way through the balancer.
#[derive(Clone, Debug)]
pub struct Passage {
    /// When it came.
    pub at: Instant,
    /// The packet as it came, and by which leg.
    pub came: Packet,
    /// What became of it.
    pub verdict: Verdict,
    /// What the engine says of it.
    pub account: Account,
    /// The same in words.
    pub steps: Vec<Step>,
    /// What left: the packet itself, its answer, what had been held.
    pub sent: Vec<Packet>,
}

/// Something of a story.
#[derive(Clone, Debug)]
pub enum Event {
    /// A packet was handed in.
    Passage(Box<Passage>),
    /// The engine sent something of its own accord.
    Sent(Instant, Packet),
}

impl Event {
    /// When it happened.
    pub const fn at(&self) -> Instant {
        match self {
            Self::Passage(passage) => passage.at,
            Self::Sent(at, _) => *at,
        }
    }
}

impl Passage {
    /// True if the packet went no further.
    pub const fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Drop(_) | Verdict::Reject(_))
    }

    /// A backend did not take the SYN that this packet answers or repeats, and another got it.
    pub fn failed_over(&self) -> bool {
        self.account.notes.iter().any(|note| matches!(note, Note::FailedOver { .. }))
    }

    /// The backend that was chosen just now, or is the flow's.
    pub fn backend(&self) -> Option<(PoolId, BackendId)> {
        let chosen = self.account.notes.iter().rev().find_map(|note| match note {
            Note::Chosen { pool, backend, .. } => Some((*pool, *backend)),
            _ => None,
        });
        chosen.or_else(|| self.account.backend())
    }
}

impl Tracer {
    /// The engine of `config`, all of whose backends are ready.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration contradicts itself.
    pub fn new(mut config: nat::Config) -> Result<Self, ConfigError> {
        for pool in &mut config.pools {
            pool.health = None;
            pool.initial = BackendState::Ready;
        }
        let legs = config.legs.iter().map(|leg| leg.prefixes.clone()).collect();
        let mut engine = Engine::new(config)?;
        engine.set_accounting(true);
        Ok(Self { engine, legs, now: Instant::ZERO, last: None, is_live: false })
    }

    /// A copy of an engine that runs ([`Engine::copy_to_ask`]), at the time that it was taken; `legs` are
    /// what it was made of.
    pub fn of_running(engine: Engine, legs: &[LegConfig], now: Instant) -> Self {
        let legs = legs.iter().map(|leg| leg.prefixes.clone()).collect();
        Self { engine, legs, now, last: None, is_live: true }
    }

    /// True if it answers for an engine that runs.
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    /// The engine, to look at.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time of the story.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Sets the state of `POOL/NAME`; false if there is no such backend.
    pub fn set_backend(&mut self, name: &str, state: BackendState) -> bool {
        let Some((pool, backend)) = name.split_once('/') else { return false };
        let pools = (0..).zip(self.engine.pools());
        let Some((pool, found)) =
            pools.map(|(n, p)| (PoolId(n), p)).find(|(_, p)| p.name() == pool)
        else {
            return false;
        };
        let mut backends = (0..).zip(found.backends());
        let Some((id, _)) = backends.find(|(_, b)| b.config.name == backend) else { return false };
        self.engine.set_backend_state(self.now, pool, BackendId(id), state);
        true
    }

    /// Lets time pass; gives what the engine sends meanwhile.
    pub fn wait(&mut self, time: Duration) -> Vec<Event> {
        let until = self.now + time;
        let mut sent = Vec::new();
        for _ in 0..MAX_DEADLINES {
            let due = self.engine.poll_timeout().filter(|&due| due <= until);
            let Some(due) = due else { break };
            // A deadline that came up early is put back, never into the past.
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            sent.extend(self.take_sent().into_iter().map(|packet| Event::Sent(self.now, packet)));
        }
        self.now = until;
        self.engine.handle_timeout(until);
        sent.extend(self.take_sent().into_iter().map(|packet| Event::Sent(until, packet)));
        sent
    }

    /// Hands in a packet that comes by leg number `leg`.
    pub fn hand_in(&mut self, mut packet: Packet, leg: LegId) -> Passage {
        packet.leg = leg;
        let came = packet.clone();
        let verdict = self.engine.handle_packet(self.now, &mut packet);
        let account = self.engine.account().cloned().unwrap_or_default();
        let steps = account.steps(&self.engine);
        let mut sent = Vec::new();
        if matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_)) {
            sent.push(packet);
        }
        sent.extend(self.take_sent());
        self.last = sent.first().cloned().or_else(|| self.last.take());
        Passage { at: self.now, came, verdict, account, steps, sent }
    }

    /// The answer to what left last, and the leg that it comes by.
    ///
    /// # Errors
    /// Nothing left yet, or the words make no answer to it.
    pub fn reply(&self, words: &str) -> Result<(Packet, LegId), String> {
        let last = self.last.as_ref().ok_or("there is nothing to answer: no packet left yet")?;
        Ok((crate::testing::reply(last, words)?, last.leg))
    }

    /// The leg by which a packet of this source comes if nobody says: whose longest prefix holds it.
    pub fn leg_toward_source(&self, packet: &Packet) -> Option<LegId> {
        if self.legs.len() == 1 {
            return Some(LegId(0));
        }
        self.leg_toward(Headers::parse(packet).ok()?.src)
    }

    /// The leg whose longest prefix holds `address`.
    pub fn leg_toward(&self, address: Address) -> Option<LegId> {
        let holding = (0..).zip(&self.legs).filter_map(|(leg, prefixes)| {
            let longest = prefixes.iter().filter(|prefix| prefix.contains(address));
            longest.map(|prefix| prefix.len()).max().map(|length| (length, leg))
        });
        // Of equals, the first.
        holding.max_by_key(|&(length, leg)| (length, u16::MAX - leg)).map(|(_, leg)| LegId(leg))
    }

    fn take_sent(&mut self) -> Vec<Packet> {
        let mut sent = Vec::new();
        let mut packet = Packet::max_sized();
        while sent.len() < MAX_SENT && self.engine.poll_transmit(&mut packet) {
            let mut copy = Packet::with_capacity(packet.len());
            copy.copy_from(&packet);
            sent.push(copy);
        }
        sent
    }
}
