//! Numbers that nobody can guess who does not know the seed.

use std::hash::Hasher;

use crate::rng::derive;

/// A keyed pseudo-random function of a counter.
///
/// [`Rng`](crate::rng::Rng) will not do for ports: whoever sees a few of its outputs, as a backend does,
/// can work out the others, and so the ports toward other backends (RFC 6888 REQ-15).
#[derive(Clone, Debug)]
pub(super) struct Draw {
    key: [u64; 2],
    drawn: u64,
}

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self { key: [derive(seed, 1), derive(seed, 2)], drawn: 0 }
    }

    /// The next 64 bits.
    #[expect(
        deprecated,
        reason = "the standard library's one hash that is a keyed pseudo-random function by \
                  specification (SipHash 2-4); its successor takes no key"
    )]
    pub(super) fn next(&mut self) -> u64 {
        let mut hasher = std::hash::SipHasher::new_with_keys(self.key[0], self.key[1]);
        hasher.write_u64(self.drawn);
        self.drawn += 1;
        hasher.finish()
    }
}
