//! Window and pace, by the model.

use std::time::Duration;

use super::model::volume;
use super::{AckSample, Bbr, INFINITE, Phase, initial_window, percent};

/// How far below the rate to pace, in percent, so that queues drain (`PacingMarginPercent`).
const PACING_MARGIN: u64 = 1;
/// What to leave free of the long-term bound, in percent (`Headroom`).
const HEADROOM: u64 = 15;
/// The smallest window, in segments (`MinPipeCwnd`).
const MIN_SEGMENTS: u64 = 4;
/// What leaves back to back: as much as is paced in this time, within bounds.
const QUANTUM_TIME: Duration = Duration::from_millis(1);
const MAX_QUANTUM: u64 = 65_536;
/// Quanta that are in flight without being on the path: sending, segmented, or reassembled.
const QUANTA_IN_HOSTS: u64 = 3;

impl Phase {
    /// In percent of the rate.
    const fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => 277,
            Self::Drain => 50,
            Self::Down => 90,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 100,
            Self::Up => 125,
        }
    }

    /// In percent of what the path holds.
    const fn window_gain(self) -> u64 {
        match self {
            Self::Up => 225,
            Self::ProbeRtt => 50,
            _ => 200,
        }
    }
}

// How much may be in flight.
impl Bbr {
    pub(super) fn min_window(&self) -> u64 {
        MIN_SEGMENTS * u64::from(self.mss)
    }

    /// `gain` percent of what the path holds, and what hosts and probing need on top.
    pub(super) fn inflight(&self, gain: u64) -> u64 {
        self.with_budget(self.product_times(gain))
    }

    /// What the path holds at the largest rate, whatever short-term bound there is.
    pub(super) fn inflight_at_max_rate(&self) -> u64 {
        match self.min_rtt.get() {
            Some(rtt) => self.with_budget(volume(self.max_rate(), Duration::from_micros(rtt))),
            None => self.inflight(100),
        }
    }

    /// What the path holds, or less if loss has cut the window.
    pub(super) fn target_inflight(&self) -> u64 {
        self.product().map_or(self.window, |product| product.min(self.window))
    }

    pub(super) fn inflight_with_headroom(&self) -> u64 {
        if self.inflight_longterm == INFINITE {
            return INFINITE;
        }
        let headroom = percent(self.inflight_longterm, HEADROOM).max(u64::from(self.mss));
        self.inflight_longterm.saturating_sub(headroom).max(self.min_window())
    }

    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.product_times(Phase::ProbeRtt.window_gain()).max(self.min_window())
    }

    fn product_times(&self, gain: u64) -> u64 {
        self.product().map_or(initial_window(self.mss), |product| percent(product, gain))
    }

    fn with_budget(&self, inflight: u64) -> u64 {
        let inflight = inflight.max(QUANTA_IN_HOSTS * self.send_quantum).max(self.min_window());
        if self.phase == Phase::Up { inflight + 2 * u64::from(self.mss) } else { inflight }
    }

    pub(super) fn set_window(&mut self, ack: &AckSample) {
        let product = self.product_times(self.phase.window_gain());
        let max_inflight = self.with_budget(product + self.aggregation.extra());
        if self.full_rate_reached {
            self.window = (self.window + ack.delivered).min(max_inflight);
        } else if self.window < max_inflight || self.delivered < initial_window(self.mss) {
            self.window += ack.delivered;
        }
        self.window = self.window.max(self.min_window());
        if self.phase == Phase::ProbeRtt {
            self.window = self.window.min(self.probe_rtt_window());
        }
        let bound = match self.phase {
            Phase::Startup | Phase::Drain => INFINITE,
            Phase::Down | Phase::Refill | Phase::Up => self.inflight_longterm,
            Phase::Cruise | Phase::ProbeRtt => self.inflight_with_headroom(),
        };
        self.window = self.window.min(bound.min(self.inflight_shortterm).max(self.min_window()));
    }

    /// Keeps the window that holds outside of recovery and `ProbeRTT`.
    pub(super) fn save_window(&mut self) {
        self.prior_window = if self.recovering || self.phase == Phase::ProbeRtt {
            self.prior_window.max(self.window)
        } else {
            self.window
        };
    }

    pub(super) fn restore_window(&mut self) {
        self.window = self.window.max(self.prior_window);
    }
}

// How fast.
impl Bbr {
    /// Before a rate is known: by the initial window and a round trip.
    pub(super) fn set_initial_pacing_rate(&mut self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).max(1);
        let nominal = initial_window(self.mss) * 1_000_000 / micros;
        self.pacing_rate = percent(nominal, Phase::Startup.pacing_gain()).max(1);
        self.set_send_quantum();
    }

    pub(super) fn set_pacing_rate(&mut self, ack: &AckSample) {
        if !self.rtt_seen && !ack.smoothed_rtt.is_zero() {
            self.rtt_seen = true;
            self.set_initial_pacing_rate(ack.smoothed_rtt);
        }
        self.set_pacing_rate_with_gain(self.phase.pacing_gain());
    }

    /// Until the path has been full once the rate is only raised, so that samples limited by the
    /// application do not slow Startup down.
    pub(super) fn set_pacing_rate_with_gain(&mut self, gain: u64) {
        let rate = percent(percent(self.rate, gain), 100 - PACING_MARGIN);
        if rate > 0 && (self.full_rate_reached || rate > self.pacing_rate) {
            self.pacing_rate = rate;
            self.set_send_quantum();
        }
    }

    fn set_send_quantum(&mut self) {
        self.send_quantum =
            volume(self.pacing_rate, QUANTUM_TIME).min(MAX_QUANTUM).max(2 * u64::from(self.mss));
    }
}
