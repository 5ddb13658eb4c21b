//! How the backends of a pool are asked.

use std::time::Duration;

/// Active checks of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// What is asked.
    pub probe: Probe,
    /// From one probe of a backend to the next, give or take a tenth; not zero.
    pub every: Duration,
    /// Within which an answer must come; not zero. If that is more than `every`, the next probe waits for it.
    pub timeout: Duration,
    /// Failures in a row that take a backend out, at least one.
    pub fall: u32,
    /// Successes in a row that bring one back which was down, at least one.
    pub rise: u32,
}

impl HealthConfig {
    /// Every two seconds, half a second for the answer, out after three failures, back after two
    /// successes.
    pub const fn new(probe: Probe) -> Self {
        Self {
            probe,
            every: Duration::from_secs(2),
            timeout: Duration::from_millis(500),
            fall: 3,
            rise: 2,
        }
    }
}

/// What a probe asks of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// That it answers an echo request.
    Icmp,
    /// That it accepts a connection, which is reset at once.
    Tcp,
    /// That it answers a datagram with this payload, at most
    /// [`PROBE_PAYLOAD`](crate::limits::PROBE_PAYLOAD) bytes, with any datagram.
    Udp(Vec<u8>),
    /// Something that the [`Divert`](crate::Divert) knows how to ask.
    External,
}
