//! When a backend's own traffic takes it out.
//!
//! # Theory of operation
//! Three signs eject a backend, each for itself: connects that failed in a row, answers in a row that
//! told of an error, and, over an [`INTERVAL`], a share of good answers that is lower than that of the
//! others together. The first costs nothing to forgive: one connect that comes about ends the
//! ejection. The other two are about what it answers, and answers that were on their way when it was
//! ejected prove nothing; so such an ejection lasts its time. Each is twice as long as the one before, and
//! every [`EjectionConfig::time`] that the backend then stays in halves the next again.

use std::time::Duration;

use netstack::Instant;

use crate::limits::FAILURES_TO_EJECT;

/// The first ejection's length, if nothing else is configured.
pub const EJECTION: Duration = Duration::from_secs(5);
/// The longest ejection, likewise.
pub const EJECTION_MAX: Duration = Duration::from_mins(1);
/// Time over which shares of good answers are compared.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// What ejects a backend, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionConfig {
    /// Failed connects in a row, at least one; default [`FAILURES_TO_EJECT`].
    pub failures: u32,
    /// Answers in a row that tell of an error (of HTTP, a status of 500 or more), at least one; none is no
    /// number of them, the default.
    pub errors: Option<u32>,
    /// Percentage points, 1 to 100, by which the share of good answers is lower than that of the other
    /// backends together; none is not to compare, the default.
    pub worse_by: Option<u8>,
    /// Answers in an [`INTERVAL`] below which a backend, or the others together, are not compared. Default
    /// 50.
    pub answers: u32,
    /// The first ejection's length; default [`EJECTION`].
    pub time: Duration,
    /// The longest ejection; default [`EJECTION_MAX`].
    pub longest: Duration,
    /// Percent of the pool's backends, 0 to 100, that may be ejected at once; one may whatever this
    /// says. Default 100.
    pub most: u8,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self {
            failures: FAILURES_TO_EJECT,
            errors: None,
            worse_by: None,
            answers: 50,
            time: EJECTION,
            longest: EJECTION_MAX,
            most: 100,
        }
    }
}

impl EjectionConfig {
    /// The length of an ejection after others, each of which doubles it.
    pub(super) fn length(&self, others: u32) -> Duration {
        self.time.saturating_mul(1 << others.min(16)).min(self.longest)
    }

    /// True if one more may be ejected when `ejected` of `all` are.
    pub(super) fn allows(&self, ejected: usize, all: usize) -> bool {
        ejected == 0 || (ejected + 1) * 100 <= all * usize::from(self.most)
    }

    /// True if it is looked at what backends answer.
    pub const fn judges_answers(&self) -> bool {
        self.errors.is_some() || self.worse_by.is_some()
    }
}

/// Good and bad answers of an interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) good: u64,
    pub(super) bad: u64,
}

impl Tally {
    pub(super) const fn total(self) -> u64 {
        self.good + self.bad
    }

    /// True if so much less of this than of `others` is good. Both have answers.
    pub(super) fn is_worse(self, others: Self, points: u8) -> bool {
        let share = |tally: Self| tally.good as f64 / tally.total() as f64 * 100.0;
        share(self) + f64::from(points) <= share(others)
    }
}

/// What the answers of one backend have come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    /// Errors in a row.
    pub(super) errors: u32,
    /// Of this interval.
    pub(super) tally: Tally,
    /// Ejections that count for the length of the next.
    ejections: u32,
    /// When the last ejection ended or ends.
    ends: Option<Instant>,
}

impl Answers {
    /// Ejects; until when.
    pub(super) fn eject(&mut self, now: Instant, config: &EjectionConfig) -> Instant {
        let stayed = self.ends.map_or(Duration::ZERO, |ends| now - ends);
        let forgiven = stayed.as_micros() / config.time.as_micros().max(1);
        self.ejections = self.ejections.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        let until = now + config.length(self.ejections);
        self.ejections = self.ejections.saturating_add(1);
        self.errors = 0;
        self.ends = Some(until);
        until
    }
}
