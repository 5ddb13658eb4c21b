//! Endpoint-independent mappings: one pool address and port for all that a client's port sends.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use netstack::wire::{Address, Protocol};

/// A client's port in one protocol: protocols share no mapping (RFC 7857 section 5).
type Endpoint = (Protocol, Address, u16);

/// A pool address and port, and who uses it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    pub(super) source: (Address, u16),
    /// Flows that have it.
    flows: u32,
    /// Of these, how many are not closing.
    live: u32,
}

/// All mappings of a pool.
#[derive(Debug)]
pub(super) struct Mappings(HashMap<Endpoint, Mapping, FixedState>);

impl Mappings {
    pub(super) fn new(seed: u64) -> Self {
        Self(HashMap::with_hasher(FixedState::with_seed(seed)))
    }

    /// Adds a flow to the mapping that a client's port has: its source, and whether all flows that
    /// it had were closing.
    pub(super) fn join(&mut self, of: Endpoint) -> Option<((Address, u16), bool)> {
        let mapping = self.0.get_mut(&of)?;
        mapping.flows += 1;
        mapping.live += 1;
        Some((mapping.source, mapping.live == 1))
    }

    /// A client's port has `source` now, for one flow.
    pub(super) fn insert(&mut self, of: Endpoint, source: (Address, u16)) {
        self.0.insert(of, Mapping { source, flows: 1, live: 1 });
    }

    /// One of the flows closes, or was revived; true if it was the last one to, or the first.
    pub(super) fn set_live(&mut self, of: Endpoint, live: bool) -> bool {
        let Some(mapping) = self.0.get_mut(&of) else { return false };
        let before = mapping.live;
        mapping.live = if live { before + 1 } else { before.saturating_sub(1) };
        before == 0 || mapping.live == 0
    }

    /// One of the flows is gone: true if it was the last one, and the mapping is gone too.
    pub(super) fn leave(&mut self, of: Endpoint) -> bool {
        let Entry::Occupied(mut entry) = self.0.entry(of) else { return false };
        entry.get_mut().flows -= 1;
        let last = entry.get().flows == 0;
        if last {
            entry.remove();
        }
        last
    }

    /// Mappings.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Flows of all mappings.
    pub(super) fn flows(&self) -> usize {
        self.0.values().map(|mapping| mapping.flows as usize).sum()
    }
}
