//! Which segments are lost, by time: RACK (RFC 8985 section 6).
//!
//! A segment is lost if one that was sent later has arrived and a reordering window has passed since. The
//! window is a quarter of the smallest round trip; it grows when the peer reports that a retransmission
//! was not needed (DSACK), and there is none as long as no reordering was ever seen and three segments
//! arrived behind the hole.

use std::time::Duration;

use super::scoreboard::Run;
use crate::time::Instant;

/// Recoveries after which a grown window is given up (RFC 8985 section 6.2 step 4).
const PERSISTENCE: u8 = 16;

/// What RACK remembers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rack {
    /// When the segment was sent that was sent last of those delivered, and where it ends.
    newest: (Instant, u64),
    /// Its round trip.
    rtt: u32,
    /// Something was delivered.
    started: bool,
    /// Reordering was seen on this connection.
    reordering_seen: bool,
    /// Quarters of the smallest round trip that the window is.
    quarters: u8,
    /// Recoveries that remain until `quarters` is 1 again.
    persist: u8,
    /// The end of what is delivered, and what it was before the acknowledgment under way: its blocks are
    /// not in the order of arrival.
    highest: u64,
    highest_before: u64,
    /// The window has grown in the round trip that ends when this is acknowledged.
    round_ends: u64,
}

impl Rack {
    pub(crate) const fn new() -> Self {
        Self {
            newest: (Instant::ZERO, 0),
            rtt: 0,
            started: false,
            reordering_seen: false,
            quarters: 1,
            persist: PERSISTENCE,
            highest: 0,
            highest_before: 0,
            round_ends: 0,
        }
    }

    /// Reordering was seen.
    pub(crate) const fn reordering_seen(&self) -> bool {
        self.reordering_seen
    }

    /// An acknowledgment is looked at.
    pub(crate) fn begin_ack(&mut self) {
        self.highest_before = self.highest;
    }

    /// A part of `run` up to `end` has arrived.
    pub(crate) fn delivered(&mut self, now: Instant, run: &Run, end: u64, min_rtt: Duration) {
        self.highest = self.highest.max(end);
        self.reordering_seen |= end < self.highest_before && !run.sent_again();
        let rtt = now - run.sent();
        if run.sent_again() && rtt < min_rtt {
            // The original arrived, or what it was sent again for.
            return;
        }
        self.rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        self.started = true;
        self.newest = self.newest.max((run.sent(), end));
    }

    /// A retransmission was not needed: the window grows, once a round trip.
    pub(crate) fn duplicate_seen(&mut self, una: u64, next: u64) {
        if una >= self.round_ends {
            self.round_ends = next;
            self.quarters = self.quarters.saturating_add(1);
            self.persist = PERSISTENCE;
        }
    }

    /// A recovery was for nothing: segments were only late. Its retransmissions hid that from
    /// [`delivered`](Self::delivered).
    pub(crate) fn was_hasty(&mut self, next: u64) {
        if !self.reordering_seen {
            self.reordering_seen = true;
            self.round_ends = next;
        }
    }

    /// A recovery is over.
    pub(crate) fn recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.quarters = 1;
        }
    }

    /// Something that was sent at `sent` and ends at `end` was sent before something that has arrived.
    pub(crate) fn is_before(&self, sent: Instant, end: u64) -> bool {
        self.started && (sent, end) < self.newest
    }

    /// How long after it was sent a segment is lost. `certain`: holes are losses unless reordering was
    /// seen.
    pub(crate) fn patience(&self, certain: bool, min_rtt: Duration, srtt: Duration) -> Duration {
        let rtt = Duration::from_micros(u64::from(self.rtt));
        if (certain && !self.reordering_seen) || min_rtt == Duration::MAX {
            return rtt;
        }
        rtt + (min_rtt / 4 * u32::from(self.quarters)).min(srtt)
    }
}
