//! Flows whose packets are wrapped: see [`tunnel`](crate::tunnel).
//!
//! # Theory of operation
//!
//! Such a flow has one direction. It exists so that its client stays at its backend, is counted and
//! drained; nothing of its packets is rewritten but the TTL. Its reverse key is its forward key turned
//! around: what the backend sends itself, so no other flow can have it. It leads ICMP errors about the
//! backend's packets to the flow; a packet with that tuple claims to come from an address of ours, and
//! is dropped as a martian.
//!
//! **TCP** is followed by the client's segments alone ([`TcpState::next_alone`]). None proves that a
//! backend has answered: who can forge a SYN can forge what follows. So such a flow never stands among
//! those that never give way: once established it is in the list of flows without an answer.
//!
//! **SYNs** that the client repeats go to another backend as with NAT; a backend's refusal is not seen.
//! The client's first segment with an acknowledgment is the sign that its backend has answered, but not
//! of when: no latency is learnt. After the client's FIN the backend may go on, so a SYN is carried to
//! the same one, and the flow is of a new connection when the client goes on from that SYN.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use netstack::fragment::{self, MIN_MTU_V4, MIN_MTU_V6};
use netstack::packet::{GsoKind, MAX_PACKET_LEN};
use netstack::segment::segment;
use netstack::wire::{Address, Family, Headers, checksum};
use netstack::{Instant, LegId, Packet};

use super::admit::Admission;
use super::{Engine, mtu};
use crate::flow::tcp::{Segment, TcpState};
use crate::flow::{Direction, Flow, FlowId, Kind, State};
use crate::limits::MAX_PIECES;
use crate::rewrite;
use crate::rng::derive;
use crate::snat::Left;
use crate::tunnel::{Encapsulation, Outer, Paths, fragment_v6};
use crate::{Config, DropReason, Mode, Nat, ServiceId, Verdict};

/// What wrapping needs to know.
#[derive(Clone, Debug)]
pub(super) struct Tunnels {
    /// The source of outer packets, of each family: the first of the SNAT pool.
    v4: Option<Address>,
    v6: Option<Address>,
    /// Backends that are sent outer packets.
    backends: HashSet<Address, FixedState>,
    pub(super) paths: Paths,
    hasher: FixedState,
}

/// The way of one flow's packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    outer: Outer,
    leg: LegId,
    /// The longest outer packet that gets through.
    mtu: usize,
}

impl Tunnels {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        let mut backends = HashSet::with_hasher(FixedState::with_seed(derive(seed, 0)));
        let services = config.services.iter();
        for service in services.filter(|s| matches!(s.mode, Mode::Nat(Nat::Tunnel(_)))) {
            let pool = config.pools.get(usize::from(service.pool.0));
            let addresses = pool.into_iter().flat_map(|pool| &pool.backends);
            backends.extend(addresses.map(|backend| Address::from(backend.address.ip())));
        }
        let mut tunnels = Self {
            v4: None,
            v6: None,
            backends,
            paths: Paths::new(derive(seed, 1)),
            hasher: FixedState::with_seed(derive(seed, 2)),
        };
        tunnels.set_sources(&config.snat.addresses);
        tunnels
    }

    pub(super) fn set_sources(&mut self, addresses: &[Address]) {
        self.v4 = addresses.iter().copied().find(|address| address.is_v4());
        self.v6 = addresses.iter().copied().find(|address| !address.is_v4());
    }

    /// True for what may have come back from a packet of ours: from our address, to such a backend.
    pub(super) fn sends(&self, src: Address, dst: Address) -> bool {
        self.source(dst.family()) == Some(src) && self.backends.contains(&dst)
    }

    const fn source(&self, family: Family) -> Option<Address> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

impl Way {
    /// The longest packet of a client that needs no fragments on the way.
    fn room(&self) -> usize {
        self.mtu.saturating_sub(self.outer.overhead())
    }

    /// The MTU to refuse a packet with, if it is too long and may not be carried in fragments.
    fn refusal(&self, packet: &Packet, headers: &Headers) -> Option<usize> {
        let (len, room) = (mtu::wire_len(packet, headers), self.room());
        if len <= room {
            return None;
        }
        match headers.family {
            Family::V4 if mtu::may_be_cut(packet) => None,
            Family::V4 => Some(room.max(MIN_MTU_V4.into())),
            Family::V6 if len <= usize::from(MIN_MTU_V6) => None,
            Family::V6 => Some(room.max(MIN_MTU_V6.into())),
        }
    }
}

impl Engine {
    /// Makes a flow whose packets are wrapped.
    pub(super) fn admit_tunnel(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        admission: Admission,
    ) -> Result<Verdict, DropReason> {
        let Admission { service, pool, nat, .. } = admission;
        let (flow, chosen) = self.assigned(now, packet, headers, admission)?;
        let client = flow.client.address;
        let pending = self.keep_syn(now, packet, headers, pool, nat, chosen);
        let id = match self.flows.insert(flow) {
            Ok(id) => id,
            Err(flow) => {
                self.unassign(now, &flow, Left::Clean);
                return Err(DropReason::NoPort);
            }
        };
        self.pending_syns.extend(pending.map(|pending| (id, pending)));
        self.clients.opened(client);
        self.policy.flow_opened(Some(service), client);
        self.stats.flows_opened += 1;
        match self.enter(now, packet, headers, id) {
            Ok(way) => Ok(self.wrap(packet, headers, way)),
            Err(verdict) => {
                self.stats.flows_opened -= 1;
                self.forget(now, id);
                Ok(verdict)
            }
        }
    }

    /// Wraps a packet of a known flow and follows its state.
    pub(super) fn follow_tunnel(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        id: FlowId,
        segment: Option<&Segment>,
    ) -> Verdict {
        let way = match self.enter(now, packet, headers, id) {
            Ok(way) => way,
            Err(verdict) => return verdict,
        };
        let Some(flow) = self.flows.touch(id) else { return Verdict::Drop(DropReason::NoFlow) };
        let before = flow.state;
        if let (State::Tcp(mut state), Some(segment)) = (before, segment) {
            if state == TcpState::Closing {
                state = self.reopenings.judge_alone(id, flow, segment);
            }
            if let Some(event) = flow.windows.judge_alone(state, segment) {
                flow.windows.learn_alone(event, segment);
                flow.state = State::Tcp(state.next_alone(event));
            }
        }
        flow.expires = now + flow.idle_timeout(&self.timeouts);
        let counters = flow.counters_mut(Direction::Forward);
        counters.packets += 1;
        counters.bytes += packet.len() as u64;
        if flow.state != before {
            let answered = before == State::Tcp(TcpState::SynSent)
                && flow.state == State::Tcp(TcpState::Established);
            if answered {
                self.client_goes_on(now, id);
            }
            self.changed(now, id, before);
        }
        self.wrap(packet, headers, way)
    }

    /// Carries a fragment behind the first, which has been through [`follow_tunnel`](Self::follow_tunnel).
    pub(super) fn carry_fragment(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        id: FlowId,
    ) -> Verdict {
        let Some(flow) = self.flows.touch(id) else { return Verdict::Drop(DropReason::NoFlow) };
        let counters = flow.counters_mut(Direction::Forward);
        counters.packets += 1;
        counters.bytes += packet.len() as u64;
        self.carry(now, packet, headers, id)
    }

    /// Carries what changes nothing about its flow: a fragment, or an ICMP error about the backend's
    /// packets.
    pub(super) fn carry(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        id: FlowId,
    ) -> Verdict {
        match self.enter(now, packet, headers, id) {
            Ok(way) => self.wrap(packet, headers, way),
            Err(verdict) => verdict,
        }
    }

    /// Wraps a kept SYN for the backend that its flow has now.
    pub(super) fn offer_wrapped(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        id: FlowId,
    ) -> Verdict {
        match self.way(now, id) {
            Some(way) => self.wrap(packet, headers, way),
            None => Verdict::Drop(DropReason::NoRoute),
        }
    }

    /// Looks whether a packet may go the way of its flow, and takes its hop; or the verdict if not.
    fn enter(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        id: FlowId,
    ) -> Result<Way, Verdict> {
        let Some(way) = self.way(now, id) else {
            return Err(Verdict::Drop(DropReason::NoRoute));
        };
        if let Some(mtu) = way.refusal(packet, headers) {
            return Err(self.refuse_too_big(now, packet, headers, mtu));
        }
        if !rewrite::pass_hop(packet, headers, self.hide_hop) {
            return Err(self.reject_ttl(now, packet, headers));
        }
        Ok(way)
    }

    fn way(&self, now: Instant, id: FlowId) -> Option<Way> {
        let flow = self.flows.get(id)?;
        let dst = self.carried_to(id)?;
        let outer = Outer {
            encapsulation: self.encapsulation(flow.assignment.service?)?,
            src: self.tunnels.source(dst.family())?,
            dst,
            entropy: self.tunnels.hasher.hash_one(flow.forward_key()) as u32,
        };
        let leg = flow.backend_leg;
        let path = self.tunnels.paths.mtu(now, dst).map_or(MAX_PACKET_LEN, usize::from);
        Some(Way { outer, leg, mtu: self.mtus.of(leg, dst.family()).min(path) })
    }

    /// True if the flow is half-closed and its backend is out: there is nothing left to cut off.
    pub(super) fn leads_nowhere(&self, id: FlowId, flow: &Flow) -> bool {
        flow.kind == Kind::Tunnel
            && flow.state == State::Tcp(TcpState::Closing)
            && self.has_lost_its_backend(id)
    }

    /// The backend of a flow by its own address.
    pub(super) fn carried_to(&self, id: FlowId) -> Option<Address> {
        let (pool, backend) = self.flows.get(id)?.assignment.backend?;
        let backend = self.pools.get(usize::from(pool.0))?.backend(backend)?;
        Some(backend.address())
    }

    fn encapsulation(&self, service: ServiceId) -> Option<Encapsulation> {
        match self.services.get(service)?.mode {
            Mode::Nat(Nat::Tunnel(encapsulation)) => Some(encapsulation),
            _ => None,
        }
    }

    /// The client has gone on after its SYN, so the backend has answered that.
    fn client_goes_on(&mut self, now: Instant, id: FlowId) {
        self.pending_syns.remove(&id);
        let Some(flow) = self.flows.get(id) else { return };
        let Some((pool, backend)) = flow.assignment.backend else { return };
        self.pools[usize::from(pool.0)].connect_succeeded(now, backend);
    }

    /// Wraps a packet; what it makes behind the first goes to the outbox.
    fn wrap(&mut self, packet: &mut Packet, headers: &Headers, way: Way) -> Verdict {
        packet.leg = way.leg;
        if packet.offload.gso.is_none() && packet.len() <= way.room() {
            checksum::complete(packet);
            let identification = self.outer_identification(packet, headers, way);
            way.outer.wrap(packet, identification);
            return Verdict::Forward;
        }
        match self.wrap_in_pieces(packet, headers, way) {
            Some(()) => Verdict::Forward,
            None => Verdict::Drop(DropReason::PacketTooBig),
        }
    }

    #[cold]
    fn wrap_in_pieces(&mut self, packet: &mut Packet, headers: &Headers, way: Way) -> Option<()> {
        // The boundaries of TCP's segments are nobody's, those of datagrams are their sender's.
        let longest = match packet.offload.gso.map(|gso| gso.kind) {
            Some(GsoKind::TcpV4 | GsoKind::TcpV6) => way.room(),
            Some(GsoKind::Udp) | None => MAX_PACKET_LEN,
        };
        let mut pieces = Vec::new();
        for mut whole in segment(packet, longest).ok()? {
            if whole.len() + way.outer.overhead() > MAX_PACKET_LEN {
                return None;
            }
            let identification = self.outer_identification(&whole, headers, way);
            way.outer.wrap(&mut whole, identification);
            if whole.len() <= way.mtu {
                pieces.push(whole);
            } else if way.outer.dst.is_v4() {
                pieces.extend(fragment::fragment(&whole, way.mtu, 0).ok()?);
            } else {
                let Outer { src, dst, .. } = way.outer;
                let identification = self.identifications.next(src, dst, 44, 1);
                pieces.extend(fragment_v6(&whole, way.mtu, identification)?);
            }
            if pieces.len() > MAX_PIECES {
                return None;
            }
        }
        let mut pieces = pieces.into_iter();
        packet.copy_from(&pieces.next()?);
        self.outbox.extend(pieces);
        Some(())
    }

    /// An identification for an outer packet of IPv4 that may be fragmented: what is carried may be
    /// (RFC 2003 section 3.1), or must be, since it cannot be refused.
    fn outer_identification(&mut self, inner: &Packet, headers: &Headers, way: Way) -> Option<u16> {
        let Outer { src, dst, .. } = way.outer;
        let allowed = match headers.family {
            Family::V4 => mtu::may_be_cut(inner),
            Family::V6 => inner.len() > way.room(),
        };
        // An identification of zero stands for none, where a packet is cut.
        (dst.is_v4() && allowed).then(|| {
            let protocol = way.outer.protocol(headers.family);
            let identification = self.identifications.next(src, dst, protocol, 1) as u16;
            identification.max(1)
        })
    }
}
