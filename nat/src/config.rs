//! What an engine is made from. Made by the command line from a file, by a test from nothing.

use std::fmt;
use std::time::Duration;

use netstack::wire::{Address, Family};

use crate::access::contradiction;
use crate::health::{HealthConfig, Probe};
use crate::limits::{
    CHECKED_BACKENDS, MAX_BACKENDS, MAX_FLOWS, MAX_SERVICES, MAX_SNAT_ADDRESSES, PROBE_PAYLOAD,
};
use crate::listen::conflicts;
use crate::{Limits, Mode, Nat, PoolConfig, Prefix, ServiceConfig};

/// The whole configuration of an [`Engine`](crate::Engine).
#[derive(Clone, Debug)]
pub struct Config {
    /// Fixes every random choice.
    pub seed: u64,
    /// At least one; the order gives their numbers.
    pub legs: Vec<LegConfig>,
    /// What backends see as the source of full NAT and of this process's own connections.
    pub snat: SnatConfig,
    /// When idle flows are forgotten.
    pub timeouts: Timeouts,
    /// How much is kept.
    pub limits: Limits,
    /// Leaves the TTL of what is translated as it is, so that a traceroute through a service does not
    /// show this hop. What is only routed loses its hop all the same: a loop must end.
    pub hide_hop: bool,
    /// Pools; the order gives their numbers.
    pub pools: Vec<PoolConfig>,
    /// Services; the order gives their numbers.
    pub services: Vec<ServiceConfig>,
    /// Traffic to and from these is never translated, but routed as it is (RFC 6888 REQ-6).
    pub bypass: Vec<Prefix>,
}

/// A leg.
#[derive(Clone, Debug)]
pub struct LegConfig {
    /// What lies behind it. With a single leg everything does.
    pub prefixes: Vec<Prefix>,
    /// The longest packet that leaves by it, super-packets' segments counted one by one; 0 if that is
    /// not known, and nothing is held to it.
    pub mtu: u16,
    /// Whether packets that come by it may be answered with ICMP errors of our own (RFC 5508 REQ-9).
    /// Without, they are dropped in silence; errors that others made are translated all the same.
    pub icmp_errors: bool,
    /// Addresses on it that no kernel answers for, but the engine: it has them as it has those of
    /// services.
    pub own: Vec<Address>,
}

impl LegConfig {
    /// A leg to these prefixes that answers with errors.
    pub const fn new(prefixes: Vec<Prefix>, mtu: u16) -> Self {
        Self { prefixes, mtu, icmp_errors: true, own: Vec::new() }
    }
}

impl Default for LegConfig {
    /// No MTU that would bound anything, and nothing behind it unless it is the only leg.
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

/// The SNAT pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnatConfig {
    /// Addresses of either family; they need not be neighbours. For a family without one, the service's
    /// own VIP is used, and a connection of this process uses any VIP.
    pub addresses: Vec<Address>,
    /// First and last port.
    pub ports: (u16, u16),
    /// What a client port's mapping depends on.
    pub mapping: Mapping,
    /// An even UDP port is mapped to an even one, an odd one to an odd (RFC 4787 REQ-4). A range of a
    /// single port serves both.
    pub parity: bool,
    /// How long the port of a flow that ended is given to no other; zero is not at all (RFC 6888 REQ-8).
    pub quarantine: Duration,
    /// How many ports stand in quarantine or are of closing flows at most. Beyond, a port is free as soon
    /// as its flow is forgotten, and not sooner.
    pub quarantine_ports: usize,
    /// Ports that one client may have at a time (RFC 6888 REQ-4).
    pub ports_per_client: u32,
    /// What a client hears that no port is left for.
    pub exhausted: Refusal,
    /// What a host hears, after six seconds, that sends a SYN to a port of the pool which is not mapped
    /// to it (RFC 5382 REQ-4).
    pub unsolicited: Refusal,
}

impl Default for SnatConfig {
    /// No address of its own, every port above the well-known ones (RFC 4787 REQ-3a), and no limit a
    /// client.
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            ports: (1024, 65_535),
            mapping: Mapping::EndpointDependent,
            parity: false,
            quarantine: Duration::from_mins(2),
            quarantine_ports: 1_048_576,
            ports_per_client: u32::MAX,
            exhausted: Refusal::Reject,
            unsolicited: Refusal::Reject,
        }
    }
}

/// What a mapping of the SNAT pool depends on (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mapping {
    /// The client's port and the backend: a pool port serves a flow to each backend.
    #[default]
    EndpointDependent,
    /// The client's port alone: it is mapped to the same pool port for every backend.
    EndpointIndependent,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// With a RST or an ICMP error.
    #[default]
    Reject,
    /// In silence.
    Drop,
}

/// Idle times after which a flow is forgotten. The defaults are the RFCs' minimum or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP (RFC 5382 REQ-5: at least 2 h 4 min).
    pub tcp_established: Duration,
    /// TCP whose handshake is not complete (RFC 7857 section 2.1, RFC 5382 REQ-5: at least 4 min).
    pub tcp_half_open: Duration,
    /// TCP that both sides have closed or one has reset (RFC 7857 sections 2.1 and 2.2: at least 4 min).
    pub tcp_closing: Duration,
    /// UDP (RFC 4787 REQ-5: at least 2 min, 5 min recommended).
    pub udp: Duration,
    /// ICMP echo (RFC 5508 REQ-2: at least 60 s).
    pub icmp: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_mins(124),
            tcp_half_open: Duration::from_mins(4),
            tcp_closing: Duration::from_mins(4),
            udp: Duration::from_mins(5),
            icmp: Duration::from_mins(1),
        }
    }
}

/// A configuration that no engine can be made from. What a person wrote is checked earlier and with
/// better words; these guard against a caller's mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No leg: packets could neither come nor go.
    NoLeg,
    /// More of something than can be numbered.
    TooMany(&'static str),
    /// This service names a pool that does not exist.
    UnknownPool(String),
    /// This service listens on nothing.
    NoListen(String),
    /// Two services listen on the same thing, and neither is more specific.
    SameListen(String, String),
    /// This service's own address bypasses translation.
    Bypassed(String),
    /// This service allows and denies one prefix.
    AllowedAndDenied(String, Prefix),
    /// This full NAT service listens on a prefix, and no address to speak from is configured.
    NoSource(String),
    /// This NAT service has a backend of the other address family.
    FamilyMismatch(String),
    /// This service picks connections up, which only DNAT and tunnels can.
    PickupMode(String),
    /// A backend of this service, whose packets are wrapped and keep their port, listens on another.
    TunnelPort(String),
    /// There is no address of the SNAT pool to send this service's wrapped packets from.
    TunnelSource(String),
    /// The port range is empty.
    NoPorts,
    /// This pool's checks have this number at zero: they would never end, or never decide.
    HealthZero(String, &'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeg => write!(f, "no leg is configured"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::UnknownPool(service) => write!(f, "service `{service}` names an unknown pool"),
            Self::NoListen(service) => write!(f, "service `{service}` listens on nothing"),
            Self::SameListen(a, b) => {
                write!(f, "services `{a}` and `{b}` listen on the same address")
            }
            Self::Bypassed(service) => {
                write!(f, "service `{service}` listens on an address that bypasses translation")
            }
            Self::AllowedAndDenied(service, prefix) => {
                write!(f, "service `{service}` both allows and denies {prefix}")
            }
            Self::NoSource(service) => {
                write!(f, "service `{service}` listens on a prefix and has no source address")
            }
            Self::FamilyMismatch(service) => {
                write!(f, "service `{service}` has a backend of the other address family")
            }
            Self::PickupMode(service) => {
                write!(f, "service `{service}` picks connections up, which takes DNAT or a tunnel")
            }
            Self::TunnelPort(service) => {
                write!(
                    f,
                    "service `{service}` has a backend on another port, which a tunnel cannot reach"
                )
            }
            Self::TunnelSource(service) => {
                write!(f, "service `{service}` has a backend to which no SNAT address can send")
            }
            Self::NoPorts => write!(f, "the SNAT port range is empty"),
            Self::HealthZero(pool, what) => {
                write!(f, "the health checks of pool `{pool}` have {what} = 0")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// A configuration with defaults for all but what there is no default for.
    pub fn new(
        seed: u64,
        legs: Vec<LegConfig>,
        pools: Vec<PoolConfig>,
        services: Vec<ServiceConfig>,
    ) -> Self {
        Self {
            seed,
            legs,
            snat: SnatConfig::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            hide_hop: false,
            pools,
            services,
            bypass: Vec::new(),
        }
    }

    /// Checks what [`Engine::new`](crate::Engine::new) relies on.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.legs.is_empty() {
            return Err(ConfigError::NoLeg);
        }
        for (what, n, most) in [
            ("legs", self.legs.len(), usize::from(u16::MAX)),
            ("services", self.services.len(), MAX_SERVICES),
            ("pools", self.pools.len(), usize::from(u16::MAX)),
            ("flows", self.limits.flows, MAX_FLOWS),
            ("SNAT addresses", self.snat.addresses.len(), MAX_SNAT_ADDRESSES),
        ] {
            if n > most {
                return Err(ConfigError::TooMany(what));
            }
        }
        if self.pools.iter().any(|p| p.backends.len() > MAX_BACKENDS) {
            return Err(ConfigError::TooMany("backends in a pool"));
        }
        let checked = self.pools.iter().filter(|pool| pool.health.is_some());
        if checked.map(|pool| pool.backends.len()).sum::<usize>() > CHECKED_BACKENDS {
            return Err(ConfigError::TooMany("checked backends"));
        }
        self.pools.iter().try_for_each(validate_health)?;
        if self.snat.ports.0 > self.snat.ports.1 || self.snat.ports.0 == 0 {
            return Err(ConfigError::NoPorts);
        }
        let listens: Vec<_> = (0..)
            .zip(&self.services)
            .flat_map(|(id, s)| s.listens.iter().map(move |&l| (id, l)))
            .collect();
        if let Some(&(a, b)) = conflicts(&listens).first() {
            let name = |at: usize| self.services[listens[at].0].name.clone();
            return Err(ConfigError::SameListen(name(a), name(b)));
        }
        self.services.iter().try_for_each(|service| self.validate_service(service))
    }

    fn validate_service(&self, service: &ServiceConfig) -> Result<(), ConfigError> {
        let name = || service.name.clone();
        let pool = self
            .pools
            .get(usize::from(service.pool.0))
            .ok_or_else(|| ConfigError::UnknownPool(name()))?;
        let first = service.listens.first().ok_or_else(|| ConfigError::NoListen(name()))?;
        if service.hosts().any(|host| self.bypass.iter().any(|prefix| prefix.contains(host))) {
            return Err(ConfigError::Bypassed(name()));
        }
        if let Some(prefix) = contradiction(&service.allow, &service.deny) {
            return Err(ConfigError::AllowedAndDenied(name(), prefix));
        }
        if service.pickup && !matches!(service.mode, Mode::Nat(Nat::Dnat | Nat::Tunnel(_))) {
            return Err(ConfigError::PickupMode(name()));
        }
        let Mode::Nat(nat) = service.mode else { return Ok(()) };
        if let Nat::Tunnel(_) = nat {
            return self.validate_tunnel(service, pool);
        }
        let family = first.prefix.family();
        let same = |other: bool| other == (family == Family::V4);
        if !pool.backends.iter().all(|b| same(b.address.is_ipv4()))
            || !service.listens.iter().all(|l| l.prefix.family() == family)
        {
            return Err(ConfigError::FamilyMismatch(name()));
        }
        // The address that a client asks for is no source if it may be anyone's.
        let has_source = self.snat.addresses.iter().any(|a| a.family() == family);
        if nat == Nat::Full && !has_source && service.listens.iter().any(|l| l.host().is_none()) {
            return Err(ConfigError::NoSource(name()));
        }
        Ok(())
    }

    fn validate_tunnel(
        &self,
        service: &ServiceConfig,
        pool: &PoolConfig,
    ) -> Result<(), ConfigError> {
        let keeps_port = |port: u16| service.listens.iter().all(|listen| listen.is_only(port));
        let other = |port: u16| port != 0 && !keeps_port(port);
        if pool.backends.iter().any(|backend| other(backend.address.port())) {
            return Err(ConfigError::TunnelPort(service.name.clone()));
        }
        let has_source =
            |is_v4: bool| self.snat.addresses.iter().any(|address| address.is_v4() == is_v4);
        if !pool.backends.iter().all(|backend| has_source(backend.address.is_ipv4())) {
            return Err(ConfigError::TunnelSource(service.name.clone()));
        }
        Ok(())
    }
}

fn validate_health(pool: &PoolConfig) -> Result<(), ConfigError> {
    let Some(HealthConfig { probe, every, timeout, fall, rise }) = &pool.health else {
        return Ok(());
    };
    if matches!(probe, Probe::Udp(text) if text.len() > PROBE_PAYLOAD) {
        return Err(ConfigError::TooMany("bytes in a probe"));
    }
    let numbers = [
        ("every", every.is_zero()),
        ("timeout", timeout.is_zero()),
        ("fall", *fall == 0),
        ("rise", *rise == 0),
    ];
    match numbers.iter().find(|(_, is_zero)| *is_zero) {
        Some(&(what, _)) => Err(ConfigError::HealthZero(pool.name.clone(), what)),
        None => Ok(()),
    }
}
