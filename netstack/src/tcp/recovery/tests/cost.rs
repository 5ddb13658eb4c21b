//! What a sender costs, in memory and in time.

use std::time::Duration;

use super::link::byte_at;
use crate::tcp::buffer::Pool;
use crate::tcp::congestion::Algorithm;
use crate::tcp::recovery::{Ack, RTO_MIN, Sender, SenderConfig};
use crate::time::Instant;

fn sender(algorithm: Algorithm) -> Sender {
    let now = Instant::from_secs(1);
    Sender::new(
        SenderConfig {
            mss: 1_448,
            window: 1 << 24,
            sack: true,
            handshake_rtt: Some(Duration::from_micros(100)),
            max_buffer: 1 << 24,
            rto_min: RTO_MIN,
            user_timeout: Duration::ZERO,
            nagle: false,
            congestion: algorithm.start(now, 1_448, 1),
        },
        now,
    )
}

#[test]
fn an_idle_sender_is_small() {
    for algorithm in Algorithm::ALL {
        let controller = sender(algorithm).congestion;
        let size = size_of::<Sender>() + size_of_val(&*controller);
        let limit = if algorithm == Algorithm::Bbr { 1_100 } else { 850 };
        assert!(size <= limit, "{algorithm}: {size}");
    }
    assert!(size_of::<Sender>() <= 700);
}

/// Nothing is kept on the heap by a sender whose data is acknowledged, beyond room for a few runs.
#[test]
fn what_is_acknowledged_leaves_no_memory_behind() {
    let mut pool = Pool::new(1 << 24);
    let mut sender = sender(Algorithm::default());
    let now = Instant::from_secs(1);
    sender.write(now, &mut pool, &[7; 14_480]);
    while sender.poll_transmit(now, 1_448).is_some() {}
    sender.on_ack(now, &mut pool, &ack(sender.next_offset()));
    assert_eq!((pool.used(), sender.queued(), sender.poll_timeout()), (0, 0, None));
    assert!(sender.board.memory() <= 8 * 48, "{}", sender.board.memory());
    assert_eq!(sender.queue.memory(), 0);
}

fn ack(offset: u64) -> Ack<'static> {
    let window = 1 << 24;
    Ack { offset, window, sequence: 0, sack: &[], echo_age: None, carries_data: false }
}

/// `cargo test -p netstack --lib recovery::tests::cost -- --ignored --nocapture`
#[test]
#[ignore = "prints a figure"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn a_super_packet_and_its_acknowledgments() {
    let mut pool = Pool::new(1 << 26);
    let bytes: Vec<_> = (0..63_712).map(byte_at).collect();
    for (name, step) in [("one ACK a super-packet", 63_712), ("one ACK each 2 segments", 2_896)] {
        let flying = 4 * 63_712;
        let mut sender = sender(Algorithm::Cubic);
        let mut now = Instant::from_secs(1);
        let rounds = 200_000;
        let mut writing = Duration::ZERO;
        let mut acks = 0_u64;
        let begin = std::time::Instant::now();
        for _ in 0..rounds {
            now += Duration::from_micros(50);
            let t = std::time::Instant::now();
            sender.write(now, &mut pool, &bytes);
            writing += t.elapsed();
            while sender.poll_transmit(now, 63_712).is_some() {}
            let mut at = sender.una();
            let next = sender.next_offset();
            let end = next - flying.min((next - sender.una()) / 2);
            now += Duration::from_micros(50);
            while at < end {
                at = (at + step).min(end);
                acks += 1;
                sender.on_ack(now, &mut pool, &ack(at));
                while sender.poll_transmit(now, 63_712).is_some() {}
            }
        }
        let total = begin.elapsed().saturating_sub(writing);
        println!(
            "{name}: {:?} a round, {:?} an ACK of {acks}; {:?} for the copy",
            total / rounds,
            total / acks.max(1) as u32,
            writing / rounds
        );
        sender.clear(&mut pool);
    }
}
