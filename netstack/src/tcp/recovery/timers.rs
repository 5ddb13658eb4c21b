//! Deadlines and what they do.

use super::ack::News;
use super::sender::{Sender, State};
use crate::time::Instant;

/// Timeouts of full segments in a row that are taken for a black hole.
pub(super) const BLACK_HOLE_TIMEOUTS: u8 = 3;

impl Sender {
    /// When [`on_timeout`](Self::on_timeout) wants to be called, or [`gone`](Self::gone) will be true.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let at = self
            .at
            .rto
            .min(self.at.loss_probe)
            .min(self.at.reordering)
            .min(self.at.pacing)
            .min(self.peer.probe_at)
            .min(self.gone_at());
        (at != Instant::FAR_FUTURE).then_some(at)
    }

    /// Does what is due; `poll_transmit` may have something then.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        self.note_application_limit();
        if self.at.pacing <= now {
            self.at.pacing = Instant::FAR_FUTURE;
        }
        if self.at.reordering <= now {
            self.on_reordering_timeout(now);
        }
        if self.at.loss_probe <= now {
            self.at.loss_probe = Instant::FAR_FUTURE;
            if self.state == State::Open {
                self.pending.loss_probe = true;
                self.at.rto = now + self.rtt.timeout();
            }
        }
        if self.at.rto <= now {
            self.on_retransmission_timeout(now);
        }
        if self.peer.probe_at <= now {
            self.on_persist_timeout();
        }
    }

    fn on_reordering_timeout(&mut self, now: Instant) {
        let in_flight = self.in_flight();
        let lost = self.detect_lost(now);
        if lost == 0 {
            return;
        }
        let calm = matches!(self.state, State::Open | State::Disorder);
        if calm || !self.reduced {
            self.begin_recovery(now, in_flight);
        } else if let Some(reduction) = &mut self.reduction {
            reduction.on_ack(0, self.board.in_flight(), false, self.mss);
        }
        self.at.loss_probe = Instant::FAR_FUTURE;
        self.set_pacing_rate(now);
    }

    fn on_retransmission_timeout(&mut self, now: Instant) {
        self.at.rto = Instant::FAR_FUTURE;
        self.at.loss_probe = Instant::FAR_FUTURE;
        let una = self.board.una();
        let Some(first) = self.board.first() else { return };
        let full = first.segment() >= self.mss;
        self.rtt.back_off();
        self.at.rto = now + self.rtt.timeout();
        if self.peer.edge() <= una {
            // The peer dropped it for want of room, which says nothing about the network.
            self.shut_out = true;
            self.pending.window_probe = true;
            return;
        }
        self.counters.timeouts = self.counters.timeouts.saturating_add(1);
        self.full_timeouts = if full { self.full_timeouts.saturating_add(1) } else { 0 };
        self.at.reordering = Instant::FAR_FUTURE;
        self.begin_loss(now);
    }

    fn on_persist_timeout(&mut self) {
        self.peer.on_probe();
        if self.peer.edge() > self.board.next() {
            self.pending.runt = true;
        } else {
            self.pending.window_probe = true;
        }
    }

    /// Sets the timers after an acknowledgment.
    pub(super) fn set_timers(&mut self, now: Instant, news: &News) {
        if self.board.outstanding() == 0 {
            self.at.rto = Instant::FAR_FUTURE;
            self.at.loss_probe = Instant::FAR_FUTURE;
            self.at.reordering = Instant::FAR_FUTURE;
            self.pending.loss_probe = false;
            if self.peer.edge() > self.board.next() {
                self.peer.disarm();
            }
            return;
        }
        if news.acked > 0 {
            self.at.rto = now + self.rtt.timeout();
            self.arm_loss_probe(now);
        } else if self.state != State::Open {
            self.at.loss_probe = Instant::FAR_FUTURE;
        }
    }
}
