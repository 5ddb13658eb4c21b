//! Flows that go, by themselves or for others.

use netstack::Instant;
use netstack::wire::Protocol;

use super::Engine;
use crate::account::Note;
use crate::flow::evict::Class;
use crate::flow::{Flow, FlowId, Kind};
use crate::snat::Left;

impl Engine {
    /// Drops a flow and gives back what it held.
    pub(super) fn forget(&mut self, now: Instant, id: FlowId) {
        let waited = |flow: &Flow| flow.state.is_closing() && flow.expires <= now;
        let clean = self.flows.get(id).is_some_and(waited);
        self.forget_as(now, id, if clean { Left::Clean } else { Left::Uncertain });
    }

    pub(super) fn forget_as(&mut self, now: Instant, id: FlowId, left: Left) {
        let Some(flow) = self.flows.remove(id) else { return };
        self.pending_syns.remove(&id);
        self.reopenings.forget(id);
        self.policy.flow_closed(flow.assignment.service, flow.client.address);
        self.unmap_closing(now, &flow, left, flow.state.is_closing().then_some(id));
        if flow.kind != Kind::Upstream && !flow.state.is_closing() {
            self.clients.closed(flow.client.address);
        }
        if let Some((pool, backend)) = flow.assignment.backend
            && !flow.state.is_closing()
        {
            self.pools[usize::from(pool.0)].flow_closed(backend);
        }
    }

    /// Makes room for one more flow at the limits; false if there is none to be made.
    pub(super) fn make_room(&mut self, now: Instant, protocol: Protocol) -> bool {
        if protocol == Protocol::Tcp && self.flows.len_of(Class::HalfOpen) >= self.limits.half_open
        {
            self.evict(now, Class::HalfOpen);
        }
        self.flows.len() < self.limits.flows
            || Class::ALL.iter().any(|&class| self.evict(now, class))
    }

    pub(super) fn evict(&mut self, now: Instant, class: Class) -> bool {
        let Some(id) = self.flows.oldest(class) else { return false };
        self.stats.flows_evicted += 1;
        self.note(Note::Evicted(id));
        self.forget(now, id);
        true
    }
}
