//! How many errors are sent.

use std::time::Duration;

use netstack::Instant;
use netstack::wire::{Address, Family};

use crate::limits::{
    ERROR_PEERS, ERRORS_BURST, ERRORS_PER_PEER_BURST, ERRORS_PER_PEER_SECOND, ERRORS_PER_SECOND,
};
use crate::rng::stable_hash;

/// Errors and RSTs that may still be sent: a token bucket for each peer, and one for all.
///
/// A peer is an IPv4 address or an IPv6 /64, which is what one host may have to itself. Peers share
/// [`ERROR_PEERS`] buckets by a seeded hash, so that no number of them takes memory, and who floods
/// takes the errors of one bucket and not of all.
#[derive(Clone, Debug)]
pub struct ErrorBudget {
    all: Bucket,
    peers: Box<[Bucket]>,
    seed: u64,
}

impl ErrorBudget {
    /// Full buckets, shared among peers as `seed` has it.
    pub fn new(seed: u64) -> Self {
        let peer = Bucket::new(ERRORS_PER_PEER_SECOND, ERRORS_PER_PEER_BURST);
        Self {
            all: Bucket::new(ERRORS_PER_SECOND, ERRORS_BURST),
            peers: vec![peer; ERROR_PEERS].into_boxed_slice(),
            seed,
        }
    }

    /// Takes one for `peer`, if there is one.
    pub fn take(&mut self, now: Instant, peer: Address) -> bool {
        let octets = match peer.family() {
            Family::V4 => peer.octets(),
            Family::V6 => &peer.octets()[..8],
        };
        let index = stable_hash(self.seed, octets) % self.peers.len().max(1) as u64;
        // The peer's first: what it may not have is not lost to the others.
        self.peers.get_mut(index as usize).is_some_and(|bucket| bucket.take(now))
            && self.all.take(now)
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    burst: u32,
    /// Time that earns a token, in microseconds.
    interval: u64,
    /// Up to when tokens were earned.
    refilled: Instant,
}

impl Bucket {
    const fn new(per_second: u32, burst: u32) -> Self {
        Self {
            tokens: burst,
            burst,
            interval: 1_000_000 / per_second as u64,
            refilled: Instant::ZERO,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let idle = now.saturating_since(self.refilled).as_micros() as u64;
        let earned = idle / self.interval;
        if earned >= u64::from(self.burst - self.tokens) {
            self.tokens = self.burst;
            self.refilled = now;
        } else {
            self.tokens += earned as u32;
            self.refilled += Duration::from_micros(earned * self.interval);
        }
        let some = self.tokens > 0;
        self.tokens -= u32::from(some);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u32) -> Address {
        Address::from_v4(n.to_be_bytes())
    }

    fn taken(
        budget: &mut ErrorBudget,
        now: Instant,
        mut peer: impl FnMut(u32) -> Address,
    ) -> usize {
        (0..10_000).filter(|&n| budget.take(now, peer(n))).count()
    }

    #[test]
    fn a_bucket_gives_the_burst_then_the_rate() {
        let mut bucket = Bucket::new(100, 5);
        let mut now = Instant::from_secs(10);
        let taken = |bucket: &mut Bucket, now| (0..1_000).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, now), 5);
        assert_eq!(taken(&mut bucket, now + Duration::from_millis(9)), 0);
        assert_eq!(taken(&mut bucket, now + Duration::from_millis(30)), 3);
        now += Duration::from_mins(1);
        assert_eq!(taken(&mut bucket, now), 5);
        // What is asked at odd times is earned all the same.
        let odd = (1..=1_000).filter(|n| bucket.take(now + Duration::from_millis(6) * *n)).count();
        assert_eq!(odd, 600);
    }

    #[test]
    fn one_peer_cannot_take_what_the_others_need() {
        let mut budget = ErrorBudget::new(7);
        let now = Instant::from_secs(10);
        assert_eq!(taken(&mut budget, now, |_| host(1)), ERRORS_PER_PEER_BURST as usize);
        let others = (2..20).filter(|&n| budget.take(now, host(n))).count();
        assert_eq!(others, 18);
    }

    #[test]
    fn all_peers_together_have_their_limit_too() {
        let mut budget = ErrorBudget::new(7);
        let now = Instant::from_secs(10);
        assert_eq!(taken(&mut budget, now, host), ERRORS_BURST as usize);
    }

    #[test]
    fn the_hosts_of_a_v6_subnet_are_one_peer() {
        let mut budget = ErrorBudget::new(7);
        let host = |n: u32| {
            let mut octets = [0xfd; 16];
            octets[12..].copy_from_slice(&n.to_be_bytes());
            Address::from_v6(octets)
        };
        let taken = taken(&mut budget, Instant::from_secs(10), host);
        assert_eq!(taken, ERRORS_PER_PEER_BURST as usize);
    }
}
