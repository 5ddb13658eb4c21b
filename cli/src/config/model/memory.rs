//! What `limits.memory` is spent on.
//!
//! It bounds what traffic can make balun keep. Part of that is bounded by counts, whose worst case is
//! set aside: flows, fragments, connections that end here. The rest is for the data of these connections.

use nat::limits::{FLOW_MEMORY, HELD_BYTES};
use netstack::tcp::EndpointConfig;
use netstack::tcp::limits::{CONNECTION_MEMORY, TIME_WAIT_MEMORY};

use super::{Config, Mode, Pool, Probe};

/// The least that is left for the data of connections that end here.
pub const LEAST_STREAM_MEMORY: u64 = 16 << 20;

/// Bytes that a configuration needs at its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Flows, with all that is kept for each.
    pub flows: u64,
    /// Fragments that wait for the first of their datagram.
    pub fragments: u64,
    /// Connections that end here, without their data.
    pub connections: u64,
    /// Answers that are kept.
    pub caches: u64,
}

impl Memory {
    /// What counts bound.
    pub const fn tables(self) -> u64 {
        self.flows + self.fragments + self.connections + self.caches
    }

    /// The least that `limits.memory` can be.
    pub const fn least(self) -> u64 {
        self.tables() + if self.connections > 0 { LEAST_STREAM_MEMORY } else { 0 }
    }
}

impl Config {
    /// What the limits of this configuration come to.
    pub fn memory(&self) -> Memory {
        let endpoint = EndpointConfig::new([0; 2]);
        let connections = endpoint.max_connections as u64 * CONNECTION_MEMORY
            + endpoint.max_time_wait as u64 * TIME_WAIT_MEMORY;
        let ends_tcp = self.services.iter().any(|service| service.mode.value != Mode::Nat)
            || self.pools.iter().any(asks_by_http);
        Memory {
            flows: u64::from(self.limits.flows.value) * FLOW_MEMORY,
            fragments: HELD_BYTES as u64,
            connections: if ends_tcp { connections } else { 0 },
            caches: self.caches.iter().map(|cache| cache.memory.value).sum(),
        }
    }

    /// Bytes for the data of connections that end here; nothing if no limit was written.
    pub fn stream_memory(&self) -> Option<u64> {
        let written = self.limits.memory.as_ref()?.value;
        Some(written.saturating_sub(self.memory().tables()))
    }
}

fn asks_by_http(pool: &Pool) -> bool {
    pool.health.as_ref().is_some_and(|health| matches!(*health.probe, Probe::Http { .. }))
}
