//! How much to send in recovery: Proportional Rate Reduction (RFC 6937 and its revision).
//!
//! The window comes down to the threshold in the course of a round trip, in proportion to what is
//! delivered. If the losses took more than that the pipe fills again: by what is delivered, and by one
//! segment more for each acknowledgment that shows progress without a new loss.

/// One episode.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reduction {
    /// In flight when it began (`RecoverFS`).
    began_with: u64,
    /// Where it goes.
    threshold: u64,
    /// Delivered and sent since it began.
    delivered: u64,
    sent: u64,
    /// What may be in flight now.
    window: u64,
}

impl Reduction {
    /// An episode that begins with `in_flight` before anything was marked lost.
    pub(crate) fn new(in_flight: u64, threshold: u64) -> Self {
        Self { began_with: in_flight.max(1), threshold, ..Self::default() }
    }

    /// An acknowledgment delivered `delivered` bytes, or a timer marked some lost; `in_flight` remain.
    /// `safe`: it was cumulative and nothing was marked lost.
    pub(crate) fn on_ack(&mut self, delivered: u64, in_flight: u64, safe: bool, mss: u32) {
        let mss = u64::from(mss);
        self.delivered += delivered;
        let send = if in_flight > self.threshold {
            let share = u128::from(self.delivered) * u128::from(self.threshold);
            let share = share.div_ceil(u128::from(self.began_with));
            u64::try_from(share).unwrap_or(u64::MAX).saturating_sub(self.sent)
        } else {
            let room = self.delivered.saturating_sub(self.sent).max(delivered);
            (room + if safe { mss } else { 0 }).min(self.threshold - in_flight)
        };
        // The first retransmission leaves at once.
        let least = if self.sent == 0 { mss } else { 0 };
        self.window = in_flight + send.max(least);
    }

    /// `bytes` were sent.
    pub(crate) fn on_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// What may be in flight.
    pub(crate) const fn window(&self) -> u64 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    #[test]
    fn halves_the_rate_over_a_round_trip() {
        // 20 segments in flight, one lost, threshold 10.
        let mut prr = Reduction::new(20_000, 10_000);
        let mut in_flight = 19_000;
        let mut sent = 0;
        for _ in 0..19 {
            in_flight -= 1_000;
            prr.on_ack(1_000, in_flight, false, MSS);
            while prr.window() >= in_flight + 1_000 {
                in_flight += 1_000;
                sent += 1;
                prr.on_sent(1_000);
            }
        }
        assert_eq!((sent, in_flight), (10, 10_000));
    }

    #[test]
    fn fills_up_to_the_threshold_after_heavy_losses_without_a_burst() {
        // 20 in flight, 16 lost.
        let mut prr = Reduction::new(20_000, 10_000);
        prr.on_ack(1_000, 3_000, false, MSS);
        assert_eq!(prr.window(), 4_000, "what was delivered");
        prr.on_sent(1_000);
        prr.on_ack(1_000, 3_000, true, MSS);
        assert_eq!(prr.window(), 5_000, "and a segment more on progress");
        prr.on_sent(2_000);
        for _ in 0..20 {
            prr.on_ack(1_000, prr.window() - 1_000, true, MSS);
            prr.on_sent(2_000);
        }
        assert_eq!(prr.window(), 10_000, "not above the threshold");
    }

    #[test]
    fn the_first_retransmission_is_never_held_back() {
        let mut prr = Reduction::new(20_000, 10_000);
        prr.on_ack(0, 15_000, false, MSS);
        assert_eq!(prr.window(), 16_000);
    }
}
