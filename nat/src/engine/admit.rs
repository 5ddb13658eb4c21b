//! New flows, and SYNs that a backend refused.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Headers, Protocol, Transport, Tuple};
use netstack::{Instant, Packet};

use super::track::rewrite_of;
use super::{Engine, mtu};
use crate::flow::{Direction, Flow, FlowId, Kind, TransportAddr};
use crate::icmp::{self, IcmpError};
use crate::limits::{PENDING_SYN_LEN, PENDING_SYNS, SYN_ATTEMPTS};
use crate::rewrite;
use crate::schedule::Client;
use crate::service::Listen;
use crate::verdict::DivertTo;
use crate::{BackendId, DropReason, Mode, Nat, PoolId, ServiceId, Verdict};

/// The SYNs of half-open flows, to be offered to another backend if theirs refuses.
pub(super) type PendingSyns = HashMap<FlowId, PendingSyn, FixedState>;

/// A client's SYN as it came, and who refused it.
#[derive(Debug)]
pub(super) struct PendingSyn {
    packet: Packet,
    nat: Nat,
    tried: Vec<BackendId>,
}

/// A flow to be: who it is for, and how it is translated.
#[derive(Clone, Copy, Debug)]
struct Admission {
    tuple: Tuple,
    service: ServiceId,
    pool: PoolId,
    nat: Nat,
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
        let port = if tuple.protocol == Protocol::Icmp { 0 } else { tuple.dst_port };
        let listen = Listen { protocol: tuple.protocol, address: tuple.dst, port };
        let (service, config) = self.services.lookup(listen)?;
        let (pool, mode) = (config.pool, config.mode);
        match headers.transport {
            Transport::Tcp { flags, .. } if !flags.is_initial_syn() => {
                return Some(self.answer(now, packet, headers));
            }
            Transport::Echo { request: false, .. } => {
                return Some(Verdict::Drop(DropReason::NoFlow));
            }
            _ => {}
        }
        if !self.make_room(tuple.protocol) {
            return Some(self.refuse(now, packet, headers, DropReason::FlowTableFull));
        }
        let result = match mode {
            Mode::Divert => self.admit_diverted(now, packet, tuple, service),
            Mode::Nat(nat) => {
                let admission = Admission { tuple, service, pool, nat };
                self.admit_nat(now, packet, headers, admission)
            }
        };
        Some(result.unwrap_or_else(|reason| self.refuse(now, packet, headers, reason)))
    }

    fn admit_diverted(
        &mut self,
        now: Instant,
        packet: &Packet,
        tuple: Tuple,
        service: ServiceId,
    ) -> Result<Verdict, DropReason> {
        let (client, vip) = ends(&tuple);
        let mut flow = self.new_flow(now, Kind::Diverted, tuple, packet);
        flow.client_leg = self.leg_to(tuple.src, packet.leg);
        flow.assignment.service = Some(service);
        flow.set_backend(client, vip, packet.leg);
        self.flows.insert(flow).map_err(|_| DropReason::NoPort)?;
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
        let asking = Client { address: tuple.src, port: tuple.src_port };
        let chosen = self.pools[usize::from(pool.0)].choose(now, asking, &[])?;
        let mut flow = self.new_flow(now, Kind::Nat, tuple, packet);
        flow.client_leg = self.leg_to(tuple.src, packet.leg);
        flow.assignment.service = Some(service);
        self.assign(&mut flow, nat, pool, chosen)?;

        let leg = flow.backend_leg;
        if let Some(mtu) = self.mtus.exceeded(leg, packet, headers)
            && !mtu::may_be_cut(packet)
        {
            self.unassign(&flow);
            return Ok(self.refuse_too_big(now, packet, headers, mtu));
        }
        let pending = self.keep_syn(packet, headers, pool, nat, chosen);
        if !rewrite::decrement_ttl(packet, headers) {
            self.unassign(&flow);
            return Ok(self.reject_ttl(now, packet, headers));
        }
        if tuple.protocol == Protocol::Tcp {
            self.mtus.clamp_mss([flow.client_leg, leg], packet, headers);
        }
        rewrite_of(&flow, Direction::Forward).apply(packet, headers);
        match self.flows.insert(flow) {
            Ok(id) => {
                self.pending_syns.extend(pending.map(|pending| (id, pending)));
                self.stats.flows_opened += 1;
                Ok(self.leave(packet, headers, leg))
            }
            Err(flow) => {
                // Under DNAT the same client port reached the same backend by another VIP. The packet
                // is rewritten already, so it cannot be answered any more.
                self.unassign(&flow);
                Ok(Verdict::Drop(DropReason::NoPort))
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
        let (client, backend) = ends(&tuple);
        let leg = self.routes.lookup(tuple.dst).ok_or(DropReason::NoRoute)?;
        let fallback = self.own_address(headers.family).ok_or(DropReason::NoRoute)?;
        if !self.make_room(tuple.protocol) {
            return Err(DropReason::FlowTableFull);
        }
        let (address, port) = self
            .snat
            .allocate(tuple.protocol, client.address, fallback, backend.pair(), &mut self.rng)
            .ok_or(DropReason::NoPort)?;
        let mut flow = self.new_flow(now, Kind::Upstream, tuple, packet);
        flow.set_backend(TransportAddr::new(address, port), backend, leg);
        let rewrite = rewrite_of(&flow, Direction::Forward);
        if let Err(flow) = self.flows.insert(flow) {
            self.snat.release(flow.protocol, flow.snat.pair(), flow.backend.pair());
            return Err(DropReason::NoPort);
        }
        rewrite.apply(packet, headers);
        packet.leg = leg;
        self.stats.flows_opened += 1;
        Ok(())
    }

    /// A backend answered a SYN with a RST, or is said to be unreachable: offers the SYN to another.
    ///
    /// On success `packet` is the client's SYN, rewritten for the next backend. Nothing if there is no
    /// other; then the client is to hear the refusal.
    pub(super) fn backend_refused(
        &mut self,
        now: Instant,
        id: FlowId,
        packet: &mut Packet,
    ) -> Option<Verdict> {
        let (pool, refused) = self.flows.get(id)?.assignment.backend?;
        self.pools[usize::from(pool.0)].connect_failed(now, refused);
        let mut pending = self.pending_syns.remove(&id)?;
        if pending.tried.len() >= usize::from(SYN_ATTEMPTS) {
            return None;
        }
        let flow = self.flows.get(id)?;
        let asking = Client { address: flow.client.address, port: flow.client.port };
        let next = self.pools[usize::from(pool.0)].choose(now, asking, &pending.tried).ok()?;

        let old = flow.clone();
        let mut new = old.clone();
        self.assign(&mut new, pending.nat, pool, next).ok()?;
        if self.flows.lookup(&new.reverse_key()).is_some() {
            self.unassign(&new);
            return None;
        }
        let rewrite = rewrite_of(&new, Direction::Forward);
        let [client_leg, leg] = [new.client_leg, new.backend_leg];
        self.unassign(&old);
        self.flows.update(id, |flow| *flow = new);

        packet.copy_from(&pending.packet);
        let headers = Headers::parse(packet).ok()?;
        if !rewrite::decrement_ttl(packet, &headers) {
            return None;
        }
        self.mtus.clamp_mss([client_leg, leg], packet, &headers);
        rewrite.apply(packet, &headers);
        pending.tried.push(next);
        self.pending_syns.insert(id, pending);
        self.stats.syn_failovers += 1;
        Some(self.leave(packet, &headers, leg))
    }

    /// A backend answered a SYN with its own.
    pub(super) fn backend_accepted(&mut self, now: Instant, id: FlowId) {
        self.pending_syns.remove(&id);
        if let Some((pool, backend)) = self.flows.get(id).and_then(|flow| flow.assignment.backend) {
            self.pools[usize::from(pool.0)].connect_succeeded(now, backend);
        }
    }

    /// Gives `flow` a backend: maps its source and counts it. Undone by [`unassign`](Self::unassign).
    fn assign(
        &mut self,
        flow: &mut Flow,
        nat: Nat,
        pool: PoolId,
        id: BackendId,
    ) -> Result<(), DropReason> {
        let backend = self.pools[usize::from(pool.0)].backend(id).ok_or(DropReason::NoBackend)?;
        let (address, port) = backend.address();
        let leg = self.routes.lookup(address).ok_or(DropReason::NoRoute)?;
        let protocol = flow.protocol;
        let snat = match nat {
            Nat::Dnat => flow.client,
            Nat::Full => {
                let (client, vip) = (flow.client.address, flow.vip.address);
                let far = (address, port);
                self.snat
                    .allocate(protocol, client, vip, far, &mut self.rng)
                    .map(|(address, port)| TransportAddr::new(address, port))
                    .ok_or(DropReason::NoPort)?
            }
        };
        // An echo has one identifier for both ends.
        let port = if protocol == Protocol::Icmp { snat.port } else { port };
        flow.set_backend(snat, TransportAddr::new(address, port), leg);
        flow.assignment.backend = Some((pool, id));
        self.pools[usize::from(pool.0)].flow_opened(id);
        Ok(())
    }

    fn unassign(&mut self, flow: &Flow) {
        if flow.snat != flow.client {
            self.snat.release(flow.protocol, flow.snat.pair(), flow.backend.pair());
        }
        if let Some((pool, backend)) = flow.assignment.backend {
            self.pools[usize::from(pool.0)].flow_closed(backend);
        }
    }

    /// Keeps a copy of a SYN while its handshake lasts, if there is another backend to offer it to.
    fn keep_syn(
        &self,
        packet: &Packet,
        headers: &Headers,
        pool: PoolId,
        nat: Nat,
        chosen: BackendId,
    ) -> Option<PendingSyn> {
        let worth_it = matches!(headers.transport, Transport::Tcp { .. })
            && self.pools[usize::from(pool.0)].backends().len() > 1
            && packet.len() <= PENDING_SYN_LEN
            && self.pending_syns.len() < PENDING_SYNS;
        worth_it.then(|| {
            let mut copy = Packet::with_capacity(packet.len());
            copy.copy_from(packet);
            PendingSyn { packet: copy, nat, tried: vec![chosen] }
        })
    }

    /// A flow with its first packet counted, and nothing translated yet.
    fn new_flow(&self, now: Instant, kind: Kind, tuple: Tuple, packet: &Packet) -> Flow {
        let mut flow = Flow::new(now, kind, &tuple, packet.leg, packet.len() as u64);
        flow.expires = now + flow.idle_timeout(&self.timeouts);
        flow
    }

    /// Refuses a packet that would have made a flow: never silence (RFC 9293 section 3.10.7).
    fn refuse(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        reason: DropReason,
    ) -> Verdict {
        match (headers.transport, reason) {
            (Transport::Tcp { .. }, _) => self.reject_reset(now, packet, headers, reason),
            (_, DropReason::NoBackend | DropReason::NoRoute) => {
                self.reject(now, packet, headers, IcmpError::HostUnreachable, reason)
            }
            // RFC 5508 REQ-8: no resources is "administratively prohibited".
            _ => self.reject(now, packet, headers, IcmpError::Prohibited, reason),
        }
    }
}

const fn ends(tuple: &Tuple) -> (TransportAddr, TransportAddr) {
    (TransportAddr::new(tuple.src, tuple.src_port), TransportAddr::new(tuple.dst, tuple.dst_port))
}
