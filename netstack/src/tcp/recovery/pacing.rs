//! When data may leave: a bucket of credit that fills at the pacing rate.
//!
//! The driver's timers are late by up to a millisecond. Credit therefore gathers up to what is sent in
//! [`HORIZON`], and a sender that waits for credit gets what it missed while it overslept, up to
//! [`OVERSLEPT`]. Nothing leaves until there is credit for a quantum, so that data leaves in pieces worth
//! a super-packet when the rate is high, and the time at which that will be is exact.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::time::Instant;

/// Credit gathers for this long: as long as the driver's timer may be late.
const HORIZON: Duration = Duration::from_millis(1);

/// And this long by one who waits for it.
const OVERSLEPT: Duration = Duration::from_millis(4);

/// The largest quantum, in bytes: a super-packet.
const MAX_QUANTUM: u64 = 65_536;

/// Credit in millionths of a byte, so that none is lost to rounding.
const BYTE: i64 = 1_000_000;

/// The most credit or debt: a terabyte, far from overflow.
const BOUND: u64 = 1 << 40;

/// Lets data go at a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    /// Bytes a second; none: no pacing.
    rate: Option<NonZeroU64>,
    credit: i64,
    filled: Instant,
    /// What may leave at once, at least.
    quantum: u32,
    /// Somebody waits for credit.
    waiting: bool,
}

impl Pacer {
    /// Without a rate at first; `burst` bytes may leave at once when it gets one.
    pub(crate) fn new(now: Instant, burst: u64) -> Self {
        Self { rate: None, credit: scaled(burst), filled: now, quantum: 0, waiting: false }
    }

    /// Bytes a second at which data leaves.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate.map(NonZeroU64::get)
    }

    /// Sets the rate and the size of the pieces; by default what leaves in a millisecond, at least two
    /// segments.
    pub(crate) fn set_rate(&mut self, now: Instant, rate: u64, quantum: Option<u64>, mss: u32) {
        self.fill(now);
        self.rate = NonZeroU64::new(rate.clamp(1, BOUND));
        let quantum = quantum.unwrap_or(rate / 1_000).max(2 * u64::from(mss));
        self.quantum = quantum.min(MAX_QUANTUM.max(2 * u64::from(mss))) as u32;
    }

    /// After idleness `bytes` may leave at once.
    pub(crate) fn allow_burst(&mut self, bytes: u64) {
        self.credit = self.credit.max(scaled(bytes));
    }

    /// How much of `wanted` bytes may leave now; if nothing, when it may.
    pub(crate) fn allowed(&mut self, now: Instant, wanted: u64) -> Result<u64, Instant> {
        let Some(rate) = self.rate() else { return Ok(wanted) };
        self.fill(now);
        let need = scaled(wanted.min(u64::from(self.quantum)));
        if self.credit >= need {
            self.waiting = false;
            return Ok(wanted.min((self.credit / BYTE).unsigned_abs()));
        }
        self.waiting = true;
        let wait = (need - self.credit).unsigned_abs().div_ceil(rate);
        Err(now + Duration::from_micros(wait))
    }

    /// `bytes` leave, allowed or not.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u64) {
        if self.rate.is_none() {
            // The credit of the beginning is spent as well.
            self.credit = (self.credit - scaled(bytes)).max(0);
            self.filled = now;
            return;
        }
        self.fill(now);
        self.credit = (self.credit - scaled(bytes)).max(-scaled(BOUND));
    }

    fn fill(&mut self, now: Instant) {
        let Some(rate) = self.rate() else { return };
        let elapsed = now.as_micros().saturating_sub(self.filled.as_micros());
        self.filled = self.filled.max(now);
        let horizon = if self.waiting { OVERSLEPT } else { HORIZON };
        let most =
            millionths(rate, horizon.as_micros() as u64).max(scaled(u64::from(self.quantum)));
        if self.credit < most {
            self.credit = self.credit.saturating_add(millionths(rate, elapsed)).min(most);
        }
    }
}

/// What `rate` bytes a second are in `micros` microseconds, in millionths of a byte.
fn millionths(rate: u64, micros: u64) -> i64 {
    i64::try_from(rate.saturating_mul(micros)).unwrap_or(i64::MAX)
}

fn scaled(bytes: u64) -> i64 {
    bytes.min(BOUND).cast_signed() * BYTE
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    const fn us(n: u64) -> Instant {
        Instant::from_micros(n)
    }

    fn pacer(rate: u64) -> Pacer {
        let mut pacer = Pacer::new(us(0), 0);
        pacer.set_rate(us(0), rate, None, MSS);
        pacer
    }

    /// Sends for a second with a timer that is late by what `late` says, and tells the bytes.
    fn drive(pacer: &mut Pacer, late: impl Fn(u64) -> u64) -> u64 {
        let mut now = us(0);
        let (mut sent, mut turn) = (0, 0);
        while now < us(1_000_000) {
            match pacer.allowed(now, 60_000) {
                Ok(bytes) => {
                    pacer.on_sent(now, bytes);
                    sent += bytes;
                }
                Err(at) => {
                    assert!(at > now);
                    now = us(at.as_micros() + late(turn));
                    turn += 1;
                }
            }
        }
        sent
    }

    #[test]
    fn everything_may_leave_before_a_rate_is_known() {
        let mut pacer = Pacer::new(us(0), 0);
        assert_eq!(pacer.allowed(us(0), 1 << 30), Ok(1 << 30));
    }

    #[test]
    fn keeps_the_rate_exactly_if_timers_are_exact() {
        for rate in [10_000, 1_000_000, 125_000_000, 1_250_000_000] {
            let sent = drive(&mut pacer(rate), |_| 0);
            assert!(sent.abs_diff(rate) <= rate / 100 + 60_000, "{rate}: {sent}");
        }
    }

    #[test]
    fn keeps_the_rate_if_timers_are_late_by_a_millisecond_or_two() {
        for rate in [1_000_000, 125_000_000, 1_250_000_000] {
            let sent = drive(&mut pacer(rate), |turn| 1_000 + turn % 2 * 1_000);
            assert!(sent.abs_diff(rate) <= rate / 50 + 60_000, "{rate}: {sent}");
        }
    }

    #[test]
    fn a_burst_after_silence_is_what_leaves_in_a_millisecond() {
        let mut pacer = pacer(10_000_000);
        assert_eq!(pacer.allowed(us(5_000_000), 60_000), Ok(10_000));
        let mut slow = self::pacer(100_000);
        assert_eq!(slow.allowed(us(5_000_000), 60_000), Ok(2 * u64::from(MSS)));
    }

    #[test]
    fn what_overdraws_is_waited_for() {
        let mut pacer = pacer(1_000_000);
        pacer.on_sent(us(0), 10_000);
        assert_eq!(pacer.allowed(us(0), 60_000), Err(us(12_000)));
        assert_eq!(pacer.allowed(us(0), 500), Err(us(10_500)), "a tail needs less");
    }

    #[test]
    fn absurd_rates_and_sizes_do_no_harm() {
        let mut pacer = pacer(u64::MAX);
        pacer.on_sent(us(1), u64::MAX);
        assert!(pacer.allowed(us(2), u64::MAX).is_err());
        pacer.set_rate(us(3), 0, Some(0), MSS);
        assert!(pacer.allowed(Instant::FAR_FUTURE, 1).is_ok());
    }
}
