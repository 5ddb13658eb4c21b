//! Probes of backends that are packets of the engine's own.
//!
//! A probe goes out by the leg that leads to the backend, from an address of the SNAT pool with a port
//! that no flow toward this backend has, so that its answer cannot be taken for a flow's, nor a flow's
//! for its. What comes back is believed only if it comes by the leg that the probe left by and shows that
//! its sender has seen it: the acknowledgment of a random sequence number, a random token, or for UDP,
//! which has no such thing, a random port. The rest is dropped, and the probe goes on waiting.
//!
//! | asked | passed | failed at once |
//! |---|---|---|
//! | echo request | its reply, with the token | ICMP error |
//! | SYN | SYN, ACK; a RST ends it before the application hears of it | RST, ICMP error |
//! | datagram | any datagram | ICMP error, above all "port unreachable" |

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::fields::icmp_field;
use netstack::wire::{
    Address, Family, Headers, Icmp, Protocol, Quote, Tcp, TcpFlags, Transport, Tuple, checksum,
};
use netstack::{Instant, Packet};

use super::Engine;
use crate::divert::{LOCAL_V4, LOCAL_V6};
use crate::flow::{Flow, Kind, TransportAddr};
use crate::health::packet::{self, TOKEN};
use crate::health::{Admin, Change, Due, Failure, Health, Order, Outcome, Probe, Ticket};
use crate::limits::{CHECKED_BACKENDS, PROBE_BATCH};
use crate::rng::Rng;
use crate::snat::Left;
use crate::{BackendId, DropReason, PoolId, Verdict, icmp};

/// Probes whose answer may still come: at most one for each checked backend.
#[derive(Clone, Debug)]
pub(super) struct Probes {
    /// By the tuple of the answer.
    open: HashMap<Tuple, Question, FixedState>,
    /// What holds each one's port: a flow that is in no table.
    flows: HashMap<Ticket, Flow, FixedState>,
    /// Probes for the divert, each waiting to be fetched.
    orders: VecDeque<Order>,
    rng: Rng,
}

/// What was asked, and how its answer is known.
#[derive(Clone, Copy, Debug)]
struct Question {
    ticket: Ticket,
    proof: Proof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Echo { seq: u16, token: [u8; TOKEN] },
    Syn { seq: u32 },
    Port,
}

/// Why a probe could not be sent.
enum Unsent {
    /// That speaks against the backend.
    NoRoute,
    /// That does not.
    NoPort,
}

impl Probes {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            open: HashMap::with_hasher(FixedState::with_seed(seed)),
            flows: HashMap::with_hasher(FixedState::with_seed(seed)),
            orders: VecDeque::new(),
            rng: Rng::new(seed),
        }
    }

    /// True if a packet of this tuple is looked at as the answer to one.
    pub(super) fn awaits(&self, answer: &Tuple) -> bool {
        self.open.contains_key(answer)
    }

    /// Those that hold a port.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// What the SNAT pool is asked with: a connection of this process's own.
    fn tuple(&mut self, protocol: Protocol, to: TransportAddr) -> Tuple {
        let src = match to.address.family() {
            Family::V4 => Address::from_v4(LOCAL_V4),
            Family::V6 => Address::from_v6(LOCAL_V6),
        };
        let src_port = self.rng.next_u64() as u16;
        Tuple { protocol, src, dst: to.address, src_port, dst_port: to.port }
    }

    /// The packet that asks, and how its answer will be known.
    fn question(
        &mut self,
        probe: &Probe,
        from: TransportAddr,
        to: TransportAddr,
        ticket: Ticket,
    ) -> (Packet, Proof) {
        match probe {
            Probe::Icmp => {
                let random =
                    u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
                let (seq, token) = (ticket.number as u16, random.to_be_bytes());
                (packet::echo(from, to.address, seq, token), Proof::Echo { seq, token })
            }
            Probe::Udp(payload) => (packet::datagram(from, to, payload), Proof::Port),
            Probe::Tcp | Probe::External => {
                let seq = self.rng.next_u64() as u32;
                (packet::syn(from, to, seq), Proof::Syn { seq })
            }
        }
    }
}

impl Engine {
    /// Every backend's health: what the operator and the checks say of it.
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Sets what an operator says of a backend. Its flows stay; see [`Admin`].
    pub fn set_admin(&mut self, now: Instant, pool: PoolId, backend: BackendId, admin: Admin) {
        if let Some(ticket) = self.health.set_admin(now, pool, backend, admin) {
            self.close_probe(now, ticket, Left::Uncertain);
        }
        self.apply_health(now, pool, backend);
    }

    /// The next probe that the [`Divert`](crate::Divert) is to make.
    pub fn poll_probe(&mut self) -> Option<Order> {
        while let Some(order) = self.probes.orders.pop_front() {
            if self.health.awaits(order.ticket) {
                return Some(order);
            }
        }
        None
    }

    /// Takes in what became of such a probe. One that took too long is ignored: it has failed already.
    pub fn finish_probe(&mut self, now: Instant, ticket: Ticket, outcome: &Outcome) {
        if !self.health.finish(now, ticket, outcome) {
            return;
        }
        match outcome {
            Outcome::Passed => self.stats.probes_passed += 1,
            Outcome::Failed(_) => self.stats.probes_failed += 1,
        }
        self.close_probe(now, ticket, Left::Clean);
        self.apply_health(now, ticket.pool, ticket.backend);
    }

    /// The next backend whose state was changed by an operator or by its checks.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.health.poll_change()
    }

    /// Makes the probes that are due and gives up those whose time is over.
    pub(super) fn check_backends(&mut self, now: Instant) {
        for _ in 0..PROBE_BATCH {
            match self.health.poll(now) {
                None => return,
                Some(Due::TimedOut(ticket)) => {
                    self.stats.probes_failed += 1;
                    self.close_probe(now, ticket, Left::Uncertain);
                    self.apply_health(now, ticket.pool, ticket.backend);
                }
                Some(Due::Ask(order)) => self.ask(now, order),
            }
        }
    }

    fn ask(&mut self, now: Instant, order: Order) {
        let ticket = order.ticket;
        self.stats.probes_sent += 1;
        match self.send_probe(now, &order) {
            Ok(true) => {}
            Ok(false) => {
                // Nobody may ever fetch them; the oldest have timed out by then.
                if self.probes.orders.len() >= CHECKED_BACKENDS {
                    self.probes.orders.pop_front();
                }
                self.probes.orders.push_back(order);
            }
            Err(Unsent::NoRoute) => {
                self.finish_probe(now, ticket, &Outcome::Failed(Failure::NoRoute));
            }
            Err(Unsent::NoPort) => {
                self.stats.probes_sent -= 1;
                self.health.skip(now, ticket);
            }
        }
    }

    /// Sends a probe; false if it is not for us to send.
    fn send_probe(&mut self, now: Instant, order: &Order) -> Result<bool, Unsent> {
        let Some(config) = self.health.config(order.ticket.pool) else { return Ok(false) };
        let probe = config.probe.clone();
        let protocol = match probe {
            Probe::Icmp => Protocol::Icmp,
            Probe::Tcp => Protocol::Tcp,
            Probe::Udp(_) => Protocol::Udp,
            Probe::External => return Ok(false),
        };
        let to = TransportAddr::new(order.address.ip().into(), order.address.port());
        if to.port == 0 && protocol != Protocol::Icmp {
            return Err(Unsent::NoRoute); // It stands for the port that a client asks for.
        }
        let leg = self.routes.lookup(to.address).ok_or(Unsent::NoRoute)?;
        let own = self.own_address(to.address.family()).ok_or(Unsent::NoRoute)?;
        let tuple = self.probes.tuple(protocol, to);
        let mut flow = Flow::new(now, Kind::Upstream, &tuple, leg, 0);
        let from = self.map_source(now, &flow, own, to).map_err(|_| Unsent::NoPort)?;
        // An echo has one identifier for both ends.
        let far = if protocol == Protocol::Icmp { from.port } else { to.port };
        flow.set_backend(from, TransportAddr::new(to.address, far), leg);
        let answer = flow.reverse_key();
        if self.flows.lookup(&answer).is_some() || self.probes.open.contains_key(&answer) {
            // Without a SNAT pool a client of the VIP may call itself what we would.
            self.unmap_source(now, &flow, Left::Clean);
            return Err(Unsent::NoPort);
        }
        let (mut packet, proof) = self.probes.question(&probe, from, to, order.ticket);
        self.probes.open.insert(answer, Question { ticket: order.ticket, proof });
        self.probes.flows.insert(order.ticket, flow);
        packet.leg = leg;
        self.outbox.push_back(packet);
        Ok(true)
    }

    /// Takes in the answer to a probe, if this is one.
    pub(super) fn answers_probe(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        tuple: &Tuple,
    ) -> Option<Verdict> {
        let Question { ticket, proof } = *self.probes.open.get(tuple)?;
        // A backend that asks us for an echo may use the same identifier.
        if matches!(headers.transport, Transport::Echo { request: true, .. }) {
            return None;
        }
        if !self.came_back(ticket, packet) || !checksum::verify_transport(packet, headers) {
            return Some(Verdict::Drop(DropReason::ProbeMismatch));
        }
        let part = &packet.data()[headers.l4()..headers.total_len()];
        let (outcome, verdict) = match judge(proof, part) {
            Answer::Mismatch => return Some(Verdict::Drop(DropReason::ProbeMismatch)),
            Answer::Refusal => (Outcome::Failed(Failure::Refused), Verdict::Consumed),
            Answer::Good => (Outcome::Passed, Verdict::Consumed),
            Answer::Accepted => {
                icmp::reset(packet, headers);
                (Outcome::Passed, Verdict::Reply)
            }
        };
        self.finish_probe(now, ticket, &outcome);
        Some(verdict)
    }

    /// Takes in an ICMP error about a probe, if this is one.
    pub(super) fn refuses_probe(
        &mut self,
        now: Instant,
        packet: &Packet,
        headers: &Headers,
    ) -> Option<Verdict> {
        if self.probes.open.is_empty() {
            return None;
        }
        let message = &packet.data()[headers.l4()..headers.total_len()];
        let quote = Quote::of_message(headers.family, message)?;
        let Question { ticket, proof } = *self.probes.open.get(&quote.tuple.reversed())?;
        if !checksum::verify_transport(packet, headers) || !quote.header_sum_ok {
            return Some(Verdict::Drop(DropReason::IcmpChecksum));
        }
        let error = Icmp::new_checked(message)?;
        let ends_it = match headers.family {
            // "Fragmentation needed" is no word against the backend.
            Family::V4 => error.kind() == 11 || error.kind() == 3 && error.code() != 4,
            Family::V6 => matches!(error.kind(), 1 | 3),
        };
        let segment = message.get(icmp_field::LEN + quote.l4..).unwrap_or_default();
        // RFC 5927 section 4.1: it must quote what only the path has seen.
        let shows = match proof {
            Proof::Echo { seq, .. } => segment.get(6..8) == Some(&seq.to_be_bytes()),
            Proof::Syn { seq } => segment.get(4..8) == Some(&seq.to_be_bytes()),
            Proof::Port => true,
        };
        if !shows || !self.came_back(ticket, packet) {
            return Some(Verdict::Drop(DropReason::ProbeMismatch));
        }
        if !ends_it {
            return Some(Verdict::Drop(DropReason::IcmpUnused));
        }
        self.finish_probe(now, ticket, &Outcome::Failed(Failure::Unreachable));
        Some(Verdict::Consumed)
    }

    /// True if a packet came by the leg that the probe had left by: nobody else's are believed, since
    /// clients may try all ports.
    fn came_back(&self, ticket: Ticket, packet: &Packet) -> bool {
        self.probes.flows.get(&ticket).is_some_and(|flow| flow.backend_leg == packet.leg)
    }

    /// Checks that pools have the state that the checks give them, and that no probe outlives its turn.
    ///
    /// # Panics
    /// If they do not.
    pub(super) fn assert_health_consistent(&self) {
        self.health.assert_consistent();
        let Probes { open, flows, .. } = &self.probes;
        assert_eq!(open.len(), flows.len(), "probes by answer and by ticket");
        for (ticket, flow) in flows {
            let question = open.get(&flow.reverse_key());
            assert!(question.is_some_and(|q| q.ticket == *ticket), "a probe's two entries");
            assert!(self.health.awaits(*ticket), "a probe that nobody waits for");
        }
        for (id, pool) in (0..).map(PoolId).zip(&self.pools) {
            for (n, backend) in (0..).map(BackendId).zip(pool.backends()) {
                let same = self.health.state(id, n) == Some(backend.state);
                assert!(same || self.health.config(id).is_none(), "a state that no check gave");
            }
        }
    }

    /// Gives a backend of our own pools the state that follows from its health.
    fn apply_health(&mut self, now: Instant, pool: PoolId, backend: BackendId) {
        let is = self.pools.get(usize::from(pool.0)).and_then(|p| p.backend(backend));
        let (Some(is), Some(state)) = (is, self.health.state(pool, backend)) else { return };
        if is.state != state {
            self.set_backend_state(now, pool, backend, state);
        }
    }

    /// Forgets a probe of which no answer is awaited any more, and gives back its port.
    fn close_probe(&mut self, now: Instant, ticket: Ticket, left: Left) {
        let Some(flow) = self.probes.flows.remove(&ticket) else { return };
        self.probes.open.remove(&flow.reverse_key());
        self.unmap_source(now, &flow, left);
    }
}

enum Answer {
    /// It does not show that its sender has seen the question.
    Mismatch,
    Refusal,
    Good,
    /// Good, and a connection to be reset.
    Accepted,
}

/// Judges a transport part that came from where the answer should.
fn judge(proof: Proof, part: &[u8]) -> Answer {
    match proof {
        Proof::Port => Answer::Good,
        Proof::Echo { seq, token } => {
            let same = Icmp::new_checked(part).is_some_and(|icmp| icmp.seq() == seq)
                && part.get(icmp_field::LEN..) == Some(&token[..]);
            if same { Answer::Good } else { Answer::Mismatch }
        }
        Proof::Syn { seq } => {
            let Some(tcp) = Tcp::new_checked(part) else { return Answer::Mismatch };
            let flags = tcp.flags();
            if !flags.contains(TcpFlags::ACK) || tcp.ack() != seq.wrapping_add(1) {
                Answer::Mismatch
            } else if flags.contains(TcpFlags::RST) {
                Answer::Refusal
            } else if flags.contains(TcpFlags::SYN) {
                Answer::Accepted
            } else {
                Answer::Mismatch
            }
        }
    }
}
