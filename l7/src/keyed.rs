//! A hash that nobody who does not know its key can foresee.

use std::hash::Hasher;

use nat::rng::derive;

/// `SipHash` 2-4 with a key of its own: for tables whose keys clients choose, and numbers that they see.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    key: [u64; 2],
}

impl Keyed {
    /// The hash whose key follows from `seed`, from which nobody who sees its values finds the seed.
    pub const fn new(seed: u64) -> Self {
        Self { key: [derive(seed, 1), derive(seed, 2)] }
    }

    /// The hash of `parts`, each of which counts with its length: `["a", "b"]` and `["ab", ""]` differ.
    pub fn of(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        hasher.finish()
    }

    #[expect(
        deprecated,
        reason = "the one keyed hash of the standard library whose algorithm is part of its \
                  specification (SipHash 2-4); its successor takes no key"
    )]
    pub(crate) fn hasher(&self) -> impl Hasher + use<> {
        std::hash::SipHasher::new_with_keys(self.key[0], self.key[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_hashes_and_parts_do_not_run_together() {
        let (one, same, other) = (Keyed::new(1), Keyed::new(1), Keyed::new(2));
        assert_eq!(one.of(&[b"a", b"b"]), same.of(&[b"a", b"b"]));
        assert_ne!(one.of(&[b"a"]), other.of(&[b"a"]));
        for parts in [&[&b"ab"[..], b""][..], &[b"", b"ab"], &[b"ab"], &[b"b", b"a"]] {
            assert_ne!(one.of(&[b"a", b"b"]), one.of(parts), "{parts:?}");
        }
    }
}
