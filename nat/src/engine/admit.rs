//! New flows.

use netstack::wire::{Headers, Protocol, Transport, Tuple};
use netstack::{Instant, Packet};

use super::ours::is_stand_in;
use super::pickup::shows_life;
use super::track::rewrite_of;
use super::{Engine, mtu};
use crate::account::Note;
use crate::config::Refusal;
use crate::flow::tcp::Segment;
use crate::flow::{Direction, Flow, Kind, TransportAddr};
use crate::icmp::{self, IcmpError};
use crate::limits::SYN_ATTEMPTS;
use crate::rewrite;
use crate::schedule::Client;
use crate::snat::Left;
use crate::verdict::DivertTo;
use crate::{BackendId, DropReason, Mode, Nat, PoolId, ServiceId, Verdict};

/// A flow to be: who it is for, and how it is translated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    pub(super) tuple: Tuple,
    pub(super) service: ServiceId,
    pub(super) pool: PoolId,
    pub(super) nat: Nat,
}

impl Engine {
    /// Makes a flow for a packet of none, if a service listens for it; nothing if none does.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        tuple: Tuple,
    ) -> Option<Verdict> {
        let (service, config) = self.services.lookup(tuple.protocol, tuple.dst, tuple.dst_port)?;
        let (pool, mode, pickup) = (config.pool, config.mode, config.pickup);
        self.note(Note::Service(service));
        if !self.policy.allows(service, tuple.src) {
            return Some(self.forbid(now, packet, headers, service, DropReason::Denied));
        }
        match headers.transport {
            Transport::Tcp { flags, .. }
                if !(flags.is_initial_syn() || pickup && shows_life(flags)) =>
            {
                return Some(self.answer(now, packet, headers));
            }
            Transport::Echo { request: false, .. } => {
                return Some(Verdict::Drop(DropReason::NoFlow));
            }
            _ => {}
        }
        if let Err(reason) = self.policy.take(now, service, tuple.src) {
            return Some(self.forbid(now, packet, headers, service, reason));
        }
        if self.clients.account(tuple.src).flows >= self.limits.flows_per_client {
            return Some(self.refuse(now, packet, headers, DropReason::ClientLimit));
        }
        if !self.make_room(now, tuple.protocol) {
            return Some(self.refuse(now, packet, headers, DropReason::FlowTableFull));
        }
        let result = match mode {
            Mode::Divert => self.admit_diverted(now, packet, headers, tuple, service),
            Mode::Nat(nat) => {
                let admission = Admission { tuple, service, pool, nat };
                match nat {
                    Nat::Tunnel(_) => self.admit_tunnel(now, packet, headers, admission),
                    Nat::Full | Nat::Dnat => self.admit_nat(now, packet, headers, admission),
                }
            }
        };
        Some(result.unwrap_or_else(|reason| self.refuse(now, packet, headers, reason)))
    }

    fn admit_diverted(
        &mut self,
        now: Instant,
        packet: &Packet,
        headers: &Headers,
        tuple: Tuple,
        service: ServiceId,
    ) -> Result<Verdict, DropReason> {
        let (client, vip) = ends(&tuple);
        let mut flow = self.new_flow(now, Kind::Diverted, tuple, packet, headers);
        flow.client_leg = self.leg_to(tuple.src, packet.leg);
        flow.assignment.service = Some(service);
        flow.set_backend(client, vip, packet.leg);
        self.flows.insert(flow).map_err(|_| DropReason::NoPort)?;
        self.clients.opened(client.address);
        self.policy.flow_opened(Some(service), client.address);
        self.stats.flows_opened += 1;
        Ok(Verdict::Divert(DivertTo::Service(service)))
    }

    fn admit_nat(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        admission: Admission,
    ) -> Result<Verdict, DropReason> {
        let Admission { tuple, service, pool, nat } = admission;
        let (flow, chosen) = self.assigned(now, packet, headers, admission)?;
        let (client, leg) = (flow.client.address, flow.backend_leg);
        if let Some(mtu) = self.mtus.exceeded(leg, packet, headers)
            && !mtu::may_be_cut(packet)
        {
            self.unassign(now, &flow, Left::Clean);
            return Ok(self.refuse_too_big(now, packet, headers, mtu));
        }
        let pending = self.keep_syn(now, packet, headers, pool, nat, chosen);
        if !rewrite::pass_hop(packet, headers, self.hide_hop) {
            self.unassign(now, &flow, Left::Clean);
            return Ok(self.reject_ttl(now, packet, headers));
        }
        let legs = [flow.client_leg, leg];
        let rewrite = rewrite_of(&flow, Direction::Forward);
        match self.flows.insert(flow) {
            Ok(id) => {
                self.pending_syns.extend(pending.map(|pending| (id, pending)));
                self.clients.opened(client);
                self.policy.flow_opened(Some(service), tuple.src);
                self.stats.flows_opened += 1;
                if tuple.protocol == Protocol::Tcp {
                    self.mtus.clamp_mss(legs, packet, headers);
                }
                rewrite.apply(packet, headers);
                self.identifications.renew(packet, headers);
                Ok(self.leave(packet, headers, leg))
            }
            Err(flow) => {
                self.unassign(now, &flow, Left::Clean);
                Err(DropReason::NoPort)
            }
        }
    }

    /// A flow with a backend. If its client's port has a flow with that backend already, by another of
    /// our addresses, the two could not be told apart, and another backend is chosen.
    pub(super) fn assigned(
        &mut self,
        now: Instant,
        packet: &Packet,
        headers: &Headers,
        admission: Admission,
    ) -> Result<(Flow, BackendId), DropReason> {
        let Admission { tuple, service, pool, nat } = admission;
        let asking = Client { address: tuple.src, port: tuple.src_port };
        let kind = if matches!(nat, Nat::Tunnel(_)) { Kind::Tunnel } else { Kind::Nat };
        let may_collide = nat == Nat::Dnat || self.snat.is_endpoint_independent();
        let mut tried = Vec::new();
        loop {
            let chosen = self.pools[usize::from(pool.0)].choose(now, asking, &tried);
            let chosen = match chosen {
                Err(_) if !tried.is_empty() => return Err(DropReason::NoPort),
                chosen => chosen?,
            };
            self.note_choice(now, pool, asking, chosen);
            let mut flow = self.new_flow(now, kind, tuple, packet, headers);
            flow.client_leg = self.leg_to(tuple.src, packet.leg);
            flow.assignment.service = Some(service);
            self.assign(now, &mut flow, nat, pool, chosen)?;
            if !may_collide || self.flows.lookup(&flow.reverse_key()).is_none() {
                return Ok((flow, chosen));
            }
            self.unassign(now, &flow, Left::Clean);
            tried.push(chosen);
            if tried.len() >= usize::from(SYN_ATTEMPTS) {
                return Err(DropReason::NoPort);
            }
        }
    }

    /// Makes the flow of a connection that this process opens: a SYN from a stand-in address.
    pub(super) fn admit_upstream(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        tuple: Tuple,
    ) -> Verdict {
        let Transport::Tcp { flags, .. } = headers.transport else {
            return Verdict::Drop(DropReason::ProtocolUnsupported);
        };
        if !flags.is_initial_syn() {
            return Verdict::Drop(DropReason::NoFlow);
        }
        if !is_stand_in(tuple.src) {
            return Verdict::Drop(DropReason::Martian);
        }
        match self.try_admit_upstream(now, packet, headers, tuple) {
            Ok(()) => Verdict::Forward,
            Err(reason) => {
                // Our own connection must hear of it; no budget of errors stands in the way.
                icmp::reset(packet, headers);
                Verdict::Reject(reason)
            }
        }
    }

    fn try_admit_upstream(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        tuple: Tuple,
    ) -> Result<(), DropReason> {
        let (_, backend) = ends(&tuple);
        let leg = self.routes.lookup(tuple.dst).ok_or(DropReason::NoRoute)?;
        let fallback = self.own_address(headers.family).ok_or(DropReason::NoRoute)?;
        if !self.make_room(now, tuple.protocol) {
            return Err(DropReason::FlowTableFull);
        }
        let mut flow = self.new_flow(now, Kind::Upstream, tuple, packet, headers);
        let source = self.map_source(now, &flow, fallback, backend)?;
        flow.set_backend(source, backend, leg);
        let rewrite = rewrite_of(&flow, Direction::Forward);
        // With one mapping for all backends, a probe may ask from the same port.
        if self.probes.awaits(&flow.reverse_key()) {
            self.unmap_source(now, &flow, Left::Clean);
            return Err(DropReason::NoPort);
        }
        if let Err(flow) = self.flows.insert(flow) {
            self.unmap_source(now, &flow, Left::Clean);
            return Err(DropReason::NoPort);
        }
        rewrite.apply(packet, headers);
        packet.leg = leg;
        self.stats.flows_opened += 1;
        Ok(())
    }

    /// Gives `flow` a backend: maps its source and counts it. Undone by [`unassign`](Self::unassign).
    ///
    /// A hairpin flow gets full NAT whatever is configured.
    pub(super) fn assign(
        &mut self,
        now: Instant,
        flow: &mut Flow,
        nat: Nat,
        pool: PoolId,
        id: BackendId,
    ) -> Result<(), DropReason> {
        let backend = self.pools[usize::from(pool.0)].backend(id).ok_or(DropReason::NoBackend)?;
        let (address, port) = backend.address_for(flow.vip.port);
        let leg = self.routes.lookup(address).ok_or(DropReason::NoRoute)?;
        let protocol = flow.protocol;
        let hairpins = self.hairpins(flow.client.address, flow.client_leg, leg);
        let far = TransportAddr::new(address, port);
        let (snat, far) = match nat {
            Nat::Tunnel(_) => (flow.client, flow.vip),
            Nat::Dnat if !hairpins => (flow.client, far),
            Nat::Dnat | Nat::Full => {
                let fallback = self.speaks_from(flow.vip.address).ok_or(DropReason::NoPort)?;
                (self.map_source(now, flow, fallback, far)?, far)
            }
        };
        // An echo has one identifier for both ends.
        let port = if protocol == Protocol::Icmp { snat.port } else { far.port };
        flow.set_backend(snat, TransportAddr::new(far.address, port), leg);
        flow.assignment.backend = Some((pool, id));
        self.pools[usize::from(pool.0)].flow_opened(id);
        Ok(())
    }

    pub(super) fn unassign(&mut self, now: Instant, flow: &Flow, left: Left) {
        self.unmap_source(now, flow, left);
        if let Some((pool, backend)) = flow.assignment.backend {
            self.pools[usize::from(pool.0)].flow_closed(backend);
        }
    }

    /// A flow with its first packet counted, and nothing translated yet.
    fn new_flow(
        &self,
        now: Instant,
        kind: Kind,
        tuple: Tuple,
        packet: &Packet,
        headers: &Headers,
    ) -> Flow {
        let mut flow = Flow::new(now, kind, &tuple, packet.leg, packet.len() as u64);
        if let Some(segment) = Segment::of(packet, headers) {
            flow.begin(Direction::Forward, &segment);
        }
        flow.expires = now + flow.idle_timeout(&self.timeouts);
        flow
    }

    /// Refuses a packet that would have made a flow: silence only where it is asked for (RFC 9293
    /// section 3.10.7).
    fn refuse(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        reason: DropReason,
    ) -> Verdict {
        let is_shortage = matches!(reason, DropReason::NoPort | DropReason::ClientLimit);
        if is_shortage && self.refuse_with == Refusal::Drop {
            return Verdict::Drop(reason);
        }
        match (headers.transport, reason) {
            // RFC 6888 REQ-11 B has this code for a mapping that cannot be made.
            (_, DropReason::NoPort) => {
                self.reject(now, packet, headers, IcmpError::HostUnreachable, reason)
            }
            // RFC 5508 REQ-8: no resources is "administratively prohibited", to TCP too.
            (_, DropReason::FlowTableFull | DropReason::ClientLimit) => {
                self.reject(now, packet, headers, IcmpError::Prohibited, reason)
            }
            (Transport::Tcp { .. }, _) => self.reject_reset(now, packet, headers, reason),
            (_, DropReason::BackendsFull) => {
                self.reject(now, packet, headers, IcmpError::Prohibited, reason)
            }
            _ => self.reject(now, packet, headers, IcmpError::HostUnreachable, reason),
        }
    }
}

const fn ends(tuple: &Tuple) -> (TransportAddr, TransportAddr) {
    (TransportAddr::new(tuple.src, tuple.src_port), TransportAddr::new(tuple.dst, tuple.dst_port))
}
