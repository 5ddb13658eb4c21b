//! What balun listens on.

use std::fmt;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Address, Protocol};

use crate::PoolId;

/// The number of a service, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u16);

/// A virtual address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// Transport; ICMP stands for echo requests.
    pub protocol: Protocol,
    /// The virtual IP address (VIP).
    pub address: Address,
    /// Port; 0 for ICMP.
    pub port: u16,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol, IpAddr::from(self.address)) {
            (Protocol::Icmp, addr) => write!(f, "icmp {addr}"),
            (protocol, addr) => {
                write!(f, "{protocol} {}", std::net::SocketAddr::new(addr, self.port))
            }
        }
    }
}

/// What is rewritten on the way to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Source and destination: the backend sees an address of the SNAT pool.
    Full,
    /// The destination alone: the backend sees the client, and its answers must come back through
    /// balun.
    Dnat,
}

/// What happens to a flow of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its packets are rewritten; its one connection runs from client to backend.
    Nat(Nat),
    /// It ends in this process, at the [`Divert`](crate::Divert).
    Divert,
}

/// A service as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Unique.
    pub name: String,
    /// Unique.
    pub listen: Listen,
    /// What happens to its flows.
    pub mode: Mode,
    /// The pool of its backends. For [`Mode::Divert`] the divert chooses, and may use others.
    pub pool: PoolId,
}

impl ServiceConfig {
    /// A service named after what it listens on.
    pub fn new(listen: Listen, mode: Mode, pool: PoolId) -> Self {
        Self { name: listen.to_string(), listen, mode, pool }
    }
}

/// The services by what they listen on, and the addresses that are ours because of them.
#[derive(Debug)]
pub struct Services {
    all: Vec<ServiceConfig>,
    by_listen: HashMap<Listen, ServiceId, FixedState>,
}

impl Services {
    /// An index over `services`, hashed with `seed`.
    pub fn new(services: Vec<ServiceConfig>, seed: u64) -> Self {
        let mut by_listen =
            HashMap::with_capacity_and_hasher(services.len(), FixedState::with_seed(seed));
        for (id, service) in (0..).zip(&services) {
            by_listen.insert(service.listen, ServiceId(id));
        }
        Self { all: services, by_listen }
    }

    /// The service that listens there.
    pub fn lookup(&self, listen: Listen) -> Option<(ServiceId, &ServiceConfig)> {
        let id = *self.by_listen.get(&listen)?;
        Some((id, self.get(id)?))
    }

    /// The service of this number.
    pub fn get(&self, id: ServiceId) -> Option<&ServiceConfig> {
        self.all.get(usize::from(id.0))
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceConfig> {
        self.all.iter()
    }
}
