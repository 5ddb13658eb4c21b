//! One fetch for many who wait: requests for what is being fetched are held until it is here.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::FixedState;
use tokio::sync::Notify;

use crate::limits::{CACHE_PATIENCE, CACHE_WAITING};

/// A fetch that others may wait for.
#[derive(Debug, Default)]
pub(super) struct Flight {
    landed: Notify,
    is_over: Cell<bool>,
    waiting: Cell<usize>,
}

/// The fetches under way, by what they fetch.
#[derive(Debug)]
pub(super) struct Flights(HashMap<Box<[u8]>, Rc<Flight>, FixedState>);

impl Flights {
    pub(super) fn new(seed: u64) -> Self {
        Self(HashMap::with_hasher(FixedState::with_seed(seed)))
    }

    /// Begins one. None if there is one already.
    pub(super) fn begin(&mut self, key: &[u8]) -> Option<Rc<Flight>> {
        if self.0.contains_key(key) {
            return None;
        }
        let flight = Rc::<Flight>::default();
        self.0.insert(key.into(), Rc::clone(&flight));
        Some(flight)
    }

    /// A place among those who wait for it. None if there is nothing to wait for, or no place.
    pub(super) fn join(&self, key: &[u8]) -> Option<Waiting> {
        let flight = self.0.get(key).filter(|flight| flight.waiting.get() < CACHE_WAITING)?;
        flight.waiting.set(flight.waiting.get() + 1);
        Some(Waiting(Rc::clone(flight)))
    }

    pub(super) fn is_under_way(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    /// Ends one, and lets go on who waited.
    pub(super) fn end(&mut self, key: &[u8], flight: &Flight) {
        self.0.remove(key);
        flight.is_over.set(true);
        flight.landed.notify_waiters();
    }
}

/// A request that waits for another's fetch.
#[derive(Debug)]
pub struct Waiting(Rc<Flight>);

impl Waiting {
    /// Ends when the fetch is over, or has taken too long.
    pub async fn wait(self) {
        if !self.0.is_over.get() {
            let _ = tokio::time::timeout(CACHE_PATIENCE, self.0.landed.notified()).await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}
