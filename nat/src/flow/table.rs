//! Flows, found by either of their keys.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;

use foldhash::fast::FixedState;
use netstack::Instant;
use netstack::wheel::Wheel;
use netstack::wire::Tuple;
use slab::Slab;

use super::evict::{Class, Link, Links, Lists};
use super::index::Index;
use super::{Direction, Flow};

/// The name of a flow for as long as it lives; never given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

/// What [`FlowTable::find_likely`] found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Likely(u32);

impl fmt::Display for FlowId {
    /// A number that no other flow has had, for as long as 32 bits last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.generation)
    }
}

impl FlowId {
    /// Puts its name behind `text`, faster than formatting does.
    pub fn write(self, text: &mut String) {
        let digits = (32 - self.generation.leading_zeros()).div_ceil(4).max(1);
        text.extend((0..digits).rev().map(|digit| {
            char::from_digit(self.generation >> (4 * digit) & 0xf, 16).unwrap_or('?')
        }));
    }
}

impl Links for Slab<Flow> {
    fn link(&mut self, index: u32) -> &mut Link {
        &mut self[index as usize].link
    }
}

/// The table (see [`flow`](super) for its theory of operation).
#[derive(Clone, Debug)]
pub struct FlowTable {
    entries: Slab<Flow>,
    /// Index and direction of each key, packed in 32 bits.
    keys: Index,
    hasher: FixedState,
    lists: Lists,
    wheel: Wheel<FlowId>,
    generation: u32,
    /// Counts changes of keys.
    version: u64,
}

const fn pack(index: u32, direction: Direction) -> u32 {
    index << 1 | matches!(direction, Direction::Reverse) as u32
}

const fn unpack(packed: u32) -> (u32, Direction) {
    let direction = if packed & 1 == 0 { Direction::Forward } else { Direction::Reverse };
    (packed >> 1, direction)
}

fn hash(hasher: &FixedState, tuple: &Tuple) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u128(u128::from_ne_bytes(*tuple.src.mapped_octets()));
    state.write_u128(u128::from_ne_bytes(*tuple.dst.mapped_octets()));
    let ports = u64::from(tuple.src_port) << 16 | u64::from(tuple.dst_port);
    state.write_u64(ports << 8 | tuple.protocol as u64);
    state.finish()
}

fn key_of(entries: &Slab<Flow>, packed: u32) -> Tuple {
    let (index, direction) = unpack(packed);
    let flow = &entries[index as usize];
    match direction {
        Direction::Forward => flow.forward_key(),
        Direction::Reverse => flow.reverse_key(),
    }
}

impl FlowTable {
    /// An empty table with room for `capacity` flows, whose hash follows from `seed`.
    ///
    /// Up to that many, no insertion moves others to make room. The memory is not touched before it is
    /// used.
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            entries: Slab::with_capacity(capacity),
            keys: Index::default(),
            hasher: FixedState::with_seed(seed),
            lists: Lists::default(),
            wheel: Wheel::new(),
            generation: 0,
            version: 0,
        }
    }

    /// Tracked flows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if none is tracked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many flows stand in a class.
    pub fn len_of(&self, class: Class) -> usize {
        self.lists.len(class)
    }

    /// The oldest flow of a class.
    pub fn oldest(&self, class: Class) -> Option<FlowId> {
        self.lists.oldest(class).map(|index| self.id(index))
    }

    /// The flow that a packet with this tuple belongs to, and its direction in it.
    pub fn lookup(&self, tuple: &Tuple) -> Option<(FlowId, Direction)> {
        self.lookup_hashed(self.hash(tuple), tuple)
    }

    pub(crate) fn hash(&self, tuple: &Tuple) -> u64 {
        hash(&self.hasher, tuple)
    }

    /// The flow that a tuple with this hash most likely belongs to: its key is not compared. Brings what
    /// a packet of that flow needs into the caches.
    #[inline]
    pub(crate) fn find_likely(&self, hash: u64) -> Option<Likely> {
        let packed = self.keys.find(hash, |_| true)?;
        let flow = self.entries.get((packed >> 1) as usize)?;
        black_box((flow.client_leg, flow.expires, flow.created));
        Some(Likely(packed))
    }

    /// [`lookup`](Self::lookup), when `likely` is what was found for the tuple's hash.
    #[inline]
    pub(crate) fn confirm(
        &self,
        likely: Option<Likely>,
        hash: u64,
        tuple: &Tuple,
    ) -> Option<(FlowId, Direction)> {
        let Likely(packed) = likely?;
        let (index, direction) = unpack(packed);
        let flow = self.entries.get(index as usize)?;
        if flow.has_key(direction, tuple) {
            return Some((FlowId { index, generation: flow.generation }, direction));
        }
        self.lookup_hashed(hash, tuple)
    }

    /// [`lookup`](Self::lookup) of a tuple whose hash is known.
    #[inline]
    pub(crate) fn lookup_hashed(&self, hash: u64, tuple: &Tuple) -> Option<(FlowId, Direction)> {
        let is_it = |packed| {
            let (index, direction) = unpack(packed);
            self.entries[index as usize].has_key(direction, tuple)
        };
        let packed = self.keys.find(hash, is_it)?;
        let (index, direction) = unpack(packed);
        Some((self.id(index), direction))
    }

    /// A number that changes whenever some tuple may belong to another flow than before: what
    /// [`lookup`](Self::lookup) has found holds until then.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The flow of this name, if it still lives.
    pub fn get(&self, id: FlowId) -> Option<&Flow> {
        self.entries.get(id.index as usize).filter(|flow| flow.generation == id.generation)
    }

    /// All flows, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow)> {
        self.entries.iter().map(|(index, flow)| {
            (FlowId { index: index as u32, generation: flow.generation }, flow)
        })
    }

    /// Tracks `flow`; gives it back if one of its keys is taken, or its two are one: a backend that is
    /// its own client, seen as the service that it asked.
    ///
    /// # Errors
    /// The flow, untracked.
    pub fn insert(&mut self, mut flow: Flow) -> Result<FlowId, Box<Flow>> {
        let (forward, reverse) = (flow.forward_key(), flow.reverse_key());
        let taken = |key| self.lookup(key).is_some();
        if forward == reverse || taken(&forward) || taken(&reverse) {
            return Err(Box::new(flow));
        }
        self.generation = self.generation.wrapping_add(1);
        flow.generation = self.generation;
        flow.timer = flow.expires;
        flow.link = Link::default();
        let (generation, timer, class) = (flow.generation, flow.timer, flow.class());
        let index = self.entries.insert(flow) as u32;
        self.insert_key(&forward, pack(index, Direction::Forward));
        self.insert_key(&reverse, pack(index, Direction::Reverse));
        self.lists.set_class(&mut self.entries, index, class);
        let id = FlowId { index, generation };
        self.wheel.insert(timer, id);
        Ok(id)
    }

    /// Forgets a flow.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let flow = self.get(id)?;
        let keys = [flow.forward_key(), flow.reverse_key()];
        for (key, direction) in keys.iter().zip([Direction::Forward, Direction::Reverse]) {
            self.remove_key(key, pack(id.index, direction));
        }
        self.lists.set_class(&mut self.entries, id.index, None);
        Some(self.entries.remove(id.index as usize))
    }

    /// Changes a flow by `change`, then puts it where its class and deadline belong. The forward key
    /// must stay as it is; the reverse key may change if nobody else has the new one.
    pub fn update<T>(&mut self, id: FlowId, change: impl FnOnce(&mut Flow) -> T) -> Option<T> {
        let flow = self.touch(id)?;
        let before = flow.reverse_key();
        let result = change(flow);
        let after = flow.reverse_key();
        if before != after {
            self.move_reverse_key(id.index, &before, &after);
        }
        self.settle(id);
        Some(result)
    }

    /// A flow that traffic touches. No key may change; if its state does, or its deadline moves
    /// closer, [`settle`](Self::settle) must follow.
    pub(crate) fn touch(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.entries.get_mut(id.index as usize).filter(|flow| flow.generation == id.generation)
    }

    /// Fills `expired` with flows whose deadline has passed; they are still in the table.
    ///
    /// Flows that were touched since their entry was made are put back on the way. `budget` bounds how
    /// many entries are looked at; what is left comes up at the next call.
    pub fn expire(&mut self, now: Instant, budget: usize, expired: &mut Vec<FlowId>) {
        expired.clear();
        self.wheel.expire(now, budget, expired);
        let Self { entries, wheel, .. } = self;
        expired.retain(|&id| {
            let flow = entries.get_mut(id.index as usize);
            let Some(flow) = flow.filter(|f| f.generation == id.generation) else { return false };
            if flow.expires <= now {
                return true;
            }
            // A later, shorter entry may have come up before this one; then this one is the spare.
            if flow.timer <= now {
                flow.timer = flow.expires;
                wheel.insert(flow.timer, id);
            }
            false
        });
    }

    /// When [`expire`](Self::expire) may have something.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_deadline()
    }

    fn id(&self, index: u32) -> FlowId {
        FlowId { index, generation: self.entries[index as usize].generation }
    }

    /// Puts a flow where its class and deadline belong.
    pub(crate) fn settle(&mut self, id: FlowId) {
        let Some(flow) = self.entries.get_mut(id.index as usize) else { return };
        if flow.expires < flow.timer {
            // A deadline moved closer: the entry in the wheel would come up too late.
            flow.timer = flow.expires;
            self.wheel.insert(flow.timer, id);
        }
        let class = flow.class();
        if class != flow.link.class() {
            self.lists.set_class(&mut self.entries, id.index, class);
        }
    }

    fn move_reverse_key(&mut self, index: u32, before: &Tuple, after: &Tuple) {
        let packed = pack(index, Direction::Reverse);
        self.remove_key(before, packed);
        debug_assert!(self.lookup(after).is_none(), "the new key is taken");
        self.insert_key(after, packed);
    }

    fn insert_key(&mut self, key: &Tuple, packed: u32) {
        self.version += 1;
        let Self { entries, keys, hasher, .. } = self;
        keys.insert(hash(hasher, key), packed, |packed| hash(hasher, &key_of(entries, packed)));
    }

    fn remove_key(&mut self, key: &Tuple, packed: u32) {
        self.version += 1;
        self.keys.remove(hash(&self.hasher, key), packed);
    }

    /// Checks that every key leads to its flow and every flow has its keys.
    ///
    /// # Panics
    /// If one does not: for tests and simulations, after each step.
    pub fn assert_consistent(&self) {
        assert_eq!(self.keys.len(), 2 * self.entries.len());
        for (id, flow) in self.iter() {
            assert_eq!(self.lookup(&flow.forward_key()), Some((id, Direction::Forward)));
            assert_eq!(self.lookup(&flow.reverse_key()), Some((id, Direction::Reverse)));
            assert_eq!(flow.link.class(), flow.class());
            assert!(flow.timer <= flow.expires);
        }
        let listed: usize = Class::ALL.iter().map(|&c| self.len_of(c)).sum();
        assert_eq!(listed, self.iter().filter(|(_, f)| f.class().is_some()).count());
    }
}
