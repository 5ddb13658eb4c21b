//! How large the receive buffer should be.
//!
//! Dynamic right-sizing, as Linux does it: what the application reads in one round trip is what the
//! peer can send in one; the buffer must be twice that, so that a window which doubles each round trip
//! is never what limits it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::time::Instant;

/// The shortest time over which reading is measured. On shorter paths the scheduling of both ends,
/// not the path, decides how much is on its way.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// Segments that are on top of twice what was read.
const SLACK_SEGMENTS: u64 = 16;

/// Segments that are read in one round trip before a buffer grows: the initial window of RFC 6928.
const INITIAL_SEGMENTS: u32 = 10;

/// What the application reads in a round trip.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// In microseconds; unknown at first.
    rtt: Option<NonZeroU32>,
    /// The most that was read in a round trip.
    space: u32,
    /// A window's worth has arrived when the stream reaches this offset.
    mark: u64,
    marked_at: Instant,
    /// Since when reading is measured, and from which offset.
    since: Instant,
    from: u64,
}

impl Growth {
    /// Takes note of a round-trip time that was measured exactly: of the handshake, of a timestamp
    /// that came back, of data that we sent.
    pub(super) fn on_rtt(&mut self, sample: Duration) {
        let sample = micros(sample);
        self.rtt = Some(match self.rtt {
            Some(rtt) if rtt < sample => rtt.saturating_add((sample.get() - rtt.get()) / 8),
            _ => sample,
        });
    }

    /// Forgets what was read, not how long a round trip takes.
    pub(super) fn restart(&mut self) {
        self.space = 0;
    }

    /// Takes note that the stream has been received up to `rcv_nxt`, and read up to `read`, while the
    /// peer may send `window` bytes more. Tells how large a buffer that calls for, if more was read
    /// than ever before. What is read while it may not grow is not held against it later.
    pub(super) fn on_arrival(
        &mut self,
        now: Instant,
        rcv_nxt: u64,
        read: u64,
        window: u32,
        mss: u16,
        may_grow: bool,
    ) -> Option<u64> {
        if self.space == 0 {
            // With large segments that is more than the buffer lets through at first.
            self.space = (INITIAL_SEGMENTS * u32::from(mss)).min(window / 2).max(1);
            (self.since, self.from) = (now, read);
            (self.marked_at, self.mark) = (now, rcv_nxt + u64::from(window));
        }
        if rcv_nxt >= self.mark {
            // No window takes less than a round trip, but a pause of the peer makes it take longer.
            let sample = micros(now - self.marked_at);
            self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt.min(sample)));
            (self.marked_at, self.mark) = (now, rcv_nxt + u64::from(window));
        }
        let rtt = Duration::from_micros(u64::from(self.rtt?.get()));
        if now - self.since < rtt.max(LEAST_INTERVAL) {
            return None;
        }
        let copied = u32::try_from(read - self.from).unwrap_or(u32::MAX);
        (self.since, self.from) = (now, read);
        if copied <= self.space || !may_grow {
            return None;
        }
        let twice = 2 * u64::from(copied);
        // The peer is speeding up: it will again by as much before the next look.
        let ahead = twice.saturating_mul(u64::from(copied - self.space)) / u64::from(self.space);
        self.space = copied;
        Some(twice.saturating_add(ahead).saturating_add(SLACK_SEGMENTS * u64::from(mss)))
    }
}

fn micros(duration: Duration) -> NonZeroU32 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    NonZeroU32::new(micros).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u16 = 1_000;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_buffer_is_twice_what_is_read_in_a_round_trip_and_more_while_that_grows() {
        let mut growth = Growth::default();
        growth.on_rtt(Duration::from_millis(10));
        assert_eq!(growth.on_arrival(at(0), 0, 0, 60_000, MSS, true), None);
        assert_eq!(growth.on_arrival(at(10), 10_000, 10_000, 60_000, MSS, true), None);
        assert_eq!(growth.on_arrival(at(19), 30_000, 30_000, 60_000, MSS, true), None, "too early");
        let wanted = growth.on_arrival(at(20), 30_000, 30_000, 60_000, MSS, true);
        assert_eq!(wanted, Some(2 * 20_000 + 40_000 + 16_000));
        assert_eq!(growth.on_arrival(at(30), 50_000, 50_000, 60_000, MSS, true), None, "no faster");
    }

    #[test]
    fn without_a_measured_round_trip_a_window_must_do() {
        let mut growth = Growth::default();
        growth.on_arrival(at(0), 0, 0, 60_000, MSS, true);
        assert_eq!(growth.on_arrival(at(30), 59_999, 59_999, 60_000, MSS, true), None);
        assert_eq!(growth.rtt, None);
        assert!(growth.on_arrival(at(40), 60_000, 60_000, 60_000, MSS, true).is_some());
        assert_eq!(growth.rtt, NonZeroU32::new(40_000));
        growth.on_arrival(at(60), 120_000, 120_000, 60_000, MSS, true);
        assert_eq!(growth.rtt, NonZeroU32::new(20_000));
        growth.on_arrival(at(900), 180_000, 180_000, 60_000, MSS, true);
        assert_eq!(growth.rtt, NonZeroU32::new(20_000), "a pause is no round trip");
    }

    #[test]
    fn a_buffer_smaller_than_an_initial_window_grows_too() {
        let mut growth = Growth::default();
        growth.on_rtt(Duration::from_millis(10));
        assert_eq!(growth.on_arrival(at(0), 0, 0, 57_000, 9_000, true), None);
        assert!(growth.on_arrival(at(10), 57_000, 57_000, 57_000, 9_000, true).is_some());
    }

    #[test]
    fn what_is_not_read_does_not_count() {
        let mut growth = Growth::default();
        growth.on_rtt(Duration::from_millis(10));
        growth.on_arrival(at(0), 0, 0, 60_000, MSS, true);
        assert_eq!(growth.on_arrival(at(20), 60_000, 10_000, 60_000, MSS, true), None);
    }

    #[test]
    fn a_buffer_grows_later_if_it_may_not_now() {
        let mut growth = Growth::default();
        growth.on_rtt(Duration::from_millis(10));
        growth.on_arrival(at(0), 0, 0, 60_000, MSS, true);
        assert_eq!(growth.on_arrival(at(10), 40_000, 40_000, 60_000, MSS, false), None);
        assert!(growth.on_arrival(at(20), 80_000, 80_000, 60_000, MSS, true).is_some());
    }
}
