//! What a configuration file means.
//!
//! Each value that something may be said about later carries its place in the text. Optional keys that
//! were not written stand here with their defaults.

mod access;
mod access_log;
mod auth;
mod cache;
mod capture;
mod lab;
mod leg;
mod memory;
mod policy;
mod pool;
mod pooling;
mod route;
mod service;
mod tcp;
mod test;
mod tls;

use std::net::IpAddr;
use std::ops::{Deref, Range};

pub use access::{Access, Burst};
pub use access_log::{AccessLog, Naming, RequestId};
pub use auth::{Auth, AuthMethod, Jwt, Listed, RateLimit, Rule};
pub use cache::Cache;
pub use capture::{Capture, Ring, Transactions};
pub use lab::{Builtin, Expect, Lab, Node, NodeLink, Run, Seen, Site};
pub use leg::{Leg, LegKind, Limits, PortRange, Refusal, Snat, SnatMapping, Timeouts};
pub use memory::{LEAST_STREAM_MEMORY, Memory};
pub use policy::{Control, Rate};
pub use pool::{Affinity, AffinityCookie, Backend, Health, Initial, Pool, Probe, Scheduler};
pub use pooling::Pooling;
pub use route::{Body, ErrorPage, Maintenance, Respond, Route, RouteAction, Treatment};
pub use service::{Forwarded, Mode, Nat, ProxyProtocol, Service, SniRoute, Tunnel, Upstream};
pub use tcp::Tcp;
pub use tls::{Alpn, BackendTls, Certificate, ClientAuth, KeyLog, Tls};

pub use test::{
    Act, BackendStep, COUNTERS, Counter, Kill, LinkFaults, NamedCounter, Simulation, Step, Test,
    VerdictName, Wait,
};

/// Bytes of the configuration's text.
pub type Span = Range<usize>;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place; empty for a default.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value that was written at `span`.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// A value that was not written.
    pub const fn default_of(value: T) -> Self {
        Self { value, span: 0..0 }
    }

    /// Another value of the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }

    /// False for a default.
    pub fn is_written(&self) -> bool {
        !self.span.is_empty()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A whole file. Everything stands in the order of the text.
#[derive(Clone, Debug)]
pub struct Config {
    /// Fixes every random choice.
    pub seed: Option<u64>,
    /// Services leave the TTL as it is; default no.
    pub hide_hop: bool,
    /// `[[leg]]`: where packets enter and leave.
    pub legs: Vec<Leg>,
    /// `[snat]`: sources of full NAT.
    pub snat: Option<Snat>,
    /// `[timeouts]`.
    pub timeouts: Timeouts,
    /// `[limits]`.
    pub limits: Limits,
    /// `[pool.NAME]`.
    pub pools: Vec<Pool>,
    /// `[[service]]`.
    pub services: Vec<Service>,
    /// `bypass`: what is never translated.
    pub bypass: Vec<Spanned<nat::Prefix>>,
    /// `[cache.NAME]`.
    pub caches: Vec<Cache>,
    /// `[auth.NAME]`.
    pub auths: Vec<Auth>,
    /// `[limit.NAME]`.
    pub rate_limits: Vec<RateLimit>,
    /// `[control]`.
    pub control: Option<Control>,
    /// `[[test]]`.
    pub tests: Vec<Test>,
    /// `[capture]`.
    pub capture: Option<Capture>,
    /// `[lab]`, whose nodes have legs among the others.
    pub lab: Option<Lab>,
    /// False if the parser left something out because it was wrong, so that what is missing may well
    /// have been written.
    pub complete: bool,
}

impl Config {
    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name.value == name)
    }

    /// The cache of that name.
    pub fn cache(&self, name: &str) -> Option<&Cache> {
        self.caches.iter().find(|cache| cache.name.value == name)
    }

    /// True if every service of the pool reaches it by sockets of the host, and there is one.
    pub fn is_reached_by_kernel(&self, pool: &Pool) -> bool {
        let uses = |service: &&Service| service.pools().any(|name| name.value == pool.name.value);
        let mut users = self.services.iter().filter(uses).peekable();
        users.peek().is_some() && users.all(Service::is_by_kernel)
    }
}

/// An address with the length of its network's prefix. Bits beyond the prefix may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// Length in bits: at most 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// The network that it names, all bits beyond the prefix cleared.
    #[must_use]
    pub fn network(self) -> Self {
        let length = u32::from(self.length);
        let address = match self.address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                IpAddr::V4((u32::from(a) & mask).into())
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                IpAddr::V6((u128::from(a) & mask).into())
            }
        };
        Self { address, length: self.length }
    }

    /// True if `address` lies in its network.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Self { address, length: self.length }.network() == self.network()
    }

    /// True if some address lies in both networks.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network().address) || other.contains(self.network().address)
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
    }

    #[test]
    fn prefixes_of_every_length() {
        assert_eq!(prefix("10.99.0.254/24").network(), prefix("10.99.0.0/24"));
        assert_eq!(prefix("10.99.0.254/32").network(), prefix("10.99.0.254/32"));
        assert_eq!(prefix("10.99.0.254/0").network(), prefix("0.0.0.0/0"));
        assert_eq!(prefix("fd99::fe/64").network(), prefix("fd99::/64"));
        assert_eq!(prefix("fd99::fe/0").network(), prefix("::/0"));
        assert!(prefix("10.0.0.0/8").overlaps(prefix("10.2.0.0/24")));
        assert!(prefix("10.2.0.0/24").overlaps(prefix("10.0.0.0/8")));
        assert!(!prefix("10.2.0.0/24").overlaps(prefix("10.2.1.0/24")));
        assert!(!prefix("0.0.0.0/0").overlaps(prefix("::/0")), "families are apart");
    }
}
