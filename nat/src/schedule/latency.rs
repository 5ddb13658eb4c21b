//! Latency, remembered as its recent peak.

use std::f64::consts::LN_2;
use std::time::Duration;

use netstack::Instant;

/// Time in which a peak loses half its weight.
pub const HALF_LIFE: Duration = Duration::from_secs(10);

/// A peak-sensitive, exponentially weighted moving average (as in Finagle's `p2c` over peak EWMA): a
/// sample above the average replaces it at once, one below pulls it down by as much as time has passed.
/// Without samples it decays, so that a backend that was slow once is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    /// Microseconds at `at`.
    value: f64,
    at: Instant,
    sampled: bool,
}

impl Latency {
    /// Takes in a sample.
    pub(crate) fn observe(&mut self, now: Instant, sample: Duration) {
        let sample = sample.as_micros().clamp(1, u128::from(u32::MAX)) as f64;
        let kept = halved(now - self.at);
        let decayed = self.value * kept;
        self.value =
            if self.sampled && sample < decayed { decayed + sample * (1.0 - kept) } else { sample };
        (self.at, self.sampled) = (now, true);
    }

    /// Microseconds expected now; none before the first sample.
    pub(crate) fn at(&self, now: Instant) -> Option<f64> {
        self.sampled.then(|| self.value * halved(now - self.at))
    }
}

/// What is left of 1 after `time`, from steps that every machine rounds alike, which a library's
/// `exp2` is not sure to do.
fn halved(time: Duration) -> f64 {
    let (time, life) = (time.as_micros(), HALF_LIFE.as_micros());
    let whole = (time / life).min(1_000) as u32;
    let x = (time % life) as f64 / life as f64 * LN_2;
    // The series of e to the power -x, from its tenth term inward.
    let partly = (1..=10).rev().fold(1.0, |sum, n| 1.0 - sum * x / f64::from(n));
    (0..whole).fold(partly, |left, _| left / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_decay_halves_each_half_life() {
        for tenths in 0..100 {
            let time = HALF_LIFE * tenths / 10;
            let exact = 0.5_f64.powf(f64::from(tenths) / 10.0);
            assert!((halved(time) / exact - 1.0).abs() < 1e-9, "{time:?}");
        }
        assert!(halved(Duration::MAX) < 1e-300);
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let mut latency = Latency::default();
        let mut now = Instant::from_secs(1);
        assert_eq!(latency.at(now), None);
        latency.observe(now, MS);
        assert_eq!(latency.at(now), Some(1_000.0));
        latency.observe(now, 100 * MS);
        assert_eq!(latency.at(now), Some(100_000.0));
        for _ in 0..1_000 {
            now += HALF_LIFE / 1_000;
            latency.observe(now, MS);
        }
        let left = latency.at(now).unwrap();
        assert!((50_000.0..51_000.0).contains(&left), "{left}");
        assert!(latency.at(now + HALF_LIFE * 20).unwrap() < 1.0, "forgotten if never asked");
    }
}
