//! Which addresses may be on a wire, and which way leads to them.

use netstack::wire::{Address, Family, Headers};
use netstack::{Instant, LegId, Packet};

use super::{Engine, mtu};
use crate::{DropReason, Verdict, rewrite};

impl Engine {
    /// Why addresses like these cannot be on this wire.
    pub(super) fn martian(&self, headers: &Headers) -> Option<DropReason> {
        let Headers { src, dst, .. } = *headers;
        let to_all = |at| self.routes.is_broadcast(at) && !self.own.contains(at);
        let no_host = !src.is_unicast() || to_all(src);
        if no_host || src.is_loopback() || dst.is_loopback() || self.own.contains(src) {
            Some(DropReason::Martian)
        } else if !dst.is_unicast() || to_all(dst) {
            Some(DropReason::Multicast)
        } else {
            None
        }
    }

    /// Passes on a packet of which nothing is ours.
    pub(super) fn route(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
    ) -> Verdict {
        match self.routes.lookup(headers.dst) {
            Some(leg) if self.legs > 1 && leg != packet.leg => {
                if let Some(mtu) = self.mtus.exceeded(leg, packet, headers)
                    && !mtu::may_be_cut(packet)
                {
                    return self.refuse_too_big(now, packet, headers, mtu);
                }
                if !rewrite::decrement_ttl(packet, headers) {
                    return self.reject_ttl(now, packet, headers);
                }
                self.leave(packet, headers, leg)
            }
            _ => Verdict::Drop(DropReason::NoRoute),
        }
    }

    /// Where a client is answered: by the leg that its packet came by, if it may have come by that. Its
    /// address may lie within the backends' network by number alone (RFC 4787 REQ-7).
    pub(super) fn leg_to(&self, address: Address, came_by: LegId) -> LegId {
        if self.routes.leads(came_by, address) {
            return came_by;
        }
        self.routes.lookup(address).unwrap_or(came_by)
    }

    pub(super) fn own_address(&self, family: Family) -> Option<Address> {
        self.own.any(family)
    }
}
