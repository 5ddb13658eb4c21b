//! A replay no faster than the packets came.

use std::str::FromStr;
use std::time::{Duration, Instant as WallInstant};

use netstack::Instant;

/// How fast a capture is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// As fast as it goes.
    #[default]
    Max,
    /// So many times as fast as it was recorded.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.strip_suffix('x').and_then(|number| number.parse::<f64>().ok());
        match times {
            Some(times) if (0.001..=1000.0).contains(&times) => Ok(Self::Times(times)),
            _ => Err("write `max`, or a factor from 0.001x to 1000x such as `1x`".to_owned()),
        }
    }
}

/// Holds a replay back.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    times: f64,
    /// When the first packet was replayed, and its time.
    start: Option<(WallInstant, Instant)>,
}

impl Pace {
    /// What a speed asks for, if it asks for anything.
    pub const fn of(speed: Speed) -> Option<Self> {
        match speed {
            Speed::Max => None,
            Speed::Times(times) => Some(Self { times, start: None }),
        }
    }

    /// Waits until it is `at` by the recording. The first call sets what that means.
    pub fn wait_until(&mut self, at: Instant) {
        let (start, zero) = *self.start.get_or_insert_with(|| (WallInstant::now(), at));
        let due = start + self.time(at - zero);
        std::thread::sleep(due.saturating_duration_since(WallInstant::now()));
    }

    fn time(self, recorded: Duration) -> Duration {
        recorded.div_f64(self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_factor_or_the_most() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5x".parse(), Ok(Speed::Times(2.5)));
        let pace = Pace::of(Speed::Times(2.0)).unwrap();
        assert_eq!(pace.time(Duration::from_secs(3)), Duration::from_millis(1500));
        for wrong in ["1", "0x", "-1x", "NaNx", "infx", "x", "fast"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
