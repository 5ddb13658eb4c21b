//! Cutting a super-packet into the packets that a wire would carry.
//!
//! A device that takes virtio headers never needs this: the kernel cuts. It is for the others: a
//! kernel that refuses TSO, a capture file that should read as a wire does, a link with a small MTU.
//!
//! The rules are those of a network card:
//!
//! - TCP: sequence numbers advance by the payload; FIN and PSH stay on the last segment only, CWR on
//!   the first only (RFC 3168 section 6.1.2: it answers one ECE, once).
//! - UDP: each piece becomes a datagram with its own length; boundaries are the sender's and cannot
//!   be moved.
//! - IPv4: the identification counts up from the super-packet's; options are copied.
//! - Checksums come out complete, of the IPv4 header and of the transport.

use crate::packet::{Checksum, Gso, GsoKind, Offload, Packet};
use crate::wire::fields::{tcp_field, udp_field};
use crate::wire::headers::V4_CHECKSUM;
use crate::wire::{Address, Family, Headers, Malformed, Tcp, TcpFlags, Transport, checksum};

/// The most pieces that one packet may be cut into.
///
/// 64 KiB in pieces of 48 bytes, the smallest MSS that Linux sends with (`TCP_MIN_SND_MSS`), are
/// 1,365; more is somebody multiplying packets.
pub const MAX_SEGMENTS: usize = 1_400;

const V4_TOTAL_LENGTH: usize = 2;
const V4_IDENTIFICATION: usize = 4;
const V6_PAYLOAD_LENGTH: usize = 4;
const V6_FIXED_HEADER: usize = 40;

/// Why a packet cannot be cut. Each is a counted drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// The packet, or its offload state, cannot be understood.
    Malformed(Malformed),
    /// A SYN: it takes a sequence number of its own and belongs in one packet.
    Syn,
    /// More than [`MAX_SEGMENTS`] pieces.
    TooMany,
    /// The headers alone fill the longest packet allowed, or datagrams exceed it.
    TooLong,
}

/// Cuts `packet` by its [`Offload::gso`] into packets with complete checksums.
///
/// `max_len` bounds the length of the IP packets in bytes; TCP segments get smaller to obey it
/// (pass [`MAX_PACKET_LEN`](crate::packet::MAX_PACKET_LEN) for "as the sender says"). A packet that
/// is no super-packet comes out as one, whatever its length, with its checksum completed.
///
/// # Errors
/// [`SegmentError`]; nothing has been cut then.
pub fn segment(packet: &Packet, max_len: usize) -> Result<Segments<'_>, SegmentError> {
    let headers = Headers::parse(packet).map_err(SegmentError::Malformed)?;
    let Some(gso) = packet.offload.gso else {
        return Ok(Segments { packet, cut: None, next: Some(0) });
    };
    let cut = Cut::new(packet, &headers, gso, max_len)?;
    if cut.count() == 1 {
        return Ok(Segments { packet, cut: Some(cut), next: Some(0) });
    }
    if matches!(headers.transport, Transport::Tcp { flags, .. } if flags.contains(TcpFlags::SYN)) {
        return Err(SegmentError::Syn);
    }
    if cut.count() > MAX_SEGMENTS {
        return Err(SegmentError::TooMany);
    }
    Ok(Segments { packet, cut: Some(cut), next: Some(0) })
}

/// The pieces of one packet, in order (see [`segment`]).
#[derive(Debug)]
pub struct Segments<'a> {
    packet: &'a Packet,
    /// Absent for a packet that is no super-packet.
    cut: Option<Cut>,
    /// The index of the next piece.
    next: Option<usize>,
}

impl Segments<'_> {
    /// Writes the next piece into `out`, which a caller may use for each in turn; false at the end.
    pub fn next_into(&mut self, out: &mut Packet) -> bool {
        let Some(index) = self.next else { return false };
        self.next = match &self.cut {
            Some(cut) if index + 1 < cut.count() => Some(index + 1),
            _ => None,
        };
        if let Some(cut) = &self.cut {
            cut.write(self.packet, index, out);
        } else {
            out.copy_from(self.packet);
            checksum::complete(out);
        }
        true
    }
}

impl Iterator for Segments<'_> {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let mut out = Packet::with_capacity(0);
        self.next_into(&mut out).then_some(out)
    }
}

/// Where to cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    family: Family,
    src: Address,
    dst: Address,
    protocol: u8,
    udp: bool,
    /// A UDP datagram over IPv4 that carries no checksum (RFC 768), and whose pieces carry none.
    unsummed: bool,
    l4: usize,
    /// Where the payload starts and where the packet ends.
    payload: usize,
    end: usize,
    /// Payload bytes of each piece but the last.
    size: usize,
}

impl Cut {
    fn new(
        packet: &Packet,
        headers: &Headers,
        gso: Gso,
        max_len: usize,
    ) -> Result<Self, SegmentError> {
        let (l4, end) = (headers.l4(), headers.total_len());
        let segment = &packet.data()[l4..end];
        let udp = gso.kind == GsoKind::Udp;
        let header_len = match Tcp::new_checked(segment) {
            _ if udp => udp_field::LEN,
            Some(tcp) => tcp.header_len(),
            None => return Err(SegmentError::Malformed(Malformed::TcpHeader)),
        };
        let payload = l4 + header_len;
        let room = max_len.checked_sub(payload).filter(|room| *room > 0);
        let room = room.ok_or(SegmentError::TooLong)?;
        let size = usize::from(gso.size);
        if udp && size.min(end - payload) > room {
            return Err(SegmentError::TooLong);
        }
        let unsummed = udp
            && headers.family == Family::V4
            && packet.offload.checksum == Checksum::Complete
            && segment[udp_field::CHECKSUM] == [0, 0];
        Ok(Self {
            family: headers.family,
            src: headers.src,
            dst: headers.dst,
            protocol: headers.protocol,
            udp,
            unsummed,
            l4,
            payload,
            end,
            size: size.min(room),
        })
    }

    fn payload_len(&self) -> usize {
        self.end - self.payload
    }

    /// At least one: a super-packet without payload is one piece.
    fn count(&self) -> usize {
        self.payload_len().div_ceil(self.size).max(1)
    }

    fn write(&self, packet: &Packet, index: usize, out: &mut Packet) {
        let data = packet.data();
        let from = self.payload + index * self.size;
        let to = self.end.min(from + self.size);
        out.id = packet.id;
        out.leg = packet.leg;
        out.offload = Offload::default();
        out.set_len(self.payload + to - from);
        let bytes = out.data_mut();
        bytes[..self.payload].copy_from_slice(&data[..self.payload]);
        bytes[self.payload..].copy_from_slice(&data[from..to]);
        self.write_ip(bytes, index);
        if self.udp {
            let length = (bytes.len() - self.l4) as u16;
            bytes[self.l4..][udp_field::LENGTH].copy_from_slice(&length.to_be_bytes());
            self.write_checksum(bytes, udp_field::CHECKSUM.start);
        } else {
            self.write_tcp(&mut bytes[self.l4..], index);
            self.write_checksum(bytes, tcp_field::CHECKSUM.start);
        }
    }

    fn write_ip(&self, bytes: &mut [u8], index: usize) {
        let len = bytes.len();
        match self.family {
            Family::V4 => {
                put_u16(bytes, V4_TOTAL_LENGTH, len as u16);
                let id =
                    u16::from_be_bytes([bytes[V4_IDENTIFICATION], bytes[V4_IDENTIFICATION + 1]]);
                put_u16(bytes, V4_IDENTIFICATION, id.wrapping_add(index as u16));
                put_u16(bytes, V4_CHECKSUM, 0);
                let sum = !checksum::sum(&bytes[..self.l4]);
                put_u16(bytes, V4_CHECKSUM, sum);
            }
            Family::V6 => put_u16(bytes, V6_PAYLOAD_LENGTH, (len - V6_FIXED_HEADER) as u16),
        }
    }

    fn write_tcp(&self, tcp: &mut [u8], index: usize) {
        if let Some(seq) = tcp[tcp_field::SEQ].first_chunk_mut::<4>() {
            let advanced = u32::from_be_bytes(*seq).wrapping_add((index * self.size) as u32);
            *seq = advanced.to_be_bytes();
        }
        if index > 0 {
            tcp[tcp_field::FLAGS] &= !TcpFlags::CWR.0;
        }
        if index + 1 < self.count() {
            tcp[tcp_field::FLAGS] &= !(TcpFlags::FIN | TcpFlags::PSH).0;
        }
    }

    fn write_checksum(&self, bytes: &mut [u8], field: usize) {
        let field = self.l4 + field;
        put_u16(bytes, field, 0);
        if self.unsummed {
            return;
        }
        let len = bytes.len() - self.l4;
        let pseudo = checksum::pseudo_header(self.src, self.dst, self.protocol, len);
        let value = !checksum::add(pseudo, checksum::sum(&bytes[self.l4..]));
        // RFC 768: a UDP checksum computed as zero is sent as all ones.
        put_u16(bytes, field, if value == 0 && self.udp { 0xffff } else { value });
    }
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{LegId, MAX_PACKET_LEN};
    use crate::wire::Udp;
    use proptest::prelude::*;

    const FIN_PSH_ACK_CWR: u8 = 0x01 | 0x08 | 0x10 | 0x80;

    /// A TCP packet with 12 bytes of options over either family, as a TUN would give it.
    fn tcp(family: Family, payload: &[u8], gso: Option<u16>, flags: u8) -> Packet {
        let l4_len = 32 + payload.len();
        let (mut bytes, src, dst) = ip(family, 6, l4_len);
        let l4 = bytes.len();
        bytes.extend([0x9c, 0x40, 0, 80]);
        bytes.extend(0xffff_f000_u32.to_be_bytes());
        bytes.extend(7_u32.to_be_bytes());
        bytes.extend([0x80, flags, 1, 0, 0, 0, 0, 0]);
        bytes.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        bytes.extend(payload);
        let kind = if family == Family::V4 { GsoKind::TcpV4 } else { GsoKind::TcpV6 };
        offloaded(bytes, l4, 16, (src, dst, 6), gso.map(|size| (kind, size)))
    }

    fn udp(family: Family, payload: &[u8], gso: u16) -> Packet {
        let l4_len = 8 + payload.len();
        let (mut bytes, src, dst) = ip(family, 17, l4_len);
        let l4 = bytes.len();
        bytes.extend([0x9c, 0x40, 0, 53]);
        bytes.extend((l4_len as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(payload);
        offloaded(bytes, l4, 6, (src, dst, 17), Some((GsoKind::Udp, gso)))
    }

    fn ip(family: Family, protocol: u8, l4_len: usize) -> (Vec<u8>, Address, Address) {
        match family {
            Family::V4 => {
                let mut h = vec![0x45, 0, 0, 0, 0xff, 0xfe, 0x40, 0, 64, protocol, 0, 0];
                h.extend([10, 1, 0, 5, 10, 99, 0, 1]);
                put_u16(&mut h, V4_TOTAL_LENGTH, (20 + l4_len) as u16);
                let sum = !checksum::sum(&h);
                put_u16(&mut h, V4_CHECKSUM, sum);
                (h, Address::from_v4([10, 1, 0, 5]), Address::from_v4([10, 99, 0, 1]))
            }
            Family::V6 => {
                let mut h = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
                put_u16(&mut h, V6_PAYLOAD_LENGTH, l4_len as u16);
                let address = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
                h.extend(address(5));
                h.extend(address(1));
                (h, Address::from_v6(address(5)), Address::from_v6(address(1)))
            }
        }
    }

    fn offloaded(
        mut bytes: Vec<u8>,
        l4: usize,
        field: usize,
        (src, dst, protocol): (Address, Address, u8),
        gso: Option<(GsoKind, u16)>,
    ) -> Packet {
        let pseudo = checksum::pseudo_header(src, dst, protocol, bytes.len() - l4);
        put_u16(&mut bytes, l4 + field, pseudo);
        let mut packet = Packet::from_ip(&bytes);
        packet.leg = LegId(3);
        packet.offload = Offload {
            checksum: Checksum::Partial { start: l4 as u16, offset: field as u16 },
            gso: gso.map(|(kind, size)| Gso { kind, size, header_len: 0, ecn: true }),
        };
        packet
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    /// Cuts, and checks of every piece what holds of any packet on a wire.
    fn pieces(packet: &Packet, max_len: usize) -> Vec<(Packet, Headers)> {
        segment(packet, max_len)
            .unwrap()
            .map(|piece| {
                let headers = Headers::parse(&piece).expect("a piece is a well-formed packet");
                assert_eq!(piece.offload, Offload::default());
                assert_eq!(headers.total_len(), piece.len());
                assert!(checksum::verify_transport(&piece, &headers), "checksum of {piece:?}");
                assert_eq!(piece.leg, packet.leg);
                assert!(piece.len() <= max_len);
                (piece, headers)
            })
            .collect()
    }

    fn tcp_view(piece: &(Packet, Headers)) -> Tcp<&[u8]> {
        Tcp::new_checked(&piece.0.data()[piece.1.l4()..]).unwrap()
    }

    fn check_tcp(family: Family, payload: &[u8], size: usize, max_len: usize) {
        let packet = tcp(family, payload, Some(size as u16), FIN_PSH_ACK_CWR);
        let cut = pieces(&packet, max_len);
        let header = packet.len() - payload.len();
        let size = size.min(max_len - header);
        assert_eq!(cut.len(), payload.len().div_ceil(size).max(1));
        let mut joined: Vec<u8> = Vec::new();
        for (i, piece) in cut.iter().enumerate() {
            let (view, last) = (tcp_view(piece), i + 1 == cut.len());
            assert_eq!(view.seq(), 0xffff_f000_u32.wrapping_add(joined.len() as u32));
            assert_eq!(view.flags().contains(TcpFlags::CWR), i == 0);
            assert_eq!(view.flags().contains(TcpFlags::FIN), last);
            assert_eq!(view.flags().contains(TcpFlags::PSH), last);
            assert!(view.flags().contains(TcpFlags::ACK));
            assert_eq!((view.ack(), view.window()), (7, 256));
            assert_eq!(
                piece.0.data()[piece.1.l4() + 20..][..12],
                packet.data()[header - 12..header]
            );
            assert!(last || view.payload().len() == size);
            if family == Family::V4 {
                let id = 0xfffe_u16.wrapping_add(i as u16);
                assert_eq!(piece.0.data()[4..6], id.to_be_bytes());
            }
            joined.extend(view.payload());
        }
        assert_eq!(joined, payload);
    }

    #[test]
    fn tcp_comes_back_byte_for_byte_at_every_boundary() {
        for family in [Family::V4, Family::V6] {
            for len in [0, 1, 999, 1_000, 1_001, 1_999, 2_000, 2_001, 60_000] {
                check_tcp(family, &bytes(len), 1_000, MAX_PACKET_LEN);
            }
        }
    }

    #[test]
    fn a_small_mtu_makes_smaller_tcp_segments() {
        check_tcp(Family::V4, &bytes(5_000), 1_448, 576);
        check_tcp(Family::V6, &bytes(5_000), 1_448, 1_280);
    }

    #[test]
    fn the_longest_packet_of_each_family_is_cut() {
        check_tcp(Family::V4, &bytes(65_535 - 52), 1_448, MAX_PACKET_LEN);
        check_tcp(Family::V6, &bytes(65_535 - 72), 1_428, MAX_PACKET_LEN);
    }

    fn check_udp(family: Family, payload: &[u8], size: usize) {
        let packet = udp(family, payload, size as u16);
        let cut = pieces(&packet, MAX_PACKET_LEN);
        assert_eq!(cut.len(), payload.len().div_ceil(size).max(1));
        let mut joined: Vec<u8> = Vec::new();
        for (i, (piece, headers)) in cut.iter().enumerate() {
            let view = Udp::new_checked(&piece.data()[headers.l4()..]).unwrap();
            assert_eq!(usize::from(view.length()), piece.len() - headers.l4());
            assert!(i + 1 == cut.len() || view.payload().len() == size);
            assert_ne!(view.checksum(), 0);
            joined.extend(view.payload());
        }
        assert_eq!(joined, payload);
    }

    #[test]
    fn datagrams_keep_their_boundaries() {
        for family in [Family::V4, Family::V6] {
            for len in [0, 1, 499, 500, 501, 1_500, 20_001] {
                check_udp(family, &bytes(len), 500);
            }
        }
        // A boundary is the sender's: an MTU too small for it is an error, at the exact byte.
        let packet = udp(Family::V4, &bytes(1_000), 500);
        assert!(segment(&packet, 528).is_ok());
        assert_eq!(segment(&packet, 527).err(), Some(SegmentError::TooLong));
    }

    #[test]
    fn a_udp_checksum_of_zero_goes_out_as_all_ones() {
        let mut packet = udp(Family::V4, &[0; 4], 2);
        let l4 = 20;
        let rest = checksum::add(
            checksum::pseudo_header(
                Address::from_v4([10, 1, 0, 5]),
                Address::from_v4([10, 99, 0, 1]),
                17,
                10,
            ),
            checksum::sum(&[0x9c, 0x40, 0, 53, 0, 10]),
        );
        packet.data_mut()[l4 + 8..l4 + 10].copy_from_slice(&(!rest).to_be_bytes());
        let first = segment(&packet, MAX_PACKET_LEN).unwrap().next().unwrap();
        assert_eq!(first.data()[l4 + 6..l4 + 8], [0xff, 0xff]);
    }

    #[test]
    fn datagrams_without_a_checksum_stay_without() {
        let mut packet = udp(Family::V4, &bytes(1_000), 300);
        packet.offload.checksum = Checksum::Complete;
        packet.data_mut()[26..28].copy_from_slice(&[0, 0]);
        for piece in segment(&packet, MAX_PACKET_LEN).unwrap() {
            assert_eq!(piece.data()[26..28], [0, 0]);
        }
    }

    #[test]
    fn an_ordinary_packet_comes_out_once_with_its_checksum_complete() {
        let packet = tcp(Family::V4, &bytes(100), None, 0x10);
        let cut = pieces(&packet, 1_500);
        assert_eq!(cut.len(), 1);
        assert_eq!(tcp_view(&cut[0]).payload(), bytes(100));
    }

    #[test]
    fn the_count_of_pieces_is_bounded_at_the_limit() {
        let at = tcp(Family::V4, &bytes(MAX_SEGMENTS * 46), Some(46), 0x10);
        assert_eq!(segment(&at, MAX_PACKET_LEN).unwrap().count(), MAX_SEGMENTS);
        let over = tcp(Family::V4, &bytes(MAX_SEGMENTS * 46 + 1), Some(46), 0x10);
        assert_eq!(segment(&over, MAX_PACKET_LEN).err(), Some(SegmentError::TooMany));
    }

    #[test]
    fn what_cannot_be_cut_is_said_before_anything_is() {
        let syn = tcp(Family::V4, &bytes(2_000), Some(1_000), 0x02);
        assert_eq!(segment(&syn, MAX_PACKET_LEN).err(), Some(SegmentError::Syn));
        let packet = tcp(Family::V6, &bytes(2_000), Some(1_000), 0x10);
        assert_eq!(segment(&packet, 72).err(), Some(SegmentError::TooLong));
        assert!(segment(&packet, 73 + 1_000).is_ok());
        let mut wrong = tcp(Family::V4, &bytes(2_000), Some(1_000), 0x10);
        wrong.offload.gso = wrong.offload.gso.map(|g| Gso { kind: GsoKind::Udp, ..g });
        let expected = SegmentError::Malformed(Malformed::GsoKind);
        assert_eq!(segment(&wrong, MAX_PACKET_LEN).err(), Some(expected));
    }

    #[test]
    fn bytes_behind_the_packet_are_left_behind() {
        let mut packet = tcp(Family::V4, &bytes(2_000), Some(1_000), 0x10);
        packet.set_len(packet.len() + 5);
        let total: usize =
            pieces(&packet, MAX_PACKET_LEN).iter().map(|p| tcp_view(p).payload().len()).sum();
        assert_eq!(total, 2_000);
    }

    proptest! {
        #[test]
        fn any_payload_and_size_comes_back(len in 0_usize..20_000, size in 48_usize..9_000, v6: bool) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            check_tcp(family, &bytes(len), size, MAX_PACKET_LEN);
            check_udp(family, &bytes(len), size);
        }

        #[test]
        fn hostile_bytes_never_panic(
            mut data in proptest::collection::vec(any::<u8>(), 0..200),
            size in 1_u16..200, kind in 0_u8..3, max_len in 0_usize..300, v6: bool,
        ) {
            if let Some(first) = data.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            let mut packet = Packet::from_ip(&data);
            let kind = [GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp][usize::from(kind)];
            packet.offload.gso = Some(Gso { kind, size, header_len: 0, ecn: false });
            if let Ok(cut) = segment(&packet, max_len) {
                prop_assert!(cut.count() <= MAX_SEGMENTS);
            }
        }
    }
}
