//! ICMP errors that came in: which flow each is about, and who is to hear it (RFC 5508 section 4).
//! How it is put into other words is [`icmp`]'s.

use netstack::wire::fields::icmp_field;
use netstack::wire::{Address, Headers, Icmp, Quote, checksum};
use netstack::{Instant, Packet};

use super::track::rewrite_of;
use super::{Engine, Origin, Target, destination};
use crate::account::Note;
use crate::flow::tcp::TcpState;
use crate::flow::{Direction, Flow, FlowId, Kind, State};
use crate::icmp::{self, Ends};
use crate::rewrite::{self, Rewrite};
use crate::{DropReason, Verdict};

impl Engine {
    /// Translates an ICMP error, if it is about a packet of a flow.
    pub(super) fn translate_error(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
    ) -> Verdict {
        let message = &packet.data()[headers.l4()..headers.total_len()];
        // RFC 5508 REQ-3: one whose sum is wrong is dropped in silence.
        if !checksum::verify_transport(packet, headers) {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        let found = Quote::of_message(headers.family, message)
            .and_then(|quote| Some((quote, self.flows.lookup(&quote.tuple.reversed())?)));
        let Some((quote, (id, direction))) = found else {
            if let Some(verdict) = self.tunnel_error(now, packet, headers) {
                return verdict;
            }
            // Not about us: a router passes errors on like any packet.
            return if self.own.contains(headers.dst) {
                Verdict::Drop(DropReason::IcmpNoFlow)
            } else {
                self.route(now, packet, headers)
            };
        };
        self.note(Note::About(id, direction));
        // RFC 5508 REQ-3a.
        if !quote.header_sum_ok {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        if icmp::is_of_a_link(headers.family, message[icmp_field::TYPE]) {
            return Verdict::Drop(DropReason::IcmpKind);
        }
        // An error goes to who sent what it is about; one that does not is forged or astray.
        if headers.dst != quote.tuple.src {
            return Verdict::Drop(DropReason::IcmpMismatch);
        }
        if self.flows.get(id).is_some_and(|flow| flow.kind == Kind::Tunnel) {
            return match direction {
                // About what the backend sent, as the VIP: for the backend.
                Direction::Forward => self.carry(now, packet, headers, id),
                // About what the client sent, to the client: nothing in it was rewritten.
                Direction::Reverse => self.route(now, packet, headers),
            };
        }
        if let Some(verdict) = self.unreachable_backend(now, id, direction, packet, headers, &quote)
        {
            return verdict;
        }
        let Some(flow) = self.flows.get(id) else { return Verdict::Drop(DropReason::IcmpNoFlow) };
        // The error travels against the packet that it is about: as an answer to it would.
        let Some(target) = destination(flow.kind, direction, Origin::Leg, flow)
            .filter(|target| matches!(target, Target::Leg(_)) || is_of_use(flow, packet, headers))
        else {
            return Verdict::Drop(DropReason::IcmpUnused);
        };
        let passes = matches!(target, Target::Leg(_));
        if passes && !rewrite::pass_hop(packet, headers, self.hide_hop) {
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        let answer = rewrite_of(flow, direction);
        // What turns an answer's source into `to.src` turns the quoted destination into it.
        let original = Rewrite { to: answer.to.reversed(), ..answer };
        let ends = Ends { src: speaker(flow, direction, headers), dst: answer.to.dst };
        icmp::translate(packet, headers, &quote, &original, ends);
        match target {
            Target::Leg(leg) => {
                self.identifications.renew(packet, headers);
                self.leave(packet, headers, leg)
            }
            Target::Divert(to) => Verdict::Divert(to),
        }
    }

    /// If the error says that a backend cannot be reached by the SYN that we sent it, offers the SYN to
    /// another. It must come by the backend's leg and quote that SYN's sequence number: the flow changes
    /// by it.
    fn unreachable_backend(
        &mut self,
        now: Instant,
        id: FlowId,
        direction: Direction,
        packet: &mut Packet,
        headers: &Headers,
        quote: &Quote,
    ) -> Option<Verdict> {
        let flow = self.flows.get(id)?;
        let handshaking = flow.kind == Kind::Nat && flow.state == State::Tcp(TcpState::SynSent);
        if !handshaking || direction != Direction::Reverse || packet.leg != flow.backend_leg {
            return None;
        }
        let message = &packet.data()[headers.l4()..headers.total_len()];
        let ours = self.pending_sequence(id).is_some_and(|seq| quote.tcp_seq(message) == Some(seq));
        let unreachable = Icmp::new_checked(message)?.is_unreachable(headers.family);
        if ours && unreachable { self.backend_refused(now, id, packet) } else { None }
    }
}

/// True if a connection that ends in this process can do something about the error: send less at a time,
/// or give up on a backend that does not hear it. It judges by itself whether to believe it.
fn is_of_use(flow: &Flow, packet: &Packet, headers: &Headers) -> bool {
    let connecting = flow.kind == Kind::Upstream && flow.state == State::Tcp(TcpState::SynSent);
    Icmp::new_checked(&packet.data()[headers.l4()..headers.total_len()]).is_some_and(|icmp| {
        icmp.too_big(headers.family).is_some() || connecting && icmp.is_unreachable(headers.family)
    })
}

/// Whose address a translated error comes from: that of the flow's other end as the receiver knows it,
/// so that no router behind us is shown (RFC 5508 REQ-5c). Under DNAT backends know the clients' side
/// as it is, routers too.
fn speaker(flow: &Flow, direction: Direction, headers: &Headers) -> Address {
    match direction {
        Direction::Reverse => flow.vip.address,
        Direction::Forward if flow.snat == flow.client => headers.src,
        Direction::Forward => flow.snat.address,
    }
}
