//! Acknowledgments for tests.

use std::time::Duration;

use super::AckSample;

/// An acknowledgment of `delivered` bytes on a connection that its window limits, 10 ms from its peer.
pub(super) fn ack(delivered: u64) -> AckSample {
    AckSample {
        delivered,
        in_flight: 0,
        prior_in_flight: delivered,
        rtt: Some(Duration::from_millis(10)),
        min_rtt: Duration::from_millis(10),
        smoothed_rtt: Duration::from_millis(10),
        rate: None,
        in_recovery: false,
        window_limited: true,
        next_offset: 0,
        una: 0,
    }
}
