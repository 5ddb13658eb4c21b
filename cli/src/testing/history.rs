//! What happened on a bench, to be drawn when something went wrong.

use std::collections::VecDeque;

use nat::DropReason;
use netstack::wire::text::Line;
use netstack::wire::{Address, Headers};
use netstack::{Instant, Packet};

use crate::ladder::{Event, Kind, Ladder, Lifeline};

/// Events that are kept; older ones make room.
const MAX_EVENTS: usize = 200;

/// Which way a packet went, as the balancer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Into the balancer.
    In,
    /// Out of it.
    Out,
}

/// The last 200 events of a bench.
#[derive(Clone, Debug)]
pub struct History {
    backends: Vec<Address>,
    events: VecDeque<Event>,
    forgotten: usize,
}

const CLIENT: usize = 0;
const BALANCER: usize = 1;
const BACKEND: usize = 2;

impl History {
    pub(super) const fn new(backends: Vec<Address>) -> Self {
        Self { backends, events: VecDeque::new(), forgotten: 0 }
    }

    /// Notes a packet; `refused` is why it went no further.
    pub(super) fn note(
        &mut self,
        at: Instant,
        side: Side,
        packet: &Packet,
        refused: Option<DropReason>,
    ) {
        let far = Headers::parse(packet).map(|headers| match side {
            Side::In => headers.src,
            Side::Out => headers.dst,
        });
        let outer =
            if far.is_ok_and(|far| self.backends.contains(&far)) { BACKEND } else { CLIENT };
        let (from, to) = match side {
            Side::In => (outer, BALANCER),
            Side::Out => (BALANCER, outer),
        };
        let line = Line::of(packet).to_string();
        let kind = match refused {
            Some(reason) => Kind::Drop { from, to, line, reason: reason.name().to_owned() },
            None => Kind::Packet { from, to, line },
        };
        match (self.events.back_mut(), kind) {
            // What was passed on is one row: the packet before and after.
            (
                Some(Event { time, kind: last @ Kind::Packet { .. } }),
                Kind::Packet { to, line, .. },
            ) if side == Side::Out && *time == at.to_string() && is_from_beyond(last, to) => {
                let before = std::mem::replace(last, Kind::Note { text: String::new() });
                if let Kind::Packet { from, line: before, .. } = before {
                    let said = Vec::new();
                    *last = Kind::Pass { from, via: BALANCER, to, before, after: line, said };
                }
            }
            (_, kind) => self.push(at, kind),
        }
    }

    /// Notes something that is no packet.
    pub(super) fn say(&mut self, at: Instant, text: String) {
        self.push(at, Kind::Note { text });
    }

    fn push(&mut self, at: Instant, kind: Kind) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.forgotten += 1;
        }
        self.events.push_back(Event { time: at.to_string(), kind });
    }

    /// The picture of it.
    pub fn ladder(&self, title: &str) -> Ladder {
        let title = match self.forgotten {
            0 => title.to_owned(),
            n => format!("{title} (without the first {n} events)"),
        };
        Ladder {
            title,
            lifelines: vec!["client".into(), Lifeline::balancer("balancer"), "backend".into()],
            events: self.events.iter().cloned().collect(),
        }
    }
}

/// A packet that came from neither the balancer nor `to`.
fn is_from_beyond(kind: &Kind, to: usize) -> bool {
    matches!(kind, Kind::Packet { from, .. } if *from != BALANCER && *from != to)
}
