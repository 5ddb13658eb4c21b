//! What must hold at every step, looked at from outside.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use balun::sim::Watcher;
use nat::flow::{Direction, FlowId, State, TransportAddr};
use nat::rng::stable_hash;
use nat::stats::Stats;
use nat::{Engine, Limits, Verdict};
use netstack::segment::segment;
use netstack::wire::{Address, Headers, Protocol, text};
use netstack::{Instant, Packet};

use crate::bed::is_good;
use crate::oracle;

/// A hash of all that the balancer sent, and when, and how many packets that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// The hash.
    pub hash: u64,
    /// The packets.
    pub packets: u64,
}

/// Watches over a balancer, and panics when it does what it must not.
#[derive(Debug)]
pub struct Judge {
    limits: Limits,
    /// Which leg leads to which host.
    hosts: HashMap<Address, u16>,
    /// Links flip bits: packets may leave as bad as they came, and to nobody.
    corrupts: bool,
    /// The far end of each flow that has had an answer.
    ends: HashMap<FlowId, TransportAddr>,
    /// Flows made and SYNs moved when flows were last compared.
    compared: (u64, u64),
    failovers: u64,
    /// Packets when they were last added up.
    handled: u64,
    /// Steps until the engine's tables are compared, and what they were made of last time.
    wait: u32,
    tables: [u64; 6],
    digest: Rc<RefCell<Digest>>,
}

impl Judge {
    /// One who knows where the hosts are.
    pub fn new(limits: Limits, hosts: HashMap<Address, u16>, corrupts: bool) -> Self {
        let (ends, digest) = (HashMap::new(), Rc::default());
        Self {
            limits,
            hosts,
            corrupts,
            ends,
            compared: (0, 0),
            failovers: 0,
            handled: 0,
            wait: 0,
            tables: [0; 6],
            digest,
        }
    }

    /// What was sent so far, to be read when all is over.
    pub fn digest(&self) -> Rc<RefCell<Digest>> {
        Rc::clone(&self.digest)
    }

    /// Notes a packet that leaves, and makes sure that it leaves by the right leg.
    fn leaves(&self, now: Instant, packet: &Packet) {
        let mut digest = self.digest.borrow_mut();
        let salt = digest.hash ^ now.as_micros() ^ u64::from(packet.leg.0) << 48;
        *digest = Digest { hash: stable_hash(salt, packet.data()), packets: digest.packets + 1 };
        let Ok(headers) = Headers::parse(packet) else {
            panic!("left broken: {}", text::Line::exact(packet))
        };
        let leg = self.hosts.get(&headers.dst);
        assert!(
            leg == Some(&packet.leg.0) || leg.is_none() && self.corrupts,
            "left by leg {}: {}",
            packet.leg.0,
            text::Line::of(packet)
        );
    }

    /// A flow's packets go to its two ends, which are always the same.
    fn follows_its_flow(&mut self, engine: &Engine, came: &Headers, after: &Headers) {
        let Some(tuple) = came.tuple() else { return };
        let Some((id, direction)) = engine.flows().lookup(&tuple) else { return };
        let Some(flow) = engine.flows().get(id) else { return };
        let to = match direction {
            Direction::Forward => flow.backend.address,
            Direction::Reverse => flow.client.address,
        };
        assert_eq!(after.dst, to, "a packet of {flow:?}");
        if !flow.is_syn_sent() && flow.state != State::Datagram(false) {
            let end = *self.ends.entry(id).or_insert(flow.backend);
            assert_eq!(end, flow.backend, "the backend changed: {flow:?}");
        }
    }

    /// The engine's own tables agree: looked at when one may have changed, and now and then.
    fn tables_agree(&mut self, engine: &Engine) {
        let stats = engine.stats();
        let tables = [
            stats.flows_opened,
            stats.flows_expired,
            stats.flows_evicted,
            stats.syn_failovers,
            stats.probes_sent,
            engine.snat().len() as u64,
        ];
        self.wait = self.wait.saturating_sub(1);
        if tables != self.tables || self.wait == 0 {
            (self.tables, self.wait) = (tables, PATIENCE);
            engine.assert_consistent();
        }
    }

    /// No two flows can be confused by their backend.
    fn sources_differ(&mut self, engine: &Engine) {
        let stats = engine.stats();
        let made = (stats.flows_opened, stats.syn_failovers);
        if made == self.compared {
            return;
        }
        self.compared = made;
        let mut seen = HashSet::<(Protocol, TransportKey, TransportKey)>::new();
        for (_, flow) in engine.flows().iter() {
            let new = seen.insert((flow.protocol, key(flow.snat), key(flow.backend)));
            assert!(new, "another flow has the same source toward its backend: {flow:?}");
        }
    }
}

/// Steps after which the engine's tables are compared though no flow came or went: that takes longer than
/// all else.
const PATIENCE: u32 = 16;

type TransportKey = ([u8; 16], u16);

fn key(end: TransportAddr) -> TransportKey {
    (*end.address.mapped_octets(), end.port)
}

impl Watcher for Judge {
    fn decided(
        &mut self,
        now: Instant,
        engine: &Engine,
        came: &Packet,
        verdict: Verdict,
        after: &Packet,
    ) {
        // What leaves after a failover is the SYN that came before.
        let moved = engine.stats().syn_failovers != self.failovers;
        self.failovers = engine.stats().syn_failovers;
        if !matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_)) {
            return;
        }
        self.leaves(now, after);
        let (Ok(from), Ok(to)) = (Headers::parse(came), Headers::parse(after)) else { return };
        if moved {
            return;
        }
        if is_good(came) && segment(came, 65_535).is_ok() {
            assert!(is_good(after), "a checksum was spoilt: {}", text::Line::exact(after));
            oracle::assert_checksums(after);
        }
        if verdict == Verdict::Forward {
            assert!(to.ttl <= from.ttl, "TTL {} became {}", from.ttl, to.ttl);
            self.follows_its_flow(engine, &from, &to);
        }
    }

    fn sent(&mut self, now: Instant, _: &Engine, packet: &Packet) {
        self.leaves(now, packet);
        if !self.corrupts {
            assert!(is_good(packet), "a bad checksum: {}", text::Line::exact(packet));
            oracle::assert_checksums(packet);
        }
    }

    fn stepped(&mut self, _: Instant, engine: &Engine) {
        let stats = engine.stats();
        let handled = stats.packets + stats.held_dropped;
        if handled != self.handled {
            self.handled = handled;
            adds_up(stats);
        }
        self.tables_agree(engine);
        self.sources_differ(engine);
        let flows = engine.flows().len();
        assert!(flows <= self.limits.flows, "{flows} flows");
        assert!(engine.clients().len() <= flows, "{} clients", engine.clients().len());
        assert!(engine.fragments().len() <= self.limits.fragments);
    }
}

/// Every packet has one verdict, every drop a reason.
fn adds_up(stats: &Stats) {
    let drops: u64 = stats.drops().map(|(_, count)| count).sum();
    let verdicts =
        stats.forwarded + stats.replied + stats.diverted + stats.held + stats.consumed + drops;
    assert_eq!(stats.packets + stats.held_dropped, verdicts, "{stats:?}");
}
