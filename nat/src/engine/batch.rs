//! Several packets at once.
//!
//! # Theory of operation
//!
//! With a million flows, a packet waits for memory three times, each time for longer than all that is
//! done with it takes: where the index has its tuple, the number found there, and the flow. A processor
//! can wait for many places at once, if nothing that it is to do depends on one of them. So all packets
//! of a batch are parsed and looked up first, in a loop that is short enough for the waits of several
//! to overlap, and then decided on, one by one and in order.
//!
//! What was looked up holds as long as no packet of the batch makes, moves or ends a flow; from the
//! first one that does, the others are looked up again. So a batch does to each packet exactly what
//! [`handle_packet`](Engine::handle_packet) would.

use netstack::wire::{Headers, Malformed};
use netstack::{Instant, Packet};

use super::{Engine, Origin};
use crate::Verdict;
use crate::flow::table::Likely;
use crate::flow::{Direction, FlowId};

/// Packets that are looked up together: enough to overlap their waits, few enough that what was fetched
/// for the last of them is still there at its turn.
pub const BATCH: usize = 32;

/// What is known of a packet before its turn.
#[derive(Clone, Debug)]
pub(super) struct Look {
    headers: Result<Headers, Malformed>,
    hash: u64,
    likely: Option<Likely>,
    found: Option<(FlowId, Direction)>,
}

impl Engine {
    /// Decides on packets that came in, in order, and rewrites them in place.
    ///
    /// `sink` is called with each packet and the verdict on it, and after each with what
    /// [`poll_transmit`](Self::poll_transmit) would have given, as [`Verdict::Forward`].
    pub fn handle_packets(
        &mut self,
        now: Instant,
        packets: &mut [Packet],
        mut sink: impl FnMut(&Self, &mut Packet, Verdict),
    ) {
        for batch in packets.chunks_mut(BATCH) {
            let looks = self.look_ahead(batch);
            let version = self.flows.version();
            for (n, packet) in batch.iter_mut().enumerate() {
                let look = looks.get(n).filter(|_| self.flows.version() == version);
                let verdict = match look {
                    Some(look) => self.handle_looked_up(now, packet, look),
                    None => self.handle(now, packet, Origin::Leg),
                };
                sink(self, packet, verdict);
                while let Some(mut next) = self.outbox.pop_front() {
                    sink(self, &mut next, Verdict::Forward);
                }
            }
            self.looks = looks;
        }
    }

    /// Looks a batch up, in three loops: whatever the first packet waits for in one of them, the others
    /// do not wait for it.
    fn look_ahead(&mut self, packets: &[Packet]) -> Vec<Look> {
        let mut looks = std::mem::take(&mut self.looks);
        looks.clear();
        // With accounts, each packet and its flow are looked at just before its turn, and after.
        if packets.len() < 2 || self.account.is_some() {
            return looks;
        }
        looks.extend(packets.iter().map(|packet| {
            let headers = Headers::parse(packet);
            let tuple = headers.as_ref().ok().and_then(Headers::tuple);
            let hash = tuple.map_or(0, |tuple| self.flows.hash(&tuple));
            Look { headers, found: None, hash, likely: None }
        }));
        for look in &mut looks {
            look.likely = self.flows.find_likely(look.hash);
        }
        for look in &mut looks {
            let tuple = look.headers.as_ref().ok().and_then(Headers::tuple);
            look.found = tuple.and_then(|tuple| self.flows.confirm(look.likely, look.hash, &tuple));
        }
        looks
    }

    fn handle_looked_up(&mut self, now: Instant, packet: &mut Packet, look: &Look) -> Verdict {
        self.stats.packets += 1;
        self.stats.bytes += packet.len() as u64;
        let verdict = self.decide_found(now, packet, Origin::Leg, &look.headers, look.found);
        self.stats.count(verdict);
        verdict
    }
}
