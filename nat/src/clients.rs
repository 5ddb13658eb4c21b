//! What each client has: how many flows and ports, and which pool address.
//!
//! # Theory of operation
//!
//! An IPv4 address is one client. Of IPv6 a /64 is: a host may take any address in it, so single
//! addresses would be no limit at all.
//!
//! A flow counts from its first packet until both sides have closed it or one has reset it. From then
//! on it gives way to any other flow and its port to any other client (see [`snat`](crate::snat)), so
//! it takes nothing from anybody and would only punish clients that connect often. The table holds a
//! client as long as something is counted for it, so it has at most as many entries as there are flows.
//!
//! This process's own connections are no client's.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use netstack::wire::Address;

/// What one client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Flows that are not closing.
    pub flows: u32,
    /// Ports of the SNAT pool that these have.
    pub ports: u32,
    /// The pool address that its ports are of (RFC 4787 REQ-2), but for those that it had no room for.
    pub source: Option<Address>,
}

/// The accounts of all clients that have something.
#[derive(Clone, Debug)]
pub struct Clients(HashMap<[u8; 16], Account, FixedState>);

impl Clients {
    /// No client has anything; `seed` keeps the table from being filled by design.
    pub fn new(seed: u64) -> Self {
        Self(HashMap::with_hasher(FixedState::with_seed(seed)))
    }

    /// What a client has.
    pub fn account(&self, client: Address) -> Account {
        self.0.get(&key(client)).copied().unwrap_or_default()
    }

    /// Clients that have something.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if no client has anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn opened(&mut self, client: Address) {
        self.0.entry(key(client)).or_default().flows += 1;
    }

    pub(crate) fn closed(&mut self, client: Address) {
        self.take_from(client, |account| &mut account.flows);
    }

    /// Counts a port; `source` is where its others are to be, if it is not an exception itself.
    pub(crate) fn took_port(&mut self, client: Address, source: Option<Address>) {
        let account = self.0.entry(key(client)).or_default();
        account.ports += 1;
        account.source = source.or(account.source);
    }

    pub(crate) fn gave_port_back(&mut self, client: Address) {
        self.take_from(client, |account| &mut account.ports);
    }

    fn take_from(&mut self, client: Address, count: impl Fn(&mut Account) -> &mut u32) {
        let Entry::Occupied(mut entry) = self.0.entry(key(client)) else { return };
        let count = count(entry.get_mut());
        *count = count.saturating_sub(1);
        if entry.get().flows == 0 && entry.get().ports == 0 {
            entry.remove();
        }
    }

    /// Checks the counts against `flows`: the client of each flow that counts, and the port that it is
    /// the first to have.
    ///
    /// # Panics
    /// If they differ.
    pub(crate) fn assert_consistent(&self, flows: impl Iterator<Item = (Address, bool)>) {
        let mut expected = std::collections::HashMap::<[u8; 16], (u32, u32)>::new();
        for (client, port) in flows {
            let (flows, ports) = expected.entry(key(client)).or_default();
            *flows += 1;
            *ports += u32::from(port);
        }
        assert_eq!(self.0.len(), expected.len(), "clients that have something");
        for (client, account) in &self.0 {
            assert_eq!(expected.get(client), Some(&(account.flows, account.ports)));
        }
    }
}

fn key(client: Address) -> [u8; 16] {
    let mut key = *client.mapped_octets();
    if !client.is_v4() {
        key[8..].fill(0);
    }
    key
}
