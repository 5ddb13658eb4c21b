//! `NewReno` (RFC 5681, 6582; counting bytes, RFC 3465).

use std::time::Duration;

use super::{AckSample, Algorithm, Congestion, Sent, idle_window, initial_window, slow_start};
use crate::time::Instant;

/// Doubles the window a round trip up to the threshold, then adds a segment a round trip; halves it at
/// a loss.
#[derive(Clone, Debug)]
pub(super) struct NewReno {
    mss: u32,
    window: u64,
    threshold: u64,
    /// Bytes acknowledged in congestion avoidance that the window has not grown for.
    counted: u64,
    /// Window and threshold before the last reduction.
    before: Option<(u64, u64)>,
    /// An episode of recovery is on; a timeout in it is no further sign of congestion.
    reduced: bool,
}

impl NewReno {
    pub(super) fn new(mss: u32) -> Self {
        Self {
            mss,
            window: initial_window(mss),
            threshold: u64::MAX,
            counted: 0,
            before: None,
            reduced: false,
        }
    }

    fn reduce(&mut self) {
        if !self.reduced {
            self.before = Some((self.window, self.threshold));
            self.threshold = (self.window / 2).max(2 * u64::from(self.mss));
            self.reduced = true;
            self.counted = 0;
        }
    }
}

impl Congestion for NewReno {
    fn algorithm(&self) -> Algorithm {
        Algorithm::NewReno
    }

    fn on_sent(&mut self, _now: Instant, _sent: &Sent) {}

    fn on_ack(&mut self, _now: Instant, ack: &AckSample) {
        if ack.in_recovery || !ack.fills(self.window, self.threshold) {
            return;
        }
        let rest = slow_start(&mut self.window, self.threshold, ack.delivered);
        self.counted += rest;
        if self.counted >= self.window {
            self.counted -= self.window;
            self.window += u64::from(self.mss);
        }
    }

    fn on_congestion(&mut self, _now: Instant) {
        self.reduce();
        self.window = self.threshold;
    }

    fn on_recovered(&mut self, _now: Instant) {
        self.reduced = false;
    }

    fn on_timeout(&mut self, _now: Instant, in_flight: u64) {
        self.reduce();
        self.window = in_flight + u64::from(self.mss);
    }

    fn undo(&mut self, _now: Instant) {
        if let Some((window, threshold)) = self.before.take() {
            self.window = self.window.max(window);
            self.threshold = self.threshold.max(threshold);
        }
        self.reduced = false;
    }

    fn on_restart(&mut self, _now: Instant, idle: Duration, rto: Duration) {
        self.threshold = self.threshold.max(self.window / 4 * 3);
        self.window = idle_window(self.window, self.mss, idle, rto);
        self.counted = 0;
    }

    fn inherit(&mut self, window: u64, threshold: u64) {
        self.window = window.max(u64::from(self.mss));
        self.threshold = threshold;
    }

    fn set_mss(&mut self, mss: u32) {
        self.mss = mss;
        self.window = self.window.max(u64::from(mss));
        self.threshold = self.threshold.max(2 * u64::from(mss));
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn slow_start_threshold(&self) -> u64 {
        self.threshold
    }

    fn phase(&self) -> &'static str {
        super::loss_based_phase(self.window, self.threshold, self.reduced)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::ack;
    use super::*;

    const MSS: u64 = 1_000;
    const NOW: Instant = Instant::ZERO;

    fn reno(window: u64, threshold: u64) -> NewReno {
        NewReno { window, threshold, ..NewReno::new(MSS as u32) }
    }

    #[test]
    fn doubles_a_round_trip_in_slow_start() {
        let mut reno = NewReno::new(MSS as u32);
        assert_eq!(reno.window(), 10 * MSS);
        assert_eq!(reno.pacing_gain_percent(), 200);
        reno.on_ack(NOW, &ack(10 * MSS));
        assert_eq!(reno.window(), 20 * MSS);
        assert_eq!(reno.phase(), "slow start");
    }

    #[test]
    fn adds_a_segment_a_round_trip_in_congestion_avoidance() {
        let mut reno = reno(10 * MSS, 10 * MSS);
        for _ in 0..9 {
            reno.on_ack(NOW, &ack(MSS));
        }
        assert_eq!(reno.window(), 10 * MSS);
        reno.on_ack(NOW, &ack(MSS));
        assert_eq!(reno.window(), 11 * MSS);
        assert_eq!(reno.phase(), "congestion avoidance");
        assert_eq!(reno.pacing_gain_percent(), 120);
    }

    #[test]
    fn does_not_grow_what_is_not_used() {
        let mut reno = reno(10 * MSS, 10 * MSS);
        reno.on_ack(NOW, &AckSample { window_limited: false, ..ack(100 * MSS) });
        assert_eq!(reno.window(), 10 * MSS);
        reno.threshold = u64::MAX;
        let half = AckSample { window_limited: false, prior_in_flight: 6 * MSS, ..ack(MSS) };
        reno.on_ack(NOW, &half);
        assert_eq!(reno.window(), 11 * MSS, "half used suffices in slow start");
    }

    #[test]
    fn halves_at_a_loss_once_an_episode() {
        let mut reno = reno(20 * MSS, u64::MAX);
        reno.on_congestion(NOW);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (10 * MSS, 10 * MSS));
        assert_eq!(reno.phase(), "recovery");
        reno.on_ack(NOW, &AckSample { in_recovery: true, ..ack(30 * MSS) });
        assert_eq!(reno.window(), 10 * MSS);
        reno.on_timeout(NOW, 0);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (MSS, 10 * MSS));
        reno.on_recovered(NOW);
        reno.on_timeout(NOW, 0);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (MSS, 2 * MSS), "the least");
    }

    #[test]
    fn takes_a_reduction_back() {
        let mut reno = reno(20 * MSS, u64::MAX);
        reno.on_timeout(NOW, 0);
        reno.undo(NOW);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (20 * MSS, u64::MAX));
        reno.undo(NOW);
        assert_eq!(reno.window(), 20 * MSS, "once");
    }

    #[test]
    fn remembers_three_quarters_over_idleness() {
        let mut reno = reno(80 * MSS, 40 * MSS);
        reno.on_restart(NOW, Duration::from_secs(1), Duration::from_millis(900));
        assert_eq!((reno.window(), reno.slow_start_threshold()), (40 * MSS, 60 * MSS));
    }
}
