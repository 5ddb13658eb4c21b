//! Round trips and the retransmission timeout (RFC 6298).
//!
//! The timeout is the smoothed round trip plus four times its deviation. The deviation has a floor, as in
//! Linux, and not the sum: a path of 100 ms gets 300 ms, so that a queue that builds up is not taken for
//! a loss. With one sample an acknowledgment the deviation would forget a peak within one round trip;
//! the largest of a round trip is kept and fades by a quarter each.

use std::time::Duration;

use crate::time::Instant;

/// The timeout of a connection whose round trip is not known because its SYN had to be repeated (RFC
/// 6298 section 5.7).
const UNKNOWN: Duration = Duration::from_secs(3);

/// The same for a loss probe (RFC 8985 section 7.2).
const UNKNOWN_PROBE: Duration = Duration::from_secs(1);

/// What a peer may delay the acknowledgment of a lone segment by (RFC 8985: `WCDelAckT`).
const ACK_DELAY: Duration = Duration::from_millis(200);

/// What our timers and the peer's may be late by.
const GRANULARITY: Duration = Duration::from_millis(2);

/// Doublings of the timeout that stay until a round trip is measured.
const KEPT_BACKOFF: u8 = 2;

/// No timeout is longer (RFC 6298 section 2.5).
pub(crate) const MAX_RTO: Duration = Duration::from_mins(1);

/// Half of the time after which a smallest round trip is forgotten: the path may have changed.
const GENERATION: Duration = Duration::from_secs(150);

/// What a round trip may be longer than the smallest without a queue, in microseconds: timers of both ends
/// are late by that.
const LEAST_QUEUE: u32 = 1_000;

/// What is known about the round trip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrip {
    /// Smoothed, in microseconds.
    smoothed: Option<u32>,
    /// Four times the mean deviation.
    deviation: u32,
    /// The largest of `deviation` in this round trip.
    peak: u32,
    /// What the timeout adds to the round trip.
    margin: u32,
    /// The least `margin`.
    floor: u32,
    /// Timeouts in a row; each doubles the next.
    backoff: u8,
    /// Acknowledged when the round trip of `peak` is over.
    round_ends: u64,
    /// The smallest of this generation and of the one before it.
    smallest: [u32; 2],
    generation: Instant,
}

impl RoundTrip {
    /// Nothing is known; the timeout is never less than `floor` above the round trip.
    pub(crate) fn new(now: Instant, floor: Duration) -> Self {
        let floor = micros(floor);
        Self {
            smoothed: None,
            deviation: 0,
            peak: floor,
            margin: floor,
            floor,
            backoff: 0,
            round_ends: 0,
            smallest: [u32::MAX; 2],
            generation: now,
        }
    }

    /// Takes a sample from an acknowledgment up to `una`, with `next` the next offset to be sent.
    pub(crate) fn sample(&mut self, rtt: Duration, una: u64, next: u64) {
        let rtt = micros(rtt).clamp(1, u32::MAX >> 4);
        self.backoff = 0;
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(rtt);
            self.deviation = 2 * rtt;
            self.margin = self.deviation.max(self.floor);
            self.peak = self.margin;
            self.round_ends = next;
            return;
        };
        self.smoothed = Some((smoothed - smoothed / 8 + rtt / 8).max(1));
        let error = rtt.abs_diff(smoothed);
        if rtt >= smoothed || error <= self.deviation / 4 {
            self.deviation = self.deviation - self.deviation / 4 + error;
        } else {
            // A round trip that falls is no sign of one that will rise.
            self.deviation += (error - self.deviation / 4) / 8;
        }
        self.peak = self.peak.max(self.deviation);
        self.margin = self.margin.max(self.peak);
        if una >= self.round_ends {
            self.margin -= (self.margin - self.peak) / 4;
            self.peak = self.floor;
            self.round_ends = next;
        }
    }

    /// Takes note of a round trip that may be the smallest.
    pub(crate) fn note_smallest(&mut self, now: Instant, rtt: Duration) {
        if now - self.generation > GENERATION {
            self.smallest = [u32::MAX, self.smallest[0]];
            self.generation = now;
        }
        self.smallest[0] = self.smallest[0].min(micros(rtt).max(1));
    }

    /// A timeout has passed: the next is twice as long.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// Data was acknowledged, be it such as was sent again. Without a sample the timeout should stay (RFC
    /// 6298 section 5.7), or a round trip that has become longer than it would never be measured; but
    /// at a high rate of loss it would grow to a minute though the peer answers. So a little stays.
    pub(crate) fn progress(&mut self) {
        self.backoff = self.backoff.min(KEPT_BACKOFF);
    }

    /// The retransmission timeout.
    pub(crate) fn timeout(&self) -> Duration {
        let base = self
            .smoothed
            .map_or(UNKNOWN, |smoothed| from_micros(smoothed) + from_micros(self.margin));
        (base * (1 << self.backoff.min(16))).min(MAX_RTO)
    }

    /// How long to wait for an acknowledgment before asking for one (PTO of RFC 8985 section 7.2), which
    /// the peer may delay if there is `one_segment` only.
    pub(crate) fn probe_timeout(&self, one_segment: bool) -> Duration {
        let delay = if one_segment { ACK_DELAY } else { GRANULARITY };
        self.smoothed().map_or(UNKNOWN_PROBE, |smoothed| 2 * smoothed + delay)
    }

    /// The smoothed round trip.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed.map(from_micros)
    }

    /// Round trips are longer than the smallest by an eighth, at least by [`LEAST_QUEUE`].
    pub(crate) fn shows_queue(&self) -> bool {
        let smallest = self.smallest[0].min(self.smallest[1]);
        let queue = (smallest / 8).max(LEAST_QUEUE);
        self.smoothed.is_some_and(|smoothed| smoothed > smallest.saturating_add(queue))
    }

    /// Its deviation (RTTVAR).
    pub(crate) fn deviation(&self) -> Duration {
        from_micros(self.margin / 4)
    }

    /// The smallest of the last minutes; [`Duration::MAX`] before the first.
    pub(crate) fn smallest(&self) -> Duration {
        match self.smallest[0].min(self.smallest[1]) {
            u32::MAX => Duration::MAX,
            smallest => from_micros(smallest),
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

const fn from_micros(micros: u32) -> Duration {
    Duration::from_micros(micros as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn measured(samples: &[u64]) -> RoundTrip {
        let mut rtt = RoundTrip::new(Instant::ZERO, ms(200));
        for (i, sample) in samples.iter().enumerate() {
            rtt.sample(ms(*sample), i as u64, i as u64 + 1);
        }
        rtt
    }

    #[test]
    fn the_first_sample_sets_everything() {
        assert_eq!(measured(&[]).timeout(), UNKNOWN);
        let rtt = measured(&[100]);
        assert_eq!((rtt.smoothed(), rtt.timeout()), (Some(ms(100)), ms(300)));
        assert_eq!(measured(&[1_000]).timeout(), ms(3_000), "SRTT + 4 * (R / 2)");
    }

    #[test]
    fn a_steady_path_comes_down_to_the_floor_above_the_round_trip() {
        let rtt = measured(&[50; 100]);
        assert_eq!((rtt.smoothed(), rtt.timeout()), (Some(ms(50)), ms(250)));
    }

    #[test]
    fn a_peak_is_remembered_for_some_round_trips() {
        let mut samples = [50; 100];
        samples[50] = 1_050;
        let at = |n| measured(&samples[..n]).timeout();
        assert!(at(51) > ms(1_000), "{:?}", at(51));
        assert!(at(53) > ms(600), "{:?}", at(53));
        assert!(at(100) < ms(320), "{:?}", at(100));
    }

    #[test]
    fn each_timeout_doubles_the_next_up_to_a_minute_and_a_sample_ends_that() {
        let mut rtt = measured(&[50; 100]);
        rtt.back_off();
        rtt.back_off();
        assert_eq!(rtt.timeout(), ms(1_000));
        for _ in 0..300 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), MAX_RTO);
        rtt.sample(ms(50), 200, 201);
        assert_eq!(rtt.timeout(), ms(250));
    }

    #[test]
    fn the_smallest_round_trip_is_forgotten_after_some_minutes() {
        let mut rtt = measured(&[]);
        assert_eq!(rtt.smallest(), Duration::MAX);
        rtt.note_smallest(Instant::from_secs(1), ms(10));
        for s in 2..140 {
            rtt.note_smallest(Instant::from_secs(s), ms(20));
        }
        assert_eq!(rtt.smallest(), ms(10));
        for s in 140..500 {
            rtt.note_smallest(Instant::from_secs(s), ms(20));
        }
        assert_eq!(rtt.smallest(), ms(20));
    }

    #[test]
    fn a_queue_shows_in_the_smoothed_round_trip() {
        for (smallest, smoothed, queue) in
            [(20, 22, false), (20, 23, true), (2, 3, false), (2, 4, true)]
        {
            let mut rtt = measured(&[smoothed; 50]);
            assert!(!rtt.shows_queue(), "longer than what?");
            rtt.note_smallest(Instant::ZERO, ms(smallest));
            assert_eq!(rtt.shows_queue(), queue, "{smallest} {smoothed}");
        }
    }

    #[test]
    fn absurd_samples_do_no_harm() {
        let mut rtt = measured(&[0, 0]);
        rtt.sample(Duration::MAX, 3, 4);
        rtt.sample(Duration::MAX, 4, 5);
        assert_eq!(rtt.timeout(), MAX_RTO);
    }
}
