//! Episodes: how they begin, end and are undone. The transitions of [the table](super).

use super::Ack;
use super::ack::News;
use super::prr::Reduction;
use super::scoreboard::Run;
use super::sender::{Frto, Sender, State};
use crate::time::Instant;

impl Sender {
    /// Changes the state as an acknowledgment demands.
    pub(super) fn advance(&mut self, now: Instant, ack: &Ack<'_>, news: &News, in_flight: u64) {
        self.judge_loss_probe(now, ack, news);
        if self.was_needless(now, ack, news) {
            self.undo(now);
        }
        match self.state {
            State::Open | State::Disorder => {}
            State::Recovery => {
                if self.board.una() >= self.recovery_point {
                    self.end_episode(now);
                }
            }
            State::Loss => self.advance_loss(now, news),
        }
        if self.board.lost() > 0 && (self.is_calm() || (news.lost > 0 && !self.reduced)) {
            self.begin_recovery(now, in_flight);
        }
        if self.is_calm() {
            let hole = self.board.sacked() > 0 || self.credit > 0;
            self.state = if hole { State::Disorder } else { State::Open };
        }
    }

    const fn is_calm(&self) -> bool {
        matches!(self.state, State::Open | State::Disorder)
    }

    /// Nothing that was sent again in the last episode was needed.
    fn was_needless(&self, now: Instant, ack: &Ack<'_>, news: &News) -> bool {
        let older = |age| news.acked > 0 && !self.is_calm() && self.undo.echo_is_older(now, age);
        self.undo.all_needless() || ack.echo_age.is_some_and(older)
    }

    /// F-RTO with and without selective acknowledgments (RFC 5682 sections 2.1 and 3.1).
    fn advance_loss(&mut self, now: Instant, news: &News) {
        let recovered = self.board.una() >= self.recovery_point;
        if self.frto != Frto::Off {
            if news.original {
                // What was sent once has arrived: not all was lost, the timer was early.
                self.undo(now);
                return;
            }
            let sent_new = self.board.next() > self.recovery_point;
            if sent_new {
                if news.sacked || news.repeated {
                    self.frto = Frto::Off;
                }
            } else if news.acked > 0 && !recovered {
                self.frto = Frto::NewData;
            } else if self.frto == Frto::NewData {
                self.frto = Frto::Off;
            }
            if sent_new && self.frto == Frto::NewData {
                self.frto = Frto::Waiting;
            }
        }
        if recovered {
            self.end_episode(now);
        }
    }

    /// Losses were found.
    pub(super) fn begin_recovery(&mut self, now: Instant, in_flight: u64) {
        self.state = State::Recovery;
        self.recovery_point = self.board.next();
        self.undo.begin(self.board.una(), self.board.oldest_repeat());
        self.reduced = true;
        self.frto = Frto::Off;
        self.loss_probe = None;
        self.congestion.on_congestion(now);
        self.reduction = (!self.congestion.governs_recovery()).then(|| {
            let mut reduction = Reduction::new(in_flight, self.congestion.window());
            reduction.on_ack(0, self.in_flight(), false, self.mss);
            Box::new(reduction)
        });
        // The first retransmission is not paced.
        self.pacer.allow_burst(u64::from(self.mss));
    }

    /// The retransmission timer fired.
    pub(super) fn begin_loss(&mut self, now: Instant) {
        let una = self.board.una();
        if self.is_calm() || !self.reduced {
            self.undo.begin(una, self.board.oldest_repeat());
        }
        // In recovery holes are losses, whatever else arrives.
        self.frto = if self.state == State::Recovery { Frto::Off } else { Frto::Waiting };
        let srtt = self.rtt.smoothed().unwrap_or_default();
        let patience = self.rack.patience(false, self.rtt.smallest(), srtt);
        let has_lost_first = self.board.first().is_some_and(Run::sacked);
        if has_lost_first {
            // The peer would have acknowledged it: it gave up what it had (RFC 2018 section 8).
            self.board.forget_sacks();
            self.known_blocks.clear();
        }
        let all = has_lost_first || !self.sack;
        let Self { board, rate, congestion, .. } = self;
        board.lose_where(
            |run| all || run.starts_at(una) || run.sent() + patience <= now,
            |run| congestion.on_lost(now, &rate.on_lost(run.stamp(), run.bytes())),
        );
        self.credit = 0;
        self.reduction = None;
        self.loss_probe = None;
        self.reduced = true;
        self.state = State::Loss;
        self.recovery_point = self.board.next();
        self.congestion.on_timeout(now, self.in_flight());
        self.set_pacing_rate(now);
        self.pacer.allow_burst(u64::from(self.mss));
    }

    /// Sends again what `which` accepts, and not for congestion.
    pub(super) fn send_again_unreduced(&mut self, which: impl Fn(&Run) -> bool) {
        self.board.lose_where(which, |_| {});
        if self.board.lost() > 0 && self.is_calm() {
            self.state = State::Loss;
            self.recovery_point = self.board.next();
            self.frto = Frto::Off;
            self.reduced = false;
            self.undo.forget();
            self.loss_probe = None;
        }
        self.credit = 0;
    }

    /// What was outstanding when the episode began is acknowledged.
    fn end_episode(&mut self, now: Instant) {
        if self.reduced {
            self.congestion.on_recovered(now);
        }
        if self.state == State::Recovery {
            self.rack.recovered();
        }
        self.leave_episode();
    }

    /// The episode was for nothing.
    fn undo(&mut self, now: Instant) {
        self.congestion.undo(now);
        self.counters.undone = self.counters.undone.saturating_add(1);
        self.undo.forget();
        if self.state != State::Loss {
            // Or what is only late would be taken for lost again with the next acknowledgment.
            self.rack.was_hasty(self.board.next());
        }
        self.board.forget_losses();
        self.leave_episode();
    }

    fn leave_episode(&mut self) {
        self.reduction = None;
        self.reduced = false;
        self.frto = Frto::Off;
        self.state = State::Open;
        if !self.sack {
            self.credit = 0;
            self.careful_until = self.board.una() + 1;
        }
    }

    /// Did the loss probe repair a loss that nobody else would notice? (RFC 8985 section 7.4.2)
    fn judge_loss_probe(&mut self, now: Instant, ack: &Ack<'_>, news: &News) {
        let Some(probe) = self.loss_probe.filter(|probe| ack.offset >= probe.end) else { return };
        let both_arrived = news.duplicate == Some(probe.end)
            || (ack.offset == probe.end && news.repeated && !news.has_blocks);
        if !probe.sent_again || both_arrived {
            self.loss_probe = None;
        } else if ack.offset > probe.end {
            self.loss_probe = None;
            if self.is_calm() {
                self.congestion.on_congestion(now);
                self.congestion.on_recovered(now);
                self.undo.forget();
            }
        }
    }

    /// The peer has room again, after a timeout found that it had none: it dropped what was in flight.
    pub(super) fn reopen(&mut self) {
        if self.shut_out && self.peer.edge() > self.board.una() {
            self.shut_out = false;
            self.send_again_unreduced(|_| true);
        }
    }
}
