//! Packets of known flows.

use netstack::wire::{Headers, TcpFlags, Transport};
use netstack::{Instant, Packet};

use super::reopen::Reopenings;
use super::{Engine, Origin, Target, destination, mtu};
use crate::flow::evict::Class;
use crate::flow::tcp::{Event, Segment, TcpState};
use crate::flow::{Direction, Flow, FlowId, Kind, State};
use crate::rewrite::{self, Rewrite};
use crate::{DropReason, Verdict};

impl Engine {
    /// True if this packet is to make a flow anew: a SYN on the tuple of a connection that is over (RFC
    /// 9293 section 3.6.1 and RFC 6191 let it reuse a tuple in TIME-WAIT), or a datagram whose backend
    /// was taken out.
    pub(super) fn replaces(&self, id: FlowId, direction: Direction, headers: &Headers) -> bool {
        let Transport::Tcp { flags, .. } = headers.transport else {
            return self.backends_out
                && direction == Direction::Forward
                && self.has_lost_its_backend(id);
        };
        flags.is_initial_syn()
            && direction == Direction::Forward
            && self.flows.get(id).is_some_and(|flow| flow.is_over() || self.leads_nowhere(id, flow))
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
        let segment = Segment::of(packet, headers);
        match (direction, &segment) {
            (Direction::Reverse, Some(segment)) if segment.has(Reopenings::RARE) => {
                if let Some(verdict) = self.handshake(now, id, segment, packet) {
                    return verdict;
                }
            }
            (_, Some(segment)) if segment.is_syn() => self.syn_again(now, id, packet, headers),
            _ => {}
        }
        let Some(flow) = self.flows.touch(id) else { return Verdict::Drop(DropReason::NoFlow) };
        let kind = flow.kind;
        let Some(target) = destination(kind, direction, origin, flow) else {
            // A packet from a wire that claims to be ours.
            return Verdict::Drop(DropReason::Martian);
        };
        if kind == Kind::Tunnel {
            return self.follow_tunnel(now, packet, headers, id, segment.as_ref());
        }
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
        if passes && !rewrite::may_pass_hop(headers, self.hide_hop) {
            return self.reject_ttl(now, packet, headers);
        }
        let before = flow.state;
        let from_backend = origin == Origin::Local || packet.leg == flow.backend_leg;
        match (before, &segment) {
            // Passed on, but not believed: whoever sends from the clients' side may say that he is a
            // backend, and would make flows that never give way.
            _ if direction == Direction::Reverse && !from_backend => {}
            (State::Tcp(state), Some(segment)) => {
                advance(flow, id, state, direction, segment, &mut self.reopenings);
            }
            (State::Datagram(_), _) if direction == Direction::Reverse => {
                flow.state = State::Datagram(true);
            }
            _ => {}
        }
        wind_up(flow, now + flow.idle_timeout(&self.timeouts), segment.as_ref());
        let counters = flow.counters_mut(direction);
        counters.packets += 1;
        counters.bytes += packet.len() as u64;
        if passes && segment.is_some_and(|segment| segment.has(TcpFlags::SYN)) {
            self.mtus.clamp_mss([flow.client_leg, flow.backend_leg], packet, headers);
        }
        if kind != Kind::Diverted {
            let hop = passes && !self.hide_hop;
            Rewrite { hop, ..rewrite_of(flow, direction) }.apply(packet, headers);
            self.identifications.renew(packet, headers);
        }
        if flow.state != before {
            self.changed(now, id, before);
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

    /// Puts a flow whose state is no longer `before` where it belongs, and tells who counts flows. If it is
    /// half-open again and one too many, the oldest of these gives way.
    pub(super) fn changed(&mut self, now: Instant, id: FlowId, before: State) {
        self.flows.settle(id);
        self.state_changed(now, id, before);
        let closing = self.flows.get(id).is_some_and(|flow| flow.state.is_closing());
        if closing != before.is_closing() {
            self.closing_changed(now, id);
        }
        if self.flows.len_of(Class::HalfOpen) > self.limits.half_open.max(1) {
            self.evict(now, Class::HalfOpen);
        }
    }

    /// What a backend's answer to a SYN means for the backend: a verdict if it refused, and the SYN
    /// goes to another.
    fn handshake(
        &mut self,
        now: Instant,
        id: FlowId,
        segment: &Segment,
        packet: &mut Packet,
    ) -> Option<Verdict> {
        let flow = self.flows.get(id)?;
        // Clients, who know what to answer, must not speak for backends; nor does anybody for a tunnel's.
        let by_backend = packet.leg == flow.backend_leg && flow.kind != Kind::Tunnel;
        if flow.state != State::Tcp(TcpState::SynSent) || !by_backend {
            return None;
        }
        let counts = flow.windows.judge(TcpState::SynSent, Direction::Reverse, segment);
        match counts.or_else(|| self.reopenings.answer(id, segment)) {
            Some(Event::Rst) => return self.backend_refused(now, id, packet),
            Some(Event::Syn | Event::SynAck) => self.backend_accepted(now, id),
            _ => {}
        }
        None
    }
}

/// Takes a TCP segment into account, if it counts.
#[inline]
fn advance(
    flow: &mut Flow,
    id: FlowId,
    state: TcpState,
    direction: Direction,
    segment: &Segment,
    reopenings: &mut Reopenings,
) {
    let mut event = flow.windows.judge(state, direction, segment);
    if event.is_none() && segment.has(Reopenings::RARE) {
        event = reopenings.judge(id, flow, direction, segment);
    }
    if let Some(event) = event {
        flow.windows.learn(direction, event, segment);
        flow.state = State::Tcp(state.next(direction, event));
    }
}

/// Lets a flow live until `due`, unless the packet is a RST: that answers something, and gives no time
/// (RFC 7857 section 7).
#[inline]
fn wind_up(flow: &mut Flow, due: Instant, segment: Option<&Segment>) {
    let answers = segment.is_some_and(|segment| segment.has(TcpFlags::RST));
    flow.expires = if answers { due.min(flow.expires) } else { due };
}

/// The edits for a packet of this direction.
pub(super) fn rewrite_of(flow: &Flow, direction: Direction) -> Rewrite {
    let (addresses, ports) = match direction {
        Direction::Forward => (flow.address_delta, flow.port_delta),
        Direction::Reverse => (flow.address_delta.inverse(), flow.port_delta.inverse()),
    };
    Rewrite { to: flow.rewritten(direction), addresses, ports, hop: false }
}
