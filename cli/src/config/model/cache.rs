//! `[cache.NAME]`.

use l7::cache::Policy;

use super::Spanned;

/// Where answers of backends are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Its name, at its place in the header.
    pub name: Spanned<String>,
    /// Bytes.
    pub memory: Spanned<u64>,
    /// Bytes of the body of the greatest answer that is kept.
    pub max_object: Spanned<u64>,
    /// How it behaves; the sizes above are in it.
    pub policy: Policy,
}

impl Cache {
    /// The least bytes that a cache has.
    pub const LEAST: u64 = 1 << 20;
    /// How often the greatest answer fits into all: a quarter of the memory is for answers that are on
    /// their way.
    pub const SHARE: u64 = 4;
}
