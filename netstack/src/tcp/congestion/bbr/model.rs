//! The model of the path: its rate, its round trip, and how bunched its acknowledgments are.

use std::time::Duration;

use super::{Bbr, Delivery, RateSample};
use crate::time::Instant;

/// How long a smallest round trip is good for (`MinRTTFilterLen`).
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// How long the round trip may stay longer before it is measured without a queue (`ProbeRTTInterval`).
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// Rounds that each half of the filter of extra acknowledged data holds (`ExtraAckedFilterLen` is 10).
const AGGREGATION_ROUNDS: u8 = 5;
/// A round trip longer by this part than that of the path means a queue, within these bounds.
const QUEUE_DIVISOR: u64 = 8;
const LEAST_QUEUE: u64 = 1_000;
const GREATEST_QUEUE: u64 = 10_000;

/// Rounds, counted in packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrips {
    pub(super) count: u64,
    /// The acknowledgment that is processed is the first of a round.
    pub(super) start: bool,
    /// The round ends when data is delivered that was sent after so much had been.
    pub(super) end: u64,
}

impl RoundTrips {
    /// A round begins with what is sent next.
    pub(super) fn begin(&mut self, delivered: u64) {
        self.end = delivered;
    }

    fn update(&mut self, rate: &RateSample) {
        self.start = rate.prior_delivered >= self.end;
        if self.start {
            self.begin(rate.prior_delivered + rate.delivered);
            self.count += 1;
        }
    }
}

/// Smallest round trips, in microseconds; `u32::MAX`: none yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRtt {
    /// Of the last [`MIN_RTT_WINDOW`].
    value: u32,
    at: Instant,
    /// Of the last [`PROBE_RTT_INTERVAL`].
    recent: u32,
    recent_at: Instant,
    /// `recent` is too old: it is time to look.
    expired: bool,
    /// Of the last round and of this one.
    last_round: u32,
    this_round: u32,
}

impl MinRtt {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            value: u32::MAX,
            at: now,
            recent: u32::MAX,
            recent_at: now,
            expired: false,
            last_round: u32::MAX,
            this_round: u32::MAX,
        }
    }

    /// Microseconds.
    pub(super) const fn get(&self) -> Option<u64> {
        if self.value == u32::MAX { None } else { Some(self.value as u64) }
    }

    pub(super) const fn expired(&self) -> bool {
        self.expired
    }

    /// The round trip has just been measured without a queue.
    pub(super) fn probed(&mut self, now: Instant) {
        self.recent_at = now;
    }

    pub(super) fn update(&mut self, now: Instant, rtt: Option<Duration>) {
        self.expired = now > self.recent_at + PROBE_RTT_INTERVAL;
        if let Some(rtt) = rtt {
            let rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX - 1).max(1);
            self.this_round = self.this_round.min(rtt);
            if rtt < self.recent || self.expired {
                self.recent = rtt;
                self.recent_at = now;
            }
        }
        if self.recent < self.value || now > self.at + MIN_RTT_WINDOW {
            self.value = self.recent;
            self.at = self.recent_at;
        }
    }

    fn start_round(&mut self) {
        self.last_round = self.this_round;
        self.this_round = u32::MAX;
    }

    #[cfg(test)]
    pub(super) fn set_rounds(&mut self, rtt: u32) {
        self.last_round = rtt;
        self.this_round = rtt;
    }

    /// No round trip of the last round, nor of this one so far, was near that of the path.
    fn queue_stands(&self) -> bool {
        let Some(path) = self.get() else { return false };
        let least = u64::from(self.last_round.min(self.this_round));
        let queue = (path / QUEUE_DIVISOR).clamp(LEAST_QUEUE, GREATEST_QUEUE);
        least != u64::from(u32::MAX) && least > path + queue
    }
}

/// How much more than expected is acknowledged at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aggregation {
    start: Instant,
    delivered: u64,
    /// The largest excess of some rounds, and of the same number of rounds before.
    extra: [u64; 2],
    rounds: u8,
}

impl Aggregation {
    pub(super) const fn new(now: Instant) -> Self {
        Self { start: now, delivered: 0, extra: [0; 2], rounds: 0 }
    }

    /// Idle time is not time in which nothing was acknowledged.
    pub(super) fn restart(&mut self, now: Instant) {
        self.start = now;
    }

    /// Bytes.
    pub(super) fn extra(&self) -> u64 {
        self.extra[0].max(self.extra[1])
    }

    fn start_round(&mut self, window: u8) {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds >= window {
            self.rounds = 0;
            self.extra = [0, self.extra[0]];
        }
    }

    fn update(&mut self, now: Instant, rate: u64, delivered: u64, window: u64) {
        let mut expected = volume(rate, now - self.start);
        if self.delivered <= expected {
            self.delivered = 0;
            self.start = now;
            expected = 0;
        }
        self.delivered += delivered;
        let extra = (self.delivered - expected).min(window);
        self.extra[0] = self.extra[0].max(extra);
    }
}

impl Bbr {
    /// Bytes a second: the largest rate of this probing cycle and of the last one.
    pub(super) fn max_rate(&self) -> u64 {
        self.max_rates[0].max(self.max_rates[1])
    }

    /// Bytes that the path holds without a queue; `None` before the first round trip.
    pub(super) fn product(&self) -> Option<u64> {
        self.min_rtt.get().map(|rtt| volume(self.rate, Duration::from_micros(rtt)))
    }

    /// A queue has stood for a round at least.
    pub(super) fn queue_stands(&self) -> bool {
        self.min_rtt.queue_stands()
    }

    pub(super) fn update_max_rate(&mut self, rate: &RateSample) {
        self.rounds.update(rate);
        if self.rounds.start {
            self.rounds_since_probe = self.rounds_since_probe.saturating_add(1);
            self.min_rtt.start_round();
        }
        if rate.bandwidth > 0 && (rate.bandwidth >= self.max_rate() || !rate.app_limited) {
            self.max_rates[1] = self.max_rates[1].max(rate.bandwidth);
        }
    }

    /// A probing cycle has been seen to its end.
    pub(super) fn advance_max_rate(&mut self) {
        if self.max_rates[1] != 0 {
            self.max_rates = [self.max_rates[1], 0];
        }
    }

    pub(super) fn update_aggregation(&mut self, delivery: &Delivery<'_>) {
        if self.rounds.start {
            let window = if self.full_rate_reached { AGGREGATION_ROUNDS } else { 1 };
            self.aggregation.start_round(window);
        }
        self.aggregation.update(delivery.now, self.rate, delivery.ack.delivered, self.window);
    }
}

/// Bytes that come at `rate` bytes a second in `time`.
pub(super) fn volume(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_micros() / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
