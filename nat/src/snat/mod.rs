//! The addresses and ports that backends see.
//!
//! # Theory of operation
//!
//! **Mapping.** With the *endpoint-dependent* mapping what must be unique is the pair (pool address and
//! port, backend address and port), so each backend endpoint has the whole port range of every pool
//! address to itself: capacity grows with backends (RFC 7857 section 3). With the
//! *endpoint-independent* one (RFC 4787 REQ-1) a client's port has one pool address and port toward
//! all backends for as long as one flow of it lives, and nobody else has them (REQ-3). Which of the two
//! holds is configured, and no load changes it (REQ-11). Protocols share nothing.
//!
//! A *scope* is what a port is unique within: protocol, pool address, backend endpoint if the mapping
//! depends on it, and the class of the port. Its bitmaps exist from its first use: 16 KiB each, a number
//! that the configuration bounds: a backend that listens on every port counts as one endpoint, or
//! clients could make 65,535 of it.
//!
//! **Filtering** is address and port-dependent, always: a packet to a pool address is translated if it
//! comes from the backend of a flow, and refused otherwise. Looser filtering has no meaning here: a
//! client knows its service's address alone, so there is no source under which another host's packet
//! could reach it. A service's own address is open to all, as the static mapping that it is.
//!
//! **Classes.** A client port below 1024 gets a pool port below 1024, any other one of 1024 and above
//! (RFC 4787 REQ-3a), if the configured range has both; otherwise the range serves all. With `parity` an
//! even UDP port gets an even one and an odd one an odd (REQ-4). No class spills into another.
//!
//! **Address.** A client keeps one pool address (REQ-2): the one that it has ports of, and without any
//! the one whose hash with the client's address is the greatest, so that a change of the pool moves few
//! clients and none that has flows. When that address has no free port, the next one that has is used,
//! and counted (`snat_unpaired`).
//!
//! **Port.** The first free one from a random place (RFC 6056 algorithm 1), drawn by a keyed function.
//! What the RFC's other algorithms are for, that a port does not come back early to the same
//! destination, the queue below does: ports are counted per destination, and none is used again while
//! it is held there.
//!
//! **Quarantine.** A flow *ends* when both sides have sent FIN, when one has sent RST, or when it is
//! forgotten without either. Its port then joins the scope's queue and is given to nobody for
//! `quarantine` (RFC 6888 REQ-8: 120 s), nor while the flow is still tracked: late answers to the old
//! flow must not reach a new one, and a backend in TIME-WAIT must not be met by a stranger's SYN. TCP
//! that ended in sight and waited its closing time out has waited enough, once its quarantine is over too.
//!
//! **Exhaustion.** What a queue holds is not lost. If every port of the scope, at every address, is used
//! or held, the one whose flow ended first is taken, closing flow and all, or all closing flows of its
//! mapping; `snat_reused_early` counts them. So 64,512 ports carry as many connections per second as the machine can, each port resting as
//! long as the rate allows: 3 s at 20,000 per second. RFC 6888 allows it, as connections are
//! tracked (REQ-8 A). A port of a flow that is not closing is never taken: then the flow is refused.

mod draw;
mod mapping;
mod ports;
mod queue;

use std::collections::BTreeSet;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::Instant;
use netstack::wire::{Address, Family, Protocol};

use crate::config::{Mapping, SnatConfig};
use crate::flow::{Flow, FlowId};
use crate::rng::{mix, stable_hash};

use draw::Draw;
use mapping::{Endpoint, Mappings, Parting};
use ports::{Ports, Span};

/// What a port is unique within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Scope {
    protocol: Protocol,
    source: Address,
    /// None if the mapping does not depend on it.
    backend: Option<(Address, u16)>,
    class: usize,
}

/// Who wants a port.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Transport.
    pub protocol: Protocol,
    /// The client's address and port.
    pub client: (Address, u16),
    /// The backend's.
    pub backend: (Address, u16),
    /// Stands in for a family in which the pool has no address.
    pub fallback: Address,
    /// The address that the client has ports of.
    pub paired: Option<Address>,
    /// False if the client may have no further port.
    pub may_take: bool,
}

/// A pool address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Address.
    pub address: Address,
    /// Port, or identifier.
    pub port: u16,
    /// It counts as one more port of its client.
    pub counts: bool,
    /// It is of the address that the client's ports are to be of.
    pub is_paired: bool,
    /// It was still held.
    pub is_early: bool,
}

/// Why there is no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// This flow has the port that ended first, perhaps with others. If it is still closing it is to be
    /// forgotten; then, or otherwise, ask again.
    Closing(FlowId),
    /// The client may have no more.
    Quota,
    /// All are used by flows that are not closing.
    Exhausted,
}

/// How a flow left its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Anybody may have it.
    Clean,
    /// Something may still be on its way.
    Uncertain,
}

/// The pool (see the module's theory of operation).
#[derive(Clone, Debug)]
pub struct SnatPool {
    mapping: Mapping,
    v4: Vec<Source>,
    v6: Vec<Source>,
    spans: Spans,
    quarantine: Duration,
    /// How much longer a flow may be closing.
    closing_longer: Duration,
    most_held: usize,
    held: usize,
    draw: Draw,
    scopes: HashMap<Scope, usize, FixedState>,
    ports: Vec<Ports>,
    mappings: Mappings,
    /// Backends that listen on every port.
    every_port: BTreeSet<Address>,
    /// The scope that is looked through next for ports whose time is over.
    sweep: usize,
}

/// An address of the pool, and what its hash with a client's is made of.
#[derive(Clone, Copy, Debug)]
struct Source {
    address: Address,
    salt: u64,
}

impl SnatPool {
    /// A pool in which every port is free.
    pub fn new(config: &SnatConfig, seed: u64) -> Self {
        let mut pool = Self {
            mapping: config.mapping,
            v4: Vec::new(),
            v6: Vec::new(),
            spans: Spans::new(config.ports, config.parity),
            quarantine: config.quarantine,
            closing_longer: Duration::ZERO,
            most_held: config.quarantine_ports,
            held: 0,
            draw: Draw::new(seed),
            scopes: HashMap::with_hasher(FixedState::with_seed(seed)),
            ports: Vec::new(),
            mappings: Mappings::new(seed),
            every_port: BTreeSet::new(),
            sweep: 0,
        };
        pool.set_addresses(&config.addresses);
        pool
    }

    /// Lets all ports of these backends share one range of ours.
    #[must_use]
    pub fn with_every_port_of(mut self, backends: impl IntoIterator<Item = Address>) -> Self {
        self.every_port.extend(backends);
        self
    }

    /// Tells it after which time a closing flow is forgotten, so that its port does not wait longer.
    #[must_use]
    pub const fn with_closing_time(mut self, time: Duration) -> Self {
        self.closing_longer = time.saturating_sub(self.quarantine);
        self
    }

    /// What a flow's reverse key may collide with: a mapping that does not depend on the backend gives
    /// one client port the same source in flows of two services.
    pub const fn is_endpoint_independent(&self) -> bool {
        matches!(self.mapping, Mapping::EndpointIndependent)
    }

    /// Replaces the addresses. Ports in use stay so.
    pub fn set_addresses(&mut self, addresses: &[Address]) {
        let of = |family| {
            let addresses = addresses.iter().filter(move |a| a.family() == family);
            addresses.map(|&address| Source { address, salt: stable_hash(1, address.octets()) })
        };
        self.v4 = of(Family::V4).collect();
        self.v6 = of(Family::V6).collect();
    }

    /// Takes a port, or says why there is none.
    ///
    /// # Errors
    /// [`Shortage`].
    pub fn allocate(&mut self, now: Instant, request: &Request) -> Result<Grant, Shortage> {
        let endpoint = (request.protocol, request.client.0, request.client.1);
        if self.is_endpoint_independent()
            && let Some(((address, port), counts)) = self.mappings.get(endpoint)
        {
            // A mapping whose flows are all closing counts for its client no more.
            if counts && !request.may_take {
                return Err(Shortage::Quota);
            }
            self.mappings.join(endpoint);
            return Ok(Grant { address, port, counts, is_paired: true, is_early: false });
        }
        if !request.may_take {
            return Err(Shortage::Quota);
        }
        let (span, class) = self.spans.of(request.protocol, request.client.1);
        let count = self.sources(request).len().max(1);
        let start = self.paired(request);
        for is_early in [false, true] {
            for step in 0..count {
                let at = (start + step) % count;
                let address = self.sources(request).get(at).map_or(request.fallback, |s| s.address);
                let scope = self.scope(request.protocol, address, request.backend, class);
                let port = if is_early {
                    self.take_oldest(scope, request.protocol, address)?
                } else {
                    self.settle(now, scope);
                    self.take(scope, span)
                };
                let Some(port) = port else { continue };
                if self.is_endpoint_independent() {
                    self.mappings.insert(endpoint, (address, port));
                }
                let is_paired = step == 0;
                return Ok(Grant { address, port, counts: true, is_paired, is_early });
            }
        }
        Err(Shortage::Exhausted)
    }

    /// A flow has begun to close, or was revived; true if its client has one port less now, or more.
    pub fn set_closing(&mut self, now: Instant, id: FlowId, flow: &Flow, closing: bool) -> bool {
        let changes = !self.is_endpoint_independent()
            || self.mappings.set_closing(endpoint(flow), id, closing);
        if changes && closing {
            self.retire(now, flow, Some(id));
        }
        changes
    }

    /// Gives back a flow's port; true if its client has one port less. A flow that was closing is named.
    pub fn release(
        &mut self,
        now: Instant,
        flow: &Flow,
        left: Left,
        closing: Option<FlowId>,
    ) -> bool {
        let mut gave_back = closing.is_none();
        if self.is_endpoint_independent() {
            match self.mappings.leave(endpoint(flow), closing) {
                Parting::Last { was_idle } => gave_back = !was_idle,
                Parting::LastLive => {
                    self.retire(now, flow, None);
                    return true;
                }
                Parting::Other => return false,
            }
        }
        if left == Left::Uncertain && !self.quarantine.is_zero() {
            self.retire(now, flow, None);
        }
        let scope = self.scope_of(flow);
        self.ports[scope].give_back(flow.snat.port);
        self.settle(now, scope);
        self.sweep(now);
        gave_back
    }

    /// Ports in use, over all scopes.
    pub fn len(&self) -> usize {
        self.ports.iter().map(Ports::used).sum()
    }

    /// True if every port is free.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ports that stand in a queue: in quarantine, or of flows that are closing.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Checks that queues, bitmaps and counts agree, and that `mapped` flows have all the ports in use.
    ///
    /// # Panics
    /// If not.
    pub(crate) fn assert_consistent(&self, mapped: usize) {
        for ports in &self.ports {
            ports.assert_consistent();
        }
        let held: usize = self.ports.iter().map(Ports::held).sum();
        assert_eq!(self.held, held, "ports held");
        if self.is_endpoint_independent() {
            self.mappings.assert_consistent();
            assert_eq!(self.mappings.flows(), mapped, "flows of mappings and mapped flows");
            assert_eq!(self.mappings.len(), self.len(), "mappings and ports in use");
        } else {
            assert_eq!(self.len(), mapped, "ports in use and flows that hold one");
        }
    }

    fn sources(&self, request: &Request) -> &[Source] {
        match request.backend.0.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The number of the address that the client's ports are to be of.
    fn paired(&self, request: &Request) -> usize {
        let sources = self.sources(request);
        if sources.len() < 2 {
            return 0;
        }
        let kept = request.paired.and_then(|kept| sources.iter().position(|s| s.address == kept));
        kept.unwrap_or_else(|| {
            let client = stable_hash(0, request.client.0.octets());
            let weigh = |source: &Source| mix(client ^ source.salt);
            let heaviest = (0..).zip(sources).max_by_key(|(_, source)| weigh(source));
            heaviest.map_or(0, |(at, _)| at)
        })
    }

    /// The number of a scope, which exists from here on.
    fn scope(
        &mut self,
        protocol: Protocol,
        source: Address,
        backend: (Address, u16),
        class: usize,
    ) -> usize {
        // An echo has one identifier for both ends, so the backend's "port" says nothing.
        let one = protocol == Protocol::Icmp || self.every_port.contains(&backend.0);
        let backend_port = if one { 0 } else { backend.1 };
        let depends = !self.is_endpoint_independent();
        let backend = depends.then_some((backend.0, backend_port));
        let scope = Scope { protocol, source, backend, class };
        *self.scopes.entry(scope).or_insert_with(|| {
            self.ports.push(Ports::new());
            self.ports.len() - 1
        })
    }

    fn scope_of(&mut self, flow: &Flow) -> usize {
        let (_, class) = self.spans.of(flow.protocol, flow.client.port);
        self.scope(flow.protocol, flow.snat.address, flow.backend.pair(), class)
    }

    fn take(&mut self, scope: usize, span: Span) -> Option<u16> {
        let draw = self.draw.next();
        self.ports[scope].take(span, draw)
    }

    /// Takes the port that is held longest, or names a flow that must be forgotten for it.
    fn take_oldest(
        &mut self,
        scope: usize,
        protocol: Protocol,
        address: Address,
    ) -> Result<Option<u16>, Shortage> {
        while let Some(oldest) = self.ports[scope].oldest() {
            let closing = match oldest.flow {
                _ if !oldest.is_used => None,
                _ if self.is_endpoint_independent() => {
                    self.mappings.closing_on(protocol, (address, oldest.port))
                }
                flow => flow.map(|flow| (flow, true)),
            };
            // It stays the oldest until the last of its mapping's flows is named.
            if closing.is_none_or(|(_, is_last)| is_last) {
                self.ports[scope].take_oldest();
                self.held -= 1;
            }
            match closing {
                Some((flow, _)) => return Err(Shortage::Closing(flow)),
                None if !oldest.is_used => return Ok(Some(oldest.port)),
                None => {}
            }
        }
        Ok(None)
    }

    /// Puts the port of a flow that has ended in its queue, if there is room for another.
    fn retire(&mut self, now: Instant, flow: &Flow, closing: Option<FlowId>) {
        if self.held < self.most_held {
            let scope = self.scope_of(flow);
            let until = now + self.quarantine;
            self.held += usize::from(self.ports[scope].retire(flow.snat.port, until, closing));
        }
    }

    fn settle(&mut self, now: Instant, scope: usize) {
        let ports = &mut self.ports[scope];
        let before = ports.held();
        ports.settle(now, self.closing_longer);
        self.held -= before - ports.held();
    }

    /// Looks through a scope that may see no traffic any more, so that its queue empties all the same.
    fn sweep(&mut self, now: Instant) {
        self.sweep = if self.sweep + 1 < self.ports.len() { self.sweep + 1 } else { 0 };
        self.settle(now, self.sweep);
    }
}

fn endpoint(flow: &Flow) -> Endpoint {
    (flow.protocol, flow.client.address, flow.client.port)
}

/// The configured ports by class: below 1024 or not, even or odd.
#[derive(Clone, Copy, Debug)]
struct Spans {
    all: Span,
    low_and_high: Option<(Span, Span)>,
    parity: bool,
}

/// The least port that is not well-known.
const REGISTERED: u16 = 1024;

impl Spans {
    const fn new((first, last): (u16, u16), parity: bool) -> Self {
        let all = Span::all(first, last);
        if first >= REGISTERED || last < REGISTERED {
            return Self { all, low_and_high: None, parity: parity && all.len() > 1 };
        }
        let low = Span::all(first, REGISTERED - 1);
        let high = Span::all(REGISTERED, last);
        // A range of one port has one parity, and must serve both.
        let parity = parity && low.len() > 1 && high.len() > 1;
        Self { all, low_and_high: Some((low, high)), parity }
    }

    /// The ports that a client's port may get, and the number of its class.
    fn of(self, protocol: Protocol, port: u16) -> (Span, usize) {
        // An identifier is no port, and means nothing.
        if protocol == Protocol::Icmp {
            return (self.all, 0);
        }
        let (range, class) = match self.low_and_high {
            Some((low, _)) if port < REGISTERED => (low, 1),
            Some((_, high)) => (high, 2),
            None => (self.all, 0),
        };
        let odd = port % 2 == 1;
        match range.of_parity(odd) {
            Some(span) if self.parity && protocol == Protocol::Udp => {
                (span, class + if odd { 6 } else { 3 })
            }
            _ => (range, class),
        }
    }
}

#[cfg(test)]
mod tests;
