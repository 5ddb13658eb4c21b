//! Everyone who looks at a replay.

use nat::{Engine, Verdict};
use netstack::{Instant, Packet};

use super::expect::Expect;
use super::legs::Legs;
use super::lines::Lines;
use super::machine::Observe;
use super::tally::{Tally, leaves};
use crate::capture::Taps;

#[derive(Debug)]
pub(super) struct Outputs<'a> {
    legs: &'a Legs,
    pub(super) tally: Tally,
    pub(super) taps: Option<Taps>,
    pub(super) lines: Option<Lines>,
    pub(super) expect: Option<Expect>,
}

impl<'a> Outputs<'a> {
    /// Nobody but who counts.
    pub(super) fn new(legs: &'a Legs) -> Self {
        Self { legs, tally: Tally::default(), taps: None, lines: None, expect: None }
    }

    /// True if the engine is to keep accounts.
    pub(super) const fn want_accounts(&self) -> bool {
        self.taps.is_some() || self.lines.is_some() || self.expect.is_some()
    }
}

impl Observe for Outputs<'_> {
    fn arrives(&mut self, _: Instant, frame: u64, packet: &mut Packet) {
        if let Some(taps) = &mut self.taps {
            taps.arrives(packet);
        }
        if let Some(lines) = &mut self.lines {
            lines.arrives(frame, packet);
        }
    }

    fn decided(&mut self, now: Instant, engine: &Engine, verdict: Verdict, packet: &Packet) {
        self.tally.decided(verdict, packet);
        if let Some(taps) = &mut self.taps {
            taps.decided(now, engine, packet);
        }
        if let Some(lines) = &mut self.lines {
            lines.decided(now, engine, verdict, packet);
        }
        if let Some(expect) = self.expect.as_mut().filter(|_| leaves(verdict)) {
            expect.leaves(now, engine, true, packet, self.legs);
        }
    }

    fn leaves(&mut self, now: Instant, engine: &Engine, packet: &mut Packet) {
        self.tally.left(packet);
        if let Some(taps) = &mut self.taps {
            taps.leaves(now, engine, packet);
        }
        if let Some(lines) = &mut self.lines {
            lines.leaves(now, engine, packet);
        }
        if let Some(expect) = &mut self.expect {
            expect.leaves(now, engine, false, packet, self.legs);
        }
    }
}
