//! Credentials that were found good a moment ago.
//!
//! # Theory of operation
//! To find a password or a signature good takes long. What was found good is known for a while by a keyed
//! digest of the credentials (HMAC with SHA-256), so that nothing here tells what they were. Nothing is kept
//! of credentials that were not good: an attempt always takes the same time.
//!
//! There are two generations. When the young one is full it becomes the old one, and the one before that is
//! forgotten; what is asked for in the old one moves to the young one. So memory is bounded, and what is
//! used stays.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use aws_lc_rs::hmac;

use crate::limits::REMEMBERED;

/// What tells credentials apart.
pub(super) type Digest = [u8; 32];

/// What is known of good credentials, each until a time of its own.
#[derive(Debug)]
pub(super) struct Remembered<T> {
    key: hmac::Key,
    young: HashMap<Digest, Known<T>, BuildHasherDefault<First>>,
    old: HashMap<Digest, Known<T>, BuildHasherDefault<First>>,
}

#[derive(Clone, Debug)]
struct Known<T> {
    value: T,
    until: u64,
}

impl<T: Clone> Remembered<T> {
    /// Nothing, under that key.
    pub(super) fn new(seed: u64) -> Self {
        let key: Vec<u8> =
            (0..4).flat_map(|n| nat::rng::derive(seed, 16 + n).to_be_bytes()).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { key, young: HashMap::default(), old: HashMap::default() }
    }

    /// The digest of `parts`, each of which counts with its length.
    pub(super) fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        for (place, byte) in digest.iter_mut().zip(context.sign().as_ref()) {
            *place = *byte;
        }
        digest
    }

    /// What is known at `now`.
    pub(super) fn find(&mut self, now: u64, digest: &Digest) -> Option<T> {
        if let Some(known) = self.young.get(digest) {
            return (now < known.until).then(|| known.value.clone());
        }
        let known = self.old.remove(digest).filter(|known| now < known.until)?;
        let value = known.value.clone();
        self.insert(*digest, known);
        Some(value)
    }

    /// Remembers `value` until that time.
    pub(super) fn put(&mut self, digest: Digest, value: T, until: u64) {
        self.insert(digest, Known { value, until });
    }

    fn insert(&mut self, digest: Digest, known: Known<T>) {
        if self.young.len() >= REMEMBERED / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, known);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// A digest is a hash already: its first bytes serve.
#[derive(Debug, Default)]
pub(super) struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_be_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_good_is_known_for_its_time() {
        let mut known = Remembered::new(1);
        let digest = known.digest(&[b"alice", b"secret"]);
        assert_eq!(known.find(0, &digest), None);
        known.put(digest, "alice", 100);
        assert_eq!(known.find(99, &digest), Some("alice"));
        assert_eq!(known.find(100, &digest), None);
        known.put(digest, "alice", 200);
        known.clear();
        assert_eq!(known.find(0, &digest), None);
    }

    #[test]
    fn other_credentials_and_other_keys_have_other_digests() {
        let known = Remembered::<()>::new(1);
        let digest = known.digest(&[b"alice", b"secret"]);
        assert_eq!(digest, Remembered::<()>::new(1).digest(&[b"alice", b"secret"]));
        assert_ne!(digest, Remembered::<()>::new(2).digest(&[b"alice", b"secret"]));
        for parts in [&[&b"alices"[..], b"ecret"][..], &[b"alice", b"secre"], &[b"alice:secret"]] {
            assert_ne!(digest, known.digest(parts));
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let mut known = Remembered::new(1);
        let used = known.digest(&[b"used"]);
        known.put(used, 0, u64::MAX);
        for n in 1..=3 * REMEMBERED {
            let digest = known.digest(&[&n.to_be_bytes()]);
            known.put(digest, n, u64::MAX);
            assert!(known.len() <= REMEMBERED);
            assert_eq!(known.find(0, &used), Some(0), "{n}");
        }
        let first = known.digest(&[&1_usize.to_be_bytes()]);
        assert_eq!(known.find(0, &first), None);
    }
}
