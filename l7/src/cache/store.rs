//! What is kept, within a number of bytes.
//!
//! A resource has one place, by its URI, with the answers that were chosen by other fields or ways beside
//! each other; so one look finds them all, and one removal forgets them all. What gives way at the limit
//! is for `quick_cache` to say: what was asked for again stays longer than what was asked for once.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::rc::Rc;

use foldhash::fast::FixedState;
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};

use super::Time;
use super::lines::Lines;
use super::stored::Stored;
use crate::limits::{CACHE_REMOVALS, CACHE_VARIANTS};

/// Bytes that an object has, as a guess: as many places are made at the start as fit of them.
const TYPICAL: u64 = 16 * 1024;
/// Bytes that a resource takes beside its answers.
const OVERHEAD: usize = 160;

/// The answers of a URI.
#[derive(Clone, Debug, Default)]
struct Resource {
    variants: Vec<Rc<Stored>>,
    /// Until then nobody waits for another's answer, as the last one could not be kept.
    unkept_until: Time,
}

#[derive(Clone, Debug)]
struct Weigh;

impl Weighter<Box<[u8]>, Resource> for Weigh {
    fn weight(&self, key: &Box<[u8]>, resource: &Resource) -> u64 {
        let answers: usize = resource.variants.iter().map(|stored| stored.weight()).sum();
        (key.len() + answers + OVERHEAD) as u64
    }
}

type Places = Cache<Box<[u8]>, Resource, Weigh, FixedState>;

/// What is kept.
pub(super) struct Store {
    places: Places,
    hasher: FixedState,
    /// Hashes of URIs whose answers were removed, the last at the end.
    removed: VecDeque<u64>,
    /// How many were removed so far.
    removals: u64,
    /// Fetches that began before this one know of too few removals.
    forgotten: u64,
}

impl Store {
    /// Room for `memory` bytes. `seed` is what hashes begin with, so that nobody can choose keys that
    /// collide.
    pub(super) fn new(memory: u64, seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let typical = usize::try_from(memory / TYPICAL).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        let places =
            Cache::with(typical, memory, Weigh, hasher.clone(), DefaultLifecycle::default());
        Self { places, hasher, removed: VecDeque::new(), removals: 0, forgotten: 0 }
    }

    /// The answer for a request that went the way `space`; of several the one that was made last.
    pub(super) fn find(
        &self,
        key: &[u8],
        space: u64,
        request: &impl Lines,
        scratch: &mut Vec<u8>,
    ) -> Found {
        let Some(resource) = self.places.get(key) else { return Found::default() };
        let mut fitting = None::<&Rc<Stored>>;
        for stored in resource.variants.iter().filter(|stored| stored.space == space) {
            let newer = fitting.is_none_or(|best| best.date <= stored.date);
            if newer && stored.selecting.fits(request, scratch) {
                fitting = Some(stored);
            }
        }
        Found {
            stored: fitting.cloned(),
            others: !resource.variants.is_empty(),
            unkept_until: resource.unkept_until,
        }
    }

    /// Keeps an answer, in the place of the one that fitted the same requests. Whether there was room.
    pub(super) fn keep(&mut self, key: &[u8], stored: Rc<Stored>) -> bool {
        let mut resource = self.places.peek(key).cloned().unwrap_or_default();
        resource.unkept_until = Time::ZERO;
        let same =
            |other: &Rc<Stored>| other.space == stored.space && other.selecting == stored.selecting;
        resource.variants.retain(|other| !same(other));
        if resource.variants.len() >= CACHE_VARIANTS {
            resource.variants.remove(0);
        }
        resource.variants.push(stored);
        self.places.insert(key.into(), resource);
        self.places.peek(key).is_some()
    }

    /// Notes that answers of this resource are not kept.
    pub(super) fn mark_unkept(&mut self, key: &[u8], until: Time) {
        let mut resource = self.places.peek(key).cloned().unwrap_or_default();
        resource.unkept_until = until;
        self.places.insert(key.into(), resource);
    }

    /// Forgets one answer.
    pub(super) fn forget(&mut self, key: &[u8], stored: &Rc<Stored>) {
        let Some(mut resource) = self.places.peek(key).cloned() else { return };
        resource.variants.retain(|other| !Rc::ptr_eq(other, stored));
        self.places.insert(key.into(), resource);
    }

    /// Forgets the answers of a resource, and has none kept that are on their way. How many there were.
    pub(super) fn remove(&mut self, key: &[u8]) -> usize {
        if self.removed.len() >= CACHE_REMOVALS {
            self.removed.pop_front();
            self.forgotten += 1;
        }
        self.removed.push_back(self.hasher.hash_one(key));
        self.removals += 1;
        self.places.remove(key).map_or(0, |(_, resource)| resource.variants.len())
    }

    /// Forgets the answers that `is_meant`, and has none kept that are on their way. How many there were.
    pub(super) fn remove_all(&mut self, is_meant: impl Fn(&[u8], &Stored) -> bool) -> usize {
        self.removed.clear();
        self.removals += 1;
        self.forgotten = self.removals;
        let mut changed = Vec::new();
        let mut count = 0;
        for (key, resource) in self.places.iter() {
            let mut left = resource.clone();
            left.variants.retain(|stored| !is_meant(key, stored));
            let gone = resource.variants.len() - left.variants.len();
            if gone > 0 {
                count += gone;
                changed.push((key.clone(), left));
            }
        }
        for (key, left) in changed {
            if left.variants.is_empty() {
                self.places.remove(&key);
            } else {
                self.places.insert(key, left);
            }
        }
        count
    }

    /// A mark by which it is told later whether the answers of a resource were removed meanwhile.
    pub(super) const fn mark(&self) -> u64 {
        self.removals
    }

    /// Whether they were, since `mark`, as far as is remembered.
    pub(super) fn was_removed(&self, key: &[u8], mark: u64) -> bool {
        if mark < self.forgotten {
            return true;
        }
        let since = usize::try_from(self.removals - mark).unwrap_or(usize::MAX);
        let hash = self.hasher.hash_one(key);
        self.removed.iter().rev().take(since).any(|removed| *removed == hash)
    }

    /// Bytes that are taken.
    pub(super) fn weight(&self) -> u64 {
        self.places.weight()
    }

    /// Resources that are kept.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

/// What is known of a resource.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The answer that fits.
    pub(super) stored: Option<Rc<Stored>>,
    /// There are answers, if only to other requests.
    pub(super) others: bool,
    pub(super) unkept_until: Time,
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
