//! smoltcp's clock, which runs five times as fast as ours.
//!
//! smoltcp waits at least a second before it retransmits (RFC 6298 section 2.4) and offers no setter;
//! Linux waits 200 ms. Told a time that runs [`SPEED`] times too fast, smoltcp waits 200 ms as well.
//! Everything else in it that is a time shrinks alike and does no harm: the longest timeout becomes
//! 12 s, its challenge ACKs come at most five a second and connection. Its TIME-WAIT and delayed
//! acknowledgments are not used.

use smoltcp::time::Instant as SocketInstant;

use crate::time::Instant;

const SPEED: u64 = 5;

/// Leaves room for smoltcp to add a duration.
const LATEST: i64 = i64::MAX / 2;

/// The time that smoltcp is told.
pub(super) fn to_socket(now: Instant) -> SocketInstant {
    let micros = i64::try_from(now.as_micros().saturating_mul(SPEED)).unwrap_or(LATEST);
    SocketInstant::from_micros(micros.min(LATEST))
}

/// The first of our instants at which smoltcp will find `at` passed.
pub(super) fn from_socket(at: SocketInstant) -> Instant {
    Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0).div_ceil(SPEED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_translated_into_one_too_early() {
        for micros in 0..100 {
            let at = SocketInstant::from_micros(micros);
            assert!(to_socket(from_socket(at)) >= at);
        }
        assert!(to_socket(Instant::FAR_FUTURE) > SocketInstant::from_micros(i64::MAX / 4));
    }
}
