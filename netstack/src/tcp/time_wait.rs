//! Records that answer for connections in TIME-WAIT, without socket and buffers.

use super::limits::TIME_WAIT;
use super::sequence::before;
use super::timestamps::{Clock, Recent, Stamp};
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
    /// Our clock, and the peer's as last heard, if the connection had timestamps.
    pub(super) timestamps: Option<(Clock, Recent)>,
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

    /// The timestamp for an answer.
    pub(super) fn stamp(&self, now: Instant) -> Option<Stamp> {
        self.timestamps.map(|(clock, recent)| Stamp { value: clock.at(now), echo: recent.value })
    }

    /// Judges a segment, and starts the time again if it shows that the peer is still there. `stamp` is
    /// the segment's timestamp, if a new connection would use it.
    pub(super) fn examine(
        &mut self,
        now: Instant,
        tcp: &Tcp<&[u8]>,
        stamp: Option<Stamp>,
    ) -> Meaning {
        let flags = tcp.flags();
        if flags.contains(TcpFlags::RST) {
            // RFC 1337 section 3, fix F1: "Ignore RST segments in TIME-WAIT state."
            return Meaning::Ignore;
        }
        if flags.is_initial_syn() {
            return if self.gives_way_to(tcp.seq(), stamp) {
                Meaning::Reopen
            } else {
                Meaning::Answer
            };
        }
        let ends_here = tcp.seq().wrapping_add(tcp.sequence_len()) == self.rcv_nxt;
        if let (Some((_, recent)), Some(stamp)) = (&mut self.timestamps, stamp) {
            if recent.forbids(now, stamp.value) {
                // RFC 7323 section 5.3, R1.
                return Meaning::Answer;
            }
            if ends_here {
                *recent = Recent { value: stamp.value, heard: now };
            }
        }
        if flags.contains(TcpFlags::FIN) && ends_here {
            // RFC 9293 section 3.10.7.4: "The only thing that can arrive in this state is a
            // retransmission of the remote FIN. Acknowledge it, and restart the 2 MSL timeout."
            self.expiry = now + TIME_WAIT;
        }
        let expected = tcp.seq() == self.rcv_nxt && tcp.sequence_len() == 0;
        if expected { Meaning::Ignore } else { Meaning::Answer }
    }

    /// RFC 6191 section 2: true if a SYN can be told from an old duplicate, by its timestamp or else by
    /// its sequence number (RFC 9293 section 3.6.1, MAY-2).
    const fn gives_way_to(&self, seq: u32, stamp: Option<Stamp>) -> bool {
        let later_seq = before(self.rcv_nxt, seq);
        match (self.timestamps, stamp) {
            (Some((_, recent)), Some(stamp)) => {
                before(recent.value, stamp.value) || recent.value == stamp.value && later_seq
            }
            // No SYN of the previous connection had a timestamp.
            (None, Some(_)) => true,
            (_, None) => later_seq,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Address, Protocol};

    const RCV_NXT: u32 = u32::MAX - 1;

    fn record(peers_clock: Option<u32>) -> Record {
        let (src, dst) = (Address::from_v4([10, 0, 0, 2]), Address::from_v4([10, 0, 0, 1]));
        let recent = |value| (Clock::new(40), Recent { value, heard: Instant::ZERO });
        Record {
            tuple: Tuple { protocol: Protocol::Tcp, src, dst, src_port: 5_000, dst_port: 80 },
            snd_nxt: 9,
            rcv_nxt: RCV_NXT,
            window: 100,
            timestamps: peers_clock.map(recent),
            expiry: Instant::ZERO + TIME_WAIT,
        }
    }

    fn segment(flags: TcpFlags, off: i32) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[4..8].copy_from_slice(&RCV_NXT.wrapping_add_signed(off).to_be_bytes());
        (bytes[12], bytes[13]) = (5 << 4, flags.0);
        bytes
    }

    fn examine(record: &mut Record, flags: TcpFlags, off: i32, stamp: Option<u32>) -> Meaning {
        let stamp = stamp.map(|value| Stamp { value, echo: 0 });
        let bytes = segment(flags, off);
        let now = Instant::from_secs(5);
        record.examine(now, &Tcp::new_checked(&bytes[..]).unwrap(), stamp)
    }

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const FIN: TcpFlags = TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0);

    /// The table of RFC 6191 section 2, but for its silence: RFC 5961 answers a SYN that does not open.
    #[test]
    fn a_syn_reopens_if_its_timestamp_or_its_number_is_new() {
        use Meaning::{Answer, Reopen};
        for (had, stamp, off, meaning) in [
            // Both with timestamps: the timestamp says it, the number only if it stood still.
            (Some(50), Some(51), 1, Reopen),
            (Some(50), Some(51), -1_000, Reopen),
            (Some(50), Some(50), 1, Reopen),
            (Some(50), Some(50), 0, Answer),
            (Some(50), Some(49), 1_000, Answer),
            (Some(u32::MAX), Some(3), -1, Reopen),
            (Some(3), Some(u32::MAX), 1, Answer),
            // The new one without: the number.
            (Some(50), None, 1, Reopen),
            (Some(50), None, 0, Answer),
            // The old one without: any SYN with one is new.
            (None, Some(1), -1_000, Reopen),
            (None, None, 1, Reopen),
            (None, None, -1, Answer),
        ] {
            let said = examine(&mut record(had), SYN, off, stamp);
            assert_eq!(said, meaning, "had {had:?}, comes with {stamp:?} at {off}");
        }
    }

    #[test]
    fn an_old_duplicate_does_not_start_the_time_again_and_a_repeated_fin_does() {
        let mut record = record(Some(50));
        let end = record.expiry;
        assert_eq!(examine(&mut record, FIN, -1, Some(49)), Meaning::Answer);
        assert_eq!(record.expiry, end);
        assert_eq!(examine(&mut record, FIN, -1, Some(60)), Meaning::Answer);
        assert_eq!(record.expiry, Instant::from_secs(5) + TIME_WAIT);
        record.expiry = end;
        assert_eq!(examine(&mut record, FIN, 7, Some(60)), Meaning::Answer);
        assert_eq!(record.expiry, end, "a FIN with a number that anybody could have guessed");
        let stamp = record.stamp(Instant::from_millis(2));
        assert_eq!(stamp, Some(Stamp { value: 42, echo: 60 }), "its timestamp is echoed");
    }

    #[test]
    fn only_a_segment_with_the_right_numbers_sets_the_peers_clock() {
        let mut record = record(Some(50));
        assert_eq!(examine(&mut record, ACK, 7, Some(99)), Meaning::Answer);
        assert_eq!(record.stamp(Instant::ZERO).unwrap().echo, 50);
        assert_eq!(examine(&mut record, ACK, 0, Some(99)), Meaning::Ignore);
        assert_eq!(record.stamp(Instant::ZERO).unwrap().echo, 99);
    }

    #[test]
    fn without_timestamps_there_is_none_to_answer_with() {
        let mut record = record(None);
        assert_eq!(examine(&mut record, FIN, -1, Some(1)), Meaning::Answer);
        assert_eq!(record.stamp(Instant::ZERO), None);
        assert_eq!(examine(&mut record, TcpFlags::RST, 0, Some(1)), Meaning::Ignore);
    }
}
