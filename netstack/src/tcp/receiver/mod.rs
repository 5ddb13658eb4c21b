//! The receiving half of a connection: from segments to a stream.
//!
//! # Theory of operation
//!
//! ```text
//!   on_segment ─► clip to what was promised ─► ByteQueue ─► read ─► application
//!                                               │ islands
//!   rcv_nxt, window, sack_blocks ◄─ AckPolicy ◄─┘ Growth ─► capacity of the window
//! ```
//!
//! Bytes are counted by their offset in the stream; offset 0 follows the SYN. A byte that arrives is
//! written where it will be read, in its turn or not. Ranges that arrived before their turn are
//! `islands`. Of two versions of a byte the first that arrived counts, also where the end of the
//! stream is concerned: data behind a FIN, and a FIN before data, are dropped.
//!
//! **What is promised is kept.** Everything up to the farthest right edge that the peer was told of is
//! accepted (`window`), and what was reported in a SACK block is not given up (RFC 2018 section 8),
//! with one exception: if the pool is exhausted and the byte that the application waits for is among
//! those that find no room, the islands of that connection are dropped to make some. While the pool is
//! short of memory, data far ahead is not taken in the first place, and windows open only a little.
//!
//! **Acknowledgments** (`ack`) leave at once for everything that is not the next segment in turn (RFC
//! 5681 section 4.2), for the FIN, for more than one full-sized segment, and for the first sixteen of
//! a connection and after disorder; otherwise they wait up to [`ack::DELAY`] for data to ride on. A
//! window update is sent when the window has doubled.
//!
//! **SACK** (RFC 2018, 2883): first a duplicate, if one came, then the island that grew last, then others
//! in the order in which they grew. Each duplicate is reported once, and each by an acknowledgment of its
//! own, also where several came between two that were sent: a sender that repeated for nothing takes back
//! its slowing down only if it hears so of everything that it repeated.
//!
//! **The buffer** (`growth`) starts at [`ReceiverConfig::initial`] bytes and grows to twice what the
//! application reads in a round trip. After [`IDLE`] without data it is as at the start. That is
//! permission only: memory is held for bytes that wait, and a receiver with none holds no block.
//!
//! **Limits**: unread and promised bytes together at most [`ReceiverConfig::max`]; [`MAX_ISLANDS`]; the
//! pool. A segment that would make one island too many is dropped as if it had been lost.
//!
//! RFCs: 9293 sections 3.8.6 and 3.10.7.4, 2018, 2883, 5681, 7323.

mod ack;
mod config;
mod growth;
mod islands;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::time::Duration;

use ack::{AckPolicy, Arrival};
pub(super) use config::ReceiverConfig;
use growth::Growth;
use islands::Islands;
use window::Window;

use super::buffer::{ByteQueue, Pool};
use crate::time::Instant;

/// Islands of one connection: at 3 % loss those of a window of more than 16 MiB.
pub(super) const MAX_ISLANDS: usize = 512;

/// Duplicates that wait to be reported; beyond, the oldest are not. As many as packets are read at once.
pub(super) const MAX_DUPLICATES: usize = 64;

/// SACK blocks of an acknowledgment without other options (RFC 2018 section 3).
pub(super) const SACK_BLOCKS: usize = 4;

/// After this long without data a buffer that has grown is as at the start.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// What a segment brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes that can be read now and could not before.
    pub(super) in_order: u64,
    /// What of it had been received before: the first such range.
    pub(super) duplicate: Option<Range<u64>>,
    /// True if the stream became complete by it.
    pub(super) fin_reached: bool,
    /// Why something of it was not taken: the first reason.
    pub(super) dropped: Option<Dropped>,
    /// Bytes ahead of their turn that were given up, although they may have been reported.
    pub(super) reneged: u64,
}

/// Why data or a FIN was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// Beyond the right edge of every window that the peer was told of.
    Window,
    /// Behind the end of the stream, or a FIN at a second place or before data.
    End,
    /// The pool is exhausted, or short of memory and the data far ahead of its turn.
    Pool,
    /// It would have made one island more than [`MAX_ISLANDS`].
    Islands,
}

/// SACK blocks in the order in which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SackBlocks {
    blocks: [Range<u64>; SACK_BLOCKS],
    len: usize,
}

impl Deref for SackBlocks {
    type Target = [Range<u64>];

    fn deref(&self) -> &Self::Target {
        self.blocks.get(..self.len).unwrap_or_default()
    }
}

impl FromIterator<Range<u64>> for SackBlocks {
    /// The first [`SACK_BLOCKS`] of the ranges.
    fn from_iter<T: IntoIterator<Item = Range<u64>>>(ranges: T) -> Self {
        let mut found = Self::default();
        for (slot, range) in found.blocks.iter_mut().zip(ranges) {
            *slot = range;
            found.len += 1;
        }
        found
    }
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct Receiver {
    config: ReceiverConfig,
    queue: ByteQueue,
    /// Bytes that the application has read: the offset of the queue's head.
    read: u64,
    /// Where the stream ends, once a FIN has said so.
    fin: Option<u64>,
    islands: Islands,
    /// What came again and is to be reported, in the order in which it came; those in a row as one.
    duplicates: VecDeque<Range<u64>>,
    /// The acknowledgment that was sent last.
    acknowledged: u64,
    window: Window,
    growth: Growth,
    ack: AckPolicy,
}

impl Receiver {
    /// A receiver whose peer has sent its SYN and was told of [`ReceiverConfig::syn_window`].
    pub(super) fn new(config: ReceiverConfig) -> Self {
        let promised = config.syn_window();
        let config = config.clamped();
        Self {
            queue: ByteQueue::new(),
            read: 0,
            fin: None,
            islands: Islands::default(),
            duplicates: VecDeque::new(),
            acknowledged: 0,
            window: Window::new(promised, config.initial),
            growth: Growth::default(),
            ack: AckPolicy::new(),
            config,
        }
    }

    /// Takes a segment whose first byte has the given offset. One that carries neither data nor FIN
    /// matters only if its offset is not the expected one. Whether its acknowledgment number and
    /// timestamp are acceptable has been decided before.
    pub(super) fn on_segment(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        offset: u64,
        payload: &[u8],
        fin: bool,
    ) -> Received {
        self.window.squeeze(pool.pressure());
        if payload.is_empty() && !fin {
            if offset < self.rcv_nxt() || offset > self.window.edge() {
                self.ack.on_probe(now);
            }
            return Received::default();
        }
        self.forget_growth_if_idle(now);
        let mut received = Received::default();
        let next = self.next();
        let complete = self.fin_reached();
        let calm = self.islands.is_empty();
        if fin {
            received.dropped = self.note_fin(offset.saturating_add(payload.len() as u64));
        }
        self.take(pool, offset, payload, &mut received);
        received.in_order = self.next() - next;
        received.fin_reached = self.fin_reached() && !complete;
        if let Some(duplicate) = &received.duplicate {
            self.note_duplicate(duplicate.clone());
        }
        let in_turn = calm && received.in_order > 0 && received.in_order >= payload.len() as u64;
        let arrival = if received.fin_reached {
            Arrival::Fin
        } else if in_turn {
            Arrival::InOrder
        } else {
            Arrival::Disorder
        };
        let unacknowledged = self.rcv_nxt() - self.acknowledged;
        self.ack.on_data(now, payload.len(), self.config.mss, unacknowledged, arrival);
        self.grow(now, pool);
        received
    }

    /// Takes note of a segment that lies wholly before the stream, or is not acceptable for another
    /// reason than its data: the peer is told where we are, but not more often than is sensible.
    pub(super) fn on_unacceptable(&mut self, now: Instant) {
        self.ack.on_probe(now);
    }

    /// Takes note of a round-trip time that was measured exactly, which makes the buffer grow as
    /// early as it should: without, the time that a window's worth takes must do.
    pub(super) fn on_rtt(&mut self, sample: Duration) {
        self.growth.on_rtt(sample);
    }

    /// The acknowledgment to send: the offset of the next byte that is missing; a FIN counts as one.
    pub(super) fn rcv_nxt(&self) -> u64 {
        self.next() + u64::from(self.fin_reached())
    }

    /// The window to send, in bytes: a multiple of 2^[`shift`](ReceiverConfig::shift) that fits the
    /// field when shifted.
    pub(super) fn window(&self) -> u32 {
        self.window.size(&self.config, self.rcv_nxt(), self.read)
    }

    /// The farthest right edge that the peer was told of. Acceptable segments begin before it.
    pub(super) const fn edge(&self) -> u64 {
        self.window.edge()
    }

    /// The SACK blocks to send, at most `max` and [`SACK_BLOCKS`]. With timestamps there is room for
    /// three.
    pub(super) fn sack_blocks(&self, max: usize) -> SackBlocks {
        if !self.has_sack_blocks() {
            return SackBlocks::default();
        }
        let duplicate = self.duplicates.front().cloned();
        // RFC 2883 section 4: the island that a duplicate lies on comes next.
        let around = duplicate.as_ref().and_then(|range| self.islands.at(range.start));
        let others = self.islands.by_recency().filter(|island| Some(island) != around.as_ref());
        duplicate.into_iter().chain(around.clone()).chain(others).take(max).collect()
    }

    /// True if an acknowledgment would carry SACK blocks.
    pub(super) fn has_sack_blocks(&self) -> bool {
        !self.duplicates.is_empty() || !self.islands.is_empty()
    }

    /// True if an acknowledgment is to be sent now, riding on data or alone: what was received asks
    /// for it, it has waited long enough, or the window should be told.
    pub(super) fn ack_now(&self, now: Instant) -> bool {
        self.ack.due(now) || !self.duplicates.is_empty() || self.window_update_due()
    }

    /// When an acknowledgment that may wait becomes due; `None` if nothing is to be acknowledged.
    pub(super) const fn ack_deadline(&self) -> Option<Instant> {
        self.ack.deadline()
    }

    /// True if the window has doubled since the peer was told, and it may still send.
    pub(super) fn window_update_due(&self) -> bool {
        !self.fin_reached() && self.window.update_due(&self.config, self.next(), self.read)
    }

    /// Takes note that a segment left with [`rcv_nxt`](Self::rcv_nxt), [`window`](Self::window) and
    /// [`sack_blocks`](Self::sack_blocks) as they are. `on_data`: it carried data.
    pub(super) fn on_ack_sent(&mut self, now: Instant, on_data: bool) {
        let rcv_nxt = self.rcv_nxt();
        let size = self.window();
        self.window.on_sent(&self.config, rcv_nxt, self.read, size);
        self.acknowledged = rcv_nxt;
        if self.duplicates.pop_front().is_some() && self.duplicates.is_empty() {
            self.duplicates = VecDeque::new();
        }
        self.ack.on_sent(now, on_data);
    }

    /// Bytes that can be read.
    pub(super) const fn available(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that the application has read.
    pub(super) const fn bytes_read(&self) -> u64 {
        self.read
    }

    /// True if the whole stream has been received. What of it is [`available`](Self::available) can
    /// still be read.
    pub(super) fn fin_reached(&self) -> bool {
        self.fin == Some(self.next())
    }

    /// Reads into `to` and tells how many bytes.
    pub(super) fn read(&mut self, pool: &mut Pool, to: &mut [u8]) -> usize {
        let len = self.queue.read(pool, to);
        self.read += len as u64;
        self.window.squeeze(pool.pressure());
        len
    }

    /// Gives all memory back; to be called before the receiver is dropped.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.queue.clear(pool);
        self.islands.clear();
    }

    /// Bytes of the receive buffer as it is now.
    pub(super) const fn capacity(&self) -> u32 {
        self.window.capacity()
    }

    /// Ranges that have arrived ahead of their turn.
    pub(super) const fn islands(&self) -> usize {
        self.islands.len()
    }

    /// The offset of the first byte that is missing.
    const fn next(&self) -> u64 {
        self.read + self.queue.len() as u64
    }

    fn note_duplicate(&mut self, range: Range<u64>) {
        match self.duplicates.back_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => {
                if self.duplicates.len() >= MAX_DUPLICATES {
                    self.duplicates.pop_front();
                }
                self.duplicates.push_back(range);
            }
        }
    }

    /// Learns where the stream ends.
    fn note_fin(&mut self, end: u64) -> Option<Dropped> {
        let received = self.islands.end().unwrap_or(0).max(self.next());
        match self.fin {
            Some(fin) => (fin != end).then_some(Dropped::End),
            None if end < received => Some(Dropped::End),
            // A FIN needs no memory: it is taken even where the window leaves no room for it.
            None if end > self.window.edge() => Some(Dropped::Window),
            None => {
                self.fin = Some(end);
                None
            }
        }
    }

    /// Stores what of a segment's data is new and acceptable.
    fn take(&mut self, pool: &mut Pool, offset: u64, payload: &[u8], received: &mut Received) {
        let end = offset.saturating_add(payload.len() as u64);
        let next = self.next();
        if offset < next && offset < end {
            received.duplicate = Some(offset..end.min(next));
        }
        let stream_end = self.fin.unwrap_or(u64::MAX);
        let limit = self.window.edge().min(stream_end);
        let range = offset.max(next)..end.min(limit);
        if end > limit && end > next {
            let why = if end > stream_end { Dropped::End } else { Dropped::Window };
            received.dropped.get_or_insert(why);
        }
        let from = (range.start - offset) as usize;
        let data = payload.get(from..from + range.end.saturating_sub(range.start) as usize);
        let Some(data) = data.filter(|data| !data.is_empty()) else { return };
        if range.start == next {
            self.take_in_turn(pool, data, received);
        } else {
            self.take_ahead(pool, range, data, received);
        }
    }

    /// Stores data that begins with the next byte.
    fn take_in_turn(&mut self, pool: &mut Pool, data: &[u8], received: &mut Received) {
        let next = self.next();
        let range = next..next + data.len() as u64;
        if self.islands.is_empty() {
            let taken = self.queue.push(pool, data);
            if taken < data.len() {
                received.dropped.get_or_insert(Dropped::Pool);
            }
            return;
        }
        let stored = self.write_gaps(pool, &range, data, received);
        let stored = self.islands.join(stored);
        self.queue.grow((stored - next) as usize);
        if stored < range.end {
            // The application waits for these bytes; those ahead will be sent again.
            received.reneged = self.islands.bytes();
            self.islands.clear();
            self.queue.truncate(pool);
            let rest = data.get((stored - next) as usize..).unwrap_or_default();
            if self.queue.push(pool, rest) < rest.len() {
                received.dropped.get_or_insert(Dropped::Pool);
            }
        }
    }

    /// Stores data whose turn has not come.
    fn take_ahead(
        &mut self,
        pool: &mut Pool,
        range: Range<u64>,
        data: &[u8],
        received: &mut Received,
    ) {
        if pool.pressure() && range.end > self.next() + u64::from(window::SQUEEZED) {
            received.dropped.get_or_insert(Dropped::Pool);
            return;
        }
        if !self.islands.has_room_for(&range) {
            received.dropped.get_or_insert(Dropped::Islands);
            return;
        }
        let stored = self.write_gaps(pool, &range, data, received);
        if stored < range.end {
            received.dropped.get_or_insert(Dropped::Pool);
        }
        if range.start < stored {
            self.islands.add(range.start..stored);
            self.islands.touch(range.start);
        }
    }

    /// Writes what of `data` lies on no island, and tells up to which offset everything is there now.
    fn write_gaps(
        &mut self,
        pool: &mut Pool,
        range: &Range<u64>,
        data: &[u8],
        received: &mut Received,
    ) -> u64 {
        if received.duplicate.is_none() {
            received.duplicate = self.islands.overlap(range);
        }
        for gap in self.islands.gaps(range) {
            let part = (gap.start - range.start) as usize..(gap.end - range.start) as usize;
            let part = data.get(part).unwrap_or_default();
            let written = self.queue.write_at(pool, (gap.start - self.read) as usize, part);
            if written < part.len() {
                return gap.start + written as u64;
            }
        }
        range.end
    }

    /// Lets the buffer grow with what the application reads.
    fn grow(&mut self, now: Instant, pool: &Pool) {
        let next = self.next();
        let window = self.window.edge().saturating_sub(next) as u32;
        let mss = self.config.mss;
        let may_grow = !pool.pressure() && self.window.capacity() < self.config.max;
        let wanted = self.growth.on_arrival(now, next, self.read, window, mss, may_grow);
        let Some(wanted) = wanted else { return };
        // The reserve is not part of the window.
        let wanted = wanted.saturating_add(wanted / u64::from(config::RESERVE - 1));
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.config.max);
        self.window.set_capacity(self.window.capacity().max(wanted));
    }

    fn forget_growth_if_idle(&mut self, now: Instant) {
        if self.window.capacity() > self.config.initial && now - self.ack.last_data() > IDLE {
            self.window.set_capacity(self.config.initial);
            self.growth.restart();
        }
    }
}
