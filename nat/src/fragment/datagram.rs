//! One datagram of which fragments have come.

use netstack::wire::Fragment;
use netstack::{Instant, Packet};

use super::Plan;
use crate::DropReason;
use crate::limits::{DATAGRAM_BYTES, DATAGRAM_FRAGMENTS};

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its first fragment has not come.
    Unknown,
    /// Each fragment is forwarded.
    Known(Plan),
    /// It is put together here.
    Whole,
    /// Each fragment is dropped.
    Dead(DropReason),
}

/// A datagram: what of it was seen, and what of that is held.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    /// What becomes of it.
    pub(super) fate: Fate,
    /// It began as this one, counted from the start.
    pub(super) number: u64,
    /// When it is given up.
    pub(super) deadline: Instant,
    /// First byte and end of each fragment seen.
    seen: Vec<(u16, u32)>,
    /// Bytes seen; they do not overlap.
    received: u32,
    /// Its length, once the last fragment was seen.
    end: Option<u32>,
    /// Offset and packet, by offset.
    held: Vec<(u16, Packet)>,
}

impl Datagram {
    /// One of which nothing was seen.
    pub(super) const fn new(number: u64, deadline: Instant) -> Self {
        Self {
            fate: Fate::Unknown,
            number,
            deadline,
            seen: Vec::new(),
            received: 0,
            end: None,
            held: Vec::new(),
        }
    }

    /// Takes note of a fragment.
    ///
    /// # Errors
    /// [`DropReason::FragmentDuplicate`] if it was seen before, which harms nothing; else why nothing
    /// can come of this datagram any more.
    pub(super) fn note(&mut self, fragment: &Fragment) -> Result<(), DropReason> {
        if let Fate::Dead(reason) = self.fate {
            return Err(reason);
        }
        let (start, end) = (u32::from(fragment.offset), fragment.end());
        if self.seen.contains(&(fragment.offset, end)) && fragment.more == (self.end != Some(end)) {
            return Err(DropReason::FragmentDuplicate);
        }
        if self.seen.iter().any(|&(from, to)| start < to && u32::from(from) < end) {
            return Err(DropReason::FragmentOverlap);
        }
        let fits = match (self.end, fragment.more) {
            (Some(last), true) => end < last,
            (Some(_), false) => false,
            (None, true) => true,
            (None, false) => self.seen.iter().all(|&(_, to)| to <= start),
        };
        if !fits {
            return Err(DropReason::FragmentBounds);
        }
        if self.seen.len() >= DATAGRAM_FRAGMENTS {
            return Err(DropReason::FragmentLimit);
        }
        if !fragment.more {
            self.end = Some(end);
        }
        self.seen.push((fragment.offset, end));
        self.received += u32::from(fragment.len);
        Ok(())
    }

    /// True if all of it was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.end == Some(self.received)
    }

    /// Keeps a copy of a fragment; false if the datagram then holds too much.
    #[must_use]
    pub(super) fn hold(&mut self, offset: u16, packet: &Packet) -> bool {
        let bytes: usize = self.held().map(Packet::len).sum();
        if bytes + packet.len() > DATAGRAM_BYTES {
            return false;
        }
        let mut copy = Packet::with_capacity(packet.len());
        copy.copy_from(packet);
        let at = self.held.partition_point(|(other, _)| *other < offset);
        self.held.insert(at, (offset, copy));
        true
    }

    /// What is held, by offset.
    pub(super) fn held(&self) -> impl Iterator<Item = &Packet> {
        self.held.iter().map(|(_, packet)| packet)
    }

    /// Hands out what is held, by offset.
    pub(super) fn release(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.held).into_iter().map(|(_, packet)| packet).collect()
    }
}
