//! The machine's clock as the core's time.

use netstack::Instant;

/// Time since the run began. It follows tokio's clock, so that a paused runtime pauses it too.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: tokio::time::Instant,
}

impl Clock {
    /// A clock whose epoch is now. Must be made inside a tokio runtime.
    pub fn start() -> Self {
        Self { epoch: tokio::time::Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// A time of the core as tokio's.
    pub fn tokio(&self, at: Instant) -> tokio::time::Instant {
        self.epoch + at.saturating_since(Instant::ZERO)
    }
}
