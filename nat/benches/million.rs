//! A million flows come and go: the longest pause, and the memory of each.
//!
//! `cargo bench -p nat --bench million`

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]
#![expect(clippy::disallowed_methods, reason = "it measures time and memory")]
#![expect(clippy::print_stdout, reason = "what it is for")]

use std::fs;
use std::time::{Duration, Instant as Clock};

use etherparse::PacketBuilder;
use nat::{
    BackendConfig, Config, Engine, LegConfig, Listen, Mode, Nat, PoolConfig, PoolId, ServiceConfig,
    Verdict,
};
use netstack::wire::{Address, Protocol};
use netstack::{Instant, Packet};

const VIP: [u8; 4] = [10, 99, 0, 1];
const FLOWS: u32 = 1_000_000;

fn engine() -> Engine {
    let backends = (1..=64)
        .map(|i| BackendConfig::new(format!("web{i}"), ([10, 2, 0, i], 8080).into()))
        .collect();
    let pool = PoolConfig::new("web", backends);
    let listen = Listen::new(Protocol::Tcp, Address::from_v4(VIP), 80);
    let service = ServiceConfig::new(listen, Mode::Nat(Nat::Full), PoolId(0));
    let mut config = Config::new(1, vec![LegConfig::default()], vec![pool], vec![service]);
    config.limits.half_open = usize::MAX;
    Engine::new(config).expect("the configuration is sound")
}

fn syn(client: u32) -> Packet {
    let [_, a, b, c] = (client / 50_000).to_be_bytes();
    let port = 10_000 + (client % 50_000) as u16;
    let builder = PacketBuilder::ipv4([10, a, b, c], VIP, 64).tcp(port, 80, 1, 65_535).syn();
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[]).expect("writing to memory");
    Packet::from_ip(&bytes)
}

/// Bytes of memory that this process has touched.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

/// How long each call took.
#[derive(Default)]
struct Pauses(Vec<Duration>);

impl Pauses {
    fn measure<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Clock::now();
        let result = call();
        self.0.push(start.elapsed());
        result
    }

    fn report(mut self, what: &str) {
        self.0.sort_unstable();
        let total: Duration = self.0.iter().sum();
        println!(
            "{what}: {} calls, mean {:?}, 99.99% within {:?}, five longest {:?}",
            self.0.len(),
            total / self.0.len() as u32,
            self.0[(self.0.len() - 1) * 9_999 / 10_000],
            &self.0[self.0.len() - 5..],
        );
    }
}

fn main() {
    let mut engine = engine();
    let mut packets: Vec<_> = (0..FLOWS).map(syn).collect();
    let mut start = Pauses(Vec::with_capacity(FLOWS as usize));
    let before = resident();
    let now = Instant::from_secs(1);
    for packet in &mut packets {
        let verdict = start.measure(|| engine.handle_packet(now, packet));
        assert_eq!(verdict, Verdict::Forward);
    }
    // The pauses themselves take sixteen bytes each.
    let used = resident() - before - u64::from(FLOWS) * 16;
    println!("{} bytes a flow, all told", used / u64::from(FLOWS));
    start.report("creation");

    let mut end = Pauses::default();
    let later = now + Duration::from_mins(5);
    while !engine.flows().is_empty() {
        end.measure(|| engine.handle_timeout(later));
    }
    end.report("expiry");
}
