//! The path MTUs to backends that routers have told of.
//!
//! This is soft state (RFC 1191 section 6.3): a path is forgotten after [`TUNNEL_PATH_TIME`], and the
//! next long packet finds out anew. An error can be forged by who knows our address and a backend's, so
//! no MTU below [`TUNNEL_MIN_MTU_V4`] or IPv6's minimum is believed: the worst it does is small packets.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::Instant;
use netstack::fragment::MIN_MTU_V6;
use netstack::wire::{Address, Family};

use crate::limits::{TUNNEL_MIN_MTU_V4, TUNNEL_PATH_TIME, TUNNEL_PATHS};

/// What routers older than RFC 1191 leave to guess: its section 7.1.
const PLATEAUS: [u16; 8] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 576];

#[derive(Clone, Copy, Debug)]
struct Path {
    mtu: u16,
    until: Instant,
}

/// Backends whose path is narrower than their leg.
#[derive(Clone, Debug)]
pub struct Paths {
    by_backend: HashMap<Address, Path, FixedState>,
}

impl Paths {
    /// No path known; hashed with `seed`.
    pub fn new(seed: u64) -> Self {
        Self { by_backend: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    /// The MTU of the path to a backend, if it is known to be narrow.
    #[inline]
    pub fn mtu(&self, now: Instant, backend: Address) -> Option<u16> {
        if self.by_backend.is_empty() {
            return None;
        }
        self.by_backend.get(&backend).filter(|path| now < path.until).map(|path| path.mtu)
    }

    /// A router says that a packet of `len` bytes to `backend` was too big for `mtu`: what to believe.
    pub fn learn(&mut self, now: Instant, backend: Address, mtu: u32, len: usize) -> u16 {
        let least = match backend.family() {
            Family::V4 => TUNNEL_MIN_MTU_V4,
            Family::V6 => MIN_MTU_V6,
        };
        let said = match mtu {
            0 => PLATEAUS.into_iter().find(|&plateau| usize::from(plateau) < len).unwrap_or(least),
            mtu => u16::try_from(mtu).unwrap_or(u16::MAX),
        };
        // What is wider than known is a late error, or forged.
        let mtu = said.max(least).min(self.mtu(now, backend).unwrap_or(u16::MAX));
        if self.by_backend.len() >= TUNNEL_PATHS && !self.by_backend.contains_key(&backend) {
            let oldest = self.by_backend.iter().min_by_key(|(_, path)| path.until);
            if let Some(oldest) = oldest.map(|(&backend, _)| backend) {
                self.by_backend.remove(&oldest);
            }
        }
        self.by_backend.insert(backend, Path { mtu, until: now + TUNNEL_PATH_TIME });
        mtu
    }

    /// Paths that are kept, with those whose time is up.
    pub fn len(&self) -> usize {
        self.by_backend.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.by_backend.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(n: usize) -> Address {
        Address::from_v4([10, 2, (n >> 8) as u8, n as u8])
    }

    #[test]
    fn a_path_only_narrows_and_is_forgotten_in_time() {
        let mut paths = Paths::new(1);
        let now = Instant::from_secs(5);
        assert_eq!(paths.mtu(now, backend(1)), None);
        assert_eq!(paths.learn(now, backend(1), 1400, 1500), 1400);
        assert_eq!(paths.learn(now, backend(1), 1450, 1500), 1400);
        assert_eq!(paths.learn(now, backend(2), 0, 1500), 1492);
        assert_eq!(paths.learn(now, backend(3), 68, 1500), TUNNEL_MIN_MTU_V4);
        assert_eq!(paths.learn(now, Address::from_v6([0xfd; 16]), 100, 1500), MIN_MTU_V6);
        let end = now + TUNNEL_PATH_TIME;
        let before = now + TUNNEL_PATH_TIME.mul_f64(0.999);
        assert_eq!(paths.mtu(before, backend(1)), Some(1400));
        assert_eq!(paths.mtu(end, backend(1)), None);
        assert_eq!(paths.learn(end, backend(1), 1450, 1500), 1450);
    }

    #[test]
    fn at_the_limit_the_oldest_path_gives_way() {
        let mut paths = Paths::new(1);
        for n in 0..=TUNNEL_PATHS {
            paths.learn(Instant::from_secs(n as u64), backend(n), 1400, 1500);
        }
        let now = Instant::from_secs(TUNNEL_PATHS as u64);
        assert_eq!(paths.len(), TUNNEL_PATHS);
        assert!(!paths.by_backend.contains_key(&backend(0)));
        assert_eq!(paths.mtu(now, backend(TUNNEL_PATHS)), Some(1400));
    }
}
