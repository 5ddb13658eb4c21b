//! What to send next.

use super::Transmit;
use super::sender::{Frto, LossProbe, Sender, State};
use crate::tcp::congestion::{Sent, initial_window};
use crate::time::Instant;

impl Sender {
    /// The next segment, or several in one piece of at most `max_bytes` (at least one segment); `None`
    /// until something happens or [`poll_timeout`](Self::poll_timeout) has passed.
    ///
    /// What is returned counts as sent: the caller copies the payload and sends it, and if it cannot, that
    /// is a loss like another.
    pub(crate) fn poll_transmit(&mut self, now: Instant, max_bytes: u32) -> Option<Transmit> {
        let max = u64::from(max_bytes.max(self.mss));
        if std::mem::take(&mut self.pending.window_probe) {
            return Some(self.window_probe());
        }
        if std::mem::take(&mut self.pending.loss_probe)
            && let Some(probe) = self.send_loss_probe(now)
        {
            return Some(probe);
        }
        self.at.pacing = Instant::FAR_FUTURE;
        if self.board.lost() > 0 && self.frto != Frto::NewData {
            return self.send_again(now, max);
        }
        let sent = self.send_new(now, max, self.budget());
        if sent.is_none() && self.frto == Frto::NewData && self.board.next() <= self.recovery_point
        {
            // RFC 5682 section 2.1 step 2: without new data to send there is nothing to learn.
            self.frto = Frto::Off;
            return self.send_again(now, max);
        }
        sent
    }

    fn window_probe(&self) -> Transmit {
        Transmit {
            offset: self.board.una().wrapping_sub(1),
            len: 0,
            fin: false,
            push: false,
            mss: self.mss,
            retransmission: true,
            probe: true,
        }
    }

    /// New data if there is some, else the last segment again (RFC 8985 section 7.3).
    fn send_loss_probe(&mut self, now: Instant) -> Option<Transmit> {
        let mss = u64::from(self.mss);
        self.pacer.allow_burst(mss);
        let new = self.send_new(now, mss, mss);
        let sent_again = new.is_none();
        let transmit = if let Some(new) = new {
            new
        } else {
            let (start, len) = self.board.last_segment(self.mss)?;
            self.record_sent_again(now, start, len)
        };
        self.loss_probe = Some(LossProbe { end: self.board.next(), sent_again });
        self.at.loss_probe = Instant::FAR_FUTURE;
        self.at.rto = now + self.rtt.timeout();
        Some(Transmit { probe: true, ..transmit })
    }

    /// What is lost.
    fn send_again(&mut self, now: Instant, max: u64) -> Option<Transmit> {
        let (start, len) = self.board.next_lost()?;
        let mss = u64::from(self.mss);
        let len = u64::from(len).min(max).min(self.peer.edge().saturating_sub(start));
        if len == 0 {
            return None;
        }
        let budget = self.budget_of_at_least(mss);
        let len = whole_segments(len, budget, mss);
        if len == 0 {
            self.note_window_limit();
            return None;
        }
        let len = self.paced(now, len)?;
        Some(self.record_sent_again(now, start, len as u32))
    }

    /// New data, with `budget` bytes allowed to enter the network.
    fn send_new(&mut self, now: Instant, max: u64, budget: u64) -> Option<Transmit> {
        let next = self.board.next();
        let queued = self.written().saturating_sub(next);
        let fin = self.end().saturating_sub(next) > queued;
        if queued == 0 && !fin {
            return None;
        }
        let mss = u64::from(self.mss);
        let budget = if self.in_flight() == 0 { budget.max(mss) } else { budget };
        let room = self.peer.edge().saturating_sub(next);
        let fits = queued.min(room).min(max);
        let mut len = whole_segments(fits, budget, mss);
        if !len.is_multiple_of(mss) && !self.may_send_small(len, queued) {
            len -= len % mss;
        }
        if len == 0 && !(fin && queued == 0 && room > 0) {
            self.note_obstacle(now, fits, budget);
            return None;
        }
        self.restart_after_idleness(now);
        let len = if len > 0 { self.paced(now, len)? } else { 0 };
        let fin = fin && len == queued && len < room;
        Some(self.record_sent(now, len, fin))
    }

    /// The end of a piece that is no full segment may be sent: nothing is queued behind it, or it is
    /// worth it in the peer's small window (RFC 9293 section 3.8.6.2.1).
    fn may_send_small(&self, len: u64, queued: u64) -> bool {
        if len == queued {
            return !(self.nagle() && self.board.outstanding() > 0);
        }
        self.pending.runt || (len < u64::from(self.mss) && self.peer.is_worth(len))
    }

    /// Nothing leaves although `fits` bytes would fit the peer's window.
    fn note_obstacle(&mut self, now: Instant, fits: u64, budget: u64) {
        if self.board.outstanding() == 0 {
            self.peer.arm(now, self.rtt.timeout());
        } else if budget < fits.min(u64::from(self.mss)) {
            self.note_window_limit();
        }
    }

    fn note_window_limit(&mut self) {
        self.limited_until = self.board.next().max(self.board.una() + 1);
    }

    /// The budget, and one segment if nothing at all is in flight.
    fn budget_of_at_least(&self, mss: u64) -> u64 {
        let budget = self.budget();
        if self.in_flight() == 0 { budget.max(mss) } else { budget }
    }

    /// How much of `len` pacing lets go now, in whole segments; if nothing, remembers when.
    fn paced(&mut self, now: Instant, len: u64) -> Option<u64> {
        match self.pacer.allowed(now, len) {
            Ok(allowed) if allowed < len => {
                Some(allowed - allowed % u64::from(self.mss)).filter(|len| *len > 0)
            }
            Ok(_) => Some(len),
            Err(at) => {
                self.at.pacing = at;
                None
            }
        }
    }

    /// RFC 5681 section 4.1: what the window was says little about the path after idleness.
    fn restart_after_idleness(&mut self, now: Instant) {
        if self.board.outstanding() > 0 || self.board.next() == 0 {
            return;
        }
        let (idle, rto) = (now - self.last_sent, self.rtt.timeout());
        if idle > rto {
            self.last_sent = now;
            self.congestion.on_restart(now, idle, rto);
            self.set_pacing_rate(now);
        }
        if self.congestion.pacing_rate().is_none() {
            self.pacer.allow_burst(initial_window(self.mss).min(self.congestion.window()));
        }
    }

    fn record_sent(&mut self, now: Instant, len: u64, fin: bool) -> Transmit {
        let offset = self.board.next();
        let units = len + u64::from(fin);
        if self.board.outstanding() == 0 {
            self.progress = self.progress.max(now);
        }
        let in_flight = self.in_flight();
        let stamp = self.rate.on_sent(now, units, in_flight);
        self.tell_sent(now, units);
        self.board.sent(units as u32, self.mss as u16, stamp);
        self.peer.disarm();
        self.pending.runt = false;
        self.last_sent = now;
        if self.at.rto == Instant::FAR_FUTURE {
            self.at.rto = now + self.rtt.timeout();
        }
        self.arm_loss_probe(now);
        Transmit {
            offset,
            len: len as u32,
            fin,
            push: offset + len == self.written(),
            mss: self.mss,
            retransmission: false,
            probe: false,
        }
    }

    fn record_sent_again(&mut self, now: Instant, start: u64, len: u32) -> Transmit {
        let in_flight = self.in_flight();
        let stamp = self.rate.on_sent(now, u64::from(len), in_flight);
        self.tell_sent(now, u64::from(len));
        self.board.sent_again(start, len, self.mss as u16, stamp);
        self.undo.on_sent_again(now, u64::from(len));
        self.counters.segments_sent_again += len.div_ceil(self.mss);
        self.last_sent = now;
        if start == self.board.una() || self.at.rto == Instant::FAR_FUTURE {
            self.at.rto = now + self.rtt.timeout();
        }
        let end = start + u64::from(len);
        let fin = end > self.written();
        Transmit {
            offset: start,
            len: len - u32::from(fin),
            fin,
            push: end >= self.written(),
            mss: self.mss,
            retransmission: true,
            probe: false,
        }
    }

    fn tell_sent(&mut self, now: Instant, bytes: u64) {
        let (in_flight, app_limited) = (self.in_flight(), self.rate.app_limited());
        self.congestion.on_sent(now, &Sent { in_flight, app_limited });
        self.pacer.on_sent(now, bytes);
        if let Some(reduction) = &mut self.reduction {
            reduction.on_sent(bytes);
        }
    }

    /// Sets the timer of the loss probe (RFC 8985 section 7.2).
    pub(super) fn arm_loss_probe(&mut self, now: Instant) {
        let idle = self.board.outstanding() == 0;
        let calm = self.state == State::Open && self.loss_probe.is_none();
        if !self.sack || idle || !calm {
            self.at.loss_probe = Instant::FAR_FUTURE;
            return;
        }
        let one_segment = self.board.outstanding() <= u64::from(self.mss);
        let wait = self.rtt.probe_timeout(one_segment);
        self.at.loss_probe = (now + wait).min(self.at.rto);
    }
}

/// The part of `len` bytes that a budget allows: all, or as many whole segments as possible.
fn whole_segments(len: u64, budget: u64, mss: u64) -> u64 {
    if len <= budget { len } else { budget - budget % mss }
}
