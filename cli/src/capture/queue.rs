//! The way from the loop to the thread that writes: bounded, and never waited for by the loop.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::batch::Batch;

/// Bytes that wait for the thread at most.
pub(super) const MAX_QUEUED: usize = 32 << 20;

/// Bytes that are worth waking the thread for.
const MUCH: usize = 1 << 20;

/// How long the thread lets batches come together, once it has something to do.
const GATHER: Duration = Duration::from_millis(10);

/// Emptied batches that are kept for use again.
const MAX_SPARE: usize = 8;

/// What was counted by the time that the loop is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Packets that came by each leg.
    pub(super) received: Vec<u64>,
    /// Records made on each leg.
    pub(super) accepted: Vec<u64>,
    /// Records lost on each leg.
    pub(super) lost: Vec<u64>,
    /// When it was.
    pub(super) time: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    shared: Mutex<Shared>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Shared {
    full: VecDeque<Batch>,
    bytes: usize,
    spare: Vec<Batch>,
    waits: Waits,
    /// The loop is done.
    closed: Option<Totals>,
    /// The thread is.
    over: bool,
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
pub(super) enum HandOver {
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
pub(super) enum Next {
    /// Packets.
    Batches(VecDeque<Batch>),
    /// Nothing in the time given.
    Nothing,
    /// There will be no more.
    End(Totals),
}

impl Queue {
    /// Gives `batch` to the thread and leaves an empty one in its place, if that can be done now.
    pub(super) fn hand_over(&self, batch: &mut Batch) -> HandOver {
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
    pub(super) fn close(&self, last: Batch, totals: Totals) {
        let mut shared = self.lock();
        shared.bytes += last.size();
        shared.full.push_back(last);
        shared.closed = Some(totals);
        drop(shared);
        self.news.notify_one();
    }

    /// Waits for batches, `patience` at most if there is one.
    pub(super) fn take(&self, patience: Option<Duration>) -> Next {
        let mut shared = self.lock();
        while shared.full.is_empty() && shared.closed.is_none() {
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
    pub(super) fn recycle(&self, mut batch: Batch) {
        batch.clear();
        let mut shared = self.lock();
        if shared.spare.len() < MAX_SPARE {
            shared.spare.push(batch);
        }
    }

    /// Says that nothing is taken any more.
    pub(super) fn abandon(&self) {
        let mut shared = self.lock();
        shared.over = true;
        shared.full.clear();
        shared.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic of the other side leaves nothing half done here.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
