//! Congestion control: how much may be in flight, and how fast it may leave.
//!
//! # Theory of operation
//!
//! The sender keeps the scoreboard and decides what is lost. It tells an algorithm what it sent, what
//! each acknowledgment brought and that a loss began, and asks it for a window and a pacing rate:
//!
//! ```text
//!   sender ── on_sent, on_ack, on_lost, on_congestion, ... ─► dyn Congestion (reno, cubic, bbr)
//!          ◄─ window(), slow_start_threshold(), pacing_rate() ─┘
//!          ── a Stamp a segment ─► RateEstimator ─► RateSample, Lost: part of what is told
//! ```
//!
//! For one acknowledgment the order of calls is:
//!
//! 1. [`on_delivered`](rate::RateEstimator::on_delivered) for each run newly acknowledged or selectively acknowledged,
//!    [`on_lost`](rate::RateEstimator::on_lost) for each run newly marked lost, and its [`Lost`] to
//!    [`Congestion::on_lost`];
//! 2. [`Congestion::on_congestion`] if a recovery begins, [`Congestion::on_recovered`] if one ends,
//!    [`Congestion::undo`] if one proves to have been for nothing;
//! 3. [`sample`](rate::RateEstimator::sample), then [`Congestion::on_ack`] with it.
//!
//! **Recovery.** [`window`](Congestion::window) falls to the new slow start threshold as soon as a loss
//! is told. If [`governs_recovery`](Congestion::governs_recovery) is false the sender comes down to it
//! smoothly, by Proportional Rate Reduction, until the recovery ends; the window then holds again. If it
//! is true the window always holds.
//!
//! **Time** is an argument; all amounts are bytes of stream (no headers), all rates bytes a second.
//!
//! | algorithm | by | signal |
//! |---|---|---|
//! | [`NewReno`](new_reno::NewReno) | RFC 5681, 6582 | loss |
//! | [`Cubic`](cubic::Cubic) | RFC 9438, 9406 | loss; in the first slow start the round trip, too |
//! | [`Bbr`](bbr::Bbr) | draft-ietf-ccwg-bbr | delivery rate, round trip, loss rate |

mod bbr;
mod cubic;
mod hystart;
mod new_reno;
pub(crate) mod rate;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use rate::{Lost, RateSample};

use crate::time::Instant;

/// A way to control congestion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 9438 with RFC 9406, named `cubic`.
    #[default]
    Cubic,
    /// RFC 5681 and 6582, named `reno`.
    NewReno,
    /// Version 3 (draft-ietf-ccwg-bbr), named `bbr`.
    Bbr,
}

impl Algorithm {
    /// Every algorithm, in the order in which they should be listed.
    pub const ALL: [Self; 3] = [Self::Cubic, Self::NewReno, Self::Bbr];

    /// A controller for a connection that has not sent data yet.
    ///
    /// `mss` is the number of data bytes in a full segment. `seed` is where waits that must differ
    /// between connections come from: equal seeds give equal runs.
    pub(crate) fn start(self, now: Instant, mss: u32, seed: u64) -> Box<dyn Congestion> {
        let mss = mss.max(1);
        match self {
            Self::Cubic => Box::new(cubic::Cubic::new(now, mss)),
            Self::NewReno => Box::new(new_reno::NewReno::new(mss)),
            Self::Bbr => Box::new(bbr::Bbr::new(now, mss, seed)),
        }
    }

    /// The name in configurations and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "reno",
            Self::Bbr => "bbr",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No algorithm has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such congestion control; there is ")?;
        for (i, algorithm) in Algorithm::ALL.iter().enumerate() {
            write!(f, "{}{algorithm}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl std::str::FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

/// Decides how much of one connection may be in flight.
pub(crate) trait Congestion: fmt::Debug + Send {
    /// Which algorithm this is.
    fn algorithm(&self) -> Algorithm;

    /// Data was sent.
    fn on_sent(&mut self, now: Instant, sent: &Sent);

    /// An acknowledgment has been processed. Called for each one that delivered something, or that
    /// came while something was in flight.
    fn on_ack(&mut self, now: Instant, ack: &AckSample);

    /// A run of segments was marked lost, in whatever state the sender is.
    fn on_lost(&mut self, now: Instant, lost: &Lost) {
        let _ = (now, lost);
    }

    /// A loss begins a recovery: once an episode. Remembers what [`undo`](Self::undo) needs.
    fn on_congestion(&mut self, now: Instant);

    /// The episode that a loss or a timeout began is over: all that was outstanding when it began is
    /// acknowledged.
    fn on_recovered(&mut self, now: Instant);

    /// The retransmission timer fired. `in_flight` counts what is in flight once all has been marked
    /// lost: usually nothing. Called again for each further timeout of the episode.
    fn on_timeout(&mut self, now: Instant, in_flight: u64);

    /// The last episode was for nothing (DSACK, Eifel, F-RTO): the reduction is taken back. Ends the
    /// episode.
    fn undo(&mut self, now: Instant);

    /// Sending goes on after more than a retransmission timeout, `rto`, without anything in flight
    /// (RFC 5681 section 4.1).
    fn on_restart(&mut self, now: Instant, idle: Duration, rto: Duration);

    /// Goes on where another algorithm was, whose window and threshold these were. Called once, before
    /// all else.
    fn inherit(&mut self, window: u64, threshold: u64);

    /// The number of data bytes in a full segment has changed.
    fn set_mss(&mut self, mss: u32);

    /// The congestion window, in bytes; at least one segment.
    fn window(&self) -> u64;

    /// Below this window growth is exponential; `u64::MAX` if no loss was seen, and for an algorithm
    /// that has no such thing.
    fn slow_start_threshold(&self) -> u64;

    /// Bytes a second at which data may leave; `None` leaves the choice to the sender, in proportion
    /// to the window and the round trip (see [`pacing_gain_percent`](Self::pacing_gain_percent)).
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// Without a [`pacing_rate`](Self::pacing_rate): the rate to pace at, in percent of window /
    /// smoothed round trip. As Linux: twice in slow start, so that pacing does not hold growth back.
    fn pacing_gain_percent(&self) -> u64 {
        if self.window() < self.slow_start_threshold() / 2 { 200 } else { 120 }
    }

    /// Bytes that may leave back to back. By default what is paced out in a millisecond, at least two
    /// segments and at most 64 KiB; the sender bounds it where it computes the rate.
    fn send_quantum(&self) -> Option<u64> {
        None
    }

    /// True: the window holds in recovery as well, and the sender does no rate reduction of its own.
    fn governs_recovery(&self) -> bool {
        false
    }

    /// True while the algorithm holds back for a measurement: the sender then marks the estimator
    /// [application-limited](rate::RateEstimator::mark_app_limited) after each acknowledgment.
    fn holds_back(&self) -> bool {
        false
    }

    /// What the algorithm is doing, for people.
    fn phase(&self) -> &'static str;
}

/// The moment in which data was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Bytes in flight before.
    pub(crate) in_flight: u64,
    /// The estimator was application-limited when this was sent.
    pub(crate) app_limited: bool,
}

/// What an acknowledgment brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckSample {
    /// Bytes newly known to have arrived: acknowledged or selectively acknowledged.
    pub(crate) delivered: u64,
    /// Bytes in flight now (`pipe` of RFC 6675).
    pub(crate) in_flight: u64,
    /// Bytes in flight before this acknowledgment.
    pub(crate) prior_in_flight: u64,
    /// Round trip of the newest segment that this acknowledgment is for; `None` if it cannot be told
    /// (Karn).
    pub(crate) rtt: Option<Duration>,
    /// The smallest round trip of the connection; [`Duration::MAX`] before the first.
    pub(crate) min_rtt: Duration,
    /// The smoothed round trip; zero before the first.
    pub(crate) smoothed_rtt: Duration,
    /// The rate at which the path delivers.
    pub(crate) rate: Option<RateSample>,
    /// Fast recovery is on: the sender is reducing what is in flight. False after a timeout, when slow
    /// start fills the pipe again.
    pub(crate) in_recovery: bool,
    /// Sending has been held up by the window since the window was last full.
    pub(crate) window_limited: bool,
    /// Offset of the next byte to be sent for the first time (SND.NXT).
    pub(crate) next_offset: u64,
    /// Offset of the oldest byte that is not acknowledged (SND.UNA).
    pub(crate) una: u64,
}

impl AckSample {
    /// The window is what limits sending, so that it may grow (RFC 7661). Below the threshold a window
    /// of which half was used counts as full, as in Linux: it will be full a round trip later.
    fn fills(&self, window: u64, threshold: u64) -> bool {
        self.window_limited || (window < threshold && window < 2 * self.prior_in_flight)
    }
}

/// The initial window of RFC 6928, in bytes.
pub(crate) fn initial_window(mss: u32) -> u64 {
    let mss = u64::from(mss);
    (10 * mss).min((2 * mss).max(14_600))
}

/// The window after `idle` time without sending: halved once a retransmission timeout, down to the
/// initial window (RFC 5681 section 4.1, RFC 2861).
fn idle_window(window: u64, mss: u32, idle: Duration, rto: Duration) -> u64 {
    let restart = initial_window(mss).min(window);
    let halvings = idle.as_micros() / rto.as_micros().max(1);
    (window >> halvings.min(63)).max(restart)
}

/// Grows a window below its threshold by what was acknowledged (RFC 5681 section 3.1, without a limit a
/// acknowledgment since sending is paced: RFC 9406 section 4.2). Returns the bytes beyond the threshold.
fn slow_start(window: &mut u64, threshold: u64, acked: u64) -> u64 {
    let growth = acked.min(threshold.saturating_sub(*window));
    *window += growth;
    acked - growth
}

/// What an algorithm with a slow start threshold is doing.
const fn loss_based_phase(window: u64, threshold: u64, in_recovery: bool) -> &'static str {
    if window < threshold {
        "slow start"
    } else if in_recovery {
        "recovery"
    } else {
        "congestion avoidance"
    }
}
