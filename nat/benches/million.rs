//! A million flows come and go: the longest pause, and the memory of each.
//!
//! The same is done [`RUNS`] times, and of each call the shortest time counts: what the machine does
//! besides is not the engine's pause.
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
const RUNS: usize = 5;

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

/// How long each call took, at best.
#[derive(Default)]
struct Pauses {
    best: Vec<Duration>,
    calls: usize,
}

impl Pauses {
    fn measure<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Clock::now();
        let result = call();
        let time = start.elapsed();
        match self.best.get_mut(self.calls) {
            Some(best) => *best = time.min(*best),
            None => self.best.push(time),
        }
        self.calls += 1;
        result
    }

    fn report(mut self, what: &str) {
        self.best.sort_unstable();
        let total: Duration = self.best.iter().sum();
        println!(
            "{what}: {} calls, mean {:?}, 99.99% within {:?}, five longest {:?}",
            self.best.len(),
            total / self.best.len() as u32,
            self.best[(self.best.len() - 1) * 9_999 / 10_000],
            &self.best[self.best.len() - 5..],
        );
    }
}

fn main() {
    let flows = FLOWS as usize;
    let mut creation = Pauses { best: vec![Duration::MAX; flows], calls: 0 };
    let mut expiry = Pauses::default();
    for run in 0..RUNS {
        let mut packets: Vec<_> = (0..FLOWS).map(syn).collect();
        let before = resident();
        let mut engine = engine();
        let now = Instant::from_secs(1);
        creation.calls = 0;
        for packet in &mut packets {
            let verdict = creation.measure(|| engine.handle_packet(now, packet));
            assert_eq!(verdict, Verdict::Forward);
        }
        if run == 0 {
            let used = resident() - before;
            println!("{} bytes a flow, all told", used / u64::from(FLOWS));
        }
        expiry.calls = 0;
        let later = now + Duration::from_mins(5);
        while !engine.flows().is_empty() {
            expiry.measure(|| engine.handle_timeout(later));
        }
    }
    creation.report("creation");
    expiry.report("expiry");
}
