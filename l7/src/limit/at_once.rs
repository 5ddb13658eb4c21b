//! Requests of one key that are served at the same time, and those that wait for their turn.
//!
//! # Theory of operation
//! A key has a lane while it has a request that is served. Who finds the lane full joins its queue, if
//! there is one with room. A request that is over gives its place to the first that waits, at once, so that
//! nobody who comes later can take it. Who leaves, because its time is over or its client is gone, leaves
//! nothing behind: a place that it was given just then goes to the next.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::AtOnceConfig;

/// The requests of a limit that are served.
#[derive(Debug)]
pub struct AtOnce {
    limits: AtOnceConfig,
    lanes: RefCell<BTreeMap<u64, Lane>>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Requests that are served; at least one.
    served: u32,
    waiting: VecDeque<Rc<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    /// It has a place.
    admitted: Cell<bool>,
    waker: RefCell<Waker>,
}

/// What a request that asks for a place gets.
#[derive(Debug)]
pub enum Entered {
    /// A place.
    Served(Place),
    /// One in the queue, which it is to leave after that time.
    Waits(Waiting, Duration),
    /// None, since there is no queue, or it is full.
    Refused,
}

/// A request's place, as long as this value lives.
#[derive(Debug)]
pub struct Place {
    of: Rc<AtOnce>,
    key: u64,
}

/// A place in the queue: becomes one among those that are served.
#[derive(Debug)]
pub struct Waiting {
    of: Rc<AtOnce>,
    key: u64,
    waiter: Rc<Waiter>,
}

impl AtOnce {
    pub(super) const fn new(limits: AtOnceConfig) -> Self {
        Self { limits, lanes: RefCell::new(BTreeMap::new()) }
    }

    /// Asks for a place among the requests of `key`.
    pub fn enter(self: &Rc<Self>, key: u64) -> Entered {
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.entry(key).or_default();
        if lane.served < self.limits.most.max(1) {
            lane.served += 1;
            return Entered::Served(Place { of: Rc::clone(self), key });
        }
        match self.limits.queue {
            Some(queue) if lane.waiting.len() < queue.size => {
                let waker = RefCell::new(Waker::noop().clone());
                let waiter = Rc::new(Waiter { admitted: Cell::new(false), waker });
                lane.waiting.push_back(Rc::clone(&waiter));
                Entered::Waits(Waiting { of: Rc::clone(self), key, waiter }, queue.timeout)
            }
            _ => Entered::Refused,
        }
    }

    /// Requests of all keys that are served, and that wait.
    pub fn counts(&self) -> (usize, usize) {
        let lanes = self.lanes.borrow();
        let count = |(served, waiting), lane: &Lane| {
            (served + lane.served as usize, waiting + lane.waiting.len())
        };
        lanes.values().fold((0, 0), count)
    }

    #[cfg(test)]
    pub(super) fn lanes_are_empty(&self) -> bool {
        self.lanes.borrow().is_empty()
    }

    /// A place of `key` has become free.
    fn leave(&self, key: u64) {
        let mut lanes = self.lanes.borrow_mut();
        let Some(lane) = lanes.get_mut(&key) else { return };
        if let Some(next) = lane.waiting.pop_front() {
            next.admitted.set(true);
            next.waker.borrow().wake_by_ref();
            return;
        }
        lane.served -= 1;
        if lane.served == 0 {
            lanes.remove(&key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.leave(self.key);
    }
}

impl Future for Waiting {
    type Output = Place;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place> {
        if self.waiter.admitted.take() {
            return Poll::Ready(Place { of: Rc::clone(&self.of), key: self.key });
        }
        self.waiter.waker.borrow_mut().clone_from(cx.waker());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.waiter.admitted.take() {
            return self.of.leave(self.key);
        }
        if let Some(lane) = self.of.lanes.borrow_mut().get_mut(&self.key) {
            lane.waiting.retain(|other| !Rc::ptr_eq(other, &self.waiter));
        }
    }
}
