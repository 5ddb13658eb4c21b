//! Packets handed in together come out as they would one by one.

use std::time::Duration;

use nat::rng::Rng;
use nat::{BATCH, Verdict};
use netstack::{Instant, Packet};
use tests::medley::{engine, packet};

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
