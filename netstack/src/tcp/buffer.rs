//! The bytes of streams, in blocks from a pool that all connections share.
//!
//! # Theory of operation
//!
//! A [`Pool`] bounds what all buffers of an endpoint may hold together. It lends [`Block`]s of
//! [`BLOCK`] bytes and keeps some of those that come back, so that a stream in full flow allocates
//! nothing. What it has lent and what it keeps are together never more than its limit: it makes a
//! block only when it keeps none.
//!
//! A [`ByteQueue`] is a row of places for blocks. Bytes enter at the tail and leave at the head, and
//! a byte stays where it was written:
//!
//! ```text
//!      start    len                               write_at
//!        │◄──────────────────────►│                 │◄─────►│
//!   ┌────▼───────┬────────────┬───▼────────┬────────▼───┬───▼────────┐
//!   │    block   │   block    │   block    │  no block  │   block    │
//!   └────────────┴────────────┴────────────┴────────────┴────────────┘
//! ```
//!
//! Behind the tail there may be islands, which is how a receiver reassembles: it writes bytes where
//! they belong, remembers which are valid, and lets the queue [`grow`](ByteQueue::grow) over them
//! when the gap before them has been filled. A place that nothing was written to has no block; so
//! islands cost no more than the distance to the farthest, however many and small they are.
//!
//! An empty queue holds no block and at most 512 bytes of places. Queues do not know their pool: whoever drops one that is not empty
//! must [`clear`](ByteQueue::clear) it before, or the pool counts its blocks as lent for ever.

use std::collections::VecDeque;
use std::fmt;

/// Bytes of a block.
pub(super) const BLOCK: usize = 4_096;

/// Blocks that a pool keeps for reuse: 4 MiB.
const KEPT: usize = 1_024;

/// The part of a pool that is kept for receivers that hold nothing.
const RESERVE: usize = 8;

/// Places for blocks that an empty queue keeps: enough for what comes in at once, cheap when idle.
const PLACES_KEPT: usize = 64;

/// A piece of a pool's memory.
pub(super) struct Block(Box<[u8; BLOCK]>);

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Block")
    }
}

/// Memory that all connections of an endpoint share.
#[derive(Debug)]
pub(super) struct Pool {
    limit: usize,
    lent: usize,
    kept: Vec<Block>,
}

impl Pool {
    /// A pool of at most `limit` bytes, rounded down to whole blocks.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit: limit - limit % BLOCK, lent: 0, kept: Vec::new() }
    }

    /// A block for a queue that holds some already. The last of the memory is not for it: a connection
    /// that holds much must not keep another from the block without which that one cannot go on, and
    /// which a third may wait for before it gives back its own.
    pub(super) fn take_more(&mut self) -> Option<Block> {
        if self.spare() > 0 { self.take() } else { None }
    }

    /// Blocks that are not lent, without those kept for receivers that hold nothing. Only these are for
    /// what is to be sent: two endpoints full of that could take nothing from each other.
    pub(super) const fn spare(&self) -> usize {
        ((self.limit - self.lent) / BLOCK).saturating_sub(self.limit / RESERVE / BLOCK)
    }

    /// A block with arbitrary content; `None` at the limit.
    pub(super) fn take(&mut self) -> Option<Block> {
        if self.lent >= self.limit {
            return None;
        }
        self.lent += BLOCK;
        Some(self.kept.pop().unwrap_or_else(|| Block(Box::new([0; BLOCK]))))
    }

    /// Takes a block back.
    pub(super) fn give(&mut self, block: Block) {
        debug_assert!(self.lent >= BLOCK, "the block is not of this pool");
        self.lent = self.lent.saturating_sub(BLOCK);
        if self.kept.len() < KEPT {
            self.kept.push(block);
        }
    }

    /// Bytes in blocks that are lent.
    pub(super) const fn used(&self) -> usize {
        self.lent
    }

    /// True if more than three quarters are lent: no buffer should grow now, and those that can
    /// shrink should.
    pub(super) const fn pressure(&self) -> bool {
        self.lent > self.limit / 4 * 3
    }
}

/// A queue of bytes in blocks, with room for islands behind its tail.
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    /// No block where nothing was written.
    blocks: VecDeque<Option<Block>>,
    /// Where in the first block the head is; less than [`BLOCK`].
    start: usize,
    /// From the head to the tail.
    len: usize,
    /// From the head to behind the farthest byte that was written; at least `len`.
    end: usize,
}

impl ByteQueue {
    /// A queue that owns nothing.
    pub(super) const fn new() -> Self {
        Self { blocks: VecDeque::new(), start: 0, len: 0, end: 0 }
    }

    /// Bytes from the head to the tail; islands are not among them.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// True if there is no byte between head and tail.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the queue keeps: its blocks, which the pool counts, and the places for
    /// them, which it does not.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.blocks.iter().flatten().count() * BLOCK
            + self.blocks.capacity() * size_of::<Option<Block>>()
    }

    /// Appends `bytes` at the tail and tells how many of them: less than all when the pool is
    /// exhausted.
    pub(super) fn push(&mut self, pool: &mut Pool, bytes: &[u8]) -> usize {
        let taken = self.write_at(pool, self.len, bytes);
        self.len += taken;
        taken
    }

    /// Writes `bytes` at `offset` from the head, over what may be there, and tells how many of them:
    /// less than all when the pool is exhausted. The tail stays where it is.
    ///
    /// The places up to the farthest byte cost 8 bytes a block: the caller bounds `offset`.
    pub(super) fn write_at(&mut self, pool: &mut Pool, offset: usize, bytes: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let at = self.start + offset + written;
            let Some(block) = self.block_at(pool, at / BLOCK) else { break };
            let room = block.0.get_mut(at % BLOCK..).unwrap_or_default();
            let n = room.len().min(rest.len());
            if let (Some(to), Some(from)) = (room.get_mut(..n), rest.get(..n)) {
                to.copy_from_slice(from);
            }
            written += n;
        }
        self.end = self.end.max(if written > 0 { offset + written } else { 0 });
        written
    }

    /// Moves the tail over `n` bytes that were written behind it.
    pub(super) fn grow(&mut self, n: usize) {
        debug_assert!(self.len + n <= self.end, "nothing was written there");
        self.len = (self.len + n).min(self.end);
    }

    /// The bytes from `offset` on, at most `len`, in the pieces that lie together in memory.
    pub(super) fn slices(&self, offset: usize, len: usize) -> impl Iterator<Item = &[u8]> {
        let end = self.start + offset.saturating_add(len).min(self.len);
        let at = (self.start + offset.min(self.len)).min(end);
        let blocks = if at < end { at / BLOCK..end.div_ceil(BLOCK) } else { 0..0 };
        let first = blocks.start;
        self.blocks.range(blocks).enumerate().map(move |(index, block)| {
            let base = (first + index) * BLOCK;
            let from = at.saturating_sub(base);
            let to = (end - base).min(BLOCK);
            block.as_ref().and_then(|block| block.0.get(from..to)).unwrap_or_default()
        })
    }

    /// Copies the bytes from `offset` on into `to` and tells how many.
    pub(super) fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        let mut copied = 0;
        for slice in self.slices(offset, to.len()) {
            if let Some(to) = to.get_mut(copied..copied + slice.len()) {
                to.copy_from_slice(slice);
                copied += slice.len();
            }
        }
        copied
    }

    /// Moves bytes from the head into `to` and tells how many.
    pub(super) fn read(&mut self, pool: &mut Pool, to: &mut [u8]) -> usize {
        let copied = self.copy_to(0, to);
        self.consume(pool, copied);
        copied
    }

    /// Drops `n` bytes from the head, at most all up to the tail.
    pub(super) fn consume(&mut self, pool: &mut Pool, n: usize) {
        let n = n.min(self.len);
        self.start += n;
        self.len -= n;
        self.end -= n;
        while self.start >= BLOCK {
            self.start -= BLOCK;
            if let Some(block) = self.blocks.pop_front().flatten() {
                pool.give(block);
            }
        }
        if self.end == 0 {
            self.truncate(pool);
            self.blocks.shrink_to(PLACES_KEPT);
        }
    }

    /// Drops everything behind the tail.
    pub(super) fn truncate(&mut self, pool: &mut Pool) {
        self.end = self.len;
        if self.len == 0 {
            self.start = 0;
        }
        let keep = (self.start + self.len).div_ceil(BLOCK);
        while self.blocks.len() > keep {
            if let Some(block) = self.blocks.pop_back().flatten() {
                pool.give(block);
            }
        }
    }

    /// Drops everything, and the memory for the places of blocks too.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.len = 0;
        self.truncate(pool);
        self.shrink();
    }

    /// Frees the places that are more than what the queue holds now needs.
    pub(super) fn shrink(&mut self) {
        self.blocks.shrink_to_fit();
    }
    /// The block at a place, which is made if there is none; `None` when the pool is exhausted.
    fn block_at(&mut self, pool: &mut Pool, place: usize) -> Option<&mut Block> {
        if self.blocks.get(place).is_none_or(Option::is_none) {
            let block = if self.blocks.is_empty() { pool.take() } else { pool.take_more() }?;
            if place >= self.blocks.len() {
                self.blocks.resize_with(place + 1, || None);
            }
            *self.blocks.get_mut(place)? = Some(block);
        }
        self.blocks.get_mut(place)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(from: usize, len: usize) -> Vec<u8> {
        (from..from + len).map(|at| (at % 251) as u8).collect()
    }

    fn content(queue: &ByteQueue) -> Vec<u8> {
        queue.slices(0, usize::MAX).flatten().copied().collect()
    }

    #[test]
    fn a_pool_lends_up_to_its_limit_and_reuses_what_comes_back() {
        let mut pool = Pool::new(4 * BLOCK + 17);
        assert_eq!(pool.spare(), 4);
        let mut blocks: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((blocks.len(), pool.used(), pool.pressure()), (4, 4 * BLOCK, true));
        let block = blocks.pop().unwrap();
        let memory = block.0.as_ptr();
        pool.give(block);
        assert_eq!((pool.used(), pool.pressure()), (3 * BLOCK, false));
        assert_eq!(pool.take().unwrap().0.as_ptr(), memory);
    }

    #[test]
    fn the_last_eighth_is_for_queues_that_hold_nothing() {
        let mut pool = Pool::new(16 * BLOCK);
        let (mut greedy, mut modest) = (ByteQueue::new(), ByteQueue::new());
        assert_eq!(greedy.push(&mut pool, &pattern(0, 20 * BLOCK)), 14 * BLOCK);
        assert_eq!(modest.push(&mut pool, &pattern(0, 2 * BLOCK)), BLOCK);
        assert_eq!((pool.spare(), pool.used()), (0, 15 * BLOCK));
        greedy.clear(&mut pool);
        assert_eq!(modest.push(&mut pool, &pattern(0, BLOCK)), BLOCK);
    }

    #[test]
    fn a_pool_keeps_a_bounded_number_of_free_blocks() {
        let mut pool = Pool::new((KEPT + 10) * BLOCK);
        let blocks: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        for block in blocks {
            pool.give(block);
        }
        assert_eq!((pool.used(), pool.kept.len()), (0, KEPT));
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_entered() {
        let mut pool = Pool::new(1 << 20);
        let mut queue = ByteQueue::new();
        assert_eq!(queue.push(&mut pool, &pattern(0, 10_000)), 10_000);
        let mut first = [0; 5_000];
        assert_eq!(queue.read(&mut pool, &mut first), 5_000);
        assert_eq!(queue.push(&mut pool, &pattern(10_000, 3)), 3);
        assert_eq!(first[..], pattern(0, 5_000));
        assert_eq!((queue.len(), content(&queue)), (5_003, pattern(5_000, 5_003)));
        let mut middle = [0; 100];
        assert_eq!(queue.copy_to(4_950, &mut middle), 53);
        assert_eq!(middle[..53], pattern(9_950, 53));
    }

    #[test]
    fn slices_are_as_long_as_memory_allows() {
        let mut pool = Pool::new(1 << 20);
        let mut queue = ByteQueue::new();
        queue.push(&mut pool, &pattern(0, 3 * BLOCK));
        queue.consume(&mut pool, 96);
        let lengths = |offset, len| queue.slices(offset, len).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(0, usize::MAX), [4_000, BLOCK, BLOCK]);
        assert_eq!(lengths(4_000, BLOCK), [BLOCK]);
        assert_eq!(lengths(3_999, 2), [1, 1]);
        assert_eq!(lengths(0, 0), []);
        assert_eq!(lengths(usize::MAX, usize::MAX), []);
    }

    #[test]
    fn the_memory_of_a_queue_that_empties_goes_back() {
        let mut pool = Pool::new(1 << 20);
        let mut queue = ByteQueue::new();
        queue.push(&mut pool, &pattern(0, BLOCK + 1));
        queue.consume(&mut pool, BLOCK);
        assert_eq!(pool.used(), BLOCK);
        queue.consume(&mut pool, 1);
        assert_eq!(pool.used(), 0);
        queue.shrink();
        assert_eq!(queue.memory(), 0);
        assert!(size_of::<ByteQueue>() <= 64);
    }

    #[test]
    fn an_empty_queue_keeps_few_places() {
        let mut pool = Pool::new(1 << 22);
        let mut queue = ByteQueue::new();
        queue.push(&mut pool, &pattern(0, 1 << 20));
        queue.consume(&mut pool, 1 << 20);
        assert!(queue.memory() <= PLACES_KEPT * 8);
    }

    #[test]
    fn islands_join_the_queue_when_the_gap_is_filled() {
        let mut pool = Pool::new(1 << 20);
        let mut queue = ByteQueue::new();
        assert_eq!(queue.write_at(&mut pool, 10, &pattern(10, 9_000)), 9_000);
        assert!(queue.is_empty());
        assert_eq!(queue.push(&mut pool, &pattern(0, 10)), 10);
        queue.grow(9_000);
        assert_eq!(content(&queue), pattern(0, 9_010));
    }

    #[test]
    fn an_island_survives_that_the_bytes_before_it_are_read() {
        let mut pool = Pool::new(1 << 20);
        let mut queue = ByteQueue::new();
        queue.push(&mut pool, &pattern(0, 10));
        queue.write_at(&mut pool, 20, &pattern(20, 5));
        queue.consume(&mut pool, 10);
        queue.push(&mut pool, &pattern(10, 10));
        queue.grow(5);
        assert_eq!(content(&queue), pattern(10, 15));
    }

    #[test]
    fn a_gap_costs_no_block() {
        let mut pool = Pool::new(1 << 20);
        let mut queue = ByteQueue::new();
        queue.write_at(&mut pool, 100 * BLOCK, b"x");
        assert_eq!(pool.used(), BLOCK);
        queue.truncate(&mut pool);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn an_exhausted_pool_takes_what_fits() {
        let mut pool = Pool::new(2 * BLOCK);
        let mut queue = ByteQueue::new();
        assert_eq!(queue.push(&mut pool, &pattern(0, 3 * BLOCK)), 2 * BLOCK);
        assert_eq!(queue.write_at(&mut pool, 3 * BLOCK, b"x"), 0);
        assert_eq!(queue.push(&mut pool, b"x"), 0);
        queue.consume(&mut pool, BLOCK + 1);
        assert_eq!(queue.push(&mut pool, b"xy"), 2);
        queue.clear(&mut pool);
        assert_eq!((pool.used(), queue.memory()), (0, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Island(usize, usize),
        Consume(usize),
        Truncate,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..9_000_usize).prop_map(Step::Push),
            2 => (0..20_000_usize, 1..5_000_usize).prop_map(|(gap, len)| Step::Island(gap, len)),
            4 => (0..12_000_usize).prop_map(Step::Consume),
            1 => Just(Step::Truncate),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn a_queue_is_a_queue(steps in prop::collection::vec(step(), 1..60)) {
            let mut pool = Pool::new(16 * BLOCK);
            let mut queue = ByteQueue::new();
            let (mut head, mut tail) = (0, 0);
            for step in steps {
                match step {
                    Step::Push(len) => {
                        let taken = queue.push(&mut pool, &pattern(tail, len));
                        prop_assert!(taken == len || pool.take_more().is_none());
                        tail += taken;
                    }
                    Step::Island(gap, len) => {
                        let at = queue.len() + gap;
                        queue.write_at(&mut pool, at, &pattern(head + at, len));
                    }
                    Step::Consume(len) => {
                        queue.consume(&mut pool, len);
                        head = tail.min(head + len);
                    }
                    Step::Truncate => {
                        queue.truncate(&mut pool);
                        prop_assert!(pool.used() < queue.len() + 2 * BLOCK);
                    }
                }
                prop_assert_eq!(queue.len(), tail - head);
                prop_assert_eq!(content(&queue), pattern(head, tail - head));
                let held = queue.blocks.iter().flatten().count() * BLOCK;
                prop_assert_eq!(held, pool.used());
            }
            queue.clear(&mut pool);
            prop_assert_eq!(pool.used(), 0);
        }
    }
}
