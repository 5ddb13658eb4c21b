//! Packets of known flows.

use netstack::wire::{Headers, Transport};
use netstack::{Instant, Packet};

use super::{Engine, Origin, Target, destination, mtu};
use crate::flow::tcp::{Event, TcpState};
use crate::flow::{Direction, Flow, FlowId, Kind, State};
use crate::rewrite::{self, Rewrite};
use crate::{DropReason, Verdict};

impl Engine {
    /// True if this packet is to make a flow anew: a SYN on the tuple of a connection that both sides
    /// have closed (RFC 9293 section 3.6.1 lets it reuse a tuple in TIME-WAIT), or a datagram whose
    /// backend was taken out.
    pub(super) fn replaces(&self, id: FlowId, direction: Direction, headers: &Headers) -> bool {
        let Transport::Tcp { flags, .. } = headers.transport else {
            return self.backends_out
                && direction == Direction::Forward
                && self.has_lost_its_backend(id);
        };
        flags.is_initial_syn()
            && direction == Direction::Forward
            && self
                .flows
                .get(id)
                .is_some_and(|flow| matches!(flow.state, State::Tcp(state) if state.is_reusable()))
    }

    /// Rewrites a packet of a known flow and follows its state.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        id: FlowId,
        direction: Direction,
        origin: Origin,
    ) -> Verdict {
        let event = match headers.transport {
            Transport::Tcp { flags, .. } => Some(Event::of(flags)),
            _ => None,
        };
        match (direction, event) {
            (Direction::Reverse, Some(event)) => {
                if let Some(verdict) = self.handshake(now, id, event, packet) {
                    return verdict;
                }
            }
            (Direction::Forward, Some(Event::Syn)) => self.syn_again(now, id, packet, headers),
            _ => {}
        }
        let Some(flow) = self.flows.touch(id) else { return Verdict::Drop(DropReason::NoFlow) };
        let kind = flow.kind;
        let Some(target) = destination(kind, direction, origin, flow) else {
            // A packet from a wire that claims to be ours.
            return Verdict::Drop(DropReason::Martian);
        };
        let passes = origin == Origin::Leg && kind == Kind::Nat;
        let exceeded = match target {
            Target::Leg(leg) if passes => self.mtus.exceeded(leg, packet, headers),
            _ => None,
        };
        if let Some(mtu) = exceeded
            && !mtu::may_be_cut(packet)
        {
            return self.refuse_too_big(now, packet, headers, mtu);
        }
        if passes && !rewrite::pass_hop(packet, headers, self.hide_hop) {
            return self.reject_ttl(now, packet, headers);
        }
        let before = flow.state;
        flow.state = next_state(before, direction, event);
        flow.expires = now + flow.idle_timeout(&self.timeouts);
        let counters = flow.counters_mut(direction);
        counters.packets += 1;
        counters.bytes += packet.len() as u64;
        if passes && event == Some(Event::Syn) {
            self.mtus.clamp_mss([flow.client_leg, flow.backend_leg], packet, headers);
        }
        if kind != Kind::Diverted {
            rewrite_of(flow, direction).apply(packet, headers);
            self.identifications.renew(packet, headers);
        }
        if flow.state != before {
            let closing = flow.state.is_closing();
            self.flows.settle(id);
            self.state_changed(now, id, before);
            if closing != before.is_closing() {
                self.closing_changed(now, id);
            }
        }
        match target {
            Target::Leg(leg) => {
                packet.leg = leg;
                match exceeded {
                    None => Verdict::Forward,
                    Some(mtu) => self.cut(packet, headers, mtu),
                }
            }
            Target::Divert(to) => Verdict::Divert(to),
        }
    }

    /// What a backend's answer to a SYN means for the backend: a verdict if it refused, and the SYN
    /// goes to another.
    fn handshake(
        &mut self,
        now: Instant,
        id: FlowId,
        event: Event,
        packet: &mut Packet,
    ) -> Option<Verdict> {
        if self.flows.get(id)?.state != State::Tcp(TcpState::SynSent) {
            return None;
        }
        match event {
            Event::Rst => return self.backend_refused(now, id, packet),
            Event::Syn => self.backend_accepted(now, id),
            Event::Fin | Event::Segment => {}
        }
        None
    }
}

/// The edits for a packet of this direction.
pub(super) fn rewrite_of(flow: &Flow, direction: Direction) -> Rewrite {
    let (addresses, ports) = match direction {
        Direction::Forward => (flow.address_delta, flow.port_delta),
        Direction::Reverse => (flow.address_delta.inverse(), flow.port_delta.inverse()),
    };
    Rewrite { to: flow.rewritten(direction), addresses, ports }
}

const fn next_state(state: State, direction: Direction, event: Option<Event>) -> State {
    match (state, event) {
        (State::Tcp(tcp), Some(event)) => State::Tcp(tcp.next(direction, event)),
        (State::Datagram(_), _) if matches!(direction, Direction::Reverse) => State::Datagram(true),
        (state, _) => state,
    }
}
