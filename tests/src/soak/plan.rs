//! What one seed stands for.

use std::time::Duration;

use balun::sim::{Impairment, Place};
use nat::health::Admin;
use nat::rng::{Rng, derive};
use nat::{AffinityConfig, Limits, Mapping, Scheduler};
use netstack::wire::Family;

use crate::http::{Framing, Request};
use crate::topology::{FAMILIES, Mode};
use crate::transfer::{Job, Order};

/// A run, before it is run. It can be changed: a part taken away leaves the others as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Fixes every random choice that is left: those of the balancer, the hosts and the links.
    pub seed: u64,
    /// The families of addresses in use.
    pub families: Vec<Family>,
    /// How many hosts are clients. Client n is at leg n.
    pub clients: u8,
    /// How many hosts are backends. Backend n is at leg `clients` + n.
    pub backends: u8,
    /// The balancer's settings.
    pub settings: Settings,
    /// What is behind each leg.
    pub links: Vec<Wire>,
    /// What clients do.
    pub work: Vec<Work>,
    /// What goes wrong, in the order of time.
    pub faults: Vec<Event>,
}

/// What may be configured, as far as it varies.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Of every pool.
    pub scheduler: Scheduler,
    /// Of every pool.
    pub affinity: Option<AffinityConfig>,
    /// Of every pool.
    pub slow_start: Duration,
    /// Of every pool, in percent.
    pub panic_threshold: u8,
    /// Of every backend.
    pub max_connections: Option<u32>,
    /// How backends are asked whether they are well, how often, and whether they start as if they were.
    pub check: Option<(Check, Duration, bool)>,
    /// How much is kept.
    pub limits: Limits,
    /// The ports of the SNAT pool.
    pub ports: (u16, u16),
    /// What its mappings depend on.
    pub mapping: Mapping,
    /// How many of them a client may have.
    pub ports_per_client: u32,
    /// Leaves the TTL as it is.
    pub hide_hop: bool,
}

/// What a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// An echo reply.
    Icmp,
    /// A connection.
    Tcp,
    /// An answer over HTTP of the web servers; of the others, a connection.
    Http,
}

/// A leg and what is behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// The longest packet, of the leg and of the host's TCP.
    pub mtu: u16,
    /// What the link does.
    pub impairment: Impairment,
}

/// Something that a client does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// When it begins.
    pub at: Duration,
    /// Who does it, from 0.
    pub client: u8,
    /// Over which addresses.
    pub family: Family,
    /// What it is.
    pub task: Task,
}

/// What a client can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// Move bytes both ways over one connection.
    Transfer(Mode, Job),
    /// Make requests over one connection, waiting between them.
    Ask {
        /// How the service handles them.
        mode: Mode,
        /// How many.
        count: u8,
        /// The first; the others have other bytes.
        request: Request,
        /// How long to wait between them.
        pause: Duration,
    },
    /// Send datagrams, each of which is to be echoed.
    Echo {
        /// The backend sees the client's address.
        dnat: bool,
        /// How many.
        count: u8,
        /// Bytes of each.
        len: u16,
        /// How long to wait between them.
        pause: Duration,
    },
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// What departs toward this end of a leg's link is lost.
    Cut(u8, Place),
    /// No more.
    Mend(u8, Place),
    /// A leg goes down: nothing goes through it, and what is under way is lost.
    LegDown(u8),
    /// It comes up again.
    LegUp(u8),
    /// A backend's server crashes; its kernel answers with RSTs.
    Kill(u8),
    /// A backend's machine crashes: silence.
    PowerOff(u8),
    /// It is back, without a memory.
    Revive(u8),
    /// All clocks jump forward: the machine was suspended.
    Leap(Duration),
    /// The balancer stands still, alone: its process was stopped.
    Stall(Duration),
    /// An operator says this of a backend, in every pool.
    Admin(u8, Admin),
    /// The SNAT pool has other addresses: the first, the second, or both.
    Snat(u8),
}

const PERCENT: u64 = 10_000;

impl Plan {
    /// What `seed` stands for.
    pub fn from_seed(seed: u64) -> Self {
        // Parts draw from sequences of their own: a new choice in one moves nothing in the others.
        let part = |number| Rng::new(derive(seed, number));
        let mut rng = part(1);
        let families = match rng.below(4) {
            0 => FAMILIES.to_vec(),
            1 => vec![Family::V6],
            _ => vec![Family::V4],
        };
        let (clients, backends) = (1 + rng.below(4) as u8, 1 + rng.below(6) as u8);
        let mut plan = Self {
            seed,
            families,
            clients,
            backends,
            settings: settings(&mut part(2)),
            links: links(&mut part(3), clients, clients + backends),
            work: Vec::new(),
            faults: Vec::new(),
        };
        plan.work = work(&mut part(4), &plan);
        plan.faults = faults(&mut part(5), &plan);
        plan
    }

    /// True if nothing can go wrong, so that nothing may.
    pub fn is_calm(&self) -> bool {
        let harmless = |wire: &Wire| {
            let Impairment { loss, duplicate, reorder, corrupt, .. } = wire.impairment;
            (loss, duplicate, reorder, corrupt) == (0, 0, 0, 0)
        };
        // Before their first check, backends that start from down take nobody.
        let from_down = matches!(self.settings.check, Some((_, _, false)));
        self.faults.is_empty()
            && !from_down
            && !self.settings.is_tight()
            && self.links.iter().all(harmless)
    }

    /// True if a link flips bits.
    pub fn corrupts(&self) -> bool {
        self.links.iter().any(|wire| wire.impairment.corrupt > 0)
    }
}

impl Settings {
    /// True if work may be refused for want of room.
    pub fn is_tight(&self) -> bool {
        self.max_connections.is_some()
            || self.limits.flows < LOOSE
            || self.limits.half_open < LOOSE
            || self.limits.flows_per_client < LOOSE as u32
            || self.ports_per_client < LOOSE as u32
            || self.ports.1 - self.ports.0 < LOOSE as u16
    }
}

/// More than any run needs.
const LOOSE: usize = 1_024;

fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

fn often(rng: &mut Rng, percent: u64) -> bool {
    rng.below(100) < percent
}

fn settings(rng: &mut Rng) -> Settings {
    use Scheduler::{Ewma, LeastConnections, Maglev, P2c, Random, RoundRobin, SourceHash};
    // A table of Maglev's takes a while to make.
    let rarely = if often(rng, 10) { Maglev } else { RoundRobin };
    let scheduler =
        one(rng, &[RoundRobin, Random, LeastConnections, P2c, Ewma, SourceHash, rarely]);
    let affinity = often(rng, 30).then(|| AffinityConfig::new(Duration::from_secs(30)));
    let check = often(rng, 50).then(|| {
        let check = one(rng, &[Check::Icmp, Check::Tcp, Check::Http]);
        (check, Duration::from_secs(1 + rng.below(4)), often(rng, 50))
    });
    let tight = often(rng, 30);
    let mut limits = Limits { flows: LOOSE, half_open: LOOSE, fragments: 64, ..Limits::default() };
    if tight {
        limits.flows = one(rng, &[LOOSE, 16, 32]);
        limits.half_open = one(rng, &[LOOSE, 2, 8]);
        limits.flows_per_client = one(rng, &[LOOSE as u32, 8]);
    }
    Settings {
        scheduler,
        affinity,
        slow_start: Duration::from_secs(one(rng, &[0, 0, 10])),
        panic_threshold: one(rng, &[0, 0, 50, 100]),
        max_connections: (tight && often(rng, 30)).then_some(4),
        check,
        limits,
        ports: if tight { one(rng, &[(1_024, 65_535), (5_000, 5_015)]) } else { (1_024, 65_535) },
        mapping: one(rng, &[Mapping::EndpointDependent, Mapping::EndpointIndependent]),
        ports_per_client: if tight { one(rng, &[u32::MAX, 8]) } else { u32::MAX },
        hide_hop: often(rng, 10),
    }
}

fn links(rng: &mut Rng, clients: u8, legs: u8) -> Vec<Wire> {
    let bad = often(rng, 60);
    // One link only: flips on two may cancel out in the checksum that NAT leaves to the ends.
    let corrupt_at = (bad && often(rng, 30)).then(|| rng.below(clients.into()) as u8);
    let chance = |rng: &mut Rng, most: u64| {
        if bad && often(rng, 40) { rng.below(most * PERCENT) as u32 } else { 0 }
    };
    let link = |leg| {
        let mtu = one(rng, &[1_500, 1_500, 1_500, 1_400, 1_280]);
        let impairment = Impairment {
            delay: Duration::from_micros(rng.below(5_000)),
            jitter: Duration::from_micros(rng.below(500)),
            loss: chance(rng, 5),
            duplicate: chance(rng, 5),
            reorder: chance(rng, 5),
            corrupt: if corrupt_at == Some(leg) { PERCENT as u32 } else { 0 },
            mtu: one(rng, &[0, mtu, mtu]),
            ..Impairment::default()
        };
        Wire { mtu, impairment }
    };
    (0..legs).map(link).collect()
}

fn work(rng: &mut Rng, plan: &Plan) -> Vec<Work> {
    (0..4 + rng.below(16))
        .map(|_| Work {
            at: Duration::from_millis(rng.below(4_000)),
            client: rng.below(plan.clients.into()) as u8,
            family: one(rng, &plan.families),
            task: task(rng),
        })
        .collect()
}

fn task(rng: &mut Rng) -> Task {
    let size = |rng: &mut Rng| {
        let most = one(rng, &[1, 1_000, 10_000, 60_000]);
        rng.below(most)
    };
    let pause = Duration::from_millis(one(rng, &[0, 1, 50, 500]));
    match rng.below(10) {
        0..4 => {
            let order = one(rng, &[Order::Duplex, Order::ClientFirst, Order::ServerFirst]);
            let (upload, download) = (size(rng), size(rng));
            let job = Job { upload, download, salt: rng.next_u64(), order };
            Task::Transfer(one(rng, &Mode::OPAQUE), job)
        }
        4..8 => {
            let framing = one(rng, &[Framing::Length, Framing::Chunked]);
            let salt = rng.below(1 << 40);
            let request = Request { upload: size(rng), framing, download: size(rng), salt };
            let mode = one(rng, &[Mode::Full, Mode::Dnat, Mode::Http, Mode::Http, Mode::Http]);
            Task::Ask { mode, count: 1 + rng.below(5) as u8, request, pause }
        }
        _ => {
            let len = 16 + rng.below(1_000) as u16;
            Task::Echo { dnat: often(rng, 50), count: 1 + rng.below(10) as u8, len, pause }
        }
    }
}

fn faults(rng: &mut Rng, plan: &Plan) -> Vec<Event> {
    let mut faults = Vec::new();
    if often(rng, 20) {
        return faults;
    }
    for _ in 0..=rng.below(5) {
        let at = Duration::from_millis(rng.below(5_000));
        let longest = one(rng, &[200, 3_000, 20_000]);
        let length = Duration::from_millis(1 + rng.below(longest));
        let until = at + length;
        let mut add = |at, fault| faults.push(Event { at, fault });
        let leg = rng.below(u64::from(plan.clients + plan.backends)) as u8;
        let backend = rng.below(plan.backends.into()) as u8;
        match rng.below(9) {
            0 | 1 => {
                let ways: &[Place] = one(
                    rng,
                    &[&[Place::Balancer, Place::Host], &[Place::Balancer], &[Place::Host]],
                );
                for &to in ways {
                    add(at, Fault::Cut(leg, to));
                    add(until, Fault::Mend(leg, to));
                }
            }
            2 => {
                add(at, Fault::LegDown(leg));
                add(until, Fault::LegUp(leg));
            }
            3 | 4 => {
                let fault = one(rng, &[Fault::Kill(backend), Fault::PowerOff(backend)]);
                add(at, fault);
                add(until, Fault::Revive(backend));
            }
            5 => add(at, Fault::Leap(Duration::from_secs(1 + rng.below(600)))),
            6 => add(at, Fault::Stall(length)),
            7 => {
                add(at, Fault::Admin(backend, one(rng, &[Admin::Drain, Admin::Maint])));
                add(until, Fault::Admin(backend, Admin::Ready));
            }
            _ => add(at, Fault::Snat(rng.below(3) as u8)),
        }
    }
    faults.sort_by_key(|event| event.at);
    faults
}
