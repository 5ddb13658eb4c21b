//! When an acknowledgment is due.

use std::time::Duration;

use crate::time::Instant;

/// How long an acknowledgment waits for data to ride on, or for a second segment. RFC 9293 section
/// 3.8.6.3 allows 500 ms; Linux waits 40 ms, and the probes of its senders count on it.
pub(in crate::tcp) const DELAY: Duration = Duration::from_millis(40);

/// Acknowledgments sent at once at the start of a connection and after disorder: a peer in slow start
/// needs them to grow (Linux: `TCP_MAX_QUICKACKS`).
const QUICK: u8 = 16;

/// After this long without data the peer has to start anew, and is helped again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an answer to a segment without data waits after the last acknowledgment. Two endpoints
/// that disagree would otherwise answer each other as fast as the path allows.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// Segments shorter than this are never taken for full-sized ones.
const LEAST_FULL_SEGMENT: u16 = 200;

/// What a segment with data means for its acknowledgment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// In its turn, with nothing missing before or behind it.
    InOrder,
    /// Out of turn, in a hole, a duplicate or not acceptable: the peer must learn of it at once
    /// (RFC 5681 section 4.2).
    Disorder,
    /// The end of the stream.
    Fin,
}

/// What has been received since the last acknowledgment.
#[derive(Debug)]
pub(super) struct AckPolicy {
    /// Set while an acknowledgment may wait.
    deadline: Option<Instant>,
    last_data: Instant,
    last_sent: Instant,
    /// Length of the peer's full-sized segments, as far as known.
    full_segment: u16,
    /// Length of the segment before.
    previous: u16,
    /// Acknowledgments that will not wait.
    quick: u8,
    now: bool,
    /// True if we answer what we receive: acknowledgments have something to ride on.
    interactive: bool,
}

impl AckPolicy {
    pub(super) const fn new() -> Self {
        Self {
            deadline: None,
            last_data: Instant::ZERO,
            last_sent: Instant::ZERO,
            full_segment: LEAST_FULL_SEGMENT,
            previous: 0,
            quick: QUICK,
            now: false,
            interactive: false,
        }
    }

    /// Takes note of a segment of `len` bytes, after which `unacknowledged` bytes of the stream have
    /// not been acknowledged. `mss` is what we told the peer; a longer segment is several in one.
    pub(super) fn on_data(
        &mut self,
        now: Instant,
        len: usize,
        mss: u16,
        unacknowledged: u64,
        arrival: Arrival,
    ) {
        self.measure(len, mss);
        let pause = now - self.last_data;
        self.last_data = now;
        if pause > PAUSE {
            self.quick = QUICK;
        }
        match arrival {
            Arrival::Disorder => {
                self.quick = QUICK;
                self.interactive = false;
                self.now = true;
            }
            Arrival::Fin => self.now = true,
            Arrival::InOrder => {
                // RFC 5681 section 4.2: at least every second full-sized segment.
                let enough = unacknowledged > u64::from(self.full_segment);
                let quick = self.quick > 0 && !self.interactive;
                self.now |= enough || quick;
            }
        }
        self.deadline.get_or_insert(now + DELAY);
    }

    /// Takes note of a segment without data whose sequence number is not the expected one: a
    /// keep-alive or a window probe.
    pub(super) fn on_probe(&mut self, now: Instant) {
        if now - self.last_sent >= PROBE_INTERVAL {
            self.now = true;
        } else {
            self.deadline.get_or_insert(self.last_sent + PROBE_INTERVAL);
        }
    }

    /// True if an acknowledgment has waited long enough.
    pub(super) fn due(&self, now: Instant) -> bool {
        self.now || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// When an acknowledgment that waits becomes due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) const fn last_data(&self) -> Instant {
        self.last_data
    }

    /// Takes note that an acknowledgment left, alone or on data.
    pub(super) fn on_sent(&mut self, now: Instant, on_data: bool) {
        if on_data && self.deadline.is_some() && now - self.last_data < DELAY {
            self.interactive = true;
        }
        if self.deadline.is_some() {
            self.quick = self.quick.saturating_sub(1);
        }
        self.now = false;
        self.deadline = None;
        self.last_sent = now;
    }

    /// Learns how long the peer's full-sized segments are: the longest that came, until two of
    /// another length follow each other.
    fn measure(&mut self, len: usize, mss: u16) {
        let len = u16::try_from(len).unwrap_or(u16::MAX).min(mss);
        if len >= self.full_segment || (len == self.previous && len >= LEAST_FULL_SEGMENT) {
            self.full_segment = len;
        }
        self.previous = len;
    }
}
