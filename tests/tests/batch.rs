//! Packets handed in together come out as they would one by one.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::time::Duration;

use nat::rng::Rng;
use nat::{BATCH, Engine, Verdict};
use netstack::wire::text;
use netstack::{Instant, LegId, Packet};
use tests::bed::config;
use tests::mutate::answer;

/// What a few clients and both backends send, in any order: flows begin, end, are reset, begin anew on
/// the same tuple, and give way at the limit, in the middle of a batch.
const LINES: [(u16, &str); 18] = [
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 S seq={s} mss=1460"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 S seq={s} mss=1460"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:81 S seq={s}"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 . seq=2 ack=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 P. seq=2 ack=1 len=30"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 F. seq=2 ack=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:81 R seq=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 R seq=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.2:80 S seq={s}"),
    (0, "udp 10.1.0.5:{p} > 10.99.0.1:53 len=40"),
    (0, "udp 10.1.0.5:{p} > 10.99.0.1:53 len=1800"),
    (0, "udp 10.1.0.5 > 10.99.0.1 frag=24 ipid=7 len=20"),
    (0, "udp 10.1.0.5 > 10.99.0.1 frag=0+ ipid=7 data=9c40003500300000 len=24"),
    (0, "icmp 10.1.0.5 > 10.99.0.4 echo id={p} seq=1 len=30"),
    (1, "tcp 10.2.0.11:8080 > 10.1.0.5:{p} R. ack=2"),
    (1, "tcp 10.2.0.11:8080 > 10.1.0.5:{p} S. seq=9 ack=2"),
    (0, "malformed truncated len=3 data=450000"),
    (1, "tcp 10.2.0.12:8080 > 10.1.0.5:{p} F. seq=9 ack=2"),
];

fn engine() -> Engine {
    let mut config = config();
    config.limits.flows = 12;
    config.limits.half_open = 6;
    Engine::new(config).unwrap()
}

/// A packet, or the answer of its receiver to one that was sent: as often as not, that of a flow.
fn packet(rng: &mut Rng, sent: &[Packet]) -> Packet {
    let answered = sent.get(rng.below(2 * sent.len() as u64 + 1) as usize);
    if let Some(mut packet) = answered.cloned() {
        answer(&mut packet);
        return packet;
    }
    let (leg, line) = LINES[rng.below(LINES.len() as u64) as usize];
    let port = (40_000 + rng.below(6)).to_string();
    let line = line.replace("{p}", &port).replace("{s}", &rng.below(2).to_string());
    let mut packet = text::packet(&line).unwrap();
    packet.leg = LegId(leg);
    packet
}

#[test]
fn a_batch_does_to_each_packet_what_it_would_have_met_alone() {
    for seed in 0..60 {
        let (mut together, mut alone) = (engine(), engine());
        let mut rng = Rng::new(seed);
        let mut now = Instant::from_secs(1);
        let mut sent: Vec<Packet> = Vec::new();
        for _ in 0..40 {
            let count = rng.below(2 * BATCH as u64 + 3) as usize;
            let packets: Vec<_> = (0..count).map(|_| packet(&mut rng, &sent)).collect();

            let mut expected = Vec::new();
            for packet in &packets {
                let mut packet = packet.clone();
                let verdict = alone.handle_packet(now, &mut packet);
                expected.push((verdict, packet.leg, packet.data().to_vec()));
                while alone.poll_transmit(&mut packet) {
                    expected.push((Verdict::Forward, packet.leg, packet.data().to_vec()));
                }
            }
            let mut found = Vec::new();
            let mut batch = packets.clone();
            sent.clear();
            together.handle_packets(now, &mut batch, |_, packet, verdict| {
                found.push((verdict, packet.leg, packet.data().to_vec()));
                sent.push(packet.clone());
            });
            assert_eq!(found, expected, "seed {seed}");
            assert_eq!(together.stats(), alone.stats(), "seed {seed}");
            together.assert_consistent();

            now += Duration::from_millis(rng.below(3_000));
            together.handle_timeout(now);
            alone.handle_timeout(now);
        }
        assert!(alone.stats().flows_evicted > 0 && alone.stats().forwarded > 100, "seed {seed}");
    }
}
