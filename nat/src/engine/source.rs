//! Where the SNAT pool, the clients' accounts and the flows meet.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use netstack::wire::{Address, Headers, Protocol, Tuple};
use netstack::{Instant, LegId, Packet};

use super::Engine;
use crate::account::Note;
use crate::config::Refusal;
use crate::flow::{Flow, FlowId, Kind, TransportAddr};
use crate::icmp::IcmpError;
use crate::limits::{EXPIRE_BATCH, MAX_SNAT_ADDRESSES};
use crate::snat::{Left, Request, Shortage};
use crate::{Config, ConfigError, DropReason, ServiceConfig, Verdict};

/// The addresses of backends: hosts that answer each other without passing through here.
#[derive(Clone, Debug)]
pub(super) struct Inside(HashSet<Address, FixedState>);

impl Inside {
    pub(super) fn new(config: &Config) -> Self {
        let mut inside = HashSet::with_hasher(FixedState::with_seed(config.seed));
        let backends = config.pools.iter().flat_map(|pool| &pool.backends);
        inside.extend(backends.map(|backend| Address::from(backend.address.ip())));
        Self(inside)
    }

    /// True for a backend's address: what comes from there may be of a flow, though it is to no address
    /// of ours (under DNAT it is to the client).
    pub(super) fn contains(&self, address: Address) -> bool {
        self.0.contains(&address)
    }
}

/// The addresses of the SNAT pool that are no VIP.
pub(super) fn pool_alone(config: &Config) -> impl Iterator<Item = Address> {
    let is_vip =
        |address| config.services.iter().flat_map(ServiceConfig::hosts).any(|vip| vip == address);
    config.snat.addresses.iter().copied().filter(move |&address| !is_vip(address))
}

impl Engine {
    /// Replaces the addresses of the SNAT pool. Flows keep theirs; new flows of a client that has some
    /// use the same address as these if it is still among the pool's (RFC 7857 section 4). The index of
    /// what services listen on is built anew.
    ///
    /// # Errors
    /// [`ConfigError::TooMany`]; then nothing changes.
    pub fn set_snat_addresses(&mut self, addresses: &[Address]) -> Result<(), ConfigError> {
        if addresses.len() > MAX_SNAT_ADDRESSES {
            return Err(ConfigError::TooMany("SNAT addresses"));
        }
        let vips: Vec<_> = self.services.iter().flat_map(ServiceConfig::hosts).collect();
        self.own.set(vips.iter().chain(addresses).copied());
        self.unsolicited.set_addresses(addresses.iter().copied().filter(|a| !vips.contains(a)));
        self.services.set_closed(addresses);
        self.snat.set_addresses(addresses);
        self.tunnels.set_sources(addresses);
        Ok(())
    }

    /// True if a backend reached by `leg` would answer this client past us, so that DNAT must rewrite
    /// the source too (hairpinning, RFC 4787 REQ-9): the client is a backend, or lies behind the same of
    /// several legs.
    pub(super) fn hairpins(&self, client: Address, client_leg: LegId, leg: LegId) -> bool {
        (self.legs > 1 && client_leg == leg) || self.inside.contains(client)
    }

    /// Takes a pool address and port for a flow. At the last resort it is that of a flow which is
    /// closing, or of a mapping of which all flows are: of one that has more than [`EXPIRE_BATCH`] so
    /// many are forgotten, and the client is refused this once.
    pub(super) fn map_source(
        &mut self,
        now: Instant,
        flow: &Flow,
        fallback: Address,
        backend: TransportAddr,
    ) -> Result<TransportAddr, DropReason> {
        let client = flow.client.address;
        let is_client = flow.kind != Kind::Upstream;
        let account = self.clients.account(client);
        let request = Request {
            protocol: flow.protocol,
            client: flow.client.pair(),
            backend: backend.pair(),
            fallback,
            paired: account.source,
            // A flow that has a port already is about to give it back.
            may_take: !is_client || flow.is_mapped() || account.ports < self.ports_per_client,
        };
        let mut reclaimed = 0;
        let grant = loop {
            match self.snat.allocate(now, &request) {
                Ok(grant) => break grant,
                Err(Shortage::Closing(id)) if reclaimed < EXPIRE_BATCH => {
                    reclaimed += usize::from(self.reclaim(now, id));
                }
                Err(Shortage::Quota) => return Err(DropReason::ClientLimit),
                Err(Shortage::Closing(_) | Shortage::Exhausted) => return Err(DropReason::NoPort),
            }
        };
        let early = grant.is_early || reclaimed > 0;
        self.stats.snat_reused_early += u64::from(early);
        self.stats.snat_unpaired += u64::from(!grant.is_paired);
        if is_client && grant.counts {
            self.clients.took_port(client, grant.is_paired.then_some(grant.address));
        }
        let source = TransportAddr::new(grant.address, grant.port);
        self.note(Note::Mapped { source, early, paired: grant.is_paired });
        if flow.protocol == Protocol::Tcp && !self.unsolicited.is_empty() {
            self.answered(backend, source);
        }
        Ok(source)
    }

    /// Gives back the port of a flow that is in no table, if it has one.
    pub(super) fn unmap_source(&mut self, now: Instant, flow: &Flow, left: Left) {
        self.unmap_closing(now, flow, left, None);
    }

    /// Gives back the port of a flow, if it has one. A flow that was closing is named.
    pub(super) fn unmap_closing(
        &mut self,
        now: Instant,
        flow: &Flow,
        left: Left,
        closing: Option<FlowId>,
    ) {
        if flow.is_mapped() {
            let gave_back = self.snat.release(now, flow, left, closing);
            if gave_back && flow.kind != Kind::Upstream {
                self.clients.gave_port_back(flow.client.address);
            }
        }
    }

    /// A flow has begun to close, or was revived: what it has counts no more, or again.
    pub(super) fn closing_changed(&mut self, now: Instant, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return };
        let (client, closing) = (flow.client.address, flow.state.is_closing());
        let port = flow.is_mapped() && self.snat.set_closing(now, id, flow, closing);
        match (flow.kind, closing) {
            (Kind::Upstream, _) => {}
            (_, true) => {
                if port {
                    self.clients.gave_port_back(client);
                }
                self.clients.closed(client);
            }
            (_, false) => {
                self.clients.opened(client);
                if port {
                    self.clients.took_port(client, None);
                }
            }
        }
    }

    /// Forgets a flow for its port, if both sides are done with it; false if they are not.
    fn reclaim(&mut self, now: Instant, id: FlowId) -> bool {
        let is_over = self.flows.get(id).is_some_and(|flow| flow.state.is_closing());
        if is_over {
            self.stats.flows_evicted += 1;
            self.forget_as(now, id, Left::Clean);
        }
        is_over
    }

    /// Our SYN goes where one came from that nobody had asked for: a simultaneous open.
    fn answered(&mut self, backend: TransportAddr, source: TransportAddr) {
        let tuple = Tuple {
            protocol: Protocol::Tcp,
            src: backend.address,
            dst: source.address,
            src_port: backend.port,
            dst_port: source.port,
        };
        self.unsolicited.cancel(&tuple);
    }

    /// Keeps a SYN that nobody asked for.
    pub(super) fn hold_syn(&mut self, now: Instant, packet: &Packet, headers: &Headers) -> Verdict {
        match headers.tuple() {
            Some(tuple) if self.unsolicited.hold(now, tuple, packet) => Verdict::Hold,
            _ => Verdict::Drop(DropReason::UnsolicitedSyn),
        }
    }

    /// Refuses SYNs that waited in vain.
    pub(super) fn refuse_unsolicited(&mut self, now: Instant) {
        for _ in 0..EXPIRE_BATCH {
            let Some(mut packet) = self.unsolicited.expire(now) else { return };
            let reason = DropReason::UnsolicitedSyn;
            let verdict = match (self.refuse_unsolicited_with, Headers::parse(&packet)) {
                (Refusal::Reject, Ok(headers)) => {
                    self.reject(now, &mut packet, &headers, IcmpError::PortUnreachable, reason)
                }
                _ => Verdict::Drop(reason),
            };
            self.stats.count(verdict);
            if matches!(verdict, Verdict::Reject(_)) {
                self.outbox.push_back(packet);
            }
        }
    }

    /// # Panics
    /// If pool, accounts and flows do not agree.
    pub(super) fn assert_sources_consistent(&self) {
        let mapped = self.flows.iter().filter(|(_, flow)| flow.is_mapped()).count();
        self.snat.assert_consistent(mapped + self.probes.len());
        let mut mappings = HashSet::new();
        let counted = self
            .flows
            .iter()
            .map(|(_, flow)| flow)
            .filter(|flow| flow.kind != Kind::Upstream && !flow.state.is_closing());
        self.clients.assert_consistent(counted.map(|flow| {
            let shares =
                self.snat.is_endpoint_independent() && !mappings.insert((flow.protocol, flow.snat));
            (flow.client.address, flow.is_mapped() && !shares)
        }));
    }
}
