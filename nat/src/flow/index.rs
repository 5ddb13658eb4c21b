//! Numbers found by a hash, in a table that grows a little at a time.
//!
//! # Theory of operation
//!
//! A hash table that doubles moves all its entries at once: with a million flows nothing else happens
//! for tens of milliseconds. To make room for a million at the start instead spreads even a thousand
//! over megabytes, and each lookup misses the caches. So a full table gets a larger one beside it, and
//! every insertion moves a few entries over. A lookup asks the larger one and then, while there is one,
//! the other. To make a table and to give one back takes a while too, so there are [`SHARDS`] pairs of
//! them, by a part of the hash.
//!
//! The larger table has room for twice the entries, and for a quarter of the places of the other, so it
//! cannot be full before the other one is empty: entries that were removed leave marks, and a table may
//! be full of those.

use hashbrown::HashTable;

/// Places of the old table that one insertion looks at.
const STEP: usize = 16;
/// Entries of the first table.
const FIRST: usize = 14;

const SHARDS: usize = 16;

/// An index of numbers (see the module's theory of operation). Hashes are the caller's.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    shards: [Shard; SHARDS],
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.table.len() + shard.old.len()).sum()
    }

    /// The number with this hash for which `is_it` is true.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[shard_of(hash)].find(hash, is_it)
    }

    /// Adds a number that is not in it.
    pub(super) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        self.shards[shard_of(hash)].insert(hash, number, hash_of);
    }

    /// Takes a number out, if it is there.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        self.shards[shard_of(hash)].remove(hash, number);
    }
}

/// By bits that the tables themselves use last: they look at the lowest and at the highest ones.
const fn shard_of(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}

#[derive(Clone, Debug, Default)]
struct Shard {
    table: HashTable<u32>,
    /// What is still to be moved.
    old: HashTable<u32>,
    /// The first place of `old` that may have something.
    next: usize,
}

impl Shard {
    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let found = self.table.find(hash, |&number| is_it(number));
        if found.is_none() && !self.old.is_empty() {
            return self.old.find(hash, |&number| is_it(number)).copied();
        }
        found.copied()
    }

    fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        if self.table.len() == self.table.capacity() {
            debug_assert!(self.old.is_empty(), "it moves faster than it fills");
            let room = FIRST.max(2 * self.table.len()).max(self.table.num_buckets() / 4);
            self.old = std::mem::replace(&mut self.table, HashTable::with_capacity(room));
            self.next = 0;
        }
        if !self.old.is_empty() {
            self.move_some(&hash_of);
        }
        self.table.insert_unique(hash, number, |&number| hash_of(number));
    }

    fn remove(&mut self, hash: u64, number: u32) {
        for table in [&mut self.table, &mut self.old] {
            if let Ok(found) = table.find_entry(hash, |&other| other == number) {
                found.remove();
                return;
            }
        }
    }

    fn move_some(&mut self, hash_of: &impl Fn(u32) -> u64) {
        let end = self.old.num_buckets().min(self.next + STEP);
        for place in self.next..end {
            if let Ok(entry) = self.old.get_bucket_entry(place) {
                let (number, _) = entry.remove();
                self.table.insert_unique(hash_of(number), number, |&number| hash_of(number));
            }
        }
        self.next = end;
        if self.old.is_empty() {
            self.old = HashTable::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, mix};
    use std::cell::Cell;
    use std::collections::HashSet;

    fn hash_of(number: u32) -> u64 {
        mix(number.into())
    }

    fn has(index: &Index, number: u32) -> bool {
        index.find(hash_of(number), |other| other == number).is_some()
    }

    #[test]
    fn everything_is_found_while_it_grows_and_no_insertion_moves_much() {
        let mut index = Index::default();
        let hashed = Cell::new(0);
        for number in 0..200_000 {
            hashed.set(0);
            index.insert(hash_of(number), number, |number| {
                hashed.set(hashed.get() + 1);
                hash_of(number)
            });
            assert!(hashed.get() <= STEP, "{number}: {}", hashed.get());
            assert!(has(&index, number) && has(&index, number / 2) && !has(&index, number + 1));
        }
        assert_eq!(index.len(), 200_000);
        assert!((0..200_000).all(|number| has(&index, number)));
    }

    #[test]
    fn it_agrees_with_a_set_whatever_comes_and_goes() {
        for (seed, most) in [(1, 50), (2, 1_000), (3, 20_000)] {
            let mut rng = Rng::new(seed);
            let (mut index, mut set) = (Index::default(), HashSet::new());
            for step in 0..200_000_u32 {
                let number = rng.below(most) as u32;
                // In turn more insertions than removals and the other way round.
                let inserts = rng.below(10) < if (step >> 14) & 1 == 0 { 7 } else { 3 };
                if inserts && set.insert(number) {
                    index.insert(hash_of(number), number, hash_of);
                } else if !inserts && set.remove(&number) {
                    index.remove(hash_of(number), number);
                }
                assert_eq!(index.len(), set.len());
                assert_eq!(has(&index, number), set.contains(&number));
            }
            assert!((0..most as u32).all(|number| has(&index, number) == set.contains(&number)));
        }
    }
}
