//! Endpoint-independent mappings: one pool address and port for all that a client's port sends.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use netstack::wire::{Address, Protocol};

use crate::flow::FlowId;

/// A client's port in one protocol: protocols share no mapping (RFC 7857 section 5).
pub(super) type Endpoint = (Protocol, Address, u16);

/// A pool address and port, and who uses it.
#[derive(Clone, Debug)]
struct Mapping {
    source: (Address, u16),
    /// Flows that have it.
    flows: u32,
    /// Those of them that are closing.
    closing: BTreeSet<FlowId>,
}

impl Mapping {
    /// True if all its flows are closing.
    fn is_idle(&self) -> bool {
        self.closing.len() >= self.flows as usize
    }
}

/// All mappings of a pool.
#[derive(Clone, Debug)]
pub(super) struct Mappings {
    all: HashMap<Endpoint, Mapping, FixedState>,
    /// Whose a pool address and port is.
    owners: HashMap<Endpoint, Endpoint, FixedState>,
}

impl Mappings {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = || FixedState::with_seed(seed);
        Self { all: HashMap::with_hasher(hasher()), owners: HashMap::with_hasher(hasher()) }
    }

    /// The source that a client's port has, and whether all its flows are closing.
    pub(super) fn get(&self, of: Endpoint) -> Option<((Address, u16), bool)> {
        self.all.get(&of).map(|mapping| (mapping.source, mapping.is_idle()))
    }

    /// Adds a flow to the mapping that a client's port has, if it has one.
    pub(super) fn join(&mut self, of: Endpoint) {
        if let Some(mapping) = self.all.get_mut(&of) {
            mapping.flows += 1;
        }
    }

    /// A client's port has `source` now, for one flow.
    pub(super) fn insert(&mut self, of: Endpoint, source: (Address, u16)) {
        self.all.insert(of, Mapping { source, flows: 1, closing: BTreeSet::new() });
        self.owners.insert((of.0, source.0, source.1), of);
    }

    /// One of the flows closes, or was revived; true if it was the last one to, or the first.
    pub(super) fn set_closing(&mut self, of: Endpoint, id: FlowId, closing: bool) -> bool {
        let Some(mapping) = self.all.get_mut(&of) else { return false };
        let was_idle = mapping.is_idle();
        if closing {
            mapping.closing.insert(id);
        } else {
            mapping.closing.remove(&id);
        }
        was_idle != mapping.is_idle()
    }

    /// One of the flows is gone, which was closing if it is named.
    pub(super) fn leave(&mut self, of: Endpoint, closing: Option<FlowId>) -> Parting {
        let Entry::Occupied(mut entry) = self.all.entry(of) else { return Parting::Other };
        let mapping = entry.get_mut();
        let was_idle = mapping.is_idle();
        mapping.flows -= 1;
        if let Some(id) = closing {
            mapping.closing.remove(&id);
        }
        if mapping.flows == 0 {
            let source = mapping.source;
            self.owners.remove(&(of.0, source.0, source.1));
            entry.remove();
            return Parting::Last { was_idle };
        }
        if !was_idle && mapping.is_idle() { Parting::LastLive } else { Parting::Other }
    }

    /// One of the flows that have this source, and whether it is the only one, if all are closing.
    pub(super) fn closing_on(
        &self,
        protocol: Protocol,
        source: (Address, u16),
    ) -> Option<(FlowId, bool)> {
        let owner = self.owners.get(&(protocol, source.0, source.1))?;
        let mapping = self.all.get(owner).filter(|mapping| mapping.is_idle())?;
        mapping.closing.first().map(|&id| (id, mapping.closing.len() == 1))
    }

    /// Mappings.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Flows of all mappings.
    pub(super) fn flows(&self) -> usize {
        self.all.values().map(|mapping| mapping.flows as usize).sum()
    }

    /// # Panics
    /// If a source is not its mapping's.
    pub(super) fn assert_consistent(&self) {
        assert_eq!(self.all.len(), self.owners.len(), "mappings and their sources");
        for (of, mapping) in &self.all {
            let (address, port) = mapping.source;
            assert_eq!(self.owners.get(&(of.0, address, port)), Some(of), "whose a source is");
            assert!(mapping.closing.len() <= mapping.flows as usize, "closing flows of a mapping");
        }
    }
}

/// What a flow leaves behind of its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// Nothing: the mapping is gone too, which may have been idle already.
    Last { was_idle: bool },
    /// Flows that are all closing, which it was not.
    LastLive,
    /// As much as there was.
    Other,
}
