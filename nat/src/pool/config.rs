//! What a pool is made from.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::ejection::EjectionConfig;
use crate::health::HealthConfig;
use crate::schedule::Scheduler;

/// The number of a pool, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u16);

/// The number of a backend within its pool, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u16);

/// What an operator or a health check says of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendState {
    /// Takes new flows.
    #[default]
    Ready,
    /// Keeps its flows and the clients that affinity holds there; takes no others.
    Drain,
    /// Taken out by an operator.
    Maint,
    /// Failed its checks.
    Down,
    /// Not checked yet: takes no flow before its first success.
    Starting,
}

impl BackendState {
    /// The name that commands use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Down => "down",
            Self::Starting => "starting",
        }
    }
}

/// A backend as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// Unique within the pool.
    pub name: String,
    /// Where it listens; port 0 stands for the one that the client asked for. The port is not used for
    /// ICMP.
    pub address: SocketAddr,
    /// Share of the load relative to the pool's others; 0 takes none.
    pub weight: u16,
    /// Flows that it takes at once; none is no limit. Beyond, the scheduler's next choice is taken.
    pub max_connections: Option<u32>,
    /// Its group: a group takes flows only if no backend of a lower number can.
    pub priority: u16,
    /// Takes flows only if no backend that is not a backup can: a group behind all others.
    pub backup: bool,
}

impl BackendConfig {
    /// A backend of weight 1 in the first group, without a limit.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        let name = name.into();
        Self { name, address, weight: 1, max_connections: None, priority: 0, backup: false }
    }
}

/// How long a client keeps its backend, and who counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityConfig {
    /// Time after its last flow was opened.
    pub timeout: Duration,
    /// Leading bits of an IPv4 address that make a client, at most 32.
    pub prefix_v4: u8,
    /// Leading bits of an IPv6 address that make a client, at most 128.
    pub prefix_v6: u8,
}

impl AffinityConfig {
    /// Every address is a client.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, prefix_v4: 32, prefix_v6: 128 }
    }
}

/// A pool as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Unique.
    pub name: String,
    /// How a backend is chosen.
    pub scheduler: Scheduler,
    /// At least one.
    pub backends: Vec<BackendConfig>,
    /// The state in which all of them start.
    pub initial: BackendState,
    /// How they are asked whether they are well.
    pub health: Option<HealthConfig>,
    /// Keeps clients at their backends.
    pub affinity: Option<AffinityConfig>,
    /// Time in which a backend that was out comes back to its full share; zero is at once.
    pub slow_start: Duration,
    /// When its own traffic takes a backend out.
    pub ejection: EjectionConfig,
    /// Percent, 0 to 100, of the weight that must be healthy. Below, health is not believed and all
    /// backends are chosen from, but those in maintenance and draining; 0 never gives up believing.
    pub panic_threshold: u8,
}

impl PoolConfig {
    /// A pool whose backends take turns, are ready at once and not checked.
    pub fn new(name: impl Into<String>, backends: Vec<BackendConfig>) -> Self {
        Self {
            name: name.into(),
            scheduler: Scheduler::RoundRobin,
            backends,
            initial: BackendState::Ready,
            health: None,
            affinity: None,
            slow_start: Duration::ZERO,
            ejection: EjectionConfig::default(),
            panic_threshold: 0,
        }
    }

    /// The backends that listen on every port.
    pub fn every_port(&self) -> impl Iterator<Item = IpAddr> {
        self.backends.iter().map(|b| b.address).filter(|a| a.port() == 0).map(|a| a.ip())
    }
}
