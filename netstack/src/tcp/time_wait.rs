//! Records that answer for connections in TIME-WAIT, without socket and buffers.

use super::limits::TIME_WAIT;
use super::sequence::before;
use crate::time::Instant;
use crate::wire::{Tcp, TcpFlags, Tuple};

/// A connection in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// The tuple as incoming packets name it.
    pub(super) tuple: Tuple,
    /// Our next sequence number.
    pub(super) snd_nxt: u32,
    /// The peer's next sequence number.
    pub(super) rcv_nxt: u32,
    /// The window field to answer with.
    pub(super) window: u16,
    /// When the record ends.
    pub(super) expiry: Instant,
}

/// What a segment means to a connection in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing: do not answer.
    Ignore,
    /// The peer has missed our acknowledgment, or is confused: repeat it.
    Answer,
    /// A new connection on the same tuple.
    Reopen,
}

impl Record {
    /// Sequence numbers and window for an answer.
    pub(super) const fn numbers(&self) -> (u32, u32, u16) {
        (self.snd_nxt, self.rcv_nxt, self.window)
    }

    /// Judges a segment, and starts the time again if it shows that the peer is still there.
    pub(super) fn examine(&mut self, now: Instant, tcp: &Tcp<&[u8]>) -> Meaning {
        let flags = tcp.flags();
        if flags.contains(TcpFlags::RST) {
            // RFC 1337 section 3, fix F1: "Ignore RST segments in TIME-WAIT state."
            return Meaning::Ignore;
        }
        if flags.is_initial_syn() && before(self.rcv_nxt, tcp.seq()) {
            // RFC 9293 section 3.6.1 (MAY-2): a SYN may reopen if its sequence number is larger than
            // the largest of the previous connection.
            return Meaning::Reopen;
        }
        if flags.contains(TcpFlags::FIN) {
            // RFC 9293 section 3.10.7.4: "The only thing that can arrive in this state is a
            // retransmission of the remote FIN. Acknowledge it, and restart the 2 MSL timeout."
            self.expiry = now + TIME_WAIT;
        }
        let expected = tcp.seq() == self.rcv_nxt && tcp.sequence_len() == 0;
        if expected { Meaning::Ignore } else { Meaning::Answer }
    }
}

/// All records, up to a limit.
///
/// A place has at most one entry in the timer wheel, which stays when the place is emptied early and
/// serves the next record there: it comes too early for that one and is then inserted again.
#[derive(Debug)]
pub(super) struct TimeWaits {
    places: Vec<Place>,
    free: Vec<u32>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Place {
    record: Option<Record>,
    armed: bool,
}

impl TimeWaits {
    pub(super) const fn new(limit: usize) -> Self {
        Self { places: Vec::new(), free: Vec::new(), limit }
    }

    pub(super) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Stores a record; gives its place and whether that needs an entry in the timer wheel, or nothing
    /// at the limit.
    pub(super) fn insert(&mut self, record: Record) -> Option<(u32, bool)> {
        if self.len() >= self.limit {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.record = Some(record);
        Some((index, !std::mem::replace(&mut place.armed, true)))
    }

    /// The record at a place.
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Record> {
        self.places.get_mut(place as usize)?.record.as_mut()
    }

    /// Takes note that the wheel has fired for a place; gives the record there, if any.
    pub(super) fn fired(&mut self, place: u32) -> Option<Record> {
        let place = self.places.get_mut(place as usize)?;
        place.armed = false;
        place.record
    }

    /// Takes note that the wheel will fire for a place again.
    pub(super) fn arm(&mut self, place: u32) {
        if let Some(place) = self.places.get_mut(place as usize) {
            place.armed = true;
        }
    }

    /// Forgets the record at a place.
    pub(super) fn remove(&mut self, place: u32) {
        let record = self.places.get_mut(place as usize).and_then(|place| place.record.take());
        if record.is_some() {
            self.free.push(place);
        }
    }
}
