//! Where a packet stands in its connection, and whether that is a request's part of it.

use std::ops::Range;

use netstack::wire::{Headers, Tcp, TcpFlags};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the peer to us.
    In,
    /// From us to the peer.
    Out,
}

/// A TCP segment by its place in both streams of its connection. Offsets count from the first byte
/// behind the SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which way it goes.
    pub way: Way,
    /// SYN is set.
    pub syn: bool,
    /// FIN or RST is set.
    pub ends: bool,
    /// The first byte that it carries, or would.
    pub start: u64,
    /// How many it carries.
    pub len: u64,
    /// The first byte of the other stream that it does not acknowledge.
    pub ack: Option<u64>,
}

/// A request's part of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongs {
    /// What the peer sent.
    pub received: Range<u64>,
    /// What we sent.
    pub sent: Range<u64>,
}

impl Belongs {
    /// True if the request is the first of its connection.
    pub const fn is_first(&self) -> bool {
        self.received.start == 0 && self.sent.start == 0
    }

    /// True if `segment` is of this part.
    pub fn has(&self, segment: &Segment) -> bool {
        let (own, other) = match segment.way {
            Way::In => (&self.received, &self.sent),
            Way::Out => (&self.sent, &self.received),
        };
        if segment.syn {
            return self.is_first();
        }
        if segment.len > 0 {
            return segment.start < own.end
                && segment.start.saturating_add(segment.len) > own.start;
        }
        // Who ends a connection after its last request has sent, and heard, nothing behind it.
        if segment.ends {
            let is_last = segment.ack.is_none_or(|ack| ack <= other.end.saturating_add(1));
            let from = if own.end == u64::MAX { own.start } else { own.end };
            return is_last && (from..=own.end.saturating_add(1)).contains(&segment.start);
        }
        match segment.ack {
            // The end of the handshake.
            Some(0) => self.is_first(),
            // A FIN takes a number too, behind the last byte.
            Some(ack) => ack > other.start && ack <= other.end.saturating_add(1),
            None => false,
        }
    }
}

/// Both streams of a connection, as far as they have been seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streams {
    received: Option<Stream>,
    sent: Option<Stream>,
}

/// One stream: the number of its first byte, and how far it has come.
#[derive(Clone, Copy, Debug)]
struct Stream {
    first: u32,
    highest: u64,
}

impl Stream {
    /// The offset of a sequence number, which is within 2 GiB of the highest seen.
    const fn offset(&self, number: u32) -> u64 {
        let expected = self.first.wrapping_add(self.highest as u32);
        let ahead = number.wrapping_sub(expected).cast_signed();
        self.highest.saturating_add_signed(ahead as i64)
    }
}

impl Streams {
    /// Places a segment; nothing for one of a connection whose beginning was not seen.
    pub(super) fn place(&mut self, way: Way, headers: &Headers, data: &[u8]) -> Option<Segment> {
        let bytes = data.get(headers.l4()..headers.total_len().min(data.len()))?;
        let tcp = Tcp::new_checked(bytes)?;
        let flags = tcp.flags();
        let (syn, fin) = (flags.contains(TcpFlags::SYN), flags.contains(TcpFlags::FIN));
        let (own, other) = match way {
            Way::In => (&mut self.received, &self.sent),
            Way::Out => (&mut self.sent, &self.received),
        };
        if syn {
            own.get_or_insert(Stream { first: tcp.seq().wrapping_add(1), highest: 0 });
        }
        let ends = fin || flags.contains(TcpFlags::RST);
        // A reset by who never answered has no numbers of its own.
        let Some(stream) = own else {
            let ack = flags.contains(TcpFlags::ACK).then_some(0);
            return ends.then_some(Segment { way, syn, ends, start: 0, len: 0, ack });
        };
        let len = u64::from(tcp.sequence_len()) - u64::from(syn) - u64::from(fin);
        let start = if syn { 0 } else { stream.offset(tcp.seq()) };
        stream.highest = stream.highest.max(start + len);
        let ack = flags.contains(TcpFlags::ACK).then(|| other.map(|o| o.offset(tcp.ack())));
        Some(Segment { way, syn, ends, start, len, ack: ack.flatten() })
    }

    /// True if the SYN of `data` begins another connection than the one that was seen.
    pub(super) fn is_other(&self, way: Way, headers: &Headers, data: &[u8]) -> bool {
        let own = match way {
            Way::In => &self.received,
            Way::Out => &self.sent,
        };
        let tcp = data.get(headers.l4()..).and_then(Tcp::new_checked);
        match (own, tcp) {
            (Some(own), Some(tcp)) => own.first != tcp.seq().wrapping_add(1),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of three requests: 10 bytes each up, 100 down.
    const MIDDLE: Belongs = Belongs { received: 10..20, sent: 100..200 };

    fn up(start: u64, len: u64, ack: u64) -> Segment {
        Segment { way: Way::In, syn: false, ends: false, start, len, ack: Some(ack) }
    }

    fn down(start: u64, len: u64, ack: u64) -> Segment {
        Segment { way: Way::Out, ..up(start, len, ack) }
    }

    const fn ends(segment: Segment) -> Segment {
        Segment { ends: true, ..segment }
    }

    #[test]
    fn a_part_is_its_bytes_and_their_acknowledgments() {
        for (segment, has) in [
            (up(0, 10, 0), false),
            (up(10, 0, 100), false),
            (up(10, 10, 100), true),
            (down(100, 0, 20), true),
            (down(100, 60, 20), true),
            (up(20, 0, 160), true),
            (down(160, 40, 20), true),
            (up(20, 0, 200), true),
            (up(20, 10, 200), false),
            (down(200, 0, 30), false),
            (down(200, 100, 30), false),
            // Pipelined: of both.
            (up(5, 10, 0), true),
            (up(15, 10, 100), true),
        ] {
            assert_eq!(MIDDLE.has(&segment), has, "{segment:?}");
        }
    }

    #[test]
    fn the_handshake_is_of_the_first_and_the_end_of_the_last() {
        let first = Belongs { received: 0..10, sent: 0..100 };
        let syn = Segment { syn: true, ..up(0, 0, 0) };
        assert!(first.has(&syn) && first.has(&up(0, 0, 0)));
        assert!(!MIDDLE.has(&syn) && !MIDDLE.has(&up(0, 0, 0)));
        // Each side's FIN, and its acknowledgment.
        for segment in [ends(up(20, 0, 200)), ends(down(200, 0, 21)), up(21, 0, 201)] {
            assert!(MIDDLE.has(&segment), "{segment:?}");
            assert!(!first.has(&segment), "{segment:?}");
        }
        // A reset in the middle of the request after it.
        assert!(!MIDDLE.has(&ends(down(200, 0, 30))));
        // A request that ended with its connection has all that follows.
        let cut = Belongs { received: 10..u64::MAX, sent: 100..u64::MAX };
        assert!(cut.has(&ends(down(150, 0, 20))));
    }

    #[test]
    fn offsets_go_on_where_sequence_numbers_begin_again() {
        let mut stream = Stream { first: u32::MAX - 4, highest: 0 };
        assert_eq!(stream.offset(5), 10);
        stream.highest = (1 << 32) + 10;
        assert_eq!(stream.offset(u32::MAX - 4), 1 << 32);
        assert_eq!(stream.offset(5), (1 << 32) + 10);
    }
}
