//! What a demo is asked for.

use std::time::Duration;

/// The most backends that a demo makes: one namespace, TUN and server each.
pub const MAX_BACKENDS: u8 = 32;

/// What to show, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long.
    pub length: Duration,
    /// Backends: 2 to [`MAX_BACKENDS`].
    pub backends: u8,
    /// When the first backend is killed; half-way if not said.
    pub break_after: Option<Duration>,
    /// Fixes every random choice of the balancer (and, simulated, of everything).
    pub seed: u64,
    /// Stay up until interrupted, kill nobody, and let a person try.
    pub hold: bool,
}

impl Options {
    /// When the first backend dies; nothing if it never does.
    pub fn kill_at(&self) -> Option<Duration> {
        (!self.hold).then(|| self.break_after.unwrap_or(self.length / 2))
    }

    /// When clients must be through with what the kill cut off: errors later than this are faults.
    pub fn settled_at(&self) -> Option<Duration> {
        self.kill_at().map(|kill| kill + SETTLE)
    }
}

/// How long after a kill a request that was on its way may still fail.
const SETTLE: Duration = Duration::from_secs(1);
