//! Packets that are too long for the leg that they would leave by (RFC 4787 REQ-13).
//!
//! # Theory of operation
//!
//! Each leg has an MTU. What is held against it is the length of a packet on the wire: of a
//! super-packet that is the length of one segment. For nearly every packet that is one comparison.
//! One that is too long is
//!
//! - **refused**, if it is IPv6 or forbids fragments: the sender is told the MTU (RFC 1191, RFC 8201)
//!   and sends again. This is decided before anything is rewritten, so the error shows the packet as
//!   its sender knows it, and comes from an address that the sender knows. A datagram that probes the
//!   path (RFC 8899) is never cut in secret;
//! - **cut**, if it is IPv4 and allows it: into fragments, after it was rewritten. The first is the
//!   verdict's packet, the others follow in the outbox.
//!
//! A TCP super-packet that allows fragments is not cut: its segmentation is lowered to what fits.
//! The sender handed over a run of bytes to be made into segments, so making smaller ones is the same
//! work, and the receiver has neither to reassemble nor to lose two fragments for one. The boundaries
//! of datagrams mean something, so each of a UDP super-packet is cut into fragments of its own; and so
//! is a single TCP segment, whose boundaries its sender chose.
//!
//! What this process's own connections send is not looked at: they are told the least MTU of all legs
//! and size their segments by it. SYNs of flows that pass are made to say what the narrower of the
//! flow's legs carries ([`mss`]), so that TCP seldom comes to any of this.
//!
//! A leg whose MTU is 0 is not looked at. An MTU below the minimum that a link of the family must have
//! (68 and 1,280 bytes) counts as the minimum: no host would believe less.

use netstack::fragment::{self, MIN_MTU_V4, MIN_MTU_V6, fragment};
use netstack::packet::{GsoKind, MAX_PACKET_LEN};
use netstack::segment::segment;
use netstack::wire::fields::{tcp_field, udp_field};
use netstack::wire::{Family, Headers};
use netstack::{Instant, LegId, Packet};

use super::Engine;
use crate::icmp::IcmpError;
use crate::limits::MAX_PIECES;
use crate::{DropReason, LegConfig, Verdict, mss};

/// The MTUs of the legs.
#[derive(Clone, Debug)]
pub(super) struct Mtus {
    by_leg: Vec<Mtu>,
}

/// The MTU of a leg, as each family has it.
#[derive(Clone, Copy, Debug)]
struct Mtu {
    v4: usize,
    v6: usize,
}

/// No MTU: everything fits.
const UNBOUNDED: usize = usize::MAX;

impl Mtus {
    pub(super) fn new(legs: &[LegConfig]) -> Self {
        let mtu = |leg: &LegConfig| match leg.mtu {
            0 => Mtu { v4: UNBOUNDED, v6: UNBOUNDED },
            mtu => Mtu { v4: mtu.max(MIN_MTU_V4).into(), v6: mtu.max(MIN_MTU_V6).into() },
        };
        Self { by_leg: legs.iter().map(mtu).collect() }
    }

    /// The longest packet of a family that leaves by a leg.
    pub(super) fn of(&self, leg: LegId, family: Family) -> usize {
        match (self.by_leg.get(usize::from(leg.0)), family) {
            (Some(mtu), Family::V4) => mtu.v4,
            (Some(mtu), Family::V6) => mtu.v6,
            (None, _) => UNBOUNDED,
        }
    }

    /// The MTU of `leg`, if the packet exceeds it.
    #[inline]
    pub(super) fn exceeded(&self, leg: LegId, packet: &Packet, headers: &Headers) -> Option<usize> {
        let mtu = self.of(leg, headers.family);
        (wire_len(packet, headers) > mtu).then_some(mtu)
    }

    /// Lowers the MSS in a SYN of a flow to what both of its legs carry.
    pub(super) fn clamp_mss(&self, legs: [LegId; 2], packet: &mut Packet, headers: &Headers) {
        let [one, other] = legs.map(|leg| self.of(leg, headers.family));
        mss::clamp(packet, headers, mss::of_mtu(one.min(other), headers.family));
    }
}

/// Length of the longest packet that a wire would carry of this one.
#[inline]
pub(super) fn wire_len(packet: &Packet, headers: &Headers) -> usize {
    let total = headers.total_len();
    match packet.offload.gso {
        None => total,
        Some(gso) => total.min(headers_len(packet, headers, gso.kind) + usize::from(gso.size)),
    }
}

/// Length of all headers of a super-packet.
fn headers_len(packet: &Packet, headers: &Headers, kind: GsoKind) -> usize {
    let l4 = headers.l4();
    l4 + match kind {
        GsoKind::Udp => udp_field::LEN,
        GsoKind::TcpV4 | GsoKind::TcpV6 => {
            packet.data().get(l4 + tcp_field::DATA_OFFSET).map_or(0, |b| usize::from(b >> 4) * 4)
        }
    }
}

/// True if a packet may be cut where it does not fit.
pub(super) fn may_be_cut(packet: &Packet) -> bool {
    fragment::is_allowed(packet)
}

impl Engine {
    /// Refuses a packet that exceeds `mtu` and may not be cut. Nothing of it has been rewritten.
    #[cold]
    pub(super) fn refuse_too_big(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        mtu: usize,
    ) -> Verdict {
        // A router looks at the TTL first (RFC 1812 section 5.3.1).
        if headers.ttl <= 1 {
            return self.reject_ttl(now, packet, headers);
        }
        let error = IcmpError::TooBig { mtu: mtu as u16 };
        self.reject(now, packet, headers, error, DropReason::PacketTooBig)
    }

    /// Sends a packet by `leg`, cut if it must be and may be. What is to hear of it instead has been
    /// refused before, so one that may not is dropped: an ICMP error, an answer of our own.
    pub(super) fn leave(&mut self, packet: &mut Packet, headers: &Headers, leg: LegId) -> Verdict {
        packet.leg = leg;
        match self.mtus.exceeded(leg, packet, headers) {
            None => Verdict::Forward,
            Some(mtu) => self.cut(packet, headers, mtu),
        }
    }

    /// Makes a rewritten packet what fits `mtu`; the pieces behind the first go to the outbox.
    #[cold]
    pub(super) fn cut(&mut self, packet: &mut Packet, headers: &Headers, mtu: usize) -> Verdict {
        let done = may_be_cut(packet)
            && match packet.offload.gso.map(|gso| gso.kind) {
                Some(GsoKind::TcpV4) => {
                    let lowered = lower_segmentation(packet, headers, mtu);
                    // More segments than were counted.
                    self.identifications.renew(packet, headers);
                    lowered
                }
                _ => self.cut_into_fragments(packet, mtu).is_some(),
            };
        if done { Verdict::Forward } else { Verdict::Drop(DropReason::PacketTooBig) }
    }

    fn cut_into_fragments(&mut self, packet: &mut Packet, mtu: usize) -> Option<()> {
        let mut pieces = Vec::new();
        // What is no super-packet comes out as one piece, with its checksum complete.
        for datagram in segment(packet, MAX_PACKET_LEN).ok()? {
            let identification = 1 + self.rng.below(u16::MAX.into()) as u16;
            pieces.extend(fragment(&datagram, mtu, identification).ok()?);
            if pieces.len() > MAX_PIECES {
                return None;
            }
        }
        let mut pieces = pieces.into_iter();
        packet.copy_from(&pieces.next()?);
        self.outbox.extend(pieces);
        Some(())
    }
}

/// Has a TCP super-packet cut into segments that fit `mtu`; false if they would be too many.
fn lower_segmentation(packet: &mut Packet, headers: &Headers, mtu: usize) -> bool {
    let Some(gso) = packet.offload.gso else { return false };
    let headers_len = headers_len(packet, headers, gso.kind);
    let room = mtu.saturating_sub(headers_len);
    let payload = packet.len().saturating_sub(headers_len);
    if room == 0 || payload.div_ceil(room) > MAX_PIECES {
        return false;
    }
    if let Some(gso) = &mut packet.offload.gso {
        gso.size = room as u16;
    }
    true
}
