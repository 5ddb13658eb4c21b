//! What one packet of an established flow costs the engine, among so many others.
//!
//! `cargo bench -p nat`

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use etherparse::PacketBuilder;
use nat::{
    BackendConfig, Config, Engine, LegConfig, Listen, Mode, Nat, PoolConfig, PoolId, Scheduler,
    ServiceConfig, Verdict,
};
use netstack::wire::{Address, Protocol};
use netstack::{Instant, Packet};

const VIP: [u8; 4] = [10, 99, 0, 1];

fn engine() -> Engine {
    let backends = (1..=64)
        .map(|i| BackendConfig {
            name: format!("web{i}"),
            address: SocketAddr::from(([10, 2, 0, i], 8080)),
            weight: 1,
        })
        .collect();
    let pool = PoolConfig { name: "web".into(), scheduler: Scheduler::Maglev, backends };
    let service = ServiceConfig {
        name: "web".into(),
        listen: Listen { protocol: Protocol::Tcp, address: Address::from_v4(VIP), port: 80 },
        mode: Mode::Nat(Nat::Full),
        pool: PoolId(0),
    };
    let mut config = Config::new(1, vec![LegConfig::default()], vec![pool], vec![service]);
    config.limits.half_open = usize::MAX;
    Engine::new(config).expect("the configuration is sound")
}

fn segment(client: u32, syn: bool) -> Packet {
    let source = (0x0a00_0000 + client / 50_000).to_be_bytes();
    let port = 10_000 + (client % 50_000) as u16;
    let mut builder = PacketBuilder::ipv4(source, VIP, 64).tcp(port, 80, 1, 65_535);
    builder = if syn { builder.syn() } else { builder.ack(1) };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[0; 64]).expect("writing to memory");
    Packet::from_ip(&bytes)
}

fn established(c: &mut Criterion) {
    for flows in [1_000_u32, 100_000, 1_000_000] {
        let mut engine = engine();
        let now = Instant::from_secs(1);
        for client in 0..flows {
            assert_eq!(engine.handle_packet(now, &mut segment(client, true)), Verdict::Forward);
        }
        let packets: Vec<_> =
            (0..flows.min(100_000)).map(|i| segment(i * 7919 % flows, false)).collect();
        let mut next = 0;
        let mut scratch = Packet::with_capacity(256);
        c.bench_function(&format!("established flow among {flows}"), |b| {
            b.iter_batched(
                || {
                    next = (next + 1) % packets.len();
                    packets[next].clone()
                },
                |mut packet| {
                    let _ = black_box(engine.handle_packet(now, &mut packet));
                    packet
                },
                BatchSize::SmallInput,
            );
        });
        c.bench_function(&format!("copy and established flow among {flows}"), |b| {
            b.iter(|| {
                next = (next + 1) % packets.len();
                scratch.copy_from(&packets[next]);
                black_box(engine.handle_packet(now, &mut scratch))
            });
        });
    }
}

criterion_group!(benches, established);
criterion_main!(benches);
