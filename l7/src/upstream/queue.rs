//! Requests that wait until a backend of their pool is free.
//!
//! # Theory of operation
//! Who finds every backend at its limit joins the end of the queue. When a request is over, its place is
//! given to the first that waits, by whoever ends it: nobody who comes later can take it, and one free
//! place wakes one waiter. A waiter that has already tried the backend that became free is passed over.
//! Who leaves, because its time is over or its client is gone, leaves nothing behind: a place that it
//! was given just then is given back, to the next.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Balance, NoUpstream, Tried, Turn};

/// How many requests wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Requests that wait at once, at least one; one more is refused.
    pub size: usize,
    /// How long one waits before it is refused.
    pub timeout: Duration,
}

/// The requests that wait for the backends of a pool.
#[derive(Debug)]
pub struct Queue {
    limits: QueueLimits,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

/// A backend and its address.
type Place = (usize, SocketAddr);

#[derive(Debug)]
struct Waiter {
    client: SocketAddr,
    /// Backends that it has tried.
    skip: Vec<usize>,
    /// It is in the queue.
    stands: Cell<bool>,
    /// What it was given.
    place: Cell<Option<Place>>,
    waker: RefCell<Waker>,
}

impl Queue {
    /// Nobody waits.
    pub fn new(limits: QueueLimits) -> Self {
        Self { limits, waiting: RefCell::default() }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// True if nobody does.
    pub fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Gives at most `places` to those who wait, in their order. `choose` takes a place for a client that
    /// has tried some backends.
    pub(crate) fn serve(
        &self,
        places: usize,
        mut choose: impl FnMut(SocketAddr, &[usize]) -> Option<Place>,
    ) {
        let mut waiting = self.waiting.borrow_mut();
        let (mut given, mut index) = (0, 0);
        while given < places
            && let Some(waiter) = waiting.get(index)
        {
            if let Some(place) = choose(waiter.client, &waiter.skip) {
                waiter.place.set(Some(place));
                waiter.stands.set(false);
                waiter.waker.borrow().wake_by_ref();
                waiting.remove(index);
                given += 1;
            } else if waiter.skip.is_empty() {
                // What it cannot have, nobody can.
                return;
            } else {
                index += 1;
            }
        }
    }

    fn join(&self, client: SocketAddr, skip: Vec<usize>) -> Option<Rc<Waiter>> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= self.limits.size {
            return None;
        }
        let waker = RefCell::new(Waker::noop().clone());
        let (stands, place) = (Cell::new(true), Cell::new(None));
        let waiter = Rc::new(Waiter { client, skip, stands, place, waker });
        waiting.push_back(Rc::clone(&waiter));
        Some(waiter)
    }
}

/// Waits for a turn. `watch` is ready once the client is gone.
pub(super) async fn wait(
    balance: &Rc<dyn Balance>,
    client: SocketAddr,
    tried: &Tried,
    mut watch: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Result<Turn, NoUpstream> {
    let Some(queue) = balance.queue() else { return Err(NoUpstream::Full) };
    let Some(waiter) = queue.join(client, tried.backends.clone()) else {
        return Err(NoUpstream::QueueFull);
    };
    let standing = Standing { balance, queue, waiter };
    let until = Instant::now() + queue.limits.timeout;
    let (until, none) = match tried.end {
        Some(end) if end < until => (end, NoUpstream::TimedOut),
        _ => (until, NoUpstream::QueueTimeout),
    };
    let mut sleep = pin!(sleep_until(until));
    poll_fn(|cx| {
        if let Some((backend, address)) = standing.waiter.place.take() {
            return Poll::Ready(Ok(Turn::new(balance, backend, address)));
        }
        if watch(cx).is_ready() {
            return Poll::Ready(Err(NoUpstream::ClientGone));
        }
        if sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(none));
        }
        standing.waiter.waker.borrow_mut().clone_from(cx.waker());
        Poll::Pending
    })
    .await
}

/// Stands in the queue as long as this value lives.
struct Standing<'a> {
    balance: &'a Rc<dyn Balance>,
    queue: &'a Queue,
    waiter: Rc<Waiter>,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if self.waiter.stands.get() {
            self.queue.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.waiter));
        }
        if let Some((backend, _)) = self.waiter.place.take() {
            self.balance.released(backend);
        }
    }
}
