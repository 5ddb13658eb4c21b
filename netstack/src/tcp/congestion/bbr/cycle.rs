//! The state machine.

use std::time::Duration;

use super::{Bbr, Delivery, Feedback, INFINITE, Phase, RateSample, percent};
use crate::time::Instant;

/// Growth that is growth, in percent.
const GROWTH: u64 = 125;
/// Rounds without growth after which the path is full.
const FULL_ROUNDS: u8 = 3;
/// Rounds after which Drain ends in any case.
const DRAIN_ROUNDS: u64 = 3;
/// The least wait between probes of bandwidth; up to a second more, at random.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// The most rounds between probes, so that loss does not keep the bounds down.
const PROBE_ROUNDS: u64 = 63;
/// How long `ProbeRTT` lasts, at least.
const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);

impl Phase {
    const fn is_probe_bw(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }
}

// Is the path full?
impl Bbr {
    pub(super) fn reset_full_rate(&mut self) {
        self.full_rate = 0;
        self.full_rate_count = 0;
        self.full_rate_now = false;
    }

    /// Growth is looked for in each acknowledgment, its absence once a round. In Startup growth is that of
    /// the largest rate, as in version 1, so that what samples of the application have raised counts.
    pub(super) fn check_full_rate(&mut self, rate: &RateSample) {
        if self.full_rate_now || rate.app_limited {
            return;
        }
        let seen = if self.full_rate_reached { rate.bandwidth } else { self.max_rate() };
        if seen > 0 && seen >= percent(self.full_rate, GROWTH) {
            self.reset_full_rate();
            self.full_rate = seen;
        } else if self.rounds.start {
            self.full_rate_count += 1;
            self.full_rate_now = self.full_rate_count >= FULL_ROUNDS;
            self.full_rate_reached |= self.full_rate_now;
        }
    }
}

// Startup and Drain.
impl Bbr {
    pub(super) fn check_startup_done(&mut self, delivery: &Delivery<'_>) {
        if self.phase != Phase::Startup {
            return;
        }
        if !self.full_rate_reached && self.startup_lost_much(delivery) {
            self.leave_startup_by_loss();
        }
        if self.full_rate_reached {
            self.phase = Phase::Drain;
            self.drain_start_round = self.rounds.count;
        }
    }

    pub(super) fn check_drain_done(&mut self, delivery: &Delivery<'_>) {
        if self.phase == Phase::Drain
            && (delivery.ack.in_flight <= self.inflight(100)
                || self.rounds.count > self.drain_start_round + DRAIN_ROUNDS)
        {
            self.start_down(delivery.now);
        }
    }
}

// ProbeBW.
impl Bbr {
    pub(super) fn start_down(&mut self, now: Instant) {
        self.reset_congestion_signals();
        self.probe_up_acked_per_segment = INFINITE;
        self.rounds_since_probe = u32::from(self.random_below(2) == 1);
        self.probe_wait = PROBE_WAIT + Duration::from_micros(self.random_below(1_000_001));
        self.cycle_start = now;
        self.feedback = Feedback::Stopping;
        self.rounds.begin(self.delivered);
        self.phase = Phase::Down;
    }

    pub(super) fn start_refill(&mut self, _now: Instant) {
        self.reset_shortterm();
        self.probe_up_rounds = 0;
        self.probe_up_acked = 0;
        self.last_probe_precautionary = false;
        self.feedback = Feedback::Refilling;
        self.rounds.begin(self.delivered);
        self.phase = Phase::Refill;
    }

    fn start_up(&mut self, rate: &RateSample) {
        self.probe_sample = true;
        self.feedback = Feedback::Starting;
        self.rounds.begin(self.delivered);
        self.reset_full_rate();
        self.full_rate = rate.bandwidth;
        self.phase = Phase::Up;
        self.raise_slope();
    }

    pub(super) fn update_cycle(&mut self, delivery: &Delivery<'_>) {
        if !self.full_rate_reached || self.adapt_longterm(delivery) || !self.phase.is_probe_bw() {
            return;
        }
        let now = delivery.now;
        let phase = self.phase;
        match phase {
            Phase::Down | Phase::Cruise if self.is_time_to_probe(now) => self.start_refill(now),
            Phase::Down if self.is_time_to_cruise(delivery) => self.phase = Phase::Cruise,
            Phase::Refill if self.rounds.start => self.start_up(delivery.rate),
            Phase::Up if self.is_time_to_go_down(delivery) => {
                self.last_probe_too_high = false;
                self.start_down(now);
            }
            _ => {}
        }
    }

    fn is_time_to_probe(&self, now: Instant) -> bool {
        // Reno takes a round for each segment in flight to come back to where it lost.
        let reno = self.target_inflight() / u64::from(self.mss);
        now > self.cycle_start + self.probe_wait
            || u64::from(self.rounds_since_probe) >= reno.min(PROBE_ROUNDS)
    }

    fn is_time_to_cruise(&self, delivery: &Delivery<'_>) -> bool {
        let in_flight = delivery.ack.in_flight;
        in_flight <= self.inflight_with_headroom() && in_flight <= self.inflight_at_max_rate()
    }

    fn is_time_to_go_down(&mut self, delivery: &Delivery<'_>) -> bool {
        if self.last_probe_too_high && delivery.ack.in_flight >= self.inflight_longterm {
            self.last_probe_precautionary = true;
            return true;
        }
        if delivery.ack.window_limited && self.window >= self.inflight_longterm {
            // The bound limits the rate, not the path.
            self.reset_full_rate();
            self.full_rate = delivery.rate.bandwidth;
            return false;
        }
        self.full_rate_now
    }

    /// Follows a probe by its acknowledgments and raises the long-term bound if they allow it. True if
    /// it has changed the phase.
    fn adapt_longterm(&mut self, delivery: &Delivery<'_>) -> bool {
        if self.rounds.start && self.feedback == Feedback::Starting {
            self.feedback = Feedback::Probing;
        } else if self.rounds.start && self.feedback == Feedback::Stopping {
            self.probe_sample = false;
            self.feedback = Feedback::None;
            if self.phase.is_probe_bw() {
                if !delivery.rate.app_limited {
                    self.advance_max_rate();
                }
                if self.last_probe_precautionary && !self.last_probe_too_high {
                    self.start_refill(delivery.now);
                    return true;
                }
            }
        }
        let rate = delivery.rate;
        if self.inflight_longterm != INFINITE && !self.rate_too_high(rate) {
            self.inflight_longterm = self.inflight_longterm.max(rate.tx_in_flight);
            if self.phase == Phase::Up {
                self.raise_longterm(delivery);
            }
        }
        false
    }

    /// Twice as fast each round.
    fn raise_slope(&mut self) {
        let segments_a_round = 1 << self.probe_up_rounds;
        self.probe_up_rounds = (self.probe_up_rounds + 1).min(30);
        self.probe_up_acked_per_segment = (self.window / segments_a_round).max(u64::from(self.mss));
    }

    fn raise_longterm(&mut self, delivery: &Delivery<'_>) {
        if !delivery.ack.window_limited || self.window < self.inflight_longterm {
            return;
        }
        self.probe_up_acked += delivery.ack.delivered;
        let segments = self.probe_up_acked / self.probe_up_acked_per_segment.max(1);
        self.probe_up_acked -= segments * self.probe_up_acked_per_segment;
        self.inflight_longterm += segments * u64::from(self.mss);
        if self.rounds.start {
            self.raise_slope();
        }
    }
}

// `ProbeRTT`, and idleness, which serves as well.
impl Bbr {
    pub(super) fn check_probe_rtt(&mut self, delivery: &Delivery<'_>) {
        if self.phase != Phase::ProbeRtt && self.min_rtt.expired() && !self.idle_restart {
            self.save_window();
            self.phase = Phase::ProbeRtt;
            self.probe_rtt_done = None;
            self.feedback = Feedback::Stopping;
            self.rounds.begin(self.delivered);
        }
        if self.phase == Phase::ProbeRtt {
            self.handle_probe_rtt(delivery);
        }
        if delivery.rate.delivered > 0 {
            self.idle_restart = false;
        }
    }

    fn handle_probe_rtt(&mut self, delivery: &Delivery<'_>) {
        if self.probe_rtt_done.is_some() {
            self.probe_rtt_round_done |= self.rounds.start;
            if self.probe_rtt_round_done {
                self.check_probe_rtt_done(delivery.now);
            }
        } else if delivery.ack.in_flight <= self.probe_rtt_window() {
            self.probe_rtt_done = Some(delivery.now + PROBE_RTT_DURATION);
            self.probe_rtt_round_done = false;
            self.rounds.begin(self.delivered);
        }
    }

    fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.probe_rtt_done.is_none_or(|done| now <= done) {
            return;
        }
        self.min_rtt.probed(now);
        self.restore_window();
        self.reset_shortterm();
        if self.full_rate_reached {
            self.start_down(now);
            self.phase = Phase::Cruise;
        } else {
            self.phase = Phase::Startup;
        }
    }

    /// Nothing was in flight because the application had nothing to send.
    pub(super) fn restart_from_idle(&mut self, now: Instant) {
        self.idle_restart = true;
        self.aggregation.restart(now);
        if self.phase.is_probe_bw() {
            self.set_pacing_rate_with_gain(100);
        } else if self.phase == Phase::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }
}
