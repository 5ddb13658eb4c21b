//! What balun listens on.

use netstack::wire::{Address, Protocol};

use crate::listen::{Listen, ListenIndex};
use crate::{ClientLimits, Encapsulation, PoolId, Prefix, Rate};

/// The number of a service, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u16);

/// What is rewritten on the way to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Source and destination: the backend sees an address of the SNAT pool.
    Full,
    /// The destination alone: the backend sees the client, and its answers must come back through
    /// balun.
    Dnat,
    /// Nothing: packets are wrapped, and the backend, which has the service's address too, answers the
    /// client directly. See [`tunnel`](crate::tunnel).
    Tunnel(Encapsulation),
}

/// What happens to a flow of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its packets are rewritten; its one connection runs from client to backend.
    Nat(Nat),
    /// It ends in this process, at the [`Divert`](crate::Divert).
    Divert,
}

/// How a client hears that it may not use a service: see [`ServiceConfig::refuse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refuse {
    /// By an ICMP error that says "administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443
    /// section 3.1), as long as the budget of errors lasts.
    #[default]
    Reject,
    /// Not at all.
    Drop,
}

/// A service as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Unique.
    pub name: String,
    /// At least one; see [`listen`](crate::listen) for which of several services has a packet.
    pub listens: Vec<Listen>,
    /// What happens to its flows.
    pub mode: Mode,
    /// The pool of its backends. For [`Mode::Divert`] the divert chooses, and may use others.
    pub pool: PoolId,
    /// Clients that may use it. The longest prefix of both lists decides about a client; who is in
    /// neither may if this one is empty.
    pub allow: Vec<Prefix>,
    /// Clients that may not use it.
    pub deny: Vec<Prefix>,
    /// How much one client may have.
    pub client_limits: ClientLimits,
    /// New flows of all clients together.
    pub rate: Option<Rate>,
    /// Tracked flows of all clients together.
    pub max_flows: Option<u32>,
    /// What a client hears that the lists or limits refuse.
    pub refuse: Refuse,
    /// A TCP segment of no flow, from the client or a backend, makes one, so that connections outlive
    /// this process. For [`Nat::Dnat`], [`Nat::Tunnel`], and a scheduler that goes by the client.
    pub pickup: bool,
}

impl ServiceConfig {
    /// A service named after what it listens on, open to everyone.
    pub fn new(listen: Listen, mode: Mode, pool: PoolId) -> Self {
        Self {
            name: listen.to_string(),
            listens: vec![listen],
            mode,
            pool,
            allow: Vec::new(),
            deny: Vec::new(),
            client_limits: ClientLimits::default(),
            rate: None,
            max_flows: None,
            refuse: Refuse::default(),
            pickup: false,
        }
    }

    /// What it listens on, if that is one port of one address.
    pub fn only(&self) -> Option<(Address, u16)> {
        let [listen] = self.listens[..] else { return None };
        let ports = listen.ports;
        listen.host().filter(|_| ports.first == ports.last).map(|host| (host, ports.first))
    }

    /// The single addresses that it listens on.
    pub fn hosts(&self) -> impl Iterator<Item = Address> {
        self.listens.iter().filter_map(|listen| listen.host())
    }
}

/// The services, found by their numbers or by what they listen on.
#[derive(Clone, Debug)]
pub struct Services {
    all: Vec<ServiceConfig>,
    listens: ListenIndex,
    seed: u64,
}

impl Services {
    /// An index over `services`, hashed with `seed`. No service on a prefix claims an address of
    /// `closed`.
    pub fn new(services: Vec<ServiceConfig>, closed: &[Address], seed: u64) -> Self {
        let listens = index(&services, closed, seed);
        Self { all: services, listens, seed }
    }

    /// Replaces the addresses that no service on a prefix claims.
    pub fn set_closed(&mut self, closed: &[Address]) {
        self.listens = index(&self.all, closed, self.seed);
    }

    /// The service that a packet to this address and port begins a flow of; ICMP has no port.
    pub fn lookup(
        &self,
        protocol: Protocol,
        address: Address,
        port: u16,
    ) -> Option<(ServiceId, &ServiceConfig)> {
        let id = self.listens.lookup(protocol, address, port)?;
        Some((id, self.get(id)?))
    }

    /// True if a service may listen at this address because it listens on a network around it.
    pub fn cover(&self, address: Address) -> bool {
        self.listens.covers(address)
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

fn index(services: &[ServiceConfig], closed: &[Address], seed: u64) -> ListenIndex {
    let listens =
        (0..).zip(services).flat_map(|(id, s)| s.listens.iter().map(move |&l| (ServiceId(id), l)));
    ListenIndex::new(listens, closed, seed)
}
