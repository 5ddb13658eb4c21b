//! The path of a packet.
//!
//! # Theory of operation
//!
//! [`Engine::handle_packet`] takes a packet that came from a leg, [`Engine::handle_local`] one that
//! this process's own connections send. Both look the packet's tuple up in the flow table; a known
//! flow's packet is rewritten, its state followed, and it leaves. For an unknown tuple:
//!
//! - its source or destination bypasses translation: it is passed on as it is (`policy`);
//! - a service listens there: if its policy allows, a backend is chosen, a source mapped, a flow made
//!   (`admit`);
//! - it is from a backend, in a connection older than this process: a flow may be made (`pickup`);
//! - the address is ours but nothing listens: echo is answered, TCP gets a RST, UDP an ICMP error;
//! - it is a SYN to the SNAT pool: it is held until one of ours meets it, or refused (`source`);
//! - the address is somebody else's: with several legs balun is a router and passes it on;
//! - an ICMP error is translated to whom it concerns (`errors`);
//! - what a service carries in a tunnel is wrapped (`tunnel`, `tunnel_errors`);
//! - a fragment goes the way of the first of its datagram (`fragments`).
//!
//! Several packets at once go the same way faster (`batch`).
//!
//! Nothing is allocated for a packet of a known flow. Time comes in as an argument and random choices
//! from the configuration's seed, so the same packets at the same times give the same bytes.

mod accounted;
mod admit;
mod backends;
mod batch;
mod copy;
mod errors;
mod fragments;
mod handshake;
mod health;
mod mtu;
mod ours;
mod pickup;
mod policy;
mod reopen;
mod room;
mod routing;
mod source;
mod track;
mod tunnel;
mod tunnel_errors;

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Address, Headers, Malformed, Transport, Tuple};
use netstack::{Instant, LegId, Packet};

use crate::account::{Account, Note};
use crate::clients::Clients;
use crate::config::Refusal;
use crate::flow::evict::Class;
use crate::flow::{Direction, Flow, FlowId, FlowTable, Kind};
use crate::fragment::{Fragments, Identifications};
use crate::health::Health;
use crate::icmp::ErrorBudget;
use crate::limits::{EXPIRE_BATCH, PENDING_SYNS, PRESIZED_FLOWS};
use crate::rng::{Rng, derive};
use crate::route::Routes;
use crate::service::Services;
use crate::snat::SnatPool;
use crate::stats::Stats;
use crate::unsolicited::Unsolicited;
use crate::verdict::DivertTo;
use crate::{
    Config, ConfigError, DropReason, Limits, Pool, PoolConfig, PoolId, Prefix, Timeouts, Verdict,
};

pub use batch::BATCH;
pub use copy::{MAX_COPIED_FLOWS, TooManyFlows};

use batch::Look;
use handshake::PendingSyns;
use health::Probes;
use mtu::Mtus;
use ours::OwnAddresses;
use pickup::Pickups;
use policy::Policy;
use reopen::Reopenings;
use source::Inside;
use tunnel::Tunnels;

/// The packet path (see the module's theory of operation).
#[derive(Clone, Debug)]
pub struct Engine {
    flows: FlowTable,
    services: Services,
    pools: Vec<Pool>,
    /// Those that may panic.
    panicking: Vec<PoolId>,
    snat: SnatPool,
    clients: Clients,
    ports_per_client: u32,
    /// How a client is refused for whom there is no port, or who has enough.
    refuse_with: Refusal,
    unsolicited: Unsolicited,
    refuse_unsolicited_with: Refusal,
    inside: Inside,
    routes: Routes,
    mtus: Mtus,
    own: OwnAddresses,
    policy: Policy,
    fragments: Fragments,
    identifications: Identifications,
    tunnels: Tunnels,
    limits: Limits,
    timeouts: Timeouts,
    rng: Rng,
    errors: ErrorBudget,
    pending_syns: PendingSyns,
    reopenings: Reopenings,
    pickups: Pickups,
    /// True while a backend is down or in maintenance.
    backends_out: bool,
    health: Health,
    probes: Probes,
    stats: Stats,
    legs: usize,
    /// Legs that are sent no ICMP errors of our own.
    silent_legs: Vec<LegId>,
    hide_hop: bool,
    /// Packets to send that are nobody's verdict: see [`poll_transmit`](Self::poll_transmit).
    outbox: VecDeque<Packet>,
    /// What is said of the last packet, if anybody wants to know.
    account: Option<Box<Account>>,
    /// Scratch of `handle_timeout`.
    expired: Vec<FlowId>,
    /// Scratch of `handle_packets`.
    looks: Vec<Look>,
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Leg,
    Local,
}

impl Engine {
    /// An engine without a flow.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration contradicts itself.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let seed = |purpose: u64| derive(config.seed, purpose);
        let legs: Vec<Vec<Prefix>> = config.legs.iter().map(|l| l.prefixes.clone()).collect();
        let silent = (0..).zip(&config.legs).filter(|(_, leg)| !leg.icmp_errors);
        let silent_legs = silent.map(|(n, _)| LegId(n)).collect();
        let own = OwnAddresses::new(&config);
        let inside = Inside::new(&config);
        let unsolicited = Unsolicited::new(source::pool_alone(&config), seed(11));
        let policy = Policy::new(&config, seed(20));
        let every_port = config.pools.iter().flat_map(PoolConfig::every_port).map(Address::from);
        let snat = SnatPool::new(&config.snat, seed(3))
            .with_closing_time(config.timeouts.tcp_closing)
            .with_every_port_of(every_port);
        let tunnels = Tunnels::new(&config, seed(400));
        let pickups = Pickups::new(&config.services, &config.pools, seed(13));
        let health = Health::new(&config.pools, seed(300));
        let pools: Vec<_> =
            (100..).zip(config.pools).map(|(n, pool)| Pool::new(pool, seed(n))).collect();
        Ok(Self {
            flows: FlowTable::new(config.limits.flows.min(PRESIZED_FLOWS), seed(1)),
            services: Services::new(config.services, &config.snat.addresses, seed(2)),
            panicking: backends::may_panic(&pools),
            pools,
            snat,
            clients: Clients::new(seed(8)),
            ports_per_client: config.snat.ports_per_client,
            refuse_with: config.snat.exhausted,
            unsolicited,
            refuse_unsolicited_with: config.snat.unsolicited,
            inside,
            routes: Routes::new(&legs),
            mtus: Mtus::new(&config.legs),
            own,
            policy,
            fragments: Fragments::new(config.limits.fragments, seed(9)),
            identifications: Identifications::new(seed(10)),
            tunnels,
            limits: config.limits,
            timeouts: config.timeouts,
            rng: Rng::new(seed(4)),
            errors: ErrorBudget::new(seed(12)),
            pending_syns: HashMap::with_capacity_and_hasher(
                config.limits.half_open.min(PENDING_SYNS),
                FixedState::with_seed(seed(5)),
            ),
            reopenings: Reopenings::new(seed(14)),
            pickups,
            backends_out: false,
            health,
            probes: Probes::new(seed(301)),
            stats: Stats::default(),
            legs: legs.len(),
            silent_legs,
            hide_hop: config.hide_hop,
            outbox: VecDeque::new(),
            account: None,
            expired: Vec::new(),
            looks: Vec::new(),
        })
    }

    /// Decides on a packet that came in by `packet.leg`, and rewrites it in place.
    pub fn handle_packet(&mut self, now: Instant, packet: &mut Packet) -> Verdict {
        self.handle(now, packet, Origin::Leg)
    }

    /// Decides on a packet that this process's own connections send.
    pub fn handle_local(&mut self, now: Instant, packet: &mut Packet) -> Verdict {
        self.handle(now, packet, Origin::Local)
    }

    /// Counts a packet that a device could not even hand over whole.
    pub fn count_drop(&mut self, reason: DropReason) {
        self.stats.packets += 1;
        self.stats.count(Verdict::Drop(reason));
    }

    /// Forgets flows and fragments whose time ran out and asks backends whether they are well: a
    /// bounded number of each a call.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut expired = std::mem::take(&mut self.expired);
        self.flows.expire(now, EXPIRE_BATCH, &mut expired);
        for id in expired.drain(..) {
            self.stats.flows_expired += 1;
            self.forget(now, id);
        }
        self.expired = expired;
        self.refuse_unsolicited(now);
        self.fragments.expire(now, EXPIRE_BATCH, &mut self.stats);
        self.check_backends(now);
    }

    /// Fills `packet` with the next one to send by `packet.leg` that is not the verdict on one handed
    /// in: what was held, and what a packet was cut into. To be asked after each packet and timeout.
    pub fn poll_transmit(&mut self, packet: &mut Packet) -> bool {
        let Some(next) = self.outbox.pop_front() else { return false };
        packet.copy_from(&next);
        true
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.flows.next_deadline(),
            self.unsolicited.next_deadline(),
            self.fragments.next_deadline(),
            self.health.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// What it has done so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The limits that it keeps to.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The flow table, to list.
    pub const fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// The datagrams of which fragments are on their way.
    pub const fn fragments(&self) -> &Fragments {
        &self.fragments
    }

    /// The pools, in the order of their [`PoolId`]s.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// What each client has.
    pub const fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The SNAT pool.
    pub const fn snat(&self) -> &SnatPool {
        &self.snat
    }

    /// The services, in the order of their numbers.
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// Checks that flow table, port pool, the clients' accounts and health agree.
    ///
    /// # Panics
    /// If they do not: for tests and simulations, after each step.
    pub fn assert_consistent(&self) {
        self.flows.assert_consistent();
        self.fragments.assert_consistent();
        self.assert_sources_consistent();
        self.assert_policy_consistent();
        self.assert_health_consistent();
        let half_open = self.flows.len_of(Class::HalfOpen);
        assert!(half_open <= self.limits.half_open.max(1), "{half_open} half-open flows");
        let active: u32 =
            self.pools.iter().flat_map(Pool::backends).map(|backend| backend.active).sum();
        let assigned = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.assignment.backend.is_some() && !flow.state.is_closing())
            .count();
        assert_eq!(active as usize, assigned, "backends' active flows and assignments");
    }

    #[inline]
    fn handle(&mut self, now: Instant, packet: &mut Packet, origin: Origin) -> Verdict {
        self.stats.packets += 1;
        self.stats.bytes += packet.len() as u64;
        let verdict = if self.account.is_none() {
            self.decide(now, packet, origin)
        } else {
            self.decide_accounted(now, packet, origin)
        };
        self.stats.count(verdict);
        verdict
    }

    #[inline]
    fn decide(&mut self, now: Instant, packet: &mut Packet, origin: Origin) -> Verdict {
        let parsed = Headers::parse(packet);
        let found = parsed.as_ref().ok().and_then(|headers| self.look_up(headers));
        self.decide_found(now, packet, origin, &parsed, found)
    }

    /// Decides on a packet that was parsed; `found` is the flow of its tuple, if there is one.
    #[inline]
    fn decide_found(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        origin: Origin,
        parsed: &Result<Headers, Malformed>,
        found: Option<(FlowId, Direction)>,
    ) -> Verdict {
        match parsed {
            Ok(headers) if origin == Origin::Leg => {
                // What lies behind the packet's own length is nobody's, and must not be summed up.
                packet.set_len(headers.total_len());
                self.classify(now, packet, headers, found)
            }
            Ok(headers) => self.classify_local(now, packet, headers, found),
            Err(malformed) => Verdict::Drop((*malformed).into()),
        }
    }

    fn classify_local(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        found: Option<(FlowId, Direction)>,
    ) -> Verdict {
        match (headers.tuple(), found) {
            (Some(_), Some((id, direction))) => {
                self.follow(now, packet, headers, id, direction, Origin::Local)
            }
            (Some(tuple), None) => self.admit_upstream(now, packet, headers, tuple),
            (None, _) => Verdict::Drop(DropReason::ProtocolUnsupported),
        }
    }

    /// Decides on a packet that came in; `found` is the flow of its tuple, if there is one.
    #[inline]
    fn classify(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        found: Option<(FlowId, Direction)>,
    ) -> Verdict {
        match headers.tuple() {
            Some(tuple) => self.classify_found(now, packet, headers, tuple, found),
            None => self.without_tuple(now, packet, headers),
        }
    }

    /// The flow of a packet's tuple, if it has both.
    fn look_up(&self, headers: &Headers) -> Option<(FlowId, Direction)> {
        headers.tuple().and_then(|tuple| self.flows.lookup(&tuple))
    }

    /// Decides on a packet that can be of a flow; `found` is its own, if there is one.
    fn classify_found(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        tuple: Tuple,
        found: Option<(FlowId, Direction)>,
    ) -> Verdict {
        if let Some((id, direction)) = found
            && !self.replaces(id, direction, headers)
        {
            return self.follow(now, packet, headers, id, direction, Origin::Leg);
        }
        if let Some(reason) = self.martian(headers) {
            return Verdict::Drop(reason);
        }
        if let Some((id, _)) = found {
            self.note(Note::Replaced(id));
            self.forget(now, id);
        }
        if let Some(verdict) = self.answers_probe(now, packet, headers, &tuple) {
            self.note(Note::Probe);
            return verdict;
        }
        if self.policy.bypasses(headers) {
            self.note(Note::Bypass);
            return self.route(now, packet, headers);
        }
        if let Some(verdict) = self.admit(now, packet, headers, tuple) {
            return verdict;
        }
        if self.own.contains(headers.dst) {
            return self.answer(now, packet, headers);
        }
        if let Some(verdict) = self.pick_up_answer(now, packet, headers, &tuple) {
            self.note(Note::PickedUp);
            return verdict;
        }
        self.route(now, packet, headers)
    }

    fn without_tuple(&mut self, now: Instant, packet: &mut Packet, headers: &Headers) -> Verdict {
        if let Some(reason) = self.martian(headers) {
            return Verdict::Drop(reason);
        }
        match headers.transport {
            Transport::Fragment if self.policy.bypasses(headers) => {
                self.route(now, packet, headers)
            }
            Transport::Fragment => self.fragment(now, packet, headers),
            Transport::IcmpError => match self.refuses_probe(now, packet, headers) {
                Some(verdict) => verdict,
                None => self.translate_error(now, packet, headers),
            },
            _ if self.own.contains(headers.dst) => Verdict::Drop(DropReason::ProtocolUnsupported),
            _ => self.route(now, packet, headers),
        }
    }
}

/// Where a flow's packet of this direction and origin goes; nothing if it cannot have come from there.
fn destination(kind: Kind, direction: Direction, origin: Origin, flow: &Flow) -> Option<Target> {
    use Direction::{Forward, Reverse};
    match (kind, direction, origin) {
        (Kind::Nat | Kind::Tunnel, Forward, Origin::Leg)
        | (Kind::Upstream, Forward, Origin::Local) => Some(Target::Leg(flow.backend_leg)),
        (Kind::Nat, Reverse, Origin::Leg) | (Kind::Diverted, Reverse, Origin::Local) => {
            Some(Target::Leg(flow.client_leg))
        }
        (Kind::Diverted, Forward, Origin::Leg) => {
            flow.assignment.service.map(|service| Target::Divert(DivertTo::Service(service)))
        }
        (Kind::Upstream, Reverse, Origin::Leg) => Some(Target::Divert(DivertTo::Upstream)),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Leg(LegId),
    Divert(DivertTo),
}
