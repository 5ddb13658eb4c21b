//! What a connection tells about its sending, as `TCP_INFO` of Linux does; and its budget.

use std::time::Duration;

use super::MIN_BUFFER;
use super::sender::{Sender, State};
use crate::time::Instant;

/// Values of one moment. Amounts are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Open, disorder, recovery or loss.
    pub state: &'static str,
    /// What the congestion control is doing.
    pub phase: &'static str,
    /// The algorithm's name.
    pub congestion: &'static str,
    /// Smoothed round trip; none before the first sample.
    pub smoothed_rtt: Option<Duration>,
    /// Its deviation.
    pub rtt_deviation: Duration,
    /// The smallest round trip of late.
    pub min_rtt: Option<Duration>,
    /// Retransmission timeout, backed off.
    pub rto: Duration,
    /// Congestion window.
    pub window: u64,
    /// Slow start threshold, if there is one.
    pub slow_start_threshold: Option<u64>,
    /// What the peer still takes.
    pub peer_window: u64,
    /// Data bytes of a full segment.
    pub mss: u32,
    /// Sent and neither acknowledged nor lost.
    pub in_flight: u64,
    /// Of what is sent and not acknowledged: what the peer holds.
    pub sacked: u64,
    /// Of what is sent and not acknowledged: what is to be sent again.
    pub lost: u64,
    /// In the buffer.
    pub queued: usize,
    /// In the buffer and never sent.
    pub unsent: u64,
    /// Delivered since the connection began.
    pub delivered: u64,
    /// Sent again since the connection began.
    pub retransmitted: u64,
    /// That, in segments.
    pub retransmitted_segments: u32,
    /// Retransmission timeouts.
    pub timeouts: u32,
    /// Recoveries that proved to be for nothing.
    pub undone: u32,
    /// Reordering was seen.
    pub reordering_seen: bool,
    /// Bytes a second at which data may leave; none before the round trip is known.
    pub pacing_rate: Option<u64>,
}

impl Sender {
    /// See [`SenderInfo`].
    pub(crate) fn info(&self) -> SenderInfo {
        let min_rtt = self.rtt.smallest();
        let threshold = self.congestion.slow_start_threshold();
        SenderInfo {
            state: self.state.name(),
            phase: self.congestion.phase(),
            congestion: self.congestion.algorithm().name(),
            smoothed_rtt: self.rtt.smoothed(),
            rtt_deviation: self.rtt.deviation(),
            min_rtt: (min_rtt != Duration::MAX).then_some(min_rtt),
            rto: self.rtt.timeout(),
            window: self.window(),
            slow_start_threshold: (threshold != u64::MAX).then_some(threshold),
            peer_window: self.peer.edge().saturating_sub(self.board.next()),
            mss: self.mss,
            in_flight: self.in_flight(),
            sacked: self.board.sacked() + u64::from(self.credit),
            lost: self.board.lost(),
            queued: self.queue.len(),
            unsent: self.unsent(),
            delivered: self.rate.delivered(),
            retransmitted: self.undo.repeated(),
            retransmitted_segments: self.counters.segments_sent_again,
            timeouts: self.counters.timeouts,
            undone: self.counters.undone,
            reordering_seen: self.rack.reordering_seen(),
            pacing_rate: self.pacer.rate(),
        }
    }

    /// Smoothed round trip, segments sent again, timeouts.
    pub(crate) fn vitals(&self) -> (Option<Duration>, u32, u32) {
        (self.rtt.smoothed(), self.counters.segments_sent_again, self.counters.timeouts)
    }

    /// What may be in flight.
    pub(super) fn window(&self) -> u64 {
        self.reduction.as_ref().map_or_else(|| self.congestion.window(), |prr| prr.window())
    }

    /// The pipe of RFC 6675.
    pub(super) const fn in_flight(&self) -> u64 {
        self.board.in_flight().saturating_sub(self.credit as u64)
    }

    /// What more may be in flight.
    pub(super) fn budget(&self) -> u64 {
        self.window().saturating_sub(self.in_flight())
    }

    /// Bytes that may be buffered now: a window in flight and one to follow. What the peer holds behind a
    /// hole comes on top: it waits for the repair of the hole, and new data must not wait with it.
    pub(super) fn buffer_limit(&self) -> usize {
        let wanted = 2 * self.congestion.window() + self.board.sacked();
        usize::try_from(wanted).unwrap_or(usize::MAX).max(MIN_BUFFER).min(self.max_buffer)
    }

    /// If all is sent that the peer has room for, and the window has room, what is delivered from now on
    /// measures the application, here or there. Called before anything that changes that.
    pub(super) fn note_application_limit(&mut self) {
        let in_flight = self.in_flight();
        if self.board.lost() == 0
            && in_flight < self.window()
            && self.at.pacing == Instant::FAR_FUTURE
            && (self.unsent() < u64::from(self.mss) || self.is_held_by_peer())
        {
            self.rate.mark_app_limited(in_flight);
        }
    }

    /// The peer's window holds back what the path would take. With a queue on the path it is full, whatever
    /// holds back more.
    fn is_held_by_peer(&self) -> bool {
        let room = self.peer.edge().saturating_sub(self.board.next());
        room < u64::from(self.mss) && !self.rtt.shows_queue()
    }

    /// The congestion control's rate, or one in proportion to the window, as Linux has it.
    pub(super) fn set_pacing_rate(&mut self, now: Instant) {
        let rate = self.congestion.pacing_rate().or_else(|| {
            let rtt = u64::try_from(self.rtt.smoothed()?.as_micros()).ok()?.max(1);
            let window = self.window().max(self.in_flight());
            let scaled = window.saturating_mul(self.congestion.pacing_gain_percent() * 10_000);
            Some(scaled / rtt)
        });
        if let Some(rate) = rate {
            self.pacer.set_rate(now, rate, self.congestion.send_quantum(), self.mss);
        }
    }
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Disorder => "disorder",
            Self::Recovery => "recovery",
            Self::Loss => "loss",
        }
    }
}
