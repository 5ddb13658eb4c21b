//! Deadlines, in a hierarchical timer wheel.
//!
//! # Theory of operation
//!
//! A [`Wheel`] holds pairs of a deadline and a key, and hands the key back once the deadline has
//! passed. Time is cut into ticks of [`TICK`]; a deadline is rounded up to a tick and the present is
//! rounded down, so a timer never fires early and fires less than one tick late.
//!
//! Nine levels of 64 slots count a tick number in base 64. A timer lies at the level of the highest
//! digit in which its tick differs from the wheel's own position, in the slot of that digit:
//!
//! ```text
//!   level 0: 64 slots of 1 tick     (1 ms)      timers of the next 65 ms
//!   level 1: 64 slots of 64 ticks   (65 ms)     of the next 4 s
//!   level 2: 64 slots of 4096 ticks (4.2 s)     of the next 4.5 min
//!   ...
//!   level 8: reaches the end of what an Instant can say, so there is no horizon to handle
//! ```
//!
//! When the position enters a slot above level 0, the slot's timers are dealt to lower levels (at most
//! once a level for each timer); at level 0 they fire. One bitmap a level finds the next slot that is
//! not empty, so idle time costs nothing, however long.
//!
//! **Timers are lazy.** There is no cancel. An owner whose deadline moves out leaves the entry alone:
//! when the key comes back, it looks at its true deadline and inserts again if that is still to come.
//! An owner whose deadline moves in inserts a second entry. Keys should carry a generation, or be
//! harmless when they arrive late.
//!
//! **Limits.** [`Wheel::expire`] touches no more entries than its budget; what is left comes with the
//! next call, and [`Wheel::next_deadline`] says so. Memory is that of the entries, in chunks of
//! [`CHUNK`], so that no insertion moves more than one chunk's; a slot keeps one chunk when it is
//! emptied and gives the rest of a flood back.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// The wheel's resolution: 1024 µs, a little over a millisecond.
pub const TICK: Duration = Duration::from_micros(1 << TICK_BITS);

/// Entries of a chunk, the unit in which a slot's memory grows and shrinks.
pub const CHUNK: usize = 256;

const TICK_BITS: u32 = 10;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 9;
const LAST_TICK: u64 = u64::MAX >> TICK_BITS;
const _: () = assert!(TICK_BITS + DIGIT_BITS * LEVELS as u32 == u64::BITS);

/// A timer wheel for keys of type `K` (see the module's theory of operation).
#[derive(Clone, Debug)]
pub struct Wheel<K> {
    /// The tick that the wheel has reached. Slots hold later ticks only, but for one being emptied.
    position: u64,
    levels: Box<[Level<K>; LEVELS]>,
    /// The slot that a budget cut short, as level and slot; its first tick is `position`.
    unfinished: Option<(usize, usize)>,
    /// Entries whose deadline had passed when they were inserted.
    due: VecDeque<K>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Level<K> {
    occupied: u64,
    slots: [Slot<K>; SLOTS],
}

#[derive(Clone, Debug)]
struct Slot<K> {
    /// The earliest tick in `entries`.
    earliest: u64,
    entries: Stack<(u64, K)>,
}

/// A stack that never moves more than a chunk's entries to grow: a [`Vec`] of a million would stand
/// still for milliseconds.
#[derive(Clone, Debug)]
struct Stack<T> {
    /// All of them full.
    below: Vec<Vec<T>>,
    top: Vec<T>,
}

impl<T> Stack<T> {
    const fn new() -> Self {
        Self { below: Vec::new(), top: Vec::new() }
    }

    fn push(&mut self, entry: T) {
        if self.top.len() == CHUNK {
            self.below.push(std::mem::replace(&mut self.top, Vec::with_capacity(CHUNK)));
        }
        self.top.push(entry);
    }

    fn pop(&mut self) -> Option<T> {
        if self.top.is_empty()
            && let Some(chunk) = self.below.pop()
        {
            self.top = chunk;
        }
        self.top.pop()
    }

    /// True once all were taken; then gives back the memory of all but one chunk.
    fn shrink_if_empty(&mut self) -> bool {
        let empty = self.top.is_empty() && self.below.is_empty();
        if empty {
            self.below = Vec::new();
        }
        empty
    }
}

impl<K: Copy> Default for Wheel<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel. It allocates its slots (18 KiB) but no entries.
    pub fn new() -> Self {
        let slot = |_| Slot { earliest: u64::MAX, entries: Stack::new() };
        let level = |_| Level { occupied: 0, slots: std::array::from_fn(slot) };
        Self {
            position: 0,
            levels: Box::new(std::array::from_fn(level)),
            unfinished: None,
            due: VecDeque::new(),
            len: 0,
        }
    }

    /// Entries held, stale ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes note that `key` is wanted back once `deadline` has passed. O(1).
    ///
    /// [`Instant::FAR_FUTURE`] means never: nothing is stored.
    pub fn insert(&mut self, deadline: Instant, key: K) {
        if deadline == Instant::FAR_FUTURE {
            return;
        }
        self.len += 1;
        let tick = deadline.as_micros().div_ceil(1 << TICK_BITS).min(LAST_TICK);
        if tick <= self.position {
            self.due.push_back(key);
        } else {
            self.place(tick, key);
        }
    }

    /// Appends to `fired` the keys whose deadline has passed, in no promised order among those of
    /// one call; returns true if `budget` ran out first and the call should be repeated.
    ///
    /// `budget` bounds the entries that are looked at, fired or moved down a level; zero does
    /// nothing. A `now` before that of an earlier call counts as that one.
    pub fn expire(&mut self, now: Instant, budget: usize, fired: &mut Vec<K>) -> bool {
        let target = (now.as_micros() >> TICK_BITS).max(self.position);
        let mut left = budget;
        while left > 0 {
            let Some(key) = self.due.pop_front() else { break };
            self.len -= 1;
            left -= 1;
            fired.push(key);
        }
        if self.due.is_empty() && self.due.capacity() > CHUNK {
            self.due = VecDeque::new();
        }
        while let Some((level, slot, start)) = self.next_slot() {
            if start > target {
                break;
            }
            if left == 0 {
                return true;
            }
            self.position = start;
            self.empty_slot(level, slot, &mut left, fired);
        }
        // No slot starts at or before the target, so every entry keeps its level and slot.
        self.position = target;
        !self.due.is_empty()
    }

    /// When [`expire`](Self::expire) will next have something to fire, if anything is held.
    ///
    /// This is the earliest deadline rounded up to a tick, never early and less than a tick late. If
    /// a budget ran out, it is an instant that has already passed.
    pub fn next_deadline(&self) -> Option<Instant> {
        let tick = if self.due.is_empty() && self.unfinished.is_none() {
            let (level, slot, _) = self.next_slot()?;
            self.levels[level].slots[slot].earliest
        } else {
            self.position
        };
        Some(Instant::from_micros(tick << TICK_BITS))
    }

    /// The slot to be emptied next, with the first tick that it stands for.
    ///
    /// Entries of a level share all higher digits with the position and have a larger digit of their
    /// own, so the lowest level in use holds the earliest, in its first slot in use.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        if let Some((level, slot)) = self.unfinished {
            return Some((level, slot, self.position));
        }
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let slot = self.levels[level].occupied.trailing_zeros() as usize;
        let shift = DIGIT_BITS * level as u32;
        let higher_digits = self.position >> shift >> DIGIT_BITS << DIGIT_BITS;
        Some((level, slot, (higher_digits | slot as u64) << shift))
    }

    /// Stores an entry that is later than the position.
    fn place(&mut self, tick: u64, key: K) {
        let highest_bit = (tick ^ self.position).ilog2();
        let level = highest_bit / DIGIT_BITS;
        let slot = (tick >> (level * DIGIT_BITS)) as usize % SLOTS;
        let level = &mut self.levels[level as usize];
        level.occupied |= 1 << slot;
        let slot = &mut level.slots[slot];
        slot.earliest = slot.earliest.min(tick);
        slot.entries.push((tick, key));
    }

    /// Fires or moves down what is in a slot that the position has entered.
    fn empty_slot(&mut self, level: usize, slot: usize, left: &mut usize, fired: &mut Vec<K>) {
        self.unfinished = Some((level, slot));
        while *left > 0 {
            let Some((tick, key)) = self.levels[level].slots[slot].entries.pop() else { break };
            *left -= 1;
            if tick <= self.position {
                self.len -= 1;
                fired.push(key);
            } else {
                self.place(tick, key);
            }
        }
        let emptied = &mut self.levels[level].slots[slot];
        if emptied.entries.shrink_if_empty() {
            self.unfinished = None;
            emptied.earliest = u64::MAX;
            self.levels[level].occupied &= !(1 << slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const TICK_MICROS: u64 = 1 << TICK_BITS;

    fn fired(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut keys = Vec::new();
        assert!(!wheel.expire(Instant::from_micros(now), usize::MAX, &mut keys));
        keys
    }

    #[test]
    fn fires_on_its_tick_and_not_a_microsecond_before() {
        for deadline in [1, 1023, 1024, 1025, 65_536, 65_537, 3_600_000_001, 1 << 60] {
            let mut wheel = Wheel::new();
            wheel.insert(Instant::from_micros(deadline), 7);
            let at = deadline.next_multiple_of(TICK_MICROS);
            assert_eq!(wheel.next_deadline(), Some(Instant::from_micros(at)));
            assert_eq!(fired(&mut wheel, at - 1), [], "{deadline}");
            assert_eq!(wheel.next_deadline(), Some(Instant::from_micros(at)));
            assert_eq!(fired(&mut wheel, at), [7], "{deadline}");
            assert!(wheel.is_empty() && wheel.next_deadline().is_none());
        }
    }

    #[test]
    fn never_means_never_and_the_last_tick_still_fires() {
        let mut wheel = Wheel::new();
        wheel.insert(Instant::FAR_FUTURE, 1);
        assert!(wheel.is_empty());
        wheel.insert(Instant::from_micros(u64::MAX - 1), 2);
        assert_eq!(fired(&mut wheel, u64::MAX - 2000), []);
        assert_eq!(fired(&mut wheel, u64::MAX), [2]);
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_call() {
        let mut wheel = Wheel::new();
        assert_eq!(fired(&mut wheel, 1 << 40), []);
        wheel.insert(Instant::ZERO, 1);
        assert!(wheel.next_deadline().unwrap() <= Instant::from_micros(1 << 40));
        // A clock that stepped back does not hold it.
        assert_eq!(fired(&mut wheel, 5), [1]);
    }

    #[test]
    fn a_flood_is_fired_in_bounded_steps_and_its_memory_given_back() {
        let mut wheel = Wheel::new();
        let deadline = Instant::from_secs(3600);
        for key in 0..10_000 {
            wheel.insert(deadline, key);
        }
        let now = deadline + TICK;
        let (mut keys, mut calls) = (Vec::new(), 0);
        while wheel.expire(now, 100, &mut keys) {
            calls += 1;
            assert!(keys.len() <= 100 * calls);
            assert!(wheel.next_deadline().unwrap() <= now);
        }
        // Each entry fires once and moves down at most once a level.
        assert!((99..100 * LEVELS).contains(&calls), "{calls}");
        keys.sort_unstable();
        assert!(keys.iter().copied().eq(0..10_000));
        let slots = wheel.levels.iter().flat_map(|level| &level.slots);
        for Stack { below, top } in slots.map(|slot| &slot.entries) {
            assert!(below.capacity() == 0 && top.capacity() <= CHUNK);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_an_ordered_map(
            start in prop_oneof![Just(0), any::<u32>().prop_map(u64::from), 0_u64..1 << 60],
            steps in proptest::collection::vec(
                (0_u32..36, 0_u64..1 << 36, 0_u32..36, 0_u64..1 << 36, 1_usize..40), 1..200),
        ) {
            let mut wheel = Wheel::new();
            let mut model: BTreeSet<(u64, u32)> = BTreeSet::new();
            let mut now = start;
            for (key, (in_bits, ahead, step_bits, step, budget)) in (0..).zip(steps) {
                let deadline = now + (ahead >> in_bits);
                wheel.insert(Instant::from_micros(deadline), key);
                model.insert((deadline, key));
                now += step >> step_bits;

                let mut keys = Vec::new();
                let more = wheel.expire(Instant::from_micros(now), budget, &mut keys);
                prop_assert!(keys.len() <= budget);
                for key in keys {
                    let found = model.iter().find(|entry| entry.1 == key).copied();
                    prop_assert!(found.is_some_and(|(deadline, _)| deadline <= now), "early or twice");
                    model.remove(&found.unwrap());
                }
                let earliest = model.first().map(|entry| entry.0);
                if !more {
                    prop_assert!(earliest.is_none_or(|at| at + TICK_MICROS > now), "late");
                }
                prop_assert_eq!(wheel.len(), model.len());
                let next = wheel.next_deadline().map(Instant::as_micros);
                prop_assert_eq!(next.is_some(), earliest.is_some());
                if let (Some(next), Some(earliest)) = (next, earliest) {
                    prop_assert!(next < earliest + TICK_MICROS);
                    prop_assert!(more || next >= earliest);
                }
            }
            let mut rest = fired(&mut wheel, now + (1 << 37));
            rest.sort_unstable();
            let mut expected: Vec<_> = model.iter().map(|entry| entry.1).collect();
            expected.sort_unstable();
            prop_assert_eq!(rest, expected);
        }
    }
}
