//! What services listen on, and which of them a packet belongs to.
//!
//! # Theory of operation
//!
//! A [`Listen`] is a protocol or any, an address or a prefix, and one port, a range or all. Several may
//! hold one packet; the most specific wins, compared in this order:
//!
//! 1. the longer prefix, so a single address before all others;
//! 2. the fewer ports: a single port, the smaller range, all of them;
//! 3. a protocol before any.
//!
//! Two that hold one packet and are equal in all three are ambiguous ([`conflicts`]).
//!
//! A single address and port is found by one hash. All others hang on their prefix in a [`PrefixMap`],
//! as a table of ports that was cut where the winner changes: a lookup is a binary search for the
//! prefix and one for the port, repeated for each prefix around it, however many services there are.
//!
//! A prefix claims what it listens on and no more. Its addresses do not become balun's own: it answers
//! no echo for them, and a packet from one of them is no martian. What no service takes is routed on.
//! Addresses of the SNAT pool are closed to prefixes: a late packet for a mapping that is gone must not
//! become a new flow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Address, Family, Protocol};

use crate::prefix_map::PrefixMap;
use crate::{Prefix, ServiceId};

/// Addresses, ports and protocols that a service listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// Transport, ICMP standing for echo requests; none is all of them.
    pub protocol: Option<Protocol>,
    /// The virtual addresses, mostly a single one (VIP).
    pub prefix: Prefix,
    /// The ports; not looked at for ICMP.
    pub ports: Ports,
}

/// A range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last; not below the first.
    pub last: u16,
}

impl Ports {
    /// Every port that a packet may be sent to.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// A single port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// How many there are, less one.
    const fn span(self) -> u16 {
        self.last - self.first
    }
}

impl Listen {
    /// One port of one address; for ICMP the port says nothing.
    pub fn new(protocol: Protocol, address: Address, port: u16) -> Self {
        Self { protocol: Some(protocol), prefix: Prefix::host(address), ports: Ports::one(port) }
    }

    /// The address, if it is a single one.
    pub fn host(self) -> Option<Address> {
        self.prefix.is_host().then(|| self.prefix.first())
    }

    /// True if whatever it takes is to this port, or has none.
    pub fn is_only(self, port: u16) -> bool {
        self.protocol == Some(Protocol::Icmp) || self.effective_ports() == Ports::one(port)
    }

    /// The key that finds it by one hash, if it is a single address and port.
    fn key(self) -> Option<(Protocol, Address, u16)> {
        let protocol = self.protocol?;
        let port = match protocol {
            Protocol::Icmp => 0,
            _ if self.ports.span() == 0 => self.ports.first,
            _ => return None,
        };
        Some((protocol, self.host()?, port))
    }

    /// The ports, with those of protocols that have none made equal.
    const fn effective_ports(self) -> Ports {
        match self.protocol {
            Some(Protocol::Tcp | Protocol::Udp) => self.ports,
            Some(Protocol::Icmp) | None => Ports::ALL,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.map_or("any", Protocol::name);
        let address = match self.host() {
            Some(address) => address.to_string(),
            None => self.prefix.to_string(),
        };
        match (self.protocol, self.prefix.family()) {
            (None | Some(Protocol::Icmp), _) => return write!(f, "{protocol} {address}"),
            (_, Family::V4) => write!(f, "{protocol} {address}:")?,
            (_, Family::V6) => write!(f, "{protocol} [{address}]:")?,
        }
        match self.ports {
            Ports::ALL => f.write_str("*"),
            ports if ports.span() == 0 => write!(f, "{}", ports.first),
            Ports { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// The pairs of ambiguous listens, by their places in `listens`, the earlier place first. Each listen
/// is given with its owner, who may listen on a thing twice.
pub fn conflicts<T: PartialEq>(listens: &[(T, Listen)]) -> Vec<(usize, usize)> {
    let key = |at: usize| {
        let (_, listen) = &listens[at];
        let ports = listen.effective_ports();
        ((listen.prefix, listen.protocol, ports.span()), ports.first)
    };
    let mut order: Vec<_> = (0..listens.len()).collect();
    order.sort_by_key(|&at| (key(at), at));
    // Ranges of one length in order of their beginning: of those that meet, two neighbours meet.
    let meet = |a: usize, b: usize| {
        let ((class_a, first_a), (class_b, first_b)) = (key(a), key(b));
        class_a == class_b && first_b - first_a <= class_a.2 && listens[a].0 != listens[b].0
    };
    let mut found: Vec<_> = order
        .windows(2)
        .filter(|pair| meet(pair[0], pair[1]))
        .map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1])))
        .collect();
    found.sort_unstable_by_key(|&(earlier, later)| (later, earlier));
    found
}

/// Services by what they listen on.
#[derive(Clone, Debug)]
pub(crate) struct ListenIndex {
    /// Single addresses and ports.
    exact: HashMap<(Protocol, Address, u16), ServiceId, FixedState>,
    /// All others.
    wide: PrefixMap<Node>,
}

/// What is listened on at one prefix, single ports of single addresses left out.
#[derive(Clone, Debug, Default)]
struct Node {
    tcp: PortMap,
    udp: PortMap,
    echo: Option<ServiceId>,
    any: Option<ServiceId>,
    /// Nothing beyond this prefix is asked.
    closed: bool,
}

impl ListenIndex {
    /// An index over unambiguous `listens`; `closed` are addresses that no shorter prefix claims.
    pub(crate) fn new(
        listens: impl IntoIterator<Item = (ServiceId, Listen)>,
        closed: &[Address],
        seed: u64,
    ) -> Self {
        let mut exact = HashMap::with_hasher(FixedState::with_seed(seed));
        let mut wide: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, listen) in listens {
            match listen.key() {
                Some(key) => {
                    exact.insert(key, id);
                }
                None => wide.entry(listen.prefix).or_default().push((id, listen)),
            }
        }
        let mut nodes: BTreeMap<_, _> =
            wide.into_iter().map(|(prefix, listens)| (prefix, Node::new(&listens))).collect();
        for &address in closed {
            nodes.entry(Prefix::host(address)).or_default().closed = true;
        }
        Self { exact, wide: nodes.into_iter().collect() }
    }

    /// The service that a packet to this address and port begins a flow of.
    pub(crate) fn lookup(
        &self,
        protocol: Protocol,
        address: Address,
        port: u16,
    ) -> Option<ServiceId> {
        let port = if protocol == Protocol::Icmp { 0 } else { port };
        if let Some(&id) = self.exact.get(&(protocol, address, port)) {
            return Some(id);
        }
        for node in self.wide.matches(address) {
            let own = match protocol {
                Protocol::Tcp => node.tcp.get(port),
                Protocol::Udp => node.udp.get(port),
                Protocol::Icmp => node.echo,
            };
            let found = own.or(node.any);
            if found.is_some() || node.closed {
                return found;
            }
        }
        None
    }

    /// True if the address lies in a prefix that is listened on.
    pub(crate) fn covers(&self, address: Address) -> bool {
        self.wide.contains(address)
    }
}

impl Node {
    fn new(listens: &[(ServiceId, Listen)]) -> Self {
        let ports = |protocol| {
            let of = listens.iter().filter(|(_, listen)| listen.protocol == Some(protocol));
            PortMap::new(of.map(|(id, listen)| (listen.ports, *id)))
        };
        let first = |protocol| {
            listens.iter().find(|(_, listen)| listen.protocol == protocol).map(|&(id, _)| id)
        };
        Self {
            tcp: ports(Protocol::Tcp),
            udp: ports(Protocol::Udp),
            echo: first(Some(Protocol::Icmp)),
            any: first(None),
            closed: false,
        }
    }
}

/// Services by port: the smallest range around a port has it.
#[derive(Clone, Debug, Default)]
struct PortMap {
    /// First ports of the pieces between which the service changes, in order.
    starts: Vec<u16>,
    services: Vec<Option<ServiceId>>,
}

impl PortMap {
    fn new(ranges: impl Iterator<Item = (Ports, ServiceId)>) -> Self {
        // Where a range begins and where it has ended; by place, so that one sweep sees each once.
        let mut edges = Vec::new();
        for (ports, id) in ranges {
            edges.push((u32::from(ports.first), true, (ports.span(), ports.first, id)));
            edges.push((u32::from(ports.last) + 1, false, (ports.span(), ports.first, id)));
        }
        edges.sort_unstable();
        let mut map = Self::default();
        let mut around = BTreeSet::new();
        for (at, begins, range) in edges {
            if begins {
                around.insert(range);
            } else {
                around.remove(&range);
            }
            let Ok(at) = u16::try_from(at) else { break };
            if map.starts.last() == Some(&at) {
                map.starts.pop();
                map.services.pop();
            }
            map.starts.push(at);
            map.services.push(around.first().map(|&(_, _, id)| id));
        }
        map
    }

    fn get(&self, port: u16) -> Option<ServiceId> {
        let piece = self.starts.partition_point(|&start| start <= port).checked_sub(1)?;
        *self.services.get(piece)?
    }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
