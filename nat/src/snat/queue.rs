//! A queue that never moves what is in it.

use std::collections::VecDeque;

/// Entries of a chunk.
const CHUNK: usize = 256;

/// First in, first out, in chunks: a queue of 64 k entries that doubled by moving them would stop
/// everything for that long, and the scopes of a busy pool all double at the same time.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    /// All but the last are or were full.
    chunks: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }

    pub(super) fn push_back(&mut self, entry: T) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push_back(entry),
            _ => self.chunks.push_back(VecDeque::from([entry])),
        }
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.chunks.front()?.front()
    }

    pub(super) fn pop_front_if(&mut self, is_due: impl FnOnce(&T) -> bool) -> Option<T> {
        self.front().is_some_and(is_due).then(|| self.pop_front()).flatten()
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let chunk = self.chunks.front_mut()?;
        let entry = chunk.pop_front();
        self.len -= usize::from(entry.is_some());
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        entry
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn it_agrees_with_a_plain_queue() {
        let (mut queue, mut plain) = (Queue::new(), VecDeque::new());
        let mut rng = Rng::new(1);
        for number in 0..50_000 {
            if rng.below(20) < 11 {
                queue.push_back(number);
                plain.push_back(number);
            } else {
                assert_eq!(queue.pop_front(), plain.pop_front());
            }
            assert_eq!(queue.front(), plain.front());
        }
        assert!(plain.len() > 2 * CHUNK);
        assert_eq!(queue.len(), plain.len());
    }
}
