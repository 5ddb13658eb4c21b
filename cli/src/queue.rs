//! The way from the loop to a thread that writes: bounded, and never waited for by the loop.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that wait for the thread at most.
const MAX_QUEUED: usize = 32 << 20;

/// Bytes that are worth waking the thread for.
const MUCH: usize = 1 << 20;

/// How long the thread lets batches come together, once it has something to do.
const GATHER: Duration = Duration::from_millis(10);

/// Emptied batches that are kept for use again.
const MAX_SPARE: usize = 8;

/// What is handed over at once.
pub(crate) trait Batch: Default {
    /// Bytes that it holds.
    fn size(&self) -> usize;

    /// Empties it, for use again.
    fn clear(&mut self);
}

impl Batch for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }

    fn clear(&mut self) {
        self.clear();
    }
}

/// Batches of `B`, and a `T` at the end.
#[derive(Debug)]
pub(crate) struct Queue<B, T> {
    shared: Mutex<Shared<B, T>>,
    news: Condvar,
}

#[derive(Debug)]
struct Shared<B, T> {
    full: VecDeque<B>,
    bytes: usize,
    spare: Vec<B>,
    waits: Waits,
    /// The thread is to look around.
    poked: bool,
    /// The loop is done.
    closed: Option<T>,
    /// The thread is.
    over: bool,
}

impl<B, T> Default for Queue<B, T> {
    fn default() -> Self {
        let shared = Shared {
            full: VecDeque::new(),
            bytes: 0,
            spare: Vec::new(),
            waits: Waits::default(),
            poked: false,
            closed: None,
            over: false,
        };
        Self { shared: Mutex::new(shared), news: Condvar::new() }
    }
}

/// What the thread waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    #[default]
    Nothing,
    Anything,
    Much,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// The thread has it.
    Done,
    /// The thread is at the queue in this moment.
    Busy,
    /// There is no room.
    Full,
    /// The thread takes nothing any more.
    Over,
}

/// What the thread gets.
#[derive(Debug)]
pub(crate) enum Next<B, T> {
    /// What was handed over.
    Batches(VecDeque<B>),
    /// Nothing in the time given, or until it was poked.
    Nothing,
    /// There will be no more.
    End(T),
}

impl<B: Batch, T: Clone> Queue<B, T> {
    /// Gives `batch` to the thread and leaves an empty one in its place, if that can be done now.
    pub(crate) fn hand_over(&self, batch: &mut B) -> HandOver {
        let Ok(mut shared) = self.shared.try_lock() else { return HandOver::Busy };
        if shared.over {
            return HandOver::Over;
        }
        if shared.bytes + batch.size() > MAX_QUEUED {
            return HandOver::Full;
        }
        shared.bytes += batch.size();
        let spare = shared.spare.pop().unwrap_or_default();
        shared.full.push_back(std::mem::replace(batch, spare));
        let wake = match shared.waits {
            Waits::Nothing => false,
            Waits::Anything => true,
            Waits::Much => shared.bytes >= MUCH,
        };
        if wake {
            shared.waits = Waits::Nothing;
            drop(shared);
            self.news.notify_one();
        }
        HandOver::Done
    }

    /// Says that no batch follows, and hands over the last one whatever its size.
    pub(crate) fn close(&self, last: B, totals: T) {
        let mut shared = self.lock();
        shared.bytes += last.size();
        shared.full.push_back(last);
        shared.closed = Some(totals);
        drop(shared);
        self.news.notify_one();
    }

    /// Hands over `batch` whatever its size, and may wait for the thread to let it.
    pub(crate) fn push(&self, batch: B) {
        let mut shared = self.lock();
        if !shared.over {
            shared.bytes += batch.size();
            shared.full.push_back(batch);
        }
        drop(shared);
        self.news.notify_one();
    }

    /// Has the thread look around, even if there is nothing for it.
    pub(crate) fn poke(&self) {
        self.lock().poked = true;
        self.news.notify_one();
    }

    /// Waits for batches, `patience` at most if there is one.
    pub(crate) fn take(&self, patience: Option<Duration>) -> Next<B, T> {
        let mut shared = self.lock();
        while shared.full.is_empty() && shared.closed.is_none() {
            if std::mem::take(&mut shared.poked) {
                shared.waits = Waits::Nothing;
                return Next::Nothing;
            }
            shared.waits = Waits::Anything;
            match patience {
                None => shared = self.news.wait(shared).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.news.wait_timeout(shared, patience);
                    let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    shared = guard;
                    if timeout.timed_out() && shared.full.is_empty() && shared.closed.is_none() {
                        shared.waits = Waits::Nothing;
                        return Next::Nothing;
                    }
                }
            }
        }
        if shared.closed.is_none() && shared.bytes < MUCH {
            shared.waits = Waits::Much;
            let waited = self.news.wait_timeout(shared, GATHER);
            shared = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        shared.waits = Waits::Nothing;
        shared.bytes = 0;
        let batches = std::mem::take(&mut shared.full);
        match &shared.closed {
            Some(totals) if batches.is_empty() => Next::End(totals.clone()),
            _ => Next::Batches(batches),
        }
    }

    /// Gives a batch back for use again.
    pub(crate) fn recycle(&self, mut batch: B) {
        batch.clear();
        let mut shared = self.lock();
        if shared.spare.len() < MAX_SPARE {
            shared.spare.push(batch);
        }
    }

    /// Says that nothing is taken any more.
    pub(crate) fn abandon(&self) {
        let mut shared = self.lock();
        shared.over = true;
        shared.full.clear();
        shared.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Shared<B, T>> {
        // A panic of the other side leaves nothing half done here.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
