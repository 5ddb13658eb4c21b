//! Token buckets by key, in memory that does not grow.
//!
//! # Theory of operation
//! A bucket is the time at which it would be full; one that is full differs in nothing from one that was
//! never used. Places are in sets of `WAYS`, and a key's hash says in which set it is. A key that is new
//! to a full set takes the place of the bucket that is nearest to full, *and what is missing from it*
//! (the space-saving algorithm of Metwally, Agrawal and El Abbadi, 2005). So the errors are on one side:
//!
//! - no key ever gets more than its rate and burst, however many keys a client invents;
//! - a key can get less if its set is full of keys that all use up theirs. One that is asked for once takes
//!   one token's worth of time, 10 ms at `100/s`: with 65,536 keys a flood of invented ones does harm when
//!   it is faster than 6.5 million requests a second.
//!
//! A place is sixteen bytes.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use nat::Rate;
use nat::client_limit::Bucket;

/// Places in which a key can be.
const WAYS: usize = 8;

/// How a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Requests that would be taken now, one after the other. The one that is about to be taken counts.
    pub remaining: u64,
    /// Until all of the burst would be taken.
    pub full_in: Duration,
    /// Until the next would be taken; nothing if that is now.
    pub wait: Option<Duration>,
}

/// The buckets of a limit.
#[derive(Debug)]
pub(super) struct Buckets {
    bucket: Bucket,
    burst: u32,
    /// Zero for a place that was never used.
    keys: RefCell<Box<[u64]>>,
    full_at: RefCell<Box<[u64]>>,
    evicted: Cell<u64>,
}

impl Buckets {
    pub(super) fn new(rate: Rate, keys: usize) -> Self {
        let places = keys.clamp(WAYS, 1 << 30).next_power_of_two();
        let zeros = || RefCell::new(vec![0; places].into_boxed_slice());
        Self {
            bucket: Bucket::new(rate),
            burst: rate.burst.max(1),
            keys: zeros(),
            full_at: zeros(),
            evicted: Cell::new(0),
        }
    }

    /// The place of `key`, or that which it would take.
    fn place(&self, key: u64) -> usize {
        let (keys, full_at) = (self.keys.borrow(), self.full_at.borrow());
        // The low bits tell keys of one set apart.
        let first = (key >> 32) as usize % (keys.len() / WAYS) * WAYS;
        let set = keys.get(first..first + WAYS).unwrap_or_default();
        if let Some(way) = set.iter().position(|&other| other == key) {
            return first + way;
        }
        let set = full_at.get(first..first + WAYS).unwrap_or_default();
        let fullest = set.iter().enumerate().min_by_key(|(_, full_at)| **full_at);
        first + fullest.map_or(0, |(way, _)| way)
    }

    pub(super) fn read(&self, now: u64, key: u64) -> Reading {
        let Bucket { token, ahead } = self.bucket;
        let full_at = self.full_at.borrow().get(self.place(key.max(1))).copied().unwrap_or(0);
        let missing = full_at.saturating_sub(now);
        let wait = missing.saturating_add(token).saturating_sub(ahead);
        Reading {
            remaining: ahead.saturating_sub(missing) / token.max(1),
            full_in: Duration::from_nanos(missing),
            wait: (wait > 0).then(|| Duration::from_nanos(wait)),
        }
    }

    pub(super) fn take(&self, now: u64, key: u64) {
        let key = key.max(1);
        let place = self.place(key);
        let (mut keys, mut times) = (self.keys.borrow_mut(), self.full_at.borrow_mut());
        let (Some(holder), Some(full_at)) = (keys.get_mut(place), times.get_mut(place)) else {
            return;
        };
        if *holder != key && *full_at > now {
            self.evicted.set(self.evicted.get() + 1);
        }
        *holder = key;
        if let Some(next) = self.bucket.next(now, *full_at) {
            *full_at = next;
        }
    }

    /// The burst, and the time in seconds in which an empty bucket is full.
    pub(super) fn policy(&self) -> (u32, u64) {
        (self.burst, seconds(Duration::from_nanos(self.bucket.ahead)))
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted.get()
    }
}

/// Whole seconds, not fewer than it is.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
