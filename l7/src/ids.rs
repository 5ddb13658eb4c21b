//! Numbers that name things to the outside: requests, traces, spans.

use std::cell::Cell;
use std::hash::Hasher;

use crate::keyed::Keyed;

/// Draws names that a seed repeats, and from which nobody finds the seed.
///
/// The run's seed also decides what must not be guessed: sequence numbers, ports. Whoever sees a name of
/// a request, as every backend does, must learn nothing of it.
#[derive(Debug)]
pub struct Ids {
    hash: Keyed,
    drawn: Cell<u64>,
}

impl Ids {
    /// Names that follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { hash: Keyed::new(seed), drawn: Cell::new(0) }
    }

    /// The next eight bytes; never all zero.
    pub fn next8(&self) -> [u8; 8] {
        loop {
            let count = self.drawn.get();
            self.drawn.set(count.wrapping_add(1));
            let mut hasher = self.hash.hasher();
            hasher.write_u64(count);
            let drawn = hasher.finish();
            if drawn != 0 {
                return drawn.to_be_bytes();
            }
        }
    }

    /// The next sixteen.
    pub fn next16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&self.next8());
        low.copy_from_slice(&self.next8());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_names_and_no_name_comes_twice() {
        let (one, same, other) = (Ids::new(1), Ids::new(1), Ids::new(2));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let name = one.next16();
            assert_eq!(name, same.next16());
            assert!(seen.insert(name) && seen.insert(other.next16()));
        }
    }
}
