//! The parts of a TCP segment that tracking looks at.

use super::state::Event;
use netstack::Packet;
use netstack::wire::{Headers, Tcp, TcpFlags, Transport};

/// Option kind of the window scale (RFC 7323 section 2.2).
const WINDOW_SCALE: u8 = 3;
/// The largest shift that counts; a greater one means this (RFC 7323 section 2.3).
pub(super) const MAX_SHIFT: u8 = 14;

/// A segment's place in its connection. A super-packet is one long segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number; means something if the ACK bit is set.
    pub ack: u32,
    /// Window field, unscaled.
    pub window: u16,
    /// Bytes of payload.
    pub payload: u32,
    /// In a SYN, the window scale that it offers: a shift of 0 to 14.
    pub scale: Option<u8>,
}

impl Segment {
    /// The segment in a packet, if it is one of TCP.
    #[inline]
    pub fn of(packet: &Packet, headers: &Headers) -> Option<Self> {
        let Transport::Tcp { flags, .. } = headers.transport else { return None };
        let tcp = Tcp::new_checked(packet.data().get(headers.l4()..headers.total_len())?)?;
        let scale = if flags.contains(TcpFlags::SYN) { window_scale(&tcp) } else { None };
        Some(Self {
            flags,
            seq: tcp.seq(),
            ack: tcp.ack(),
            window: tcp.window(),
            payload: tcp.payload().len() as u32,
            scale,
        })
    }

    /// True for a SYN that opens a connection.
    pub const fn is_syn(&self) -> bool {
        matches!(Event::of(self.flags), Event::Syn)
    }

    /// True if it has any of these control bits.
    pub const fn has(&self, flags: TcpFlags) -> bool {
        self.flags.0 & flags.0 != 0
    }

    /// The sequence number behind everything that it carries, SYN and FIN among it.
    pub const fn end(&self) -> u32 {
        self.fin().wrapping_add(self.has(TcpFlags::FIN) as u32)
    }

    /// The sequence number of its FIN, or where one would be.
    pub const fn fin(&self) -> u32 {
        self.seq.wrapping_add(self.payload).wrapping_add(self.has(TcpFlags::SYN) as u32)
    }

    /// True if it acknowledges something from `first` to `last`.
    pub const fn acknowledges(&self, first: u32, last: u32) -> bool {
        self.has(TcpFlags::ACK) && at_most(first, self.ack) && at_most(self.ack, last)
    }

    /// True if it acknowledges this SYN (or data in it), as a SYN or a RST that answers one does.
    pub const fn answers(&self, syn: &Self) -> bool {
        self.acknowledges(syn.seq.wrapping_add(1), syn.end())
    }

    /// True if its sender has sent this SYN before and heard the answer: it begins behind the SYN, or
    /// behind data in it.
    pub const fn goes_on_from(&self, syn: &Self) -> bool {
        self.has(TcpFlags::ACK)
            && at_most(syn.seq.wrapping_add(1), self.seq)
            && at_most(self.seq, syn.end())
    }
}

fn window_scale(tcp: &Tcp<&[u8]>) -> Option<u8> {
    let option = tcp.options().find(|option| option.kind == WINDOW_SCALE)?;
    option.data.first().map(|&shift| shift.min(MAX_SHIFT))
}

/// True if `a` is `b` or comes before it, in a space that wraps around (RFC 9293 section 3.4).
pub(super) const fn at_most(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).cast_signed() >= 0
}

/// The later of two numbers.
pub(super) const fn later(a: u32, b: u32) -> u32 {
    if at_most(a, b) { b } else { a }
}
