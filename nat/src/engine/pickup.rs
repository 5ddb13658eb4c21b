//! Connections that began before this process did.
//!
//! A balancer that starts anew, or takes over from another, knows no flows while their connections
//! live on. With DNAT nothing is lost that cannot be worked out again: the client's segment names the
//! service, and a scheduler that goes by a hash of the client finds the same backend; the backend's
//! segment names the backend, and with it the service if no two share it. A service with `pickup`
//! makes a flow of either; one of a client's segment counts as half-open until the backend answers,
//! since anybody can send that. What is carried in a tunnel is picked up by the client's segment alone. If the pool has changed meanwhile, the backend that is found
//! answers with a RST, as we would have.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Address, Headers, Protocol, TcpFlags, Tuple};
use netstack::{Instant, Packet};

use super::Engine;
use super::track::rewrite_of;
use crate::flow::tcp::Segment;
use crate::flow::{Direction, Flow, Kind};
use crate::pool::PoolConfig;
use crate::rewrite;
use crate::snat::Left;
use crate::{BackendId, DropReason, Mode, Nat, PoolId, ServiceConfig, ServiceId, Verdict};

/// Whose a backend's segment is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    One(ServiceId, PoolId, BackendId),
    /// Several services, or one that listens on several things, so that it is not known what the client
    /// calls the backend.
    Several,
}

/// The backends of services that pick connections up.
#[derive(Clone, Debug)]
pub(super) struct Pickups {
    owners: HashMap<(Address, u16), Owner, FixedState>,
}

impl Pickups {
    pub(super) fn new(services: &[ServiceConfig], pools: &[PoolConfig], seed: u64) -> Self {
        let mut owners = HashMap::with_hasher(FixedState::with_seed(seed));
        for (id, service) in (0..)
            .map(ServiceId)
            .zip(services)
            .filter(|(_, s)| s.pickup && s.mode == Mode::Nat(Nat::Dnat))
        {
            let backends = pools.get(usize::from(service.pool.0)).map(|pool| &pool.backends);
            for (n, backend) in (0..).zip(backends.into_iter().flatten()) {
                let at = (Address::from(backend.address.ip()), backend.address.port());
                let one = Owner::One(id, service.pool, BackendId(n));
                let owner = if service.only().is_some() { one } else { Owner::Several };
                owners.entry(at).and_modify(|owner| *owner = Owner::Several).or_insert(owner);
            }
        }
        Self { owners }
    }
}

/// True if a segment with these flags shows a connection that lives on.
pub(super) const fn shows_life(flags: TcpFlags) -> bool {
    flags.contains(TcpFlags::ACK) && flags.0 & (TcpFlags::SYN.0 | TcpFlags::RST.0) == 0
}

impl Engine {
    /// Makes a flow of a backend's segment, if it belongs to a service that picks connections up.
    pub(super) fn pick_up_answer(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        tuple: &Tuple,
    ) -> Option<Verdict> {
        if self.pickups.owners.is_empty() || tuple.protocol != Protocol::Tcp {
            return None;
        }
        let segment = Segment::of(packet, headers).filter(|segment| shows_life(segment.flags))?;
        let Owner::One(service, pool, backend) =
            *self.pickups.owners.get(&(tuple.src, tuple.src_port))?
        else {
            // The client must not hear of a backend by its own name; it answers with a RST.
            return Some(Verdict::Drop(DropReason::NoFlow));
        };
        // Who has spoken is not to be believed by its address alone: the flow would never give way.
        if self.routes.lookup(tuple.src) != Some(packet.leg) {
            return Some(Verdict::Drop(DropReason::Martian));
        }
        let (vip, port) = self.services.get(service)?.only()?;
        let forward = Tuple { dst: vip, dst_port: port, ..tuple.reversed() };
        let leg = self.routes.lookup(tuple.dst)?;
        if self.hairpins(forward.src, leg, packet.leg) {
            // Its source was translated too, to what nobody knows any more.
            return Some(Verdict::Drop(DropReason::NoFlow));
        }
        if !self.policy.allows(service, forward.src) {
            return Some(Verdict::Drop(DropReason::Denied));
        }
        if let Err(reason) = self.policy.take(now, service, forward.src) {
            return Some(Verdict::Drop(reason));
        }
        if self.clients.account(forward.src).flows >= self.limits.flows_per_client {
            return Some(Verdict::Drop(DropReason::ClientLimit));
        }
        if !self.make_room(now, tuple.protocol) {
            return Some(Verdict::Drop(DropReason::FlowTableFull));
        }
        if !rewrite::pass_hop(packet, headers, self.hide_hop) {
            return Some(self.reject_ttl(now, packet, headers));
        }
        let mut flow = Flow::new(now, Kind::Nat, &forward, leg, packet.len() as u64);
        std::mem::swap(&mut flow.forward, &mut flow.reverse);
        flow.assignment.service = Some(service);
        flow.begin(Direction::Reverse, &segment);
        flow.expires = now + flow.idle_timeout(&self.timeouts);
        if let Err(reason) = self.assign(now, &mut flow, Nat::Dnat, pool, backend) {
            return Some(Verdict::Drop(reason));
        }
        let rewrite = rewrite_of(&flow, Direction::Reverse);
        if let Err(flow) = self.flows.insert(flow) {
            self.unassign(now, &flow, Left::Clean);
            return Some(Verdict::Drop(DropReason::NoPort));
        }
        self.clients.opened(forward.src);
        self.policy.flow_opened(Some(service), forward.src);
        self.stats.flows_opened += 1;
        rewrite.apply(packet, headers);
        self.identifications.renew(packet, headers);
        Some(self.leave(packet, headers, leg))
    }
}
