//! CUBIC (RFC 9438), as Linux has it, with `HyStart++` in place of its `HyStart`.
//!
//! # Theory of operation
//!
//! After a loss at the window *W* the window becomes 0.7 *W* and then follows a cubic curve of the time
//! since: steep at first, flat around *W*, where the path was full the last time, and steep again beyond,
//! in search of a new *W*. Growth does not depend on the round trip, so that flows of different round
//! trips share a path more evenly than by Reno.
//!
//! ```text
//!   window      ╱      W(t) = 0.4 (t - K)³ + W_max   [segments, seconds]
//!   W_max ┄┄┄__╱
//!           ╱          K = ∛((W_max - window at the start) / 0.4)
//!          ╱
//!   0.7 W ╱
//! ```
//!
//! - **Fast convergence.** If the window is smaller than at the loss before, somebody else wants a share:
//!   the flat part is put lower, at 0.85 *W*.
//! - **Reno-friendly region.** Where Reno would have a larger window (short round trips, small windows)
//!   that window is taken. It grows by 8/15 of a segment a round trip, which with a decrease to 0.7 gives
//!   the same share as Reno's. Like Linux, and unlike RFC 9438 section 4.3, it stays at this slope once
//!   past *W*: a flow of ours is to get what one of Linux gets beside it.
//! - **After a timeout** the old *W* is forgotten; growth in congestion avoidance is then at least a
//!   twentieth a round trip until the next loss (Linux).
//! - **Idleness** is not counted as time on the curve.
//!
//! A loss that was none puts the curve back as it was (RFC 9438 section 4.9).

use std::time::Duration;

use super::hystart::{Advice, HyStart};
use super::{AckSample, Algorithm, Congestion, Sent, idle_window, initial_window};
use super::{loss_based_phase, slow_start};
use crate::time::Instant;

/// What remains of the window after a loss, of 1,024 (RFC 9438 section 4.6: 0.7).
const BETA: u64 = 717;
/// Windows are at most this (RFC 7323 section 2.3), which keeps the arithmetic in 64 bits.
const MAX_WINDOW: u64 = 1 << 30;
/// Seconds on the curve are counted in 1,024ths; no further from its centre than this.
const MAX_OFFSET: u64 = 128 * 1_024;

/// Where growth is on the curve.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// When it began; [`Instant::FAR_FUTURE`] if it is still to begin.
    start: Instant,
    /// The window where it is flat, in bytes.
    origin: u32,
    /// The window at the last loss, less what fast convergence gives away; zero if not known.
    max: u32,
    /// The window that Reno would have.
    reno: u32,
    /// Time from the start to the flat part, in 1,024ths of a second.
    k: u32,
}

/// What a reduction replaced.
#[derive(Clone, Copy, Debug)]
struct Before {
    window: u32,
    /// Zero: nothing to take back.
    threshold: u64,
    curve: Curve,
}

/// One connection's CUBIC.
#[derive(Clone, Debug)]
pub(super) struct Cubic {
    window: u64,
    threshold: u64,
    curve: Curve,
    before: Before,
    hystart: HyStart,
    /// When data was last sent.
    last_sent: Instant,
    /// Growth that is less than a byte, in parts of the window.
    fraction: u64,
    /// Bytes acknowledged that the Reno window has not grown for.
    counted: u32,
    mss: u32,
    /// An episode of recovery is on; a timeout in it is no further sign of congestion.
    reduced: bool,
}

impl Curve {
    const NONE: Self = Self { start: Instant::FAR_FUTURE, origin: 0, max: 0, reno: 0, k: 0 };

    fn has_begun(&self) -> bool {
        self.start != Instant::FAR_FUTURE
    }

    fn begin(&mut self, now: Instant, window: u64, mss: u64) {
        self.start = now;
        self.reno = narrow(window);
        let below = u64::from(self.max).saturating_sub(window);
        self.origin = narrow(window + below);
        // below / mss / 0.4, times 1,024 cubed.
        self.k = cube_root(((below * 5) << 29) / mss);
    }

    /// The window at `now`, a round trip ahead.
    fn target(&self, now: Instant, min_rtt: Duration, mss: u64) -> u64 {
        let time = (now - self.start).saturating_add(min_rtt);
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(1 << 40);
        let time = (time << 10) / 1_000_000;
        let k = u64::from(self.k);
        let offset = time.abs_diff(k).min(MAX_OFFSET);
        // 0.4 (t - K)³, in 1,024ths of a segment.
        let segments = (410 * offset * offset * offset) >> 30;
        let bytes = (segments * mss) >> 10;
        let origin = u64::from(self.origin);
        if time < k { origin.saturating_sub(bytes) } else { origin + bytes }
    }
}

impl Cubic {
    pub(super) fn new(now: Instant, mss: u32) -> Self {
        Self {
            window: initial_window(mss),
            threshold: u64::MAX,
            curve: Curve::NONE,
            before: Before { window: 0, threshold: 0, curve: Curve::NONE },
            hystart: HyStart::new(),
            last_sent: now,
            fraction: 0,
            counted: 0,
            mss,
            reduced: false,
        }
    }

    /// Bytes acknowledged that slow start does not account for.
    fn grow_in_slow_start(&mut self, ack: &AckSample) -> u64 {
        if self.threshold != u64::MAX {
            return slow_start(&mut self.window, self.threshold, ack.delivered);
        }
        match self.hystart.on_ack(ack, ack.delivered) {
            Advice::Grow(bytes) => {
                self.window += bytes;
                0
            }
            Advice::Leave => {
                self.threshold = self.window;
                ack.delivered
            }
        }
    }

    fn grow_on_curve(&mut self, now: Instant, acked: u64, min_rtt: Duration) {
        let mss = u64::from(self.mss);
        if !self.curve.has_begun() {
            self.curve.begin(now, self.window, mss);
            self.counted = 0;
            self.fraction = 0;
        }
        // Bytes to grow by while a window is acknowledged.
        let target = self.curve.target(now, min_rtt, mss);
        let mut growth = target.saturating_sub(self.window).max(mss / 100);
        if self.curve.max == 0 {
            growth = growth.max(self.window / 20);
        }
        self.grow_reno(acked);
        growth = growth.max(u64::from(self.curve.reno).saturating_sub(self.window));
        self.fraction += acked * growth.min(self.window / 2);
        self.window = (self.window + self.fraction / self.window).min(MAX_WINDOW);
        self.fraction %= self.window;
    }

    fn grow_reno(&mut self, acked: u64) {
        let a_segment = self.window * 15 / 8;
        let counted = u64::from(self.counted) + acked;
        let segments = counted / a_segment;
        self.counted = narrow(counted % a_segment);
        self.curve.reno = narrow(u64::from(self.curve.reno) + segments * u64::from(self.mss));
    }

    /// Lowers the threshold, once an episode.
    fn reduce(&mut self) {
        if self.reduced {
            return;
        }
        self.reduced = true;
        self.before =
            Before { window: narrow(self.window), threshold: self.threshold, curve: self.curve };
        let max = if self.window < u64::from(self.curve.max) {
            self.window * (1_024 + BETA) / 2_048
        } else {
            self.window
        };
        self.curve = Curve { max: narrow(max), ..Curve::NONE };
        self.threshold = (self.window * BETA / 1_024).max(2 * u64::from(self.mss));
    }
}

impl Congestion for Cubic {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Cubic
    }

    fn on_sent(&mut self, now: Instant, sent: &Sent) {
        if sent.in_flight == 0 && self.curve.has_begun() {
            self.curve.start += now - self.last_sent;
        }
        self.last_sent = now;
    }

    fn on_ack(&mut self, now: Instant, ack: &AckSample) {
        if ack.in_recovery || ack.delivered == 0 || !ack.fills(self.window, self.threshold) {
            return;
        }
        let mut acked = ack.delivered.min(MAX_WINDOW);
        if self.window < self.threshold {
            acked = self.grow_in_slow_start(ack);
        }
        if acked > 0 {
            self.grow_on_curve(now, acked, ack.min_rtt);
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
        self.curve = Curve::NONE;
        self.window = in_flight + u64::from(self.mss);
    }

    fn undo(&mut self, _now: Instant) {
        if self.before.threshold != 0 {
            self.window = self.window.max(u64::from(self.before.window));
            self.threshold = self.threshold.max(self.before.threshold);
            self.curve = self.before.curve;
            self.before.threshold = 0;
        }
        self.reduced = false;
    }

    fn on_restart(&mut self, _now: Instant, idle: Duration, rto: Duration) {
        self.threshold = self.threshold.max(self.window / 4 * 3);
        self.window = idle_window(self.window, self.mss, idle, rto);
    }

    fn inherit(&mut self, window: u64, threshold: u64) {
        self.window = window.clamp(u64::from(self.mss), MAX_WINDOW);
        self.threshold = threshold;
    }

    fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
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
        if self.window < self.threshold && self.hystart.conservative() {
            return "conservative slow start";
        }
        loss_based_phase(self.window, self.threshold, self.reduced)
    }
}

fn narrow(bytes: u64) -> u32 {
    bytes.min(MAX_WINDOW) as u32
}

/// The integer part of a cube root, digit by binary digit.
fn cube_root(mut n: u64) -> u32 {
    let mut root: u64 = 0;
    for shift in (0..=63).rev().step_by(3) {
        root *= 2;
        let bit = 3 * root * (root + 1) + 1;
        if n >> shift >= bit {
            n -= bit << shift;
            root += 1;
        }
    }
    root as u32
}

#[cfg(test)]
#[path = "cubic_tests.rs"]
mod tests;
