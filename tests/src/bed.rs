//! An engine on a bench: packets go in as lines, verdicts and lines come out.

use std::net::IpAddr;
use std::time::Duration;

use nat::flow::Flow;
use nat::stats::Stats;
use nat::{
    BackendConfig, Config, Engine, LegConfig, Listen, Mode, Nat, PoolConfig, PoolId, Ports, Prefix,
    ServiceConfig, Verdict,
};
use netstack::wire::{Address, Headers, Protocol, Transport, checksum, fragment, text};
use netstack::{Instant, LegId, Packet};

use crate::oracle;

/// The address that `text` names.
///
/// # Panics
/// If it names none.
pub fn addr(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap_or_else(|e| panic!("{text}: {e}")).into()
}

/// A leg that leads to these prefixes.
///
/// # Panics
/// If one is none.
pub fn leg(prefixes: &[&str]) -> LegConfig {
    LegConfig::new(prefixes.iter().map(|p| prefix(p)).collect(), 1500)
}

/// A pool of backends at these addresses, called `b0`, `b1`, …, in turn.
///
/// # Panics
/// If one is no address with a port.
pub fn pool(name: &str, backends: &[&str]) -> PoolConfig {
    let backends = backends
        .iter()
        .enumerate()
        .map(|(i, address)| {
            let address = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
            BackendConfig::new(format!("b{i}"), address)
        })
        .collect();
    PoolConfig::new(name, backends)
}

/// A service of pool number `pool`, listening on what [`listen`](fn@listen) reads, or on several of
/// these with `, ` between.
///
/// # Panics
/// If `listen` is not like these.
pub fn service(listen: &str, mode: Mode, pool: u16) -> ServiceConfig {
    let mut listens: Vec<_> = listen.split(", ").map(self::listen).collect();
    let first = listens.remove(0);
    let mut service = ServiceConfig::new(first, mode, PoolId(pool));
    service.listens.extend(listens);
    service
}

/// What `text` says to listen on: `tcp 10.99.0.1:80`, `udp [fd99::/64]:5000-5099`, `tcp 10.99.0.1:*`,
/// `icmp 10.99.0.4`, `any 0.0.0.0/0`.
///
/// # Panics
/// If it is not like these.
pub fn listen(text: &str) -> Listen {
    let (protocol, at) = text.split_once(' ').unwrap_or_else(|| panic!("{text}: no protocol"));
    let protocol = match protocol {
        "any" => None,
        "icmp" => Some(Protocol::Icmp),
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        other => panic!("{other}: no such protocol"),
    };
    let (at, ports) = match protocol {
        None | Some(Protocol::Icmp) => (at, Ports::ALL),
        _ => {
            let (at, ports) = at.rsplit_once(':').unwrap_or_else(|| panic!("{text}: no port"));
            let port = |text: &str| text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let ports = match ports.split_once('-') {
                _ if ports == "*" => Ports::ALL,
                Some((first, last)) => Ports { first: port(first), last: port(last) },
                None => Ports::one(port(ports)),
            };
            (at.trim_matches(['[', ']']), ports)
        }
    };
    let prefix = if at.contains('/') { prefix(at) } else { Prefix::host(addr(at)) };
    Listen { protocol, prefix, ports }
}

/// The prefix that `text` names.
///
/// # Panics
/// If it names none.
pub fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap_or_else(|| panic!("{text}: not a prefix"));
    let len = len.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    Prefix::new(addr(address), len).unwrap_or_else(|| panic!("{text}: too long"))
}

/// What the tests of the packet path mostly need: clients behind leg 0, backends behind leg 1, an L4
/// service of either family with its own pool, one with DNAT, one on UDP, one on ICMP, one diverted.
pub fn config() -> Config {
    let legs = vec![leg(&["10.1.0.0/24", "fd01::/64"]), leg(&["10.2.0.0/24", "fd02::/64"])];
    let pools = vec![
        pool("v4", &["10.2.0.11:8080", "10.2.0.12:8080"]),
        pool("v6", &["[fd02::11]:8080", "[fd02::12]:8080"]),
    ];
    let services = vec![
        service("tcp 10.99.0.1:80", Mode::Nat(Nat::Full), 0),
        service("tcp [fd99::1]:80", Mode::Nat(Nat::Full), 1),
        service("tcp 10.99.0.1:81", Mode::Nat(Nat::Dnat), 0),
        service("tcp [fd99::1]:81", Mode::Nat(Nat::Dnat), 1),
        service("udp 10.99.0.1:53", Mode::Nat(Nat::Full), 0),
        service("udp [fd99::1]:53", Mode::Nat(Nat::Full), 1),
        service("icmp 10.99.0.4", Mode::Nat(Nat::Full), 0),
        service("icmp fd99::4", Mode::Nat(Nat::Full), 1),
        service("tcp 10.99.0.2:80", Mode::Divert, 0),
    ];
    let mut config = Config::new(42, legs, pools, services);
    config.snat.addresses = vec![addr("10.99.0.250"), addr("fd99::250")];
    config
}

/// The line that `line`'s packet is printed as: with every word, defaults too.
///
/// # Panics
/// If it describes no packet.
pub fn canonical(line: &str) -> String {
    let packet = text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)));
    text::Line::of(&packet).to_string()
}

/// An engine with a clock.
#[derive(Debug)]
pub struct Bed {
    /// The engine.
    pub engine: Engine,
    /// The time of the next packet.
    pub now: Instant,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The verdict.
    pub verdict: Verdict,
    /// The leg that it leaves by.
    pub leg: u16,
    /// The packet after.
    pub line: String,
}

impl Seen {
    /// Source and destination as they are printed: `10.99.0.250:5000` and `10.2.0.11:8080`.
    ///
    /// # Panics
    /// If the line has none.
    pub fn ends(&self) -> (&str, &str) {
        let mut words = self.line.split(' ').skip(1).step_by(2);
        let (Some(source), Some(destination)) = (words.next(), words.next()) else {
            panic!("{}: no packet", self.line)
        };
        (source, destination)
    }

    /// The source's port.
    ///
    /// # Panics
    /// If the packet was not forwarded, or has none.
    pub fn source_port(&self) -> u16 {
        assert_eq!(self.verdict, Verdict::Forward, "{}", self.line);
        let port = self.ends().0.rsplit(':').next().and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("{}: no port", self.line))
    }
}

impl Bed {
    /// An engine made from `config`.
    ///
    /// # Panics
    /// If the configuration is unsound.
    pub fn new(config: Config) -> Self {
        let engine = Engine::new(config).unwrap_or_else(|e| panic!("{e}"));
        Self { engine, now: Instant::from_secs(1) }
    }

    /// Sends the packet that `line` describes into leg `leg`.
    ///
    /// Whatever comes out has been checked: it parses, its checksums are right, and exactly one counter
    /// of verdicts has moved, by one, but for held packets that were dropped with it.
    ///
    /// # Panics
    /// If one of these does not hold, or `line` describes no packet.
    pub fn send(&mut self, leg: u16, line: &str) -> Seen {
        let packet = text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)));
        self.send_packet(leg, packet)
    }

    /// Sends a packet into leg `leg`; checks as [`send`](Self::send).
    ///
    /// The line has the identification that the packet came with: what the engine makes of it is for
    /// tests of just that, by [`pass`](Self::pass).
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_packet(&mut self, leg: u16, packet: Packet) -> Seen {
        let came = packet.clone();
        let (verdict, packet) = self.pass(leg, packet);
        let packet = with_identification_of(packet, &came);
        Seen { verdict, leg: packet.leg.0, line: text::Line::of(&packet).to_string() }
    }

    /// Sends a packet into leg `leg`, for what became of it; checks as [`send`](Self::send).
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn pass(&mut self, leg: u16, mut packet: Packet) -> (Verdict, Packet) {
        packet.leg = LegId(leg);
        let was_good = is_good(&packet);
        let before = self.engine.stats().clone();
        let verdict = self.engine.handle_packet(self.now, &mut packet);
        self.check_counters(&before, verdict);
        self.engine.assert_consistent();
        if was_good && !matches!(verdict, Verdict::Drop(_) | Verdict::Consumed) {
            assert!(is_good(&packet), "a checksum was spoilt: {}", text::Line::of(&packet));
            oracle::assert_checksums(&packet);
        }
        (verdict, packet)
    }

    /// Sends a packet into leg `leg`, for all that comes out at once: it and what the engine had kept.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_for_all(&mut self, leg: u16, packet: Packet) -> Vec<Packet> {
        let (verdict, packet) = self.pass(leg, packet);
        let sent = matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_));
        let mut out: Vec<_> = sent.then_some(packet).into_iter().collect();
        let mut next = Packet::max_sized();
        while self.engine.poll_transmit(&mut next) {
            let mut copy = Packet::with_capacity(next.len());
            copy.copy_from(&next);
            out.push(copy);
        }
        out
    }

    /// Lets time pass, and has everything expire that is due.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        while self.engine.poll_timeout().is_some_and(|due| due <= self.now) {
            self.engine.handle_timeout(self.now);
        }
        self.engine.assert_consistent();
    }

    /// The next packet that the engine sends of its own accord: its leg, and its line.
    pub fn transmit(&mut self) -> Option<(u16, String)> {
        let mut packet = Packet::max_sized();
        let some = self.engine.poll_transmit(&mut packet);
        some.then(|| {
            if is_good(&packet) {
                oracle::assert_checksums(&packet);
            }
            (packet.leg.0, text::Line::of(&packet).to_string())
        })
    }

    /// The only flow.
    ///
    /// # Panics
    /// If there is not exactly one.
    pub fn flow(&self) -> &Flow {
        assert_eq!(self.engine.flows().len(), 1);
        let only = self.engine.flows().iter().next();
        only.map_or_else(|| unreachable!("counted above"), |(_, flow)| flow)
    }

    fn check_counters(&self, before: &Stats, verdict: Verdict) {
        let mut expected = self.engine.stats().clone();
        expected.forwarded = before.forwarded;
        expected.replied = before.replied;
        expected.diverted = before.diverted;
        expected.held = before.held;
        expected.consumed = before.consumed;
        expected.count(verdict);
        let after = self.engine.stats();
        let moved = |s: &Stats| (s.forwarded, s.replied, s.diverted, s.held, s.consumed);
        assert_eq!(moved(after), moved(&expected), "counters after {verdict:?}");
        let drops = |s: &Stats| s.drops().map(|(_, n)| n).sum::<u64>();
        let dropped = matches!(verdict, Verdict::Drop(_) | Verdict::Reject(_));
        let held_dropped = after.held_dropped - before.held_dropped;
        let expected = drops(before) + held_dropped + u64::from(dropped);
        assert_eq!(drops(after), expected, "drops after {verdict:?}");
    }
}

/// The same packet with the identification of `other`, if both are whole and of IPv4: that of a packet
/// which is not atomic is the engine's choice.
#[must_use]
pub fn with_identification_of(mut packet: Packet, other: &Packet) -> Packet {
    if let Some((_, old)) = identification_v4(&packet).zip(identification_v4(other))
        && !fragment::is_atomic_v4(packet.data())
    {
        fragment::set_identification_v4(packet.data_mut(), old);
    }
    packet
}

/// The identification of a whole IPv4 packet.
fn identification_v4(packet: &Packet) -> Option<u16> {
    let headers = Headers::parse(packet).ok().filter(|headers| headers.src.is_v4())?;
    let whole = headers.transport != Transport::Fragment;
    whole.then(|| u16::from_be_bytes([packet.data()[4], packet.data()[5]]))
}

/// True for IP in IP.
const fn is_tunnel(headers: &Headers) -> bool {
    matches!(headers.protocol, 4 | 41)
}

/// True if the packet parses and its transport checksum, once completed, is right. That of a fragment
/// is the whole packet's, which only its receiver can judge; that of what is carried in a tunnel counts.
pub fn is_good(packet: &Packet) -> bool {
    let mut packet = packet.clone();
    checksum::complete(&mut packet);
    packet.offload.gso = None;
    match Headers::parse(&packet) {
        Ok(headers) => {
            packet.offload = netstack::packet::Offload::default();
            headers.transport == Transport::Fragment
                || is_tunnel(&headers) && is_good(&Packet::from_ip(&packet.data()[headers.l4()..]))
                || checksum::verify_transport(&packet, &headers)
        }
        // A super-packet of datagrams has one length for all.
        Err(_) => false,
    }
}
