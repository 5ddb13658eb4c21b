//! The delivery rate: how fast the path takes data away (draft-ietf-ccwg-bbr section 4.1).
//!
//! # Theory of operation
//!
//! The estimator counts what is delivered. A segment that is sent takes a [`Stamp`] along: the count and
//! the time of its last change. When the segment is known to have arrived, the count has grown by what
//! the path delivered in about one round trip. The rate is that amount over the longer of two
//! intervals, that of the acknowledgments and that of the sending of the same data, so that neither
//! acknowledgments in a bunch nor data sent in a bunch give a rate that the path does not have:
//!
//! ```text
//!      first sent          sent                     arrived
//!   ──────┴─── send interval ┴────────────────────────┤
//!      last delivered ┴──────── acknowledgment interval ┘
//! ```
//!
//! An interval shorter than the smallest round trip cannot be right (a retransmission was credited with
//! what the original did): it gives a sample without a bandwidth.
//!
//! **Application-limited.** When the sender runs out of data with room in the window, what is in flight
//! then measures the application and not the path; samples say so until all of it has been delivered.

use std::time::Duration;

use crate::time::Instant;

/// Set in [`Stamp::tx_in_flight`] if the segment was application-limited. A window is at most 2^30
/// bytes (RFC 7323), so that the bit is free.
const APP_LIMITED: u32 = 1 << 31;

/// What a segment remembers of the moment in which it was last sent: 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// When it was sent.
    sent: Instant,
    /// Bytes that had been delivered.
    delivered: u64,
    /// Microseconds since the count of delivered bytes had last changed; saturates at 71 minutes.
    since_delivered: u32,
    /// Microseconds since the sending of the segment that was the last to be delivered, likewise.
    since_first_sent: u32,
    /// Bytes in flight with it, and [`APP_LIMITED`].
    tx_in_flight: u32,
    /// Bytes that had been marked lost, modulo 2^32.
    lost: u32,
}

impl Stamp {
    /// When the segment was sent.
    pub(crate) const fn sent(&self) -> Instant {
        self.sent
    }

    /// Bytes in flight right after it was sent, itself included.
    pub(crate) const fn tx_in_flight(&self) -> u64 {
        (self.tx_in_flight & !APP_LIMITED) as u64
    }

    /// It was sent while the application gave less than the window allowed.
    pub(crate) const fn app_limited(&self) -> bool {
        self.tx_in_flight & APP_LIMITED != 0
    }
}

/// The rate at which the path delivered around the newest segment that an acknowledgment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateSample {
    /// Bytes delivered in the interval.
    pub(crate) delivered: u64,
    /// Bytes that had been delivered in all when the segment was sent. `prior_delivered + delivered`
    /// is the count now.
    pub(crate) prior_delivered: u64,
    /// The interval.
    pub(crate) interval: Duration,
    /// Bytes a second; zero if the interval is too short to be believed.
    pub(crate) bandwidth: u64,
    /// It measures the application and not the path.
    pub(crate) app_limited: bool,
    /// Bytes marked lost since the segment was sent.
    pub(crate) lost: u64,
    /// Bytes in flight right after the segment was sent.
    pub(crate) tx_in_flight: u64,
}

/// A run of segments that was marked lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// Bytes marked lost since it was sent, itself included.
    pub(crate) since_sent: u64,
    /// Bytes in flight right after it was sent.
    pub(crate) tx_in_flight: u64,
    /// Bytes delivered since it was sent.
    pub(crate) delivered_since_sent: u64,
    /// Bytes delivered since the connection began.
    pub(crate) delivered: u64,
    /// It was sent while the application gave less than the window allowed.
    pub(crate) app_limited: bool,
}

/// Counts what one connection delivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateEstimator {
    /// Bytes delivered since the connection began.
    delivered: u64,
    /// When that last changed.
    delivered_at: Instant,
    /// When the segment was sent that was the last to be delivered; after idleness, when sending went on.
    first_sent: Instant,
    /// Samples are application-limited until this much is delivered; zero if they are not.
    app_limited: u64,
    /// Bytes marked lost since the connection began.
    lost: u64,
    /// The newest segment that the acknowledgment under way delivered.
    newest: Option<Stamp>,
}

impl RateEstimator {
    /// For a connection that has not sent data.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            app_limited: 0,
            lost: 0,
            newest: None,
        }
    }

    /// Bytes delivered since the connection began.
    pub(crate) const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Bytes marked lost since the connection began.
    #[cfg(test)]
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// What is sent now measures the application.
    pub(crate) const fn app_limited(&self) -> bool {
        self.app_limited != 0
    }

    /// `bytes` are sent, at `now` or at the later time at which pacing lets them go, with `in_flight`
    /// bytes in flight before. The stamp is for that run, and for each part of it.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) -> Stamp {
        if in_flight == 0 {
            self.first_sent = now;
            self.delivered_at = now;
        }
        let with_it = u32::try_from(in_flight + bytes).unwrap_or(u32::MAX).min(APP_LIMITED - 1);
        Stamp {
            sent: now,
            delivered: self.delivered,
            since_delivered: micros(now - self.delivered_at),
            since_first_sent: micros(now - self.first_sent),
            tx_in_flight: if self.app_limited() { with_it | APP_LIMITED } else { with_it },
            lost: self.lost as u32,
        }
    }

    /// `bytes` of a run with this stamp have arrived. To be called in the order of the stream.
    pub(crate) fn on_delivered(&mut self, now: Instant, stamp: &Stamp, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
        let newer = |old: &Stamp| (stamp.sent, stamp.delivered) >= (old.sent, old.delivered);
        if self.newest.as_ref().is_none_or(newer) {
            self.newest = Some(*stamp);
            self.first_sent = stamp.sent;
        }
    }

    /// `bytes` have arrived that were sent again, but sooner after that than any round trip: it was what
    /// had been sent first. The stamp is of the wrong moment, so that it makes no sample and begins no
    /// round.
    pub(crate) fn on_delivered_early(&mut self, now: Instant, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
    }

    /// `bytes` of a run with this stamp were marked lost.
    pub(crate) fn on_lost(&mut self, stamp: &Stamp, bytes: u64) -> Lost {
        self.lost += bytes;
        Lost {
            bytes,
            since_sent: self.lost_since(stamp),
            tx_in_flight: stamp.tx_in_flight(),
            delivered_since_sent: self.delivered - stamp.delivered,
            delivered: self.delivered,
            app_limited: stamp.app_limited(),
        }
    }

    /// The sample of the acknowledgment that is now processed; `None` if it delivered nothing, or nothing
    /// that makes one.
    ///
    /// `min_rtt` is the smallest round trip of the connection, zero if it is not known.
    pub(crate) fn sample(&mut self, now: Instant, min_rtt: Duration) -> Option<RateSample> {
        if self.delivered > self.app_limited {
            self.app_limited = 0;
        }
        let stamp = self.newest.take()?;
        let send = Duration::from_micros(u64::from(stamp.since_first_sent));
        let acknowledge =
            (now - stamp.sent) + Duration::from_micros(u64::from(stamp.since_delivered));
        let interval = send.max(acknowledge);
        let delivered = self.delivered - stamp.delivered;
        let believed = interval >= min_rtt && !interval.is_zero();
        Some(RateSample {
            delivered,
            prior_delivered: stamp.delivered,
            interval,
            bandwidth: if believed { per_second(delivered, interval) } else { 0 },
            app_limited: stamp.app_limited(),
            lost: self.lost_since(&stamp),
            tx_in_flight: stamp.tx_in_flight(),
        })
    }

    /// Nothing is left to send though the window has room: what is in flight measures the application.
    ///
    /// To be called when that is so before the application's data is taken, before an acknowledgment is
    /// processed and before a timer is; and all that is lost must have been sent again.
    pub(crate) fn mark_app_limited(&mut self, in_flight: u64) {
        self.app_limited = (self.delivered + in_flight).max(1);
    }

    /// Bytes marked lost since the stamp was made.
    const fn lost_since(&self, stamp: &Stamp) -> u64 {
        (self.lost as u32).wrapping_sub(stamp.lost) as u64
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// `bytes` in `interval`, as bytes a second.
fn per_second(bytes: u64, interval: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / interval.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    const RTT: Duration = Duration::from_millis(10);

    #[test]
    fn a_stamp_is_small() {
        assert_eq!(size_of::<Stamp>(), 32);
        assert!(size_of::<RateEstimator>() <= 88);
    }

    #[test]
    fn a_steady_stream_shows_the_rate_of_the_path() {
        let mut rate = RateEstimator::new(ms(0));
        // 1,000 bytes a millisecond, each acknowledged after 10 ms.
        let stamps: Vec<_> =
            (0..30).map(|i| (i, rate.on_sent(ms(i), 1_000, i.min(10) * 1_000))).collect();
        // Sent before anything was delivered: the interval is the ramp, too, and the rate less.
        rate.on_delivered(ms(10), &stamps[0].1, 1_000);
        let first = rate.sample(ms(10), RTT).unwrap();
        assert_eq!((first.delivered, first.interval, first.bandwidth), (1_000, RTT, 100_000));

        let mut rate = RateEstimator::new(ms(0));
        let mut stamps = Vec::new();
        let mut last = None;
        for i in 0..40 {
            if i >= 10 {
                let stamp = stamps[usize::try_from(i).unwrap() - 10];
                rate.on_delivered(ms(i), &stamp, 1_000);
                last = rate.sample(ms(i), RTT);
            }
            stamps.push(rate.on_sent(ms(i), 1_000, i.min(9) * 1_000));
        }
        let last = last.unwrap();
        assert_eq!(last.bandwidth, 1_000_000);
        assert_eq!(last.delivered, 10_000);
        assert_eq!(last.prior_delivered, 20_000);
        assert!(!last.app_limited);
    }

    #[test]
    fn acknowledgments_in_a_bunch_do_not_show_a_rate_above_that_of_sending() {
        let mut rate = RateEstimator::new(ms(0));
        let a = rate.on_sent(ms(0), 1_000, 0);
        rate.on_delivered(ms(10), &a, 1_000);
        rate.sample(ms(10), RTT).unwrap();
        // One each 5 ms, and all acknowledged within a moment at 60 ms.
        let stamps: Vec<_> =
            (0..8).map(|i| rate.on_sent(ms(10 + 5 * i), 1_000, (i + 1) * 1_000)).collect();
        let mut best = 0;
        for stamp in &stamps {
            rate.on_delivered(ms(60), stamp, 1_000);
            best = best.max(rate.sample(ms(60), RTT).unwrap().bandwidth);
        }
        assert!(best <= 1_000 * 1_000 / 5, "{best}");
    }

    #[test]
    fn an_interval_below_the_smallest_round_trip_gives_no_bandwidth() {
        let mut rate = RateEstimator::new(ms(0));
        let _original = rate.on_sent(ms(0), 1_000, 0);
        let again = rate.on_sent(ms(9), 1_000, 0);
        // The acknowledgment is for the original.
        rate.on_delivered(ms(10), &again, 1_000);
        let sample = rate.sample(ms(10), RTT).unwrap();
        assert_eq!(sample.bandwidth, 0);
        assert_eq!(sample.delivered, 1_000);
    }

    #[test]
    fn samples_are_application_limited_until_the_bubble_is_gone() {
        let mut rate = RateEstimator::new(ms(0));
        let a = rate.on_sent(ms(0), 1_000, 0);
        rate.mark_app_limited(1_000);
        let b = rate.on_sent(ms(5), 1_000, 1_000);
        assert!(!a.app_limited() && b.app_limited());
        rate.on_delivered(ms(10), &a, 1_000);
        assert!(!rate.sample(ms(10), RTT).unwrap().app_limited);
        assert!(rate.app_limited(), "not more than the bubble is delivered");
        rate.on_delivered(ms(15), &b, 1_000);
        assert!(rate.sample(ms(15), RTT).unwrap().app_limited);
        assert!(!rate.app_limited());
        assert_eq!(rate.sample(ms(16), RTT), None, "nothing delivered");
    }

    #[test]
    fn what_was_sent_again_for_nothing_makes_no_sample() {
        let mut rate = RateEstimator::new(ms(0));
        let first = rate.on_sent(ms(0), 1_000, 0);
        let next = rate.on_sent(ms(0), 1_000, 1_000);
        rate.on_delivered_early(ms(12), 1_000);
        assert_eq!(rate.sample(ms(12), RTT), None);
        assert_eq!(rate.delivered(), 1_000);
        rate.on_delivered(ms(13), &next, 1_000);
        let sample = rate.sample(ms(13), RTT).unwrap();
        assert_eq!((sample.prior_delivered, sample.delivered), (first.delivered, 2_000));
    }

    #[test]
    fn losses_are_counted_since_a_segment_was_sent() {
        let mut rate = RateEstimator::new(ms(0));
        let a = rate.on_sent(ms(0), 1_000, 0);
        let b = rate.on_sent(ms(1), 1_000, 1_000);
        let lost = rate.on_lost(&a, 1_000);
        assert_eq!(
            lost,
            Lost {
                bytes: 1_000,
                since_sent: 1_000,
                tx_in_flight: 1_000,
                delivered_since_sent: 0,
                delivered: 0,
                app_limited: false
            }
        );
        let c = rate.on_sent(ms(2), 1_000, 1_000);
        rate.on_delivered(ms(11), &b, 1_000);
        assert_eq!(rate.sample(ms(11), RTT).unwrap().lost, 1_000);
        rate.on_delivered(ms(12), &c, 1_000);
        let sample = rate.sample(ms(12), RTT).unwrap();
        assert_eq!((sample.lost, sample.tx_in_flight), (0, 2_000));
        assert_eq!((rate.delivered(), rate.lost()), (2_000, 1_000));
    }

    #[test]
    fn the_newest_of_several_segments_counts() {
        let mut rate = RateEstimator::new(ms(0));
        let a = rate.on_sent(ms(0), 1_000, 0);
        let b = rate.on_sent(ms(4), 1_000, 1_000);
        rate.on_delivered(ms(14), &b, 1_000);
        rate.on_delivered(ms(14), &a, 1_000);
        let sample = rate.sample(ms(14), RTT).unwrap();
        assert_eq!((sample.delivered, sample.tx_in_flight), (2_000, 2_000));
    }

    #[test]
    fn idleness_is_not_part_of_an_interval() {
        let mut rate = RateEstimator::new(ms(0));
        let a = rate.on_sent(ms(0), 1_000, 0);
        rate.on_delivered(ms(10), &a, 1_000);
        rate.sample(ms(10), RTT).unwrap();
        let b = rate.on_sent(ms(60_000), 1_000, 0);
        rate.on_delivered(ms(60_010), &b, 1_000);
        assert_eq!(rate.sample(ms(60_010), RTT).unwrap().interval, RTT);
    }

    #[test]
    fn absurd_amounts_saturate() {
        let mut rate = RateEstimator::new(ms(0));
        let a = rate.on_sent(ms(0), 1, u64::from(u32::MAX));
        assert_eq!(a.tx_in_flight(), u64::from(APP_LIMITED) - 1);
        assert!(!a.app_limited());
        assert_eq!(micros(Duration::MAX), u32::MAX);
        assert_eq!(per_second(u64::MAX, Duration::from_micros(1)), u64::MAX);
    }
}
