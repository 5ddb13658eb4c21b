//! ICMP errors about packets that were wrapped here (RFC 2003 section 4, RFC 2473 section 8).

use netstack::wire::{Address, Family, Headers, Icmp, Quote};
use netstack::{Instant, Packet};

use super::Engine;
use crate::flow::{Direction, Flow, FlowId, Kind};
use crate::icmp::{self, IcmpError};
use crate::tunnel::Carried;
use crate::{DropReason, Verdict};

/// The client's packet as far as an error about the outer one quotes it.
struct Original {
    id: FlowId,
    client: Address,
    vip: Address,
    seq: Option<u32>,
    bytes: Vec<u8>,
}

impl Engine {
    /// The verdict on an ICMP error, if it is about an outer packet of ours.
    pub(super) fn tunnel_error(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
    ) -> Option<Verdict> {
        let family = headers.family;
        let message = packet.data().get(headers.l4()..headers.total_len())?;
        let icmp = Icmp::new_checked(message)?;
        let carried = Carried::parse(Quote::bytes(family, message)?)?;
        if carried.src != headers.dst || !self.tunnels.sends(carried.src, carried.dst) {
            return None;
        }
        let no_flow = Some(Verdict::Drop(DropReason::IcmpNoFlow));
        let original = match Quote::parse(carried.inner) {
            Some(quote) => match self.original(&carried, &quote) {
                Some(original) => Some(original),
                // What it quotes was never sent, or nobody waits for its answer any more.
                None => return no_flow,
            },
            None => None,
        };
        let is_out_of_reach = icmp.is_unreachable(family) || is_time_exceeded(family, icmp.kind());
        if let Some(said) = icmp.too_big(family) {
            let mtu = self.tunnels.paths.learn(now, carried.dst, said, carried.len);
            let left = usize::from(mtu).saturating_sub(carried.overhead());
            let told = too_big_for_client(&carried, left);
            return Some(match original.zip(told) {
                Some((original, error)) => self.tell_client(now, packet, original, error),
                // From now on the path is known, and what follows is refused here or cut.
                None => Verdict::Consumed,
            });
        }
        let Some(original) = original.filter(|_| is_out_of_reach) else {
            return Some(Verdict::Drop(DropReason::IcmpKind));
        };
        let waits = self.flows.get(original.id).is_some_and(Flow::is_syn_sent);
        if waits
            && original.seq.is_some()
            && self.pending_sequence(original.id) == original.seq
            && let Some(verdict) = self.backend_refused(now, original.id, packet)
        {
            return Some(verdict);
        }
        Some(self.tell_client(now, packet, original, IcmpError::HostUnreachable))
    }

    /// The client's packet in a quote, if it is of a flow that goes to this backend.
    fn original(&self, carried: &Carried<'_>, quote: &Quote) -> Option<Original> {
        let (id, direction) = self.flows.lookup(&quote.tuple)?;
        let flow = self.flows.get(id)?;
        let is_ours = flow.kind == Kind::Tunnel
            && direction == Direction::Forward
            && quote.header_sum_ok
            && self.carried_to(id) == Some(carried.dst);
        is_ours.then(|| Original {
            id,
            client: flow.client.address,
            vip: flow.vip.address,
            seq: quote.tcp_seq_in(carried.inner),
            bytes: carried.inner.to_vec(),
        })
    }

    /// Makes the error about the outer packet one about the client's, from the service.
    fn tell_client(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        original: Original,
        error: IcmpError,
    ) -> Verdict {
        let Original { id, client, vip, bytes, .. } = original;
        let Some(leg) = self.flows.get(id).map(|flow| flow.client_leg) else {
            return Verdict::Drop(DropReason::IcmpNoFlow);
        };
        if !self.errors.take(now, client) {
            return Verdict::Drop(DropReason::RateLimited);
        }
        packet.set_len(bytes.len());
        packet.data_mut().copy_from_slice(&bytes);
        packet.offload = netstack::packet::Offload::default();
        icmp::error_about(packet, client, vip, error, self.mtus.of(leg, client.family()));
        match Headers::parse(packet) {
            Ok(headers) => self.leave(packet, &headers, leg),
            Err(malformed) => Verdict::Drop(malformed.into()),
        }
    }
}

/// What the client is to hear if `left` bytes are left for it: nothing if its packet will be carried in
/// fragments from now on, or would fit.
fn too_big_for_client(carried: &Carried<'_>, left: usize) -> Option<IcmpError> {
    use netstack::fragment::{MIN_MTU_V4, MIN_MTU_V6};
    let (family, len, must_be_whole) = carried.inner_len()?;
    let least = match family {
        Family::V4 => MIN_MTU_V4,
        Family::V6 => MIN_MTU_V6,
    };
    let mtu = left.max(least.into());
    (must_be_whole && len > mtu).then_some(IcmpError::TooBig { mtu: mtu as u16 })
}

const fn is_time_exceeded(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => kind == 11,
        Family::V6 => kind == 3,
    }
}
