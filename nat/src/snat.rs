//! The addresses and ports that backends see.
//!
//! # Theory of operation
//!
//! Mapping is *endpoint-dependent*: what must be unique is the pair (pool address and port, backend
//! address and port), so each backend endpoint has the whole port range of every pool address to
//! itself. For each such combination a bitmap of ports exists from its first use: at most 8 KiB per
//! (protocol, pool address, backend endpoint), a number that the configuration bounds.
//!
//! A port is chosen at random (RFC 6056 section 3.3.1: a random start, then the next free one), an
//! address by the client's hash, so that a client keeps one address (paired pooling, RFC 4787 REQ-2)
//! until that address has no port left toward this backend.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Address, Family, Protocol};

use crate::SnatConfig;
use crate::rng::{Rng, stable_hash};

/// What a port is unique within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Transport.
    pub protocol: Protocol,
    /// The pool's address.
    pub source: Address,
    /// The backend's address.
    pub backend: Address,
    /// The backend's port; 0 for ICMP.
    pub backend_port: u16,
}

/// Ports in use, by scope.
#[derive(Debug)]
pub struct SnatPool {
    v4: Vec<Address>,
    v6: Vec<Address>,
    first: u16,
    last: u16,
    in_use: HashMap<Scope, PortSet, FixedState>,
}

impl SnatPool {
    /// A pool in which every port is free.
    pub fn new(config: &SnatConfig, seed: u64) -> Self {
        let of = |family| {
            config.addresses.iter().copied().filter(|a: &Address| a.family() == family).collect()
        };
        Self {
            v4: of(Family::V4),
            v6: of(Family::V6),
            first: config.ports.0,
            last: config.ports.1,
            in_use: HashMap::with_hasher(FixedState::with_seed(seed)),
        }
    }

    /// The pool's addresses of a family.
    pub fn addresses(&self, family: Family) -> &[Address] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Takes a port for `client` toward a backend; nothing if all are taken. `fallback` stands in for
    /// a family in which the pool has no address.
    pub fn allocate(
        &mut self,
        protocol: Protocol,
        client: Address,
        fallback: Address,
        backend: (Address, u16),
        rng: &mut Rng,
    ) -> Option<(Address, u16)> {
        let addresses = match backend.0.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let addresses =
            if addresses.is_empty() { std::slice::from_ref(&fallback) } else { addresses };
        let start = (stable_hash(0, client.octets()) % addresses.len() as u64) as usize;
        let (before, from) = addresses.split_at(start);
        for &source in from.iter().chain(before) {
            let scope = Scope::new(protocol, source, backend);
            let ports = self.in_use.entry(scope).or_insert_with(PortSet::new);
            if let Some(port) = ports.take(self.first, self.last, rng) {
                return Some((source, port));
            }
        }
        None
    }

    /// Gives a port back.
    pub fn release(&mut self, protocol: Protocol, snat: (Address, u16), backend: (Address, u16)) {
        if let Some(ports) = self.in_use.get_mut(&Scope::new(protocol, snat.0, backend)) {
            ports.give_back(snat.1);
        }
    }

    /// Ports in use, over all scopes.
    pub fn len(&self) -> usize {
        self.in_use.values().map(|ports| ports.len as usize).sum()
    }

    /// True if every port is free.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Scope {
    fn new(protocol: Protocol, source: Address, backend: (Address, u16)) -> Self {
        // An echo has one identifier for both ends, so the backend's "port" says nothing.
        let backend_port = if protocol == Protocol::Icmp { 0 } else { backend.1 };
        Self { protocol, source, backend: backend.0, backend_port }
    }
}

const WORDS: usize = 1024;

/// One bit a port.
#[derive(Debug)]
struct PortSet {
    used: Box<[u64]>,
    len: u32,
}

impl PortSet {
    fn new() -> Self {
        Self { used: vec![0; WORDS].into_boxed_slice(), len: 0 }
    }

    fn take(&mut self, first: u16, last: u16, rng: &mut Rng) -> Option<u16> {
        let size = u32::from(last) - u32::from(first) + 1;
        if self.len >= size {
            return None;
        }
        let start = first + rng.below(size.into()) as u16;
        let port = self.next_free(start, last).or_else(|| self.next_free(first, start))?;
        self.used[usize::from(port / 64)] |= 1 << (port % 64);
        self.len += 1;
        Some(port)
    }

    /// The lowest free port of `from..=to`, a word at a time.
    fn next_free(&self, from: u16, to: u16) -> Option<u16> {
        let (first_word, last_word) = (from / 64, to / 64);
        for word in first_word..=last_word {
            let mut free = !self.used[usize::from(word)];
            if word == first_word {
                free &= u64::MAX << (from % 64);
            }
            if free != 0 {
                let port = word * 64 + free.trailing_zeros() as u16;
                return (port <= to).then_some(port);
            }
        }
        None
    }

    fn give_back(&mut self, port: u16) {
        let (word, bit) = (usize::from(port / 64), 1 << (port % 64));
        if self.used[word] & bit != 0 {
            self.used[word] &= !bit;
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn v4(last: u8) -> Address {
        Address::from_v4([10, 0, 0, last])
    }

    fn pool(addresses: &[u8], ports: (u16, u16)) -> SnatPool {
        let addresses = addresses.iter().map(|&a| v4(a)).collect();
        SnatPool::new(&SnatConfig { addresses, ports }, 1)
    }

    #[test]
    fn every_port_is_given_once_and_the_range_is_kept() {
        let mut pool = pool(&[250], (1000, 1200));
        let mut rng = Rng::new(3);
        let mut take =
            |pool: &mut SnatPool| pool.allocate(Protocol::Tcp, v4(1), v4(0), (v4(9), 80), &mut rng);
        let seen: HashSet<_> = (0..201).map(|_| take(&mut pool).unwrap()).collect();
        assert_eq!(seen.len(), 201);
        assert!(seen.iter().all(|(a, p)| *a == v4(250) && (1000..=1200).contains(p)));
        assert_eq!(take(&mut pool), None);
        pool.release(Protocol::Tcp, (v4(250), 1100), (v4(9), 80));
        assert_eq!(take(&mut pool), Some((v4(250), 1100)));
        assert_eq!(pool.len(), 201);
    }

    #[test]
    fn another_backend_has_the_range_to_itself() {
        let mut pool = pool(&[250], (5000, 5000));
        let mut rng = Rng::new(3);
        for backend in [(v4(9), 80), (v4(9), 81), (v4(8), 80)] {
            let got = pool.allocate(Protocol::Tcp, v4(1), v4(0), backend, &mut rng);
            assert_eq!(got, Some((v4(250), 5000)), "{backend:?}");
        }
        let udp = pool.allocate(Protocol::Udp, v4(1), v4(0), (v4(9), 80), &mut rng);
        assert_eq!(udp, Some((v4(250), 5000)), "protocols do not share ports");
    }

    #[test]
    fn a_client_keeps_its_address_until_that_is_full() {
        let mut pool = pool(&[250, 251, 252], (5000, 5001));
        let mut rng = Rng::new(3);
        let got: Vec<_> = (0..7)
            .map(|_| pool.allocate(Protocol::Udp, v4(1), v4(0), (v4(9), 53), &mut rng))
            .map(|got| got.map(|(a, _)| a))
            .collect();
        assert_eq!(got[0], got[1]);
        assert_ne!(got[1], got[2]);
        assert_eq!(got[6], None);
    }

    #[test]
    fn without_an_address_of_the_family_the_fallback_serves() {
        let mut pool = pool(&[], (1024, 65_535));
        let got = pool.allocate(Protocol::Tcp, v4(1), v4(7), (v4(9), 80), &mut Rng::new(1));
        assert_eq!(got.map(|(a, _)| a), Some(v4(7)));
    }
}
