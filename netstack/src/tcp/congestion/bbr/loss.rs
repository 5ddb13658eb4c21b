//! What loss says about the path, and taking it back.

use super::{
    Bbr, Delivery, INFINITE, LOSS_WITH_QUEUE, LOSS_WITHOUT_QUEUE, Lost, Phase, RateSample,
    STARTUP_LOSS_WITHOUT_QUEUE, percent,
};
use crate::time::Instant;

/// What remains of a short-term bound after a round with loss, at least, in percent (`Beta`).
const BETA: u64 = 70;
/// Ranges lost in a round before Startup takes it for a full queue (`BBRStartupFullLossCnt`).
const STARTUP_LOSSES: u32 = 6;

/// What a recovery that was for nothing is to restore.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Undo {
    /// The phase that loss has ended.
    phase: Option<Phase>,
    rate_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,
}

impl Bbr {
    pub(super) fn reset_congestion_signals(&mut self) {
        self.loss_in_round = false;
        self.lost_in_round = 0;
        self.losses_in_round = 0;
        self.rate_latest = 0;
        self.inflight_latest = 0;
    }

    pub(super) fn reset_shortterm(&mut self) {
        self.rate_shortterm = INFINITE;
        self.inflight_shortterm = INFINITE;
    }

    /// What an acknowledgment delivers is the measure of what the path takes.
    pub(super) fn update_latest_signals(&mut self, rate: &RateSample) {
        self.rate_latest = self.rate_latest.max(rate.bandwidth);
        self.inflight_latest = self.inflight_latest.max(rate.delivered);
        self.loss_round_start = rate.prior_delivered >= self.loss_round_delivered;
        if self.loss_round_start {
            self.loss_round_delivered = self.delivered;
        }
    }

    pub(super) fn update_congestion_signals(&mut self, rate: &RateSample) {
        self.update_max_rate(rate);
        let probing = matches!(self.phase, Phase::Startup | Phase::Refill | Phase::Up);
        if self.loss_round_start && !probing && self.round_was_congested(rate) {
            self.lower_shortterm();
        }
    }

    /// After all else has been done for an acknowledgment.
    pub(super) fn advance_latest_signals(&mut self, rate: &RateSample) {
        if self.loss_round_start {
            self.reset_congestion_signals();
            self.rate_latest = rate.bandwidth;
            self.inflight_latest = rate.delivered;
        }
    }

    /// The round that ends shows congestion. Without a queue that takes much loss. With one, any loss
    /// does, and so does delivery far below the rate of the model: the path has become slower.
    fn round_was_congested(&self, rate: &RateSample) -> bool {
        if !self.queue_stands() {
            let carried = self.lost_in_round + self.inflight_latest;
            return self.lost_in_round > percent(carried, LOSS_WITHOUT_QUEUE);
        }
        let slow = self.rate_latest < percent(self.max_rate(), BETA);
        self.loss_in_round || (slow && self.rate_latest > 0 && !rate.app_limited)
    }

    fn lower_shortterm(&mut self) {
        let rate = self.rate_shortterm.min(self.max_rate());
        let inflight =
            if self.inflight_shortterm == INFINITE { self.window } else { self.inflight_shortterm };
        self.rate_shortterm = self.rate_latest.max(percent(rate, BETA));
        self.inflight_shortterm = self.inflight_latest.max(percent(inflight, BETA));
    }

    /// The loss rate above which too much was in flight, in percent.
    fn loss_threshold(&self) -> u64 {
        match self.phase {
            _ if self.queue_stands() => LOSS_WITH_QUEUE,
            Phase::Startup => STARTUP_LOSS_WITHOUT_QUEUE,
            _ => LOSS_WITHOUT_QUEUE,
        }
    }

    /// Of what was in flight with a segment, or has arrived since if that is more, too much was lost. It is
    /// more if the application or the peer's window held back when the segment was sent: what was lost
    /// since was then sent earlier, when more was in flight.
    pub(super) fn too_high(&self, lost: u64, delivered: u64, tx_in_flight: u64) -> bool {
        lost > percent(tx_in_flight.max(delivered), self.loss_threshold())
    }

    pub(super) fn rate_too_high(&self, rate: &RateSample) -> bool {
        self.too_high(rate.lost, rate.delivered, rate.tx_in_flight)
    }

    pub(super) fn handle_lost(&mut self, now: Instant, lost: &Lost) {
        self.delivered = self.delivered.max(lost.delivered);
        if !self.loss_in_round {
            self.loss_in_round = true;
            self.loss_round_delivered = self.delivered;
        }
        self.begin_recovery();
        self.lost_in_round += lost.bytes;
        self.losses_in_round += 1;
        if self.probe_sample
            && self.too_high(lost.since_sent, lost.delivered_since_sent, lost.tx_in_flight)
        {
            self.probe_went_too_high(now, lost);
        }
    }

    fn probe_went_too_high(&mut self, now: Instant, lost: &Lost) {
        self.last_probe_too_high = true;
        self.probe_sample = false;
        if !lost.app_limited {
            let target = percent(self.target_inflight(), BETA);
            self.inflight_longterm = self.inflight_at_loss(lost).max(target);
        }
        if self.phase == Phase::Up {
            self.undo.phase = Some(Phase::Up);
            self.start_down(now);
        }
    }

    /// What was in flight when the loss rate passed its threshold, perhaps within the lost run.
    fn inflight_at_loss(&self, lost: &Lost) -> u64 {
        let before = lost.tx_in_flight.saturating_sub(lost.bytes);
        let lost_before = lost.since_sent.saturating_sub(lost.bytes);
        let threshold = self.loss_threshold();
        let budget = percent(before, threshold).saturating_sub(lost_before);
        before + budget * 100 / (100 - threshold)
    }

    /// A recovery of at least a round in which more than the threshold, and in several places, was lost.
    pub(super) fn startup_lost_much(&self, delivery: &Delivery<'_>) -> bool {
        self.loss_round_start
            && delivery.ack.in_recovery
            && self.losses_in_round >= STARTUP_LOSSES
            && self.rate_too_high(delivery.rate)
    }

    pub(super) fn leave_startup_by_loss(&mut self) {
        self.undo.phase = Some(Phase::Startup);
        self.full_rate_reached = true;
        let product = self.product().unwrap_or(self.window);
        self.inflight_longterm = product.max(self.inflight_latest);
    }

    /// Remembers what [`undo_recovery`](Self::undo_recovery) needs, once an episode.
    pub(super) fn begin_recovery(&mut self) {
        self.save_window();
        if !self.recovering {
            self.recovering = true;
            self.undo = Undo {
                phase: None,
                rate_shortterm: self.rate_shortterm,
                inflight_shortterm: self.inflight_shortterm,
                inflight_longterm: self.inflight_longterm,
            };
        }
    }

    pub(super) fn undo_recovery(&mut self, now: Instant) {
        let undo = std::mem::take(&mut self.undo);
        self.recovering = false;
        self.restore_window();
        self.loss_in_round = false;
        self.reset_full_rate();
        self.rate_shortterm = self.rate_shortterm.max(undo.rate_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(undo.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(undo.inflight_longterm);
        match undo.phase {
            Some(Phase::Startup) if self.phase != Phase::Startup => {
                self.full_rate_reached = false;
                if self.phase != Phase::ProbeRtt {
                    self.phase = Phase::Startup;
                }
            }
            Some(Phase::Up) if !matches!(self.phase, Phase::Up | Phase::ProbeRtt) => {
                self.start_refill(now);
            }
            _ => {}
        }
    }
}
