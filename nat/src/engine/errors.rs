//! ICMP errors about packets of our flows, translated to whom they concern (RFC 5508 section 4).
//!
//! A router or a host quotes the packet as it saw it: after translation. The quote names the flow; its
//! addresses, ports and sums are put back to what the sender had sent, and the error goes to that
//! sender. Type, code and everything else of the error stay as they are, and the flow lives on
//! (RFC 5508 REQ-6, RFC 5382 REQ-10): an error may be forged.

use netstack::packet::Offload;
use netstack::wire::fields::icmp_field;
use netstack::wire::headers::{ICMPV4, ICMPV6, V4_CHECKSUM, V4_TTL, V6_HOP_LIMIT};
use netstack::wire::{Address, Family, Headers, Icmp, Quote, checksum};
use netstack::{Instant, Packet};

use super::Engine;
use super::track::rewrite_of;
use crate::flow::tcp::TcpState;
use crate::flow::{Direction, FlowId, Kind, State};
use crate::rewrite::{Rewrite, write_addresses};
use crate::{DropReason, Verdict, icmp};

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
        let found = Quote::parse(&message[icmp_field::LEN..])
            .filter(|quote| quote.family == headers.family)
            .and_then(|quote| Some((quote, self.flows.lookup(&quote.tuple.reversed())?)));
        let Some((quote, (id, direction))) = found else {
            // Not about us: a router passes errors on like any packet.
            return if self.own.contains(headers.dst) {
                Verdict::Drop(DropReason::IcmpNoFlow)
            } else {
                self.route(now, packet, headers)
            };
        };
        if let Some(verdict) = self.unreachable_backend(now, id, direction, packet, headers) {
            return verdict;
        }
        let Some(flow) = self.flows.get(id) else { return Verdict::Drop(DropReason::IcmpNoFlow) };
        // The error travels against the packet that it is about: as an answer to it would.
        let (leg, source) = match (flow.kind, direction) {
            (Kind::Nat, Direction::Reverse) => (flow.client_leg, Some(flow.vip.address)),
            (Kind::Nat, Direction::Forward) => {
                // Under DNAT the backend knows the client's side as it is.
                let full = flow.snat != flow.client;
                (flow.backend_leg, full.then_some(flow.snat.address))
            }
            (Kind::Diverted | Kind::Upstream, _) => return Verdict::Drop(DropReason::IcmpUnused),
        };
        if headers.ttl <= 1 {
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        // What turns an answer's source into `to.src` turns the quoted destination into it.
        let answer = rewrite_of(flow, direction);
        let quoted = Rewrite { to: answer.to.reversed(), ..answer };
        restore_quote(packet, headers, &quote, &quoted);
        // RFC 5508 REQ-5c: a router behind us is not shown to the other side.
        readdress(packet, headers, source.unwrap_or(headers.src), answer.to.dst);
        self.leave(packet, headers, leg)
    }

    /// If the error says that a backend cannot be reached by the SYN that we sent it, offers the SYN to
    /// another.
    fn unreachable_backend(
        &mut self,
        now: Instant,
        id: FlowId,
        direction: Direction,
        packet: &mut Packet,
        headers: &Headers,
    ) -> Option<Verdict> {
        let flow = self.flows.get(id)?;
        let handshaking = flow.kind == Kind::Nat && flow.state == State::Tcp(TcpState::SynSent);
        if !handshaking || direction != Direction::Reverse {
            return None;
        }
        let icmp = Icmp::new_checked(&packet.data()[headers.l4()..])?;
        // Unreachable, but for "fragmentation needed", which asks for a smaller packet.
        let unreachable = match headers.family {
            Family::V4 => icmp.kind() == 3 && icmp.code() != 4,
            Family::V6 => icmp.kind() == 1,
        };
        if unreachable { self.backend_refused(now, id, packet) } else { None }
    }
}

/// Puts the quoted packet back to what its sender sent.
fn restore_quote(packet: &mut Packet, headers: &Headers, quote: &Quote, rewrite: &Rewrite) {
    let start = headers.l4() + icmp_field::LEN;
    let end = headers.total_len();
    let data = &mut packet.data_mut()[start..end];
    write_addresses(data, quote.family, &rewrite.to);
    if quote.family == Family::V4 {
        let field = u16::from_be_bytes([data[V4_CHECKSUM], data[V4_CHECKSUM + 1]]);
        let field = rewrite.addresses.apply(field);
        data[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&field.to_be_bytes());
    }
    rewrite.apply_transport(&mut data[quote.l4..], quote.protocol, false);
}

/// Gives an ICMP error its new source and destination, one hop less to go, and fresh sums: the old one
/// was found right, so a fresh one hides nothing.
fn readdress(packet: &mut Packet, headers: &Headers, src: Address, dst: Address) {
    packet.offload = Offload::default();
    let total = headers.total_len();
    let data = &mut packet.data_mut()[..total];
    let (ip, message) = data.split_at_mut(headers.l4());
    match headers.family {
        Family::V4 => {
            ip[12..16].copy_from_slice(src.octets());
            ip[16..20].copy_from_slice(dst.octets());
            ip[V4_TTL] -= 1;
            ip[V4_CHECKSUM..V4_CHECKSUM + 2].fill(0);
            let sum = !checksum::sum(ip);
            ip[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
            icmp::set_checksum(message, ICMPV4, icmp_field::CHECKSUM.start, src, dst);
        }
        Family::V6 => {
            ip[8..24].copy_from_slice(src.octets());
            ip[24..40].copy_from_slice(dst.octets());
            ip[V6_HOP_LIMIT] -= 1;
            icmp::set_checksum(message, ICMPV6, icmp_field::CHECKSUM.start, src, dst);
        }
    }
}
