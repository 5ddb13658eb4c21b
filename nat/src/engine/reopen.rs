//! SYNs in connections that are not over.
//!
//! A client that was restarted may open a new connection from a port whose old one its backend, or we,
//! still know. The backend answers such a SYN with a challenge ACK, the client that with a RST, and its
//! next SYN opens a new flow: tracking needs no part in it. If the backend has forgotten the old
//! connection as well it accepts or refuses the SYN at once. Then the flow follows; but only if the
//! answer acknowledges a SYN that went by and comes from the backend's side, since SYNs are forged. Where
//! the backend is not heard (`tunnel`), what the client says next must do.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::TcpFlags;

use crate::flow::tcp::{Event, Segment, TcpState, Windows};
use crate::flow::{Direction, Flow, FlowId};
use crate::limits::REOPENINGS;

/// The newest SYN of each flow that had one out of turn, [`REOPENINGS`] of them at most.
#[derive(Clone, Debug)]
pub(super) struct Reopenings {
    /// Each with its place in `ages`.
    syns: HashMap<FlowId, (u64, Segment), FixedState>,
    /// Whose they are, by how many had come before.
    ages: BTreeMap<u64, FlowId>,
    /// How many have come.
    count: u64,
}

impl Reopenings {
    pub(super) fn new(seed: u64) -> Self {
        let syns = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { syns, ages: BTreeMap::new(), count: 0 }
    }

    /// What a SYN or RST means that does not count by its numbers; on a restart the flow's windows are
    /// the new connection's. A reverse segment must have come by the backend's leg.
    pub(super) fn judge(
        &mut self,
        id: FlowId,
        flow: &mut Flow,
        direction: Direction,
        segment: &Segment,
    ) -> Option<Event> {
        match (direction, Event::of(segment.flags)) {
            (Direction::Forward, Event::Syn) => {
                if !flow.windows.begin_with(segment) {
                    self.remember(id, segment);
                }
                None
            }
            (Direction::Reverse, Event::SynAck) => {
                let syn = self.syn_of(id).filter(|s| flow.windows.is_restarted_by(s, segment))?;
                flow.windows.restart(syn, segment);
                self.forget(id);
                Some(Event::Restart)
            }
            (Direction::Reverse, Event::Rst) => {
                let syn = self.syn_of(id)?;
                segment.answers(syn).then_some(Event::Rst)
            }
            _ => None,
        }
    }

    /// The state in which a client's segment meets a half-closed connection whose backend is never heard:
    /// that of a new one if it goes on from a SYN out of turn, so that the backend has accepted that.
    pub(super) fn judge_alone(
        &mut self,
        id: FlowId,
        flow: &mut Flow,
        segment: &Segment,
    ) -> TcpState {
        if segment.is_syn() {
            self.remember(id, segment);
        } else if let Some(syn) = self.syn_of(id).filter(|syn| segment.goes_on_from(syn)) {
            flow.windows = Windows::opened_by(syn);
            self.forget(id);
            return TcpState::SynSent;
        }
        TcpState::Closing
    }

    /// What a backend's segment says about a SYN out of turn, if it answers one.
    pub(super) fn answer(&self, id: FlowId, segment: &Segment) -> Option<Event> {
        self.syn_of(id).is_some_and(|syn| segment.answers(syn)).then(|| Event::of(segment.flags))
    }

    pub(super) fn forget(&mut self, id: FlowId) {
        if !self.syns.is_empty()
            && let Some((age, _)) = self.syns.remove(&id)
        {
            self.ages.remove(&age);
        }
    }

    fn syn_of(&self, id: FlowId) -> Option<&Segment> {
        self.syns.get(&id).map(|(_, syn)| syn)
    }

    /// At the limit, the SYN that came longest ago gives way.
    fn remember(&mut self, id: FlowId, syn: &Segment) {
        self.forget(id);
        if self.syns.len() >= REOPENINGS
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.syns.remove(&oldest);
        }
        self.syns.insert(id, (self.count, *syn));
        self.ages.insert(self.count, id);
        self.count += 1;
    }

    /// The control bits of segments to ask about.
    pub(super) const RARE: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::RST.0);
}
