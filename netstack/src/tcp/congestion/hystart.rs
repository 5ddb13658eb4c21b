//! `HyStart++` (RFC 9406): leaving slow start before the queue overflows.
//!
//! The smallest round trip of one round of slow start is compared with that of the round before. If it
//! has risen by an eighth (between 4 and 16 ms), a queue is growing: growth falls to a quarter, in
//! conservative slow start. If the round trip falls below where it was then, the rise was noise and slow
//! start resumes; after five rounds without that it is over.

use std::time::Duration;

use super::AckSample;

/// Bounds of the rise that counts (`MIN_RTT_THRESH`, `MAX_RTT_THRESH`), in microseconds.
const LEAST_RISE: u32 = 4_000;
const GREATEST_RISE: u32 = 16_000;
/// The rise that counts, as a part of the round trip (`MIN_RTT_DIVISOR`).
const RISE_DIVISOR: u32 = 8;
/// Round trips seen in a round before it is judged (`N_RTT_SAMPLE`).
const SAMPLES: u8 = 8;
/// By what conservative slow start is slower (`CSS_GROWTH_DIVISOR`).
const GROWTH_DIVISOR: u64 = 4;
/// Rounds of conservative slow start (`CSS_ROUNDS`).
const ROUNDS: u8 = 5;

/// Watches the round trips of the first slow start.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// The round ends when this offset is acknowledged.
    round_end: u64,
    /// Smallest round trip of the last round and of this one, in microseconds; `u32::MAX`: not known.
    last: u32,
    current: u32,
    /// That of the round in which conservative slow start began; zero outside of it.
    baseline: u32,
    /// Round trips seen in this round; saturates.
    samples: u8,
    /// Rounds of conservative slow start that have begun.
    rounds: u8,
}

/// What slow start should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Grow by so many bytes.
    Grow(u64),
    /// It is over: the window becomes the threshold.
    Leave,
}

impl HyStart {
    pub(super) const fn new() -> Self {
        Self { round_end: 0, last: u32::MAX, current: u32::MAX, baseline: 0, samples: 0, rounds: 0 }
    }

    /// Growth is slower than that of slow start.
    pub(super) const fn conservative(&self) -> bool {
        self.baseline != 0
    }

    /// To be called for each acknowledgment of the first slow start; `growth` is what plain slow start
    /// would grow by.
    pub(super) fn on_ack(&mut self, ack: &AckSample, growth: u64) -> Advice {
        if ack.una >= self.round_end && self.start_round(ack.next_offset) {
            return Advice::Leave;
        }
        if let Some(rtt) = ack.rtt {
            self.current = self.current.min(micros(rtt));
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= SAMPLES {
            self.judge();
        }
        Advice::Grow(if self.conservative() { growth.div_ceil(GROWTH_DIVISOR) } else { growth })
    }

    /// True if conservative slow start has had its rounds.
    fn start_round(&mut self, next_offset: u64) -> bool {
        self.round_end = next_offset;
        self.last = self.current;
        self.current = u32::MAX;
        self.samples = 0;
        if self.conservative() {
            self.rounds += 1;
        }
        self.rounds > ROUNDS
    }

    fn judge(&mut self) {
        if self.conservative() {
            if self.current < self.baseline {
                self.baseline = 0;
                self.rounds = 0;
            }
        } else if self.current != u32::MAX && self.last != u32::MAX {
            let rise = (self.last / RISE_DIVISOR).clamp(LEAST_RISE, GREATEST_RISE);
            if self.current >= self.last.saturating_add(rise) {
                self.baseline = self.current;
                // The round in which it begins counts.
                self.rounds = 1;
            }
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::super::sample::ack;
    use super::*;

    /// One round of ten acknowledgments with a round trip of `rtt` ms; the advice of the last.
    fn round(hystart: &mut HyStart, number: u64, rtt: u64) -> Advice {
        let mut advice = Advice::Grow(0);
        for _ in 0..10 {
            let ack = AckSample {
                rtt: Some(Duration::from_millis(rtt)),
                una: number * 1_000,
                next_offset: (number + 1) * 1_000,
                ..ack(100)
            };
            advice = hystart.on_ack(&ack, 100);
            if advice == Advice::Leave {
                break;
            }
        }
        advice
    }

    #[test]
    fn a_constant_round_trip_keeps_slow_start() {
        let mut hystart = HyStart::new();
        for number in 0..20 {
            assert_eq!(round(&mut hystart, number, 40), Advice::Grow(100));
        }
    }

    #[test]
    fn a_rise_slows_growth_and_five_rounds_end_it() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 0, 40);
        assert_eq!(round(&mut hystart, 1, 44), Advice::Grow(100), "less than an eighth");
        for number in 2..7 {
            assert_eq!(round(&mut hystart, number, 50), Advice::Grow(25), "round {number}");
        }
        assert_eq!(round(&mut hystart, 7, 50), Advice::Leave);
    }

    #[test]
    fn a_rise_that_was_noise_is_forgotten() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 0, 40);
        assert_eq!(round(&mut hystart, 1, 50), Advice::Grow(25));
        assert_eq!(round(&mut hystart, 2, 41), Advice::Grow(100));
        assert!(!hystart.conservative());
    }

    #[test]
    fn few_samples_judge_nothing() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 0, 40);
        let late = AckSample {
            rtt: Some(Duration::from_millis(90)),
            una: 1_000,
            next_offset: 2_000,
            ..ack(100)
        };
        for _ in 0..7 {
            assert_eq!(hystart.on_ack(&late, 100), Advice::Grow(100));
        }
        assert_eq!(hystart.on_ack(&late, 100), Advice::Grow(25), "the eighth");
    }

    #[test]
    fn the_rise_that_counts_is_bounded() {
        for (rtt, too_little, enough) in [(1, 4, 5), (1_000, 1_015, 1_016)] {
            let mut hystart = HyStart::new();
            round(&mut hystart, 0, rtt);
            round(&mut hystart, 1, too_little);
            assert!(!hystart.conservative(), "{rtt}");
            let mut hystart = HyStart::new();
            round(&mut hystart, 0, rtt);
            round(&mut hystart, 1, enough);
            assert!(hystart.conservative(), "{rtt}");
        }
    }
}
