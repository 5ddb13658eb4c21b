//! Was a recovery for nothing? What tells that it was, so that its reduction can be taken back.
//!
//! | sign | by |
//! |---|---|
//! | all that was sent again since it began had arrived: the peer says so | DSACK (RFC 2883, 3708) |
//! | an acknowledgment echoes a time stamp from before the first retransmission | Eifel (RFC 3522) |
//! | all that was sent again is acknowledged sooner than any round trip | for peers without either |
//!
//! The third sign is the first to come, before the next episode can begin. What it counted is not counted
//! again when the DSACK for the same bytes follows. F-RTO, the sign after a timeout, is in `super::episode`.

use std::ops::Range;
use std::time::Duration;

use crate::time::Instant;

/// What an undo would need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undo {
    /// SND.UNA when the last episode began; nothing to undo if none.
    marker: Option<u64>,
    /// Bytes sent again since and not known to have been needless; `None` before the first.
    in_doubt: Option<u64>,
    /// When the oldest retransmission was sent of which an echo can come.
    first_repeat: Instant,
    /// Bytes sent again, and reported as duplicate, since the connection began.
    repeated: u64,
    duplicate: u64,
    /// Bytes known to have been needless before a DSACK said so, and may be about to.
    early: u64,
}

impl Undo {
    pub(crate) const fn new() -> Self {
        Self {
            marker: None,
            in_doubt: None,
            first_repeat: Instant::FAR_FUTURE,
            repeated: 0,
            duplicate: 0,
            early: 0,
        }
    }

    /// An episode begins that reduces the window. `underway` is when the oldest retransmission was sent
    /// that is still in flight: its echo is older than what this episode will send again.
    pub(crate) fn begin(&mut self, una: u64, underway: Option<Instant>) {
        self.marker = Some(una);
        self.in_doubt = None;
        self.first_repeat = underway.unwrap_or(Instant::FAR_FUTURE);
    }

    /// There is nothing to undo any more.
    pub(crate) fn forget(&mut self) {
        self.marker = None;
        self.in_doubt = None;
    }

    /// `bytes` are sent again.
    pub(crate) fn on_sent_again(&mut self, now: Instant, bytes: u64) {
        self.repeated += bytes;
        if self.marker.is_some() {
            self.in_doubt = Some(self.in_doubt.unwrap_or(0) + bytes);
            self.first_repeat = self.first_repeat.min(now);
        }
    }

    /// The peer got `range` twice. False if it got more twice than was sent twice: then the network
    /// duplicates, and its reports mean nothing.
    pub(crate) fn on_duplicate(&mut self, range: &Range<u64>) -> bool {
        self.duplicate += range.end - range.start;
        if self.duplicate > self.repeated {
            return false;
        }
        let bytes = range.end - range.start;
        let known = bytes.min(self.early);
        self.early -= known;
        if self.marker.is_some_and(|marker| range.end > marker) {
            self.needless(bytes - known);
        }
        true
    }

    /// `bytes` sent again were acknowledged `after` that, and no round trip is shorter than `min_rtt`.
    pub(crate) fn on_repeat_acknowledged(
        &mut self,
        bytes: u64,
        after: Duration,
        min_rtt: Duration,
    ) {
        if min_rtt != Duration::MAX && after < min_rtt / 8 * 7 {
            self.needless(bytes);
            self.early += bytes;
        }
    }

    /// The peer echoed a time stamp that is `age` old, in an acknowledgment of new data.
    pub(crate) fn echo_is_older(&self, now: Instant, age: Duration) -> bool {
        // A tick of the time stamp clock, which is in milliseconds, may have been cut off the age.
        let age_at_least = age.saturating_sub(Duration::from_millis(1));
        self.marker.is_some() && self.in_doubt.is_some() && self.first_repeat + age_at_least > now
    }

    /// Bytes sent again since the connection began.
    pub(crate) const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Nothing that was sent again was needed.
    pub(crate) fn all_needless(&self) -> bool {
        self.marker.is_some() && self.in_doubt == Some(0)
    }

    fn needless(&mut self, bytes: u64) {
        self.in_doubt = self.in_doubt.map(|doubt| doubt.saturating_sub(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    const RTT: Duration = Duration::from_millis(10);

    #[test]
    fn needs_a_report_for_all_that_was_sent_again() {
        let mut undo = Undo::new();
        undo.begin(5_000, None);
        assert!(!undo.all_needless(), "nothing was sent again yet");
        undo.on_sent_again(ms(1), 2_000);
        assert!(undo.on_duplicate(&(5_000..6_000)));
        assert!(!undo.all_needless());
        assert!(undo.on_duplicate(&(6_000..7_000)));
        assert!(undo.all_needless());
        undo.forget();
        assert!(!undo.all_needless());
    }

    #[test]
    fn a_duplicate_from_before_the_episode_does_not_count() {
        let mut undo = Undo::new();
        undo.on_sent_again(ms(0), 1_000);
        undo.begin(5_000, None);
        undo.on_sent_again(ms(1), 1_000);
        assert!(undo.on_duplicate(&(3_000..4_000)));
        assert!(!undo.all_needless());
    }

    #[test]
    fn a_network_that_duplicates_is_not_believed() {
        let mut undo = Undo::new();
        undo.begin(0, None);
        assert!(!undo.on_duplicate(&(0..1_000)));
        undo.on_sent_again(ms(1), 1_000);
        assert!(!undo.on_duplicate(&(1_000..2_000)));
        assert!(!undo.all_needless());
    }

    #[test]
    fn an_acknowledgment_can_come_too_soon_to_be_for_the_repeat() {
        let mut undo = Undo::new();
        undo.begin(0, None);
        undo.on_sent_again(ms(1), 1_000);
        undo.on_repeat_acknowledged(1_000, Duration::from_millis(9), RTT);
        assert!(!undo.all_needless());
        undo.on_repeat_acknowledged(1_000, Duration::from_millis(2), RTT);
        assert!(undo.all_needless());
    }

    #[test]
    fn the_same_bytes_are_not_counted_twice() {
        let mut undo = Undo::new();
        undo.begin(0, None);
        undo.on_sent_again(ms(1), 3_000);
        undo.on_repeat_acknowledged(1_000, Duration::from_millis(2), RTT);
        assert!(undo.on_duplicate(&(0..1_000)));
        undo.on_repeat_acknowledged(1_000, Duration::from_millis(2), RTT);
        assert!(!undo.all_needless(), "the third is in doubt");
        assert!(undo.on_duplicate(&(1_000..2_000)) && undo.on_duplicate(&(2_000..3_000)));
        assert!(undo.all_needless());
    }

    #[test]
    fn an_echo_from_before_the_repeat_is_for_the_original() {
        let mut undo = Undo::new();
        undo.begin(0, None);
        assert!(!undo.echo_is_older(ms(100), Duration::from_millis(90)));
        undo.on_sent_again(ms(95), 1_000);
        assert!(undo.echo_is_older(ms(100), Duration::from_millis(20)));
        assert!(!undo.echo_is_older(ms(100), Duration::from_millis(5)));
    }

    #[test]
    fn an_echo_of_an_earlier_repeat_is_not_for_the_original() {
        let mut undo = Undo::new();
        undo.begin(0, Some(ms(80)));
        undo.on_sent_again(ms(95), 1_000);
        assert!(!undo.echo_is_older(ms(100), Duration::from_millis(20)));
        assert!(undo.echo_is_older(ms(100), Duration::from_millis(22)));
    }
}
