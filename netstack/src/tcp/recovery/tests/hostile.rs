//! Any acknowledgment, in any order: nothing breaks, and an honest peer still gets everything.

use std::ops::Range;
use std::time::Duration;

use proptest::prelude::*;

use super::link::byte_at;
use crate::tcp::buffer::Pool;
use crate::tcp::congestion::Algorithm;
use crate::tcp::recovery::scoreboard::{MAX_RUNS, Scoreboard};
use crate::tcp::recovery::{Ack, RTO_MIN, Sender, SenderConfig};
use crate::time::Instant;

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Ack { offset: i64, window: u32, sack: Vec<(i64, i64)>, echo: Option<u64>, data: bool },
    Wait(u64),
    Timer,
    Send(u32),
    Mss(u32),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let near = || prop_oneof![-3_000..60_000_i64, (0..40_i64).prop_map(|n| n * 1_000)];
    let block = (near(), -2_000..20_000_i64);
    prop_oneof![
        3 => (1..30_000_usize).prop_map(Step::Write),
        8 => (
            near(),
            prop_oneof![Just(0), 0..5_000_u32, Just(1 << 20)],
            prop::collection::vec(block, 0..6),
            prop::option::of(0..300_000_u64),
            any::<bool>()
        )
            .prop_map(|(offset, window, sack, echo, data)| Step::Ack { offset, window, sack, echo, data }),
        3 => (0..150_000_u64).prop_map(Step::Wait),
        3 => Just(Step::Timer),
        6 => (0..70_000_u32).prop_map(Step::Send),
        1 => (0..3_000_u32).prop_map(Step::Mss),
        1 => Just(Step::Close),
    ]
}

struct World {
    now: Instant,
    sender: Sender,
    pool: Pool,
    written: u64,
    sequence: u64,
}

impl World {
    fn new(sack: bool, algorithm: Algorithm) -> Self {
        let now = Instant::from_secs(1);
        let config = SenderConfig {
            mss: 1_000,
            window: 20_000,
            sack,
            handshake_rtt: None,
            max_buffer: 1 << 18,
            rto_min: RTO_MIN,
            user_timeout: Duration::ZERO,
            nagle: false,
            congestion: algorithm.start(now, 1_000, 7),
        };
        let sender = Sender::new(config, now);
        Self { now, sender, pool: Pool::new(1 << 20), written: 0, sequence: 0 }
    }

    fn apply(&mut self, step: &Step) {
        let una = self.sender.una().cast_signed();
        let at = |relative: i64| (una + relative).max(0).cast_unsigned();
        match step {
            Step::Write(len) => {
                let end = self.written + *len as u64;
                let bytes: Vec<_> = (self.written..end).map(byte_at).collect();
                self.written += self.sender.write(self.now, &mut self.pool, &bytes) as u64;
            }
            Step::Ack { offset, window, sack, echo, data } => {
                let sack: Vec<_> =
                    sack.iter().map(|(start, len)| at(*start)..at(start + len)).collect();
                self.sequence += u64::from(*data);
                // Mostly within what is outstanding.
                let within = self.sender.board.outstanding().cast_signed() + 2;
                let offset = if *offset > 0 { offset % within } else { *offset };
                self.ack(at(offset), *window, &sack, echo.map(Duration::from_micros), *data);
            }
            Step::Wait(micros) => self.now += Duration::from_micros(*micros),
            Step::Timer => {
                if let Some(at) = self.sender.poll_timeout() {
                    self.now = self.now.max(at);
                    self.sender.on_timeout(self.now);
                }
            }
            Step::Send(max) => self.send(*max),
            Step::Mss(mss) => self.sender.set_mss(self.now, *mss),
            Step::Close => self.sender.close(self.now),
        }
        self.check();
    }

    fn ack(
        &mut self,
        offset: u64,
        window: u32,
        sack: &[Range<u64>],
        echo_age: Option<Duration>,
        carries_data: bool,
    ) {
        let sequence = self.sequence;
        let ack = Ack { offset, window, sequence, sack, echo_age, carries_data };
        self.sender.on_ack(self.now, &mut self.pool, &ack);
    }

    fn send(&mut self, max: u32) {
        for _ in 0..5_000 {
            let Some(transmit) = self.sender.poll_transmit(self.now, max) else { return };
            let mut payload = vec![0; transmit.len as usize];
            assert_eq!(self.sender.copy_payload(transmit.offset, &mut payload), payload.len());
            let all = (0..).zip(payload).all(|(i, byte)| byte == byte_at(transmit.offset + i));
            assert!(all, "{transmit:?}");
            assert!(transmit.len > 0 || transmit.fin || transmit.probe);
            assert!(transmit.len <= max.max(transmit.mss));
        }
        panic!("a sender that never stops: {:#?}", self.sender);
    }

    fn check(&self) {
        self.sender.board.check();
        assert!(self.sender.una() <= self.sender.next_offset());
        assert!(self.sender.next_offset() <= self.sender.end());
        assert_eq!(self.sender.written(), self.written);
        let waits = self.sender.board.outstanding() > 0;
        assert!(!waits || self.sender.poll_timeout().is_some(), "{:#?}", self.sender);
    }

    /// A peer that now acknowledges whatever is sent, each 10 ms.
    fn finish(&mut self) {
        self.sender.close(self.now);
        for _ in 0..3_000 {
            self.send(65_000);
            if self.sender.fin_acknowledged {
                assert_eq!((self.pool.used(), self.sender.queued()), (0, 0));
                return;
            }
            let soon = self.now + Duration::from_millis(10);
            self.now = soon
                .max(self.sender.poll_timeout().unwrap_or(soon).min(soon + Duration::from_mins(2)));
            self.sequence += 1;
            self.sender.on_timeout(self.now);
            self.ack(self.sender.next_offset(), 1 << 20, &[], None, false);
            self.check();
        }
        panic!("stuck: {:#?}", self.sender);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_acknowledgment_breaks_a_sender(
        sack in any::<bool>(),
        algorithm in prop::sample::select(&Algorithm::ALL[..]),
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut world = World::new(sack, algorithm);
        for step in &steps {
            world.apply(step);
        }
        world.finish();
    }
}

#[test]
fn a_peer_that_acknowledges_single_bytes_costs_a_bounded_amount() {
    let mut board = Scoreboard::new();
    let mut rate = crate::tcp::congestion::rate::RateEstimator::new(Instant::ZERO);
    board.sent(1 << 20, 1_000, rate.on_sent(Instant::ZERO, 1 << 20, 0));
    for at in 0..(1 << 19) {
        board.sack(2 * at..2 * at + 1, |_, _| {});
    }
    board.check();
    assert!(board.memory() <= 2 * (MAX_RUNS + 2) * 48, "{}", board.memory());
    board.acknowledge(1 << 20, |_, _| {});
    board.check();
    assert_eq!((board.in_flight(), board.sacked()), (0, 0));
}
