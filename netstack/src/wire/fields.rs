//! Transport headers by offset: views over bytes that [`Headers::parse`](super::Headers::parse) has
//! checked, or that the view checks itself in `new_checked`.

use std::fmt;
use std::ops::{BitAnd, BitOr, Range};

use super::Family;

/// The control bits of a TCP header.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment number is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// True if every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True for the first segment of a connection: SYN without ACK, RST or FIN.
    pub const fn is_initial_syn(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::RST.0 | Self::FIN.0) == Self::SYN.0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitAnd for TcpFlags {
    type Output = Self;

    fn bitand(self, rhs: Self) -> Self {
        Self(self.0 & rhs.0)
    }
}

impl fmt::Display for TcpFlags {
    /// As tcpdump prints them: `S`, `S.`, `F.`, `P.`, `R`, a lone `.` for a pure ACK.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_to(f)
    }
}

impl TcpFlags {
    /// Writes what [`Display`](fmt::Display) shows.
    pub(crate) fn write_to(self, f: &mut impl fmt::Write) -> fmt::Result {
        const LETTERS: [(TcpFlags, &str); 8] = [
            (TcpFlags::FIN, "F"),
            (TcpFlags::SYN, "S"),
            (TcpFlags::RST, "R"),
            (TcpFlags::PSH, "P"),
            (TcpFlags::URG, "U"),
            (TcpFlags::ECE, "E"),
            (TcpFlags::CWR, "W"),
            (TcpFlags::ACK, "."),
        ];
        for (flag, letter) in LETTERS {
            if self.contains(flag) {
                f.write_str(letter)?;
            }
        }
        if self.0 == 0 { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn u16_at(data: &[u8], field: Range<usize>) -> u16 {
    u16::from_be_bytes([data[field.start], data[field.start + 1]])
}

fn u32_at(data: &[u8], field: Range<usize>) -> u32 {
    let at = field.start;
    u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

/// A TCP segment: header and payload (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug)]
pub struct Tcp<B>(B);

/// Offsets of the fields of a TCP header.
pub mod tcp_field {
    use std::ops::Range;

    /// Source port.
    pub const SRC_PORT: Range<usize> = 0..2;
    /// Destination port.
    pub const DST_PORT: Range<usize> = 2..4;
    /// Sequence number.
    pub const SEQ: Range<usize> = 4..8;
    /// Acknowledgment number.
    pub const ACK: Range<usize> = 8..12;
    /// Data offset, in its upper four bits.
    pub const DATA_OFFSET: usize = 12;
    /// Control bits.
    pub const FLAGS: usize = 13;
    /// Window.
    pub const WINDOW: Range<usize> = 14..16;
    /// Checksum.
    pub const CHECKSUM: Range<usize> = 16..18;
    /// Length of the header without options.
    pub const MIN_LEN: usize = 20;
}

impl<B: AsRef<[u8]>> Tcp<B> {
    /// A view of a segment, or nothing if its header does not fit.
    pub fn new_checked(segment: B) -> Option<Self> {
        let view = Self(segment);
        let len = view.0.as_ref().len();
        if len < tcp_field::MIN_LEN {
            return None;
        }
        let header = view.header_len();
        (tcp_field::MIN_LEN..=len).contains(&header).then_some(view)
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        u16_at(self.bytes(), tcp_field::SRC_PORT)
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        u16_at(self.bytes(), tcp_field::DST_PORT)
    }

    /// Sequence number.
    pub fn seq(&self) -> u32 {
        u32_at(self.bytes(), tcp_field::SEQ)
    }

    /// Acknowledgment number; meaningful if the ACK bit is set.
    pub fn ack(&self) -> u32 {
        u32_at(self.bytes(), tcp_field::ACK)
    }

    /// Header length in bytes, options included.
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes()[tcp_field::DATA_OFFSET] >> 4) * 4
    }

    /// Control bits.
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.bytes()[tcp_field::FLAGS])
    }

    /// Window field, unscaled.
    pub fn window(&self) -> u16 {
        u16_at(self.bytes(), tcp_field::WINDOW)
    }

    /// Checksum field.
    pub fn checksum(&self) -> u16 {
        u16_at(self.bytes(), tcp_field::CHECKSUM)
    }

    /// Bytes behind the header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes()[self.header_len()..]
    }

    /// The units of sequence space that the segment takes: payload, SYN and FIN.
    pub fn sequence_len(&self) -> u32 {
        let flags = self.flags();
        let extra =
            u32::from(flags.contains(TcpFlags::SYN)) + u32::from(flags.contains(TcpFlags::FIN));
        self.payload().len() as u32 + extra
    }

    /// The options, in order, up to the end or the first that does not fit.
    pub fn options(&self) -> TcpOptions<'_> {
        TcpOptions {
            rest: &self.bytes()[tcp_field::MIN_LEN..self.header_len()],
            at: tcp_field::MIN_LEN,
        }
    }
}

/// An option of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOption<'a> {
    /// Kind: 2 MSS, 3 window scale, 4 SACK permitted, 5 SACK, 8 timestamps.
    pub kind: u8,
    /// Offset of the option's data from the start of the TCP header.
    pub data_offset: usize,
    /// What follows kind and length.
    pub data: &'a [u8],
}

/// Iterator over [`TcpOption`]s; padding is skipped.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        loop {
            match *self.rest {
                [1, ref rest @ ..] => {
                    self.rest = rest;
                    self.at += 1;
                }
                [kind, len, ..]
                    if kind != 0 && (2..=self.rest.len()).contains(&usize::from(len)) =>
                {
                    let (option, rest) = self.rest.split_at(usize::from(len));
                    let data_offset = self.at + 2;
                    self.rest = rest;
                    self.at += usize::from(len);
                    return Some(TcpOption { kind, data_offset, data: &option[2..] });
                }
                _ => return None,
            }
        }
    }
}

/// A UDP datagram (RFC 768).
#[derive(Clone, Copy, Debug)]
pub struct Udp<B>(B);

/// Offsets of the fields of a UDP header.
pub mod udp_field {
    use std::ops::Range;

    /// Source port.
    pub const SRC_PORT: Range<usize> = 0..2;
    /// Destination port.
    pub const DST_PORT: Range<usize> = 2..4;
    /// Length of header and payload.
    pub const LENGTH: Range<usize> = 4..6;
    /// Checksum; zero means none over IPv4.
    pub const CHECKSUM: Range<usize> = 6..8;
    /// Length of the header.
    pub const LEN: usize = 8;
}

impl<B: AsRef<[u8]>> Udp<B> {
    /// A view of a datagram, or nothing if its header does not fit.
    pub fn new_checked(datagram: B) -> Option<Self> {
        (datagram.as_ref().len() >= udp_field::LEN).then_some(Self(datagram))
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        u16_at(self.0.as_ref(), udp_field::SRC_PORT)
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        u16_at(self.0.as_ref(), udp_field::DST_PORT)
    }

    /// Length field.
    pub fn length(&self) -> u16 {
        u16_at(self.0.as_ref(), udp_field::LENGTH)
    }

    /// Checksum field.
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), udp_field::CHECKSUM)
    }

    /// Bytes behind the header.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[udp_field::LEN..]
    }
}

/// An ICMP message of either family (RFC 792, RFC 4443): the first eight bytes have one layout.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<B>(B);

/// Offsets of the fields of an ICMP message.
pub mod icmp_field {
    use std::ops::Range;

    /// Type.
    pub const TYPE: usize = 0;
    /// Code.
    pub const CODE: usize = 1;
    /// Checksum.
    pub const CHECKSUM: Range<usize> = 2..4;
    /// Identifier of an echo.
    pub const ID: Range<usize> = 4..6;
    /// Sequence number of an echo.
    pub const SEQ: Range<usize> = 6..8;
    /// Length of the fixed part.
    pub const LEN: usize = 8;
}

impl<B: AsRef<[u8]>> Icmp<B> {
    /// A view of a message, or nothing if its first eight bytes are not there.
    pub fn new_checked(message: B) -> Option<Self> {
        (message.as_ref().len() >= icmp_field::LEN).then_some(Self(message))
    }

    /// Type.
    pub fn kind(&self) -> u8 {
        self.0.as_ref()[icmp_field::TYPE]
    }

    /// Code.
    pub fn code(&self) -> u8 {
        self.0.as_ref()[icmp_field::CODE]
    }

    /// Checksum field.
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), icmp_field::CHECKSUM)
    }

    /// True if it says that a destination is out of reach: any "unreachable" but "fragmentation needed",
    /// which asks for a smaller packet.
    pub fn is_unreachable(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.kind() == 3 && self.code() != 4,
            Family::V6 => self.kind() == 1,
        }
    }

    /// The MTU of the next link, if it says that a packet was too big for that; 0 is that of a router
    /// older than RFC 1191.
    pub fn too_big(&self, family: Family) -> Option<u32> {
        let field = u32_at(self.0.as_ref(), 4..8);
        match (family, self.kind(), self.code()) {
            (Family::V4, 3, 4) => Some(field & 0xffff),
            (Family::V6, 2, _) => Some(field),
            _ => None,
        }
    }

    /// Identifier, if it is an echo.
    pub fn id(&self) -> u16 {
        u16_at(self.0.as_ref(), icmp_field::ID)
    }

    /// Sequence number, if it is an echo.
    pub fn seq(&self) -> u16 {
        u16_at(self.0.as_ref(), icmp_field::SEQ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes.extend(options);
        bytes[tcp_field::DATA_OFFSET] = ((bytes.len() / 4) << 4) as u8;
        bytes
    }

    #[test]
    fn options_are_found_behind_padding_and_end_at_the_first_lie() {
        let bytes = segment(&[1, 1, 2, 4, 5, 0xb4, 3, 3, 7, 0, 9, 9]);
        let found: Vec<_> =
            Tcp::new_checked(&bytes).unwrap().options().map(|o| (o.kind, o.data_offset)).collect();
        assert_eq!(found, [(2, 24), (3, 28)]);
        for lie in [[2, 0, 0, 0], [2, 1, 0, 0], [2, 5, 0, 0], [1, 1, 1, 2]] {
            let bytes = segment(&lie);
            assert_eq!(Tcp::new_checked(&bytes).unwrap().options().count(), 0, "{lie:?}");
        }
    }

    #[test]
    fn a_data_offset_outside_the_segment_is_refused() {
        let mut bytes = segment(&[]);
        for (offset, fits) in [(4, false), (5, true), (6, false), (15, false)] {
            bytes[tcp_field::DATA_OFFSET] = offset << 4;
            assert_eq!(Tcp::new_checked(&bytes).is_some(), fits);
        }
        assert!(Tcp::new_checked(&bytes[..19]).is_none());
    }

    #[test]
    fn flags_print_as_tcpdump_does() {
        assert_eq!((TcpFlags::SYN | TcpFlags::ACK).to_string(), "S.");
        assert_eq!((TcpFlags::PSH | TcpFlags::ACK).to_string(), "P.");
        assert_eq!(TcpFlags::ACK.to_string(), ".");
        assert_eq!(TcpFlags(0).to_string(), "none");
    }
}
