//! BBR, version 3 (draft-ietf-ccwg-bbr, at its state of August 2026).
//!
//! # Theory of operation
//!
//! BBR keeps a model of the path and sends by it: the largest rate at which the path delivered lately
//! (`model`) and its smallest round trip. Their product is what the path holds without a queue. Data is
//! paced at the rate; the window is twice the product and only a bound.
//!
//! The model is kept current by a cycle of sending a bit more and a bit less (`cycle`):
//!
//! | phase | pace | window, of the product | until |
//! |---|---|---|---|
//! | Startup | 2.77 | 2 | three rounds without a quarter more rate, or much loss |
//! | Drain | 0.5 | 2 | no more in flight than the path holds, or three rounds |
//! | `ProbeBW_DOWN` | 0.9 | 2 | the queue is gone and there is headroom |
//! | `ProbeBW_CRUISE` | 1 | 2 | 2 to 3 s since DOWN, or as many rounds as Reno would take, at most 63 |
//! | `ProbeBW_REFILL` | 1 | 2 | one round |
//! | `ProbeBW_UP` | 1.25 | 2.25 | three rounds without a quarter more rate, or much loss |
//! | `ProbeRTT` | 1 | 0.5 | 200 ms and a round; entered if the round trip was not this short for 5 s |
//!
//! **Bounds by loss** (`loss`). In Startup, REFILL and UP a loss rate above a threshold means that so much
//! does not fit in flight: the long-term bound becomes what was in flight. In other phases a round with
//! loss lowers short-term bounds of rate and of flight towards what is delivered, by at most 30 %; they
//! hold until the next REFILL.
//!
//! **Loss without a queue.** Here we depart from the draft. Its threshold is 2 %, and any loss lowers the
//! short-term bounds, so that a path that loses 3 % at random is left nearly unused. What both rules are
//! after is the queue pressure that loss reveals. So they hold as they are while a queue stands: while the
//! smallest round trip of the last round, and of this one, exceeds that of the path by an eighth (at least
//! 1 ms, at most 10). While none stands, loss must exceed [`LOSS_WITHOUT_QUEUE`], in Startup
//! [`STARTUP_LOSS_WITHOUT_QUEUE`]. A buffer too small to be
//! seen in the round trip, or a policer, takes up to a fifth of what `ProbeBW_UP` sends and is noticed so.
//! Version 1 of BBR takes no notice of loss at all, version 3 of one segment in fifty; this lies between.
//!
//! **A queue without loss.** A path that becomes much slower while its buffer is deep shows no loss. A
//! round with a standing queue in which less than 70 % of the model's rate was delivered therefore lowers
//! the short-term bounds as loss does, instead of only two probing cycles later.
//!
//! **Rounds** are counted in packets: one ends when data is delivered that was sent after the last ended.
//!
//! **Recovery.** The window holds in recovery; at a timeout it becomes one segment more than is in flight
//! and returns when all is repaired. A recovery that was for nothing is undone: bounds and phase return.

mod control;
mod cycle;
mod loss;
mod model;

use std::time::Duration;

use self::loss::Undo;
use self::model::{Aggregation, MinRtt, RoundTrips};
use super::{AckSample, Algorithm, Congestion, Lost, RateSample, Sent, initial_window};
use crate::time::Instant;

/// No bound.
const INFINITE: u64 = u64::MAX;

/// The loss rate above which a probe went too high while a queue stands, in percent (`LossThresh`).
const LOSS_WITH_QUEUE: u64 = 2;

/// The same while no queue stands, in percent: well above what paths lose for other reasons than
/// congestion, and half of what a full path loses of what is sent at 1.25 of its rate.
const LOSS_WITHOUT_QUEUE: u64 = 10;

/// The same in Startup, where a full path loses half of what is sent at 2.77 of its rate. Less is no reason
/// to end it: that the rate does not grow does so within three rounds.
const STARTUP_LOSS_WITHOUT_QUEUE: u64 = 30;

/// Where the state machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    ProbeRtt,
}

/// What acknowledgments mean for the probing of bandwidth (`ack_phase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feedback {
    /// Nothing: not probing.
    None,
    /// The pipe is being filled.
    Refilling,
    /// A probe has begun; its effect is still to be seen.
    Starting,
    /// They show the effect of the probe.
    Probing,
    /// The probe is over, they still show its effect.
    Stopping,
}

/// One connection's BBR. Amounts are bytes, rates bytes a second.
#[derive(Clone, Debug)]
pub(super) struct Bbr {
    phase: Phase,
    feedback: Feedback,
    mss: u32,
    /// State of the generator of random waits.
    random: u64,

    // Outputs.
    window: u64,
    pacing_rate: u64,
    send_quantum: u64,

    // Model.
    /// Bytes delivered since the connection began (`C.delivered`).
    delivered: u64,
    rounds: RoundTrips,
    /// Largest rates of the last probing cycle and of this one.
    max_rates: [u64; 2],
    min_rtt: MinRtt,
    aggregation: Aggregation,
    /// The rate to send by: the largest one, bounded by [`rate_shortterm`](Self::rate_shortterm).
    rate: u64,

    // Bounds.
    rate_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,

    // Signals of the round in which loss was seen.
    rate_latest: u64,
    inflight_latest: u64,
    loss_round_delivered: u64,
    lost_in_round: u64,
    losses_in_round: u32,
    loss_round_start: bool,
    loss_in_round: bool,

    // Has the rate stopped growing?
    full_rate: u64,
    full_rate_count: u8,
    full_rate_now: bool,
    full_rate_reached: bool,

    // Cycle.
    drain_start_round: u64,
    cycle_start: Instant,
    probe_wait: Duration,
    rounds_since_probe: u32,
    probe_up_rounds: u8,
    probe_up_acked: u64,
    probe_up_acked_per_segment: u64,
    /// What is delivered was sent while probing, and no loss of this probe has been acted on.
    probe_sample: bool,
    last_probe_too_high: bool,
    last_probe_precautionary: bool,

    // `ProbeRTT`.
    probe_rtt_done: Option<Instant>,
    probe_rtt_round_done: bool,
    idle_restart: bool,

    // Recovery.
    /// The window before recovery or `ProbeRTT`.
    prior_window: u64,
    undo: Undo,
    /// A recovery is on, and `undo` is of its beginning.
    recovering: bool,
    /// The pacing rate was set by a round trip.
    rtt_seen: bool,
}

/// An acknowledgment and what it says of the rate.
#[derive(Clone, Copy, Debug)]
struct Delivery<'a> {
    now: Instant,
    ack: &'a AckSample,
    rate: &'a RateSample,
}

impl Bbr {
    pub(super) fn new(now: Instant, mss: u32, seed: u64) -> Self {
        let mut bbr = Self {
            phase: Phase::Startup,
            feedback: Feedback::None,
            mss,
            random: seed,
            window: initial_window(mss),
            pacing_rate: 0,
            send_quantum: 2 * u64::from(mss),
            delivered: 0,
            rounds: RoundTrips::default(),
            max_rates: [0; 2],
            min_rtt: MinRtt::new(now),
            aggregation: Aggregation::new(now),
            rate: 0,
            rate_shortterm: INFINITE,
            inflight_shortterm: INFINITE,
            inflight_longterm: INFINITE,
            rate_latest: 0,
            inflight_latest: 0,
            loss_round_delivered: 0,
            lost_in_round: 0,
            losses_in_round: 0,
            loss_round_start: false,
            loss_in_round: false,
            full_rate: 0,
            full_rate_count: 0,
            full_rate_now: false,
            full_rate_reached: false,
            drain_start_round: 0,
            cycle_start: now,
            probe_wait: Duration::ZERO,
            rounds_since_probe: 0,
            probe_up_rounds: 0,
            probe_up_acked: 0,
            probe_up_acked_per_segment: INFINITE,
            probe_sample: false,
            last_probe_too_high: false,
            last_probe_precautionary: false,
            probe_rtt_done: None,
            probe_rtt_round_done: false,
            idle_restart: false,
            prior_window: 0,
            undo: Undo::default(),
            recovering: false,
            rtt_seen: false,
        };
        bbr.set_initial_pacing_rate(Duration::from_millis(1));
        bbr
    }

    /// A number below `bound`, by `SplitMix64`.
    fn random_below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

impl Congestion for Bbr {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Bbr
    }

    fn on_sent(&mut self, now: Instant, sent: &Sent) {
        if sent.in_flight == 0 && sent.app_limited {
            self.restart_from_idle(now);
        }
    }

    fn on_ack(&mut self, now: Instant, ack: &AckSample) {
        let Some(rate) = &ack.rate else { return };
        let delivery = Delivery { now, ack, rate };
        self.delivered = rate.prior_delivered + rate.delivered;
        self.update_latest_signals(rate);
        self.update_congestion_signals(rate);
        self.update_aggregation(&delivery);
        self.check_full_rate(rate);
        self.check_startup_done(&delivery);
        self.check_drain_done(&delivery);
        self.update_cycle(&delivery);
        self.min_rtt.update(now, ack.rtt);
        self.check_probe_rtt(&delivery);
        self.advance_latest_signals(rate);
        self.rate = self.max_rate().min(self.rate_shortterm);
        self.set_pacing_rate(ack);
        self.set_window(ack);
    }

    fn on_lost(&mut self, now: Instant, lost: &Lost) {
        self.handle_lost(now, lost);
    }

    fn on_congestion(&mut self, _now: Instant) {
        self.begin_recovery();
    }

    fn on_recovered(&mut self, _now: Instant) {
        self.recovering = false;
        self.restore_window();
    }

    fn on_timeout(&mut self, _now: Instant, in_flight: u64) {
        self.begin_recovery();
        self.window = in_flight + u64::from(self.mss);
    }

    fn undo(&mut self, now: Instant) {
        self.undo_recovery(now);
    }

    /// The model holds over idleness; see [`on_sent`](Congestion::on_sent).
    fn on_restart(&mut self, _now: Instant, _idle: Duration, _rto: Duration) {}

    /// The model begins anew, with what the path was found to hold as the first window.
    fn inherit(&mut self, window: u64, _threshold: u64) {
        self.window = window.max(self.min_window());
    }

    fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
        self.window = self.window.max(self.min_window());
        self.send_quantum = self.send_quantum.max(2 * u64::from(self.mss));
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn slow_start_threshold(&self) -> u64 {
        u64::MAX
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.pacing_rate)
    }

    fn send_quantum(&self) -> Option<u64> {
        Some(self.send_quantum)
    }

    fn governs_recovery(&self) -> bool {
        true
    }

    fn holds_back(&self) -> bool {
        self.phase == Phase::ProbeRtt
    }

    fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Startup => "Startup",
            Phase::Drain => "Drain",
            Phase::Down => "ProbeBW_DOWN",
            Phase::Cruise => "ProbeBW_CRUISE",
            Phase::Refill => "ProbeBW_REFILL",
            Phase::Up => "ProbeBW_UP",
            Phase::ProbeRtt => "ProbeRTT",
        }
    }
}

/// `part` percent of `whole`; no bound stays none.
fn percent(whole: u64, part: u64) -> u64 {
    if whole == INFINITE { INFINITE } else { whole.saturating_mul(part) / 100 }
}

#[cfg(test)]
mod tests;
