//! What one packet of an established flow costs the engine, among so many others.
//!
//! `cargo bench -p nat`

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use etherparse::PacketBuilder;
use nat::{
    BATCH, BackendConfig, Config, Engine, LegConfig, Listen, Mode, Nat, PoolConfig, PoolId,
    Scheduler, ServiceConfig, Verdict,
};
use netstack::wire::checksum::Delta;
use netstack::wire::{Address, Protocol};
use netstack::{Instant, Packet};

const VIP: [u8; 4] = [10, 99, 0, 1];

fn engine() -> Engine {
    let backends = (1..=64)
        .map(|i| BackendConfig::new(format!("web{i}"), ([10, 2, 0, i], 8080).into()))
        .collect();
    let mut pool = PoolConfig::new("web", backends);
    pool.scheduler = Scheduler::Maglev;
    let listen = Listen::new(Protocol::Tcp, Address::from_v4(VIP), 80);
    let service = ServiceConfig::new(listen, Mode::Nat(Nat::Full), PoolId(0));
    let mut config = Config::new(1, vec![LegConfig::default()], vec![pool], vec![service]);
    config.limits.half_open = usize::MAX;
    Engine::new(config).expect("the configuration is sound")
}

/// A segment of client number 0, and what turns it into that of another.
struct Template {
    packet: Packet,
    scratch: Packet,
}

impl Template {
    fn new(syn: bool) -> Self {
        let mut builder = PacketBuilder::ipv4([10, 0, 0, 0], VIP, 64).tcp(10_000, 80, 1, 65_535);
        builder = if syn { builder.syn() } else { builder.ack(1) };
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[0; 64]).expect("writing to memory");
        Self { packet: Packet::from_ip(&bytes), scratch: Packet::with_capacity(256) }
    }

    /// As a device has just read it: in one buffer that is used again and again.
    fn of(&mut self, client: u32) -> &mut Packet {
        let source = (0x0a00_0000 + client / 50_000).to_be_bytes();
        let port = 10_000 + (client % 50_000) as u16;
        let delta = Delta::default().replace(&[10, 0, 0, 0], &source);
        self.scratch.copy_from(&self.packet);
        let data = self.scratch.data_mut();
        data[12..16].copy_from_slice(&source);
        data[20..22].copy_from_slice(&port.to_be_bytes());
        let sum = delta.apply(u16::from_be_bytes([data[10], data[11]]));
        data[10..12].copy_from_slice(&sum.to_be_bytes());
        &mut self.scratch
    }
}

fn established(c: &mut Criterion) {
    let mut template = Template::new(false);
    let mut next = 0_u32;
    c.bench_function("making the packet (to be subtracted)", |b| {
        b.iter(|| {
            next = next.wrapping_add(7_919) % 100_000;
            black_box(template.of(next).len())
        });
    });
    c.bench_function("Headers::parse", |b| {
        let packet = template.of(0);
        b.iter(|| black_box(netstack::wire::Headers::parse(black_box(packet))));
    });
    for flows in [1_000_u32, 100_000, 1_000_000] {
        let mut engine = engine();
        let now = Instant::from_secs(1);
        let mut syn = Template::new(true);
        for client in 0..flows {
            assert_eq!(engine.handle_packet(now, syn.of(client)), Verdict::Forward);
        }
        c.bench_function(&format!("established flow among {flows}"), |b| {
            b.iter(|| {
                next = next.wrapping_add(7_919) % flows;
                black_box(engine.handle_packet(now, template.of(next)))
            });
        });
        let mut batch = vec![Packet::with_capacity(256); BATCH];
        c.bench_function(
            &format!("established flow among {flows}, {BATCH} packets at once"),
            |b| {
                let mut filled = 0;
                b.iter(|| {
                    next = next.wrapping_add(7_919) % flows;
                    batch[filled].copy_from(template.of(next));
                    filled += 1;
                    if filled == BATCH {
                        filled = 0;
                        engine.handle_packets(now, &mut batch, |_, packet, verdict| {
                            black_box((packet.len(), verdict == Verdict::Forward));
                        });
                    }
                });
            },
        );
    }
}

criterion_group!(benches, established);
criterion_main!(benches);
