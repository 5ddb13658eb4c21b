//! What a fuzzer drives: each takes any bytes and panics if something that must hold does not.
//!
//! `fuzz/` wraps them for libFuzzer; `tests/fuzz.rs` runs them on seeded bytes and on every input that
//! once failed.

mod configured;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod preface;
mod tcp;

use std::time::Duration;

use nat::flow::Flow;
use nat::health::{Admin, Failure, Order, Outcome};
use nat::tunnel::GUE_PORT;
use nat::{BackendId, BackendState, Engine, PoolId, Verdict};
use netstack::segment::segment;
use netstack::wire::fields::icmp_field;
use netstack::wire::{Headers, Quote, Transport, text};
use netstack::{Instant, LegId, Packet};

use crate::bed::{Bed, config, is_good};
use crate::choices::{Choices, Spelled};
use crate::mutate::{answer, mend, pause, plausible, spoil};

pub use tcp::tcp;

const FLOWS: usize = 24;
const HALF_OPEN: usize = 8;
const DATAGRAMS: usize = 3;
const LEGS: u64 = 2;
/// Pools of a configuration that choices make; the others have one less.
const POOLS: u64 = 3;
/// Steps of one run: enough for any handshake, few enough that a run takes milliseconds.
const STEPS: usize = 400;
/// Packets that may leave for one that came in, beyond which it would be an amplifier. One of 64 KiB is
/// cut into as many fragments of the smallest MTU.
const DEPARTURES: usize = 2_000;

/// Packets that mean something to the engine of [`config`].
const LINES: &[&str] = &[
    "tcp 10.1.0.5:{p} > 10.99.0.1:80 S seq=1 mss=1460",
    "tcp 10.1.0.5:{p} > 10.99.0.1:81 S seq=1 mss=1460",
    "tcp [fd01::5]:{p} > [fd99::1]:80 S seq=1 mss=1440",
    "tcp [fd01::5]:{p} > [fd99::1]:81 S seq=1 mss=1440",
    "tcp 10.1.0.5:{p} > 10.99.0.1:80 . seq=2 ack=1",
    "tcp 10.1.0.5:{p} > 10.99.0.1:80 P. seq=2 ack=1 len=3000 gso=1448",
    "tcp 10.1.0.5:{p} > 10.99.0.1:80 F. seq=2 ack=1",
    "tcp 10.1.0.5:{p} > 10.99.0.1:81 R seq=2",
    "tcp 10.1.0.5:{p} > 10.99.0.2:80 S",
    "tcp 10.2.0.11:8080 > 10.99.0.250:{p} S. seq=9 ack=2",
    "tcp 10.2.0.11:8080 > 10.1.0.5:{p} S. seq=9 ack=2",
    "tcp 10.2.0.12:8080 > 10.1.0.5:{p} R. ack=2",
    "udp 10.1.0.5:{p} > 10.99.0.1:53 len=40",
    "udp 10.1.0.5:{p} > 10.99.0.1:53 len=1800",
    "udp [fd01::5]:{p} > [fd99::1]:53 len=40",
    "udp 10.2.0.12:8080 > 10.99.0.250:{p} len=40",
    "icmp 10.1.0.5 > 10.99.0.4 echo id={p} seq=1 len=30",
    "icmp fd01::5 > fd99::4 echo id={p} seq=1 len=30",
    "icmp 10.1.0.5 > 10.99.0.1 echo id={p} seq=1 len=30",
    "udp 10.1.0.5 > 10.99.0.1 frag=0+ ipid=7 data=9c40003500300000 len=24",
    "udp 10.1.0.5 > 10.99.0.1 frag=24 ipid=7 len=20",
    "udp 10.1.0.5 > 10.99.0.1 frag=8+ ipid=7 len=16",
    "udp fd01::5 > fd99::1 frag=0+ ipid=7 data=9c40003500300000 len=24",
    "udp fd01::5 > fd99::1 frag=24 ipid=7 len=20",
    "udp 10.1.0.5:{p} > 10.2.0.11:53 len=8",
];

/// Header views: whatever parses has lengths that fit, and can be printed and built again.
///
/// # Panics
/// If one of these does not hold.
pub fn headers(data: &[u8]) {
    let mut packet = Packet::from_ip(data);
    for mended in [false, true] {
        if mended {
            mend(&mut packet);
        }
        if let Some(quote) = Quote::parse(packet.data()) {
            assert!(quote.l4 + 4 <= quote.end && quote.end <= packet.len(), "{quote:?}");
        }
        if let Ok(headers) = Headers::parse(&packet) {
            assert!(headers.l4() <= headers.total_len());
            assert!(headers.total_len() <= packet.len());
            packet.set_len(headers.total_len());
        }
        let line = text::Line::exact(&packet).to_string();
        let built = text::packet(&line).unwrap_or_else(|e| panic!("{}", e.underline(&line)));
        assert_eq!(built.data(), packet.data(), "{line}");
        assert_eq!(built.offload, packet.offload, "{line}");
    }
}

/// An engine under packets in any order, some of them answers to what it sent: its tables agree, its
/// limits hold, what leaves is sound if what came was, and left alone it forgets everything in time.
///
/// # Panics
/// If one of these does not hold.
pub fn engine(data: &[u8]) {
    let mut choices = Spelled::new(data);
    let mut config = config();
    config.seed = choices.below(4);
    config.limits.flows = FLOWS;
    config.limits.half_open = HALF_OPEN;
    config.limits.fragments = DATAGRAMS;
    Run::new(config).play(&mut choices, LINES);
}

/// The same for an engine of which everything that can be configured is chosen too.
///
/// # Panics
/// As [`engine`].
pub fn configured(data: &[u8]) {
    let mut choices = Spelled::new(data);
    let config = configured::configured(&mut choices);
    Run::new(config).play(&mut choices, &[LINES, configured::LINES].concat());
}

struct Run {
    engine: Engine,
    now: Instant,
    /// Packets that left.
    departed: Vec<Packet>,
    orders: Vec<Order>,
    scratch: Packet,
}

impl Run {
    fn new(config: nat::Config) -> Self {
        let engine = Engine::new(config).unwrap_or_else(|e| panic!("{e}"));
        let now = Instant::from_secs(1);
        let (departed, orders) = (Vec::new(), Vec::new());
        Self { engine, now, departed, orders, scratch: Packet::max_sized() }
    }

    fn play(mut self, choices: &mut Spelled<'_>, lines: &[&str]) {
        for _ in 0..STEPS {
            if choices.is_used_up() {
                break;
            }
            self.now += pause(choices);
            if choices.below(40) == 0 {
                self.change_a_backend(choices);
            }
            self.finish_a_probe(choices);
            let mut packet = match self.departed.pop() {
                Some(packet) if choices.below(2) == 0 => come_back(choices, packet),
                _ => plausible(choices, lines, LEGS),
            };
            if choices.below(3) == 0 {
                spoil(choices, &mut packet);
            }
            let local = choices.below(16) == 0;
            self.step(packet, local);
        }
        self.leave_alone();
    }

    fn change_a_backend(&mut self, choices: &mut impl Choices) {
        use BackendState::{Down, Drain, Maint, Ready};
        let (pool, backend) =
            (PoolId(choices.below(POOLS) as u16), BackendId(choices.below(2) as u16));
        if self.engine.health().config(pool).is_some() {
            let admin = [Admin::Ready, Admin::Drain, Admin::Maint][choices.below(3) as usize];
            self.engine.set_admin(self.now, pool, backend, admin);
        } else {
            let state = [Ready, Drain, Maint, Down][choices.below(4) as usize];
            self.engine.set_backend_state(self.now, pool, backend, state);
        }
    }

    /// Does as a divert does that was given probes to make, some of them late or twice.
    fn finish_a_probe(&mut self, choices: &mut impl Choices) {
        self.orders.extend(std::iter::from_fn(|| self.engine.poll_probe()));
        let Some(order) = self.orders.last() else { return };
        let ticket = order.ticket;
        if choices.below(2) == 0 {
            self.orders.pop();
        }
        let outcome = match choices.below(2) {
            0 => Outcome::Passed,
            _ => Outcome::Failed(Failure::Refused),
        };
        self.engine.finish_probe(self.now, ticket, &outcome);
        while self.engine.poll_change().is_some() {}
    }

    fn step(&mut self, mut packet: Packet, local: bool) {
        let was_good = is_good(&packet) && segment(&packet, 65_535).is_ok();
        let is_super = packet.offload.gso.is_some();
        let failovers = self.engine.stats().syn_failovers;
        let verdict = if local {
            self.engine.handle_local(self.now, &mut packet)
        } else {
            self.engine.handle_packet(self.now, &mut packet)
        };
        if matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_)) {
            // What leaves after a failover may be a SYN that came before, and was not good.
            let was_good = was_good && self.engine.stats().syn_failovers == failovers;
            if was_good {
                assert!(is_good(&packet), "{}", text::Line::exact(&packet));
            }
            self.depart(packet, was_good);
        }
        // Of what came before, or was cut, there are only fragments, whole ones in tunnels, and pieces of
        // a super-packet.
        self.transmit(|headers| {
            is_super || headers.transport == Transport::Fragment || is_tunnel(headers)
        });
        self.handle_timeout();
    }

    fn handle_timeout(&mut self) {
        self.engine.handle_timeout(self.now);
        self.transmit(|_| true);
        self.engine.assert_consistent();
        assert!(self.engine.flows().len() <= FLOWS);
    }

    fn transmit(&mut self, may_leave: impl Fn(&Headers) -> bool) {
        let mut departures = 0;
        let mut next = std::mem::replace(&mut self.scratch, Packet::with_capacity(0));
        while self.engine.poll_transmit(&mut next) {
            let headers = Headers::parse(&next);
            let line = || text::Line::exact(&next).to_string();
            assert!(headers.as_ref().is_ok_and(&may_leave), "{}", line());
            self.depart(next.clone(), false);
            departures += 1;
            assert!(departures < DEPARTURES);
        }
        self.scratch = next;
    }

    fn depart(&mut self, packet: Packet, was_good: bool) {
        assert!(u64::from(packet.leg.0) < LEGS, "{packet:?}");
        if was_good {
            assert!(segment(&packet, 65_535).is_ok(), "{packet:?}");
        }
        self.departed.push(packet);
        if self.departed.len() > 16 {
            self.departed.remove(0);
        }
    }

    /// Lets hours pass in which nothing comes: every call gets on, and in the end only backends that
    /// are still asked have anything.
    fn leave_alone(mut self) {
        for _ in 0..4 {
            self.now += Duration::from_hours(1);
            for calls in 0.. {
                let due = self.engine.poll_timeout();
                if due.is_none_or(|due| due > self.now) {
                    break;
                }
                assert!(calls < 64, "it is always {due:?}");
                self.handle_timeout();
            }
        }
        assert!(self.engine.flows().is_empty() && self.engine.fragments().is_empty());
        assert!(self.engine.clients().is_empty());
        let pools = (0..POOLS as u16).map(PoolId);
        let asked = pools.filter(|&pool| self.engine.health().config(pool).is_some()).count();
        assert!(self.engine.snat().len() <= 2 * asked);
        assert!(asked > 0 || self.engine.poll_timeout().is_none());
    }
}

fn is_tunnel(headers: &Headers) -> bool {
    matches!(headers.protocol, 4 | 41)
        || matches!(headers.transport, Transport::Udp { dst_port: GUE_PORT, .. })
}

/// What may come when `packet` has left: mostly an answer, at times an error, or itself again.
fn come_back(choices: &mut impl Choices, mut packet: Packet) -> Packet {
    match choices.below(8) {
        0 if packet.len() > 20 => error_about(choices, &packet),
        1 => packet,
        _ => {
            answer(&mut packet);
            answer_echo(&mut packet);
            packet
        }
    }
}

/// Makes an echo request the reply to it.
fn answer_echo(packet: &mut Packet) {
    let Ok(headers) = Headers::parse(packet) else { return };
    if !matches!(headers.transport, Transport::Echo { request: true, .. }) {
        return;
    }
    let kind = if headers.src.is_v4() { 0 } else { 129 };
    packet.data_mut()[headers.l4() + icmp_field::TYPE] = kind;
    mend_icmp(packet);
}

/// ICMP errors about packets of live flows, true ones and spoilt ones: no flow changes for one, and a
/// sound error leaves as a sound one.
///
/// # Panics
/// If one of these does not hold.
pub fn icmp(data: &[u8]) {
    let mut choices = Spelled::new(data);
    let mut config = config();
    (config.limits.flows, config.limits.half_open) = (64, 64);
    let mut bed = Bed::new(config);
    let mut seen = Vec::new();
    for line in LINES.iter().take(19) {
        let mut packet = plausible(&mut choices, &[line], 1);
        let leg = packet.leg;
        if bed.engine.handle_packet(bed.now, &mut packet) == Verdict::Forward {
            seen.push((packet.clone(), leg));
        }
    }
    let flows = |bed: &Bed| -> Vec<String> {
        let look = |flow: &Flow| format!("{:?}", (flow.forward_key(), flow.state, flow.expires));
        bed.engine.flows().iter().map(|(_, flow)| look(flow)).collect()
    };
    for _ in 0..40 {
        if choices.is_used_up() || seen.is_empty() {
            break;
        }
        bed.now += Duration::from_millis(choices.below(50));
        let (about, _) = &seen[choices.below(seen.len() as u64) as usize];
        let mut error = error_about(&mut choices, about);
        // Unreachable for a SYN without an answer moves the flow to the next backend, as it should.
        let unreachable =
            error.data().get(error_type(&error)).is_some_and(|kind| [1, 3].contains(kind));
        let before = flows(&bed);
        let was_good = is_good(&error);
        let verdict = bed.engine.handle_packet(bed.now, &mut error);
        if was_good && verdict == Verdict::Forward {
            assert!(is_good(&error), "{}", text::Line::exact(&error));
        }
        if !unreachable {
            assert_eq!(flows(&bed), before, "{}", text::Line::exact(&error));
        }
        bed.engine.assert_consistent();
    }
}

fn error_type(packet: &Packet) -> usize {
    if packet.data().first().is_some_and(|byte| byte >> 4 == 4) { 20 } else { 40 }
}

/// An ICMP error about `about`, of any type, cut anywhere, a few bytes of it changed, its checksums right
/// more often than not.
fn error_about(choices: &mut impl Choices, about: &Packet) -> Packet {
    let quoted = about.data();
    let v4 = quoted[0] >> 4 == 4;
    let len = (8 + choices.below(600) as usize).min(quoted.len());
    let (header, address, protocol) = if v4 { (20, 4, 1) } else { (40, 16, 58) };
    let mut bytes = vec![0; header];
    let (from, to) = if v4 { (12, 12) } else { (8, 8) };
    let total = header + 8 + len;
    if v4 {
        bytes[..4].copy_from_slice(&[0x45, 0, (total >> 8) as u8, total as u8]);
        bytes[8..10].copy_from_slice(&[64, protocol]);
        bytes[12..16].copy_from_slice(&[10, 2, 0, 1]);
    } else {
        let payload = 8 + len;
        let [high, low] = (payload as u16).to_be_bytes();
        bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, high, low, protocol, 64]);
        bytes[8..24].copy_from_slice(&[0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
    // To whom the quoted packet came from.
    bytes[to + address..to + 2 * address].copy_from_slice(&quoted[from..from + address]);
    let kinds: &[u8] = if v4 { &[3, 4, 5, 11, 12] } else { &[1, 2, 3, 4, 100] };
    let kind = kinds[choices.below(kinds.len() as u64) as usize];
    bytes.extend([kind, choices.below(16) as u8, 0, 0]);
    bytes.extend((choices.below(0x1_0000) as u32).to_be_bytes());
    bytes.extend(&quoted[..len]);
    for _ in 0..choices.below(4) {
        let at = choices.below(bytes.len() as u64) as usize;
        bytes[at] = choices.below(256) as u8;
    }
    let mut packet = Packet::from_ip(&bytes);
    packet.leg = LegId(choices.below(LEGS) as u16);
    if choices.below(4) > 0 {
        mend(&mut packet);
        mend_icmp(&mut packet);
    }
    packet
}

/// Makes the ICMP checksum right.
fn mend_icmp(packet: &mut Packet) {
    let Ok(headers) = Headers::parse(packet) else { return };
    let (l4, end, protocol) = (headers.l4(), headers.total_len(), headers.protocol);
    if [1, 58].contains(&protocol) && end >= l4 + 8 {
        let (src, dst) = (headers.src, headers.dst);
        nat::icmp::set_checksum(&mut packet.data_mut()[l4..end], protocol, 2, src, dst);
    }
}
