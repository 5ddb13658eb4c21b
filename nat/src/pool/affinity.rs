//! Which backend a client was given last.
//!
//! # Theory of operation
//!
//! All entries live equally long after their last use, so a list in the order of use is also one in
//! the order of expiry. It is threaded through the entries. Every look-up first drops at most
//! [`SWEEP`] expired entries from its old end: each entry is dropped once, so that costs nothing that
//! its making had not paid for, and no call does more. At [`AFFINITY_CLIENTS`] the entry used longest
//! ago gives way.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use netstack::Instant;
use netstack::wire::Address;
use slab::Slab;

use super::config::{AffinityConfig, BackendId};
use crate::limits::AFFINITY_CLIENTS;

/// Expired entries that a look-up drops at most.
const SWEEP: usize = 2;

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Affinity {
    config: AffinityConfig,
    limit: usize,
    hasher: FixedState,
    keys: HashTable<u32>,
    entries: Slab<Entry>,
    oldest: Option<u32>,
    newest: Option<u32>,
}

#[derive(Clone, Debug)]
struct Entry {
    client: Address,
    backend: BackendId,
    expires: Instant,
    older: Option<u32>,
    newer: Option<u32>,
}

impl Affinity {
    pub(super) fn new(config: AffinityConfig, seed: u64) -> Self {
        Self {
            config,
            limit: AFFINITY_CLIENTS,
            hasher: FixedState::with_seed(seed),
            keys: HashTable::new(),
            entries: Slab::new(),
            oldest: None,
            newest: None,
        }
    }

    /// The backend that `address` was given last, if that was not too long ago.
    pub(super) fn get(&mut self, now: Instant, address: Address) -> Option<BackendId> {
        for _ in 0..SWEEP {
            let Some(oldest) = self.oldest else { break };
            if self.entries[oldest as usize].expires > now {
                break;
            }
            self.remove(oldest);
        }
        let entry = &self.entries[self.find(self.client(address))? as usize];
        (entry.expires > now).then_some(entry.backend)
    }

    /// Notes that a flow of `address` was opened to `backend`.
    pub(super) fn set(&mut self, now: Instant, address: Address, backend: BackendId) {
        let client = self.client(address);
        let expires = now + self.config.timeout;
        if let Some(index) = self.find(client) {
            self.leave(index);
            let entry = &mut self.entries[index as usize];
            (entry.backend, entry.expires) = (backend, expires);
            self.join(index);
            return;
        }
        if self.entries.len() >= self.limit
            && let Some(oldest) = self.oldest
        {
            self.remove(oldest);
        }
        let entry = Entry { client, backend, expires, older: None, newer: None };
        let index = self.entries.insert(entry) as u32;
        let Self { hasher, keys, entries, .. } = self;
        let hash = |index: u32| hasher.hash_one(entries[index as usize].client);
        keys.insert_unique(hash(index), index, |&index| hash(index));
        self.join(index);
    }

    /// What of an address makes a client.
    fn client(&self, address: Address) -> Address {
        if address.is_v4() {
            let mut octets = [0; 4];
            octets.copy_from_slice(address.octets());
            Address::from_v4(masked(octets, self.config.prefix_v4))
        } else {
            Address::from_v6(masked(*address.mapped_octets(), self.config.prefix_v6))
        }
    }

    fn find(&self, client: Address) -> Option<u32> {
        let hash = self.hasher.hash_one(client);
        self.keys.find(hash, |&index| self.entries[index as usize].client == client).copied()
    }

    fn remove(&mut self, index: u32) {
        self.leave(index);
        let entry = self.entries.remove(index as usize);
        if let Ok(key) = self.keys.find_entry(self.hasher.hash_one(entry.client), |&i| i == index) {
            key.remove();
        }
    }

    /// Puts an entry at the new end of the list.
    fn join(&mut self, index: u32) {
        let older = self.newest.replace(index);
        match older {
            Some(older) => self.entries[older as usize].newer = Some(index),
            None => self.oldest = Some(index),
        }
        let entry = &mut self.entries[index as usize];
        (entry.older, entry.newer) = (older, None);
    }

    fn leave(&mut self, index: u32) {
        let Entry { older, newer, .. } = self.entries[index as usize];
        match older {
            Some(older) => self.entries[older as usize].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.entries[newer as usize].older = older,
            None => self.newest = older,
        }
    }
}

/// The first `bits` bits of an address, the others zero.
fn masked<const N: usize>(mut octets: [u8; N], bits: u8) -> [u8; N] {
    for (i, octet) in octets.iter_mut().enumerate() {
        let kept = usize::from(bits).saturating_sub(8 * i).min(8);
        *octet &= !(0xff_u16 >> kept) as u8;
    }
    octets
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rng::Rng;

    fn v4(n: u32) -> Address {
        Address::from_v4(n.to_be_bytes())
    }

    fn table(limit: usize) -> Affinity {
        let mut table = Affinity::new(AffinityConfig::new(Duration::from_mins(1)), 1);
        table.limit = limit;
        table
    }

    #[test]
    fn a_prefix_is_a_client() {
        assert_eq!(masked([255; 4], 0), [0; 4]);
        assert_eq!(masked([255; 4], 20), [255, 255, 240, 0]);
        assert_eq!(masked([255; 4], 32), [255; 4]);
        let mut table = table(10);
        table.config.prefix_v4 = 24;
        table.config.prefix_v6 = 64;
        let now = Instant::ZERO;
        table.set(now, Address::from_v4([10, 1, 0, 5]), BackendId(3));
        assert_eq!(table.get(now, Address::from_v4([10, 1, 0, 77])), Some(BackendId(3)));
        assert_eq!(table.get(now, Address::from_v4([10, 1, 1, 5])), None);
        let mut six = [0xfd; 16];
        table.set(now, Address::from_v6(six), BackendId(4));
        six[8] = 1;
        assert_eq!(table.get(now, Address::from_v6(six)), Some(BackendId(4)));
        six[7] = 1;
        assert_eq!(table.get(now, Address::from_v6(six)), None);
    }

    #[test]
    fn at_the_limit_who_was_used_longest_ago_gives_way() {
        let mut table = table(3);
        let now = Instant::ZERO;
        for n in 0..3 {
            table.set(now, v4(n), BackendId(0));
        }
        table.set(now, v4(0), BackendId(1));
        table.set(now, v4(3), BackendId(0));
        let kept: Vec<_> = (0..4).filter(|&n| table.get(now, v4(n)).is_some()).collect();
        assert_eq!(kept, [0, 2, 3]);
        assert_eq!(table.entries.len(), 3);
    }

    #[test]
    fn it_agrees_with_a_plain_map() {
        let mut rng = Rng::new(3);
        let mut table = table(1_000);
        let mut model = std::collections::HashMap::new();
        let mut now = Instant::ZERO;
        for _ in 0..20_000 {
            now += Duration::from_millis(rng.below(1_000));
            let client = rng.below(300) as u32;
            let expected = model
                .get(&client)
                .filter(|&&(_, expires)| expires > now)
                .map(|&(backend, _)| backend);
            assert_eq!(table.get(now, v4(client)), expected);
            if rng.below(2) == 0 {
                let backend = BackendId(rng.below(9) as u16);
                table.set(now, v4(client), backend);
                model.insert(client, (backend, now + Duration::from_mins(1)));
            }
        }
        assert!(table.entries.len() < 300);
        now += Duration::from_mins(1);
        for _ in 0..300 {
            assert_eq!(table.get(now, v4(0)), None);
        }
        assert!(table.entries.is_empty() && table.keys.is_empty());
    }
}
