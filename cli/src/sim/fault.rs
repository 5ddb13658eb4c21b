//! What is broken in a network, beside what its links do to single packets.

use std::collections::VecDeque;

use netstack::{Instant, Packet};

use super::Place;

/// Packets that wait for a balancer that stands still, as a TUN's queue holds them. Beyond, one is lost.
pub const QUEUE: usize = 500;

/// The present faults.
#[derive(Debug)]
pub(super) struct Faults {
    legs: Vec<Leg>,
    stalled_until: Option<Instant>,
    waiting: VecDeque<Packet>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Leg {
    to_balancer_cut: bool,
    to_host_cut: bool,
    down: bool,
}

impl Faults {
    pub(super) fn new(legs: usize) -> Self {
        Self { legs: vec![Leg::default(); legs], stalled_until: None, waiting: VecDeque::new() }
    }

    pub(super) fn cut(&mut self, leg: usize, to: Place, cut: bool) {
        let Some(leg) = self.legs.get_mut(leg) else { return };
        match to {
            Place::Balancer => leg.to_balancer_cut = cut,
            Place::Host => leg.to_host_cut = cut,
        }
    }

    pub(super) fn set_down(&mut self, leg: usize, down: bool) {
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.down = down;
        }
        if down {
            self.waiting.retain(|packet| usize::from(packet.leg.0) != leg);
        }
    }

    /// True if what departs now is lost.
    pub(super) fn loses_departing(&self, leg: usize, to: Place) -> bool {
        self.legs.get(leg).is_none_or(|leg| {
            leg.down
                || match to {
                    Place::Balancer => leg.to_balancer_cut,
                    Place::Host => leg.to_host_cut,
                }
        })
    }

    /// True if what arrives now is lost, although it was on its way.
    pub(super) fn loses_arriving(&self, leg: usize) -> bool {
        self.legs.get(leg).is_none_or(|leg| leg.down)
    }

    pub(super) fn stall(&mut self, until: Instant) {
        self.stalled_until = Some(until);
    }

    /// Until when the balancer stands still, if it does.
    pub(super) fn stalled(&mut self, now: Instant) -> Option<Instant> {
        self.stalled_until = self.stalled_until.filter(|&until| now < until);
        self.stalled_until
    }

    /// What [`stalled`](Self::stalled) last said.
    pub(super) const fn stalled_until(&self) -> Option<Instant> {
        self.stalled_until
    }

    pub(super) fn wait(&mut self, packet: Packet) {
        if self.waiting.len() < QUEUE {
            self.waiting.push_back(packet);
        }
    }

    pub(super) fn next_waiting(&mut self) -> Option<Packet> {
        self.waiting.pop_front()
    }
}
