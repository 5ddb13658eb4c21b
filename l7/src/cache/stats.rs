//! What a cache did.

use crate::stats::Counter;

/// What a cache made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from memory, fresh.
    Hit,
    /// Answered from memory, stale: while it was validated, or since the client takes it so.
    Stale,
    /// The backend failed, and a stale answer took the place of the failure.
    StaleOnError,
    /// The backend said that what is kept is still good.
    Validated,
    /// The backend was asked, and gave another answer than the one that is kept.
    Changed,
    /// Nothing was kept.
    Miss,
    /// What is kept is for other requests.
    VaryMiss,
    /// The request is not one for caches.
    Bypass,
    /// Its method is not one for caches.
    Method,
    /// The client wanted only what is kept: 504.
    Unavailable,
}

impl Outcome {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Hit,
        Self::Stale,
        Self::StaleOnError,
        Self::Validated,
        Self::Changed,
        Self::Miss,
        Self::VaryMiss,
        Self::Bypass,
        Self::Method,
        Self::Unavailable,
    ];

    /// Its name in logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleOnError => "stale-on-error",
            Self::Validated => "validated",
            Self::Changed => "changed",
            Self::Miss => "miss",
            Self::VaryMiss => "vary-miss",
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Unavailable => "unavailable",
        }
    }

    /// Why a request was forwarded (RFC 9211 section 2.2); none if it was not.
    pub(super) const fn forwarded(self) -> Option<&'static str> {
        match self {
            Self::Hit | Self::Stale | Self::Unavailable => None,
            Self::StaleOnError | Self::Validated | Self::Changed => Some("stale"),
            Self::Miss => Some("uri-miss"),
            Self::VaryMiss => Some("vary-miss"),
            Self::Bypass => Some("bypass"),
            Self::Method => Some("method"),
        }
    }
}

/// Counters of a cache.
#[derive(Debug, Default)]
pub struct CacheStats {
    outcomes: [Counter; Outcome::COUNT],
    /// Requests that waited for another's fetch.
    pub collapsed: Counter,
    /// Answers that were kept, and those that replaced them.
    pub stored: Counter,
    /// Answers that may be kept and found no room: too great, too much at once, or not whole.
    pub unstored: Counter,
    /// Answers that were removed by unsafe methods.
    pub invalidated: Counter,
    /// Answers that were purged.
    pub purged: Counter,
}

impl CacheStats {
    /// Requests that came to this.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome as usize).map_or(0, Counter::get)
    }

    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.bump();
        }
    }
}
