//! Packets on their way to the thread that writes them.

use std::time::Duration;

use netstack::dev::pcapng::Direction;
use netstack::packet::Offload;

use crate::queue;

/// A packet, without its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// When, from the Unix epoch.
    pub(super) time: Duration,
    /// The number of its leg.
    pub(super) interface: u32,
    pub(super) direction: Direction,
    pub(super) packet_id: u64,
    /// Records lost on the same leg since the one before.
    pub(super) lost: u64,
    pub(super) original_len: u32,
    pub(super) offload: Offload,
}

/// A record's place in the bytes: behind those of the one before.
#[derive(Clone, Copy, Debug)]
struct Entry {
    record: Record,
    data_len: usize,
    comments_len: usize,
}

/// Records with their bytes, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    comments: String,
    trigger: Option<Duration>,
}

impl queue::Batch for Batch {
    fn size(&self) -> usize {
        let bytes = self.bytes.len() + self.comments.len();
        size_of::<Self>() + bytes + self.entries.len() * size_of::<Entry>()
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.comments.clear();
        self.trigger = None;
    }
}

impl Batch {
    /// Adds a packet; `comments` are lines.
    pub(super) fn push(&mut self, record: Record, data: &[u8], comments: &str) {
        self.entries.push(Entry { record, data_len: data.len(), comments_len: comments.len() });
        self.bytes.extend_from_slice(data);
        self.comments.push_str(comments);
    }

    /// True if there is nothing in it to hand over.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.trigger.is_none()
    }

    /// Takes down that something happened now for which a ring is to be written.
    pub(super) fn mark(&mut self, time: Duration) {
        self.trigger.get_or_insert(time);
    }

    /// Gives back memory that nothing stands in, if it is to be kept for long.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
        self.comments.shrink_to_fit();
    }

    /// When the last of its packets was.
    pub(super) fn last_time(&self) -> Option<Duration> {
        self.entries.last().map(|entry| entry.record.time)
    }

    /// When the first thing happened for which a ring is to be written.
    pub(super) const fn trigger(&self) -> Option<Duration> {
        self.trigger
    }

    /// Each record with its bytes and comments.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Record, &[u8], &str)> {
        let (mut bytes, mut text) = (self.bytes.as_slice(), self.comments.as_str());
        self.entries.iter().map_while(move |entry| {
            let (data, comments);
            (data, bytes) = bytes.split_at_checked(entry.data_len)?;
            (comments, text) = text.split_at_checked(entry.comments_len)?;
            Some((&entry.record, data, comments))
        })
    }
}

impl Record {
    /// A record without bytes yet.
    pub(super) const fn new(time: Duration, interface: u32, direction: Direction) -> Self {
        Self {
            time,
            interface,
            direction,
            packet_id: 0,
            lost: 0,
            original_len: 0,
            offload: Offload { checksum: netstack::packet::Checksum::Complete, gso: None },
        }
    }
}
