//! Writing the IP and TCP headers of a segment.

use crate::packet::{self, Checksum, Gso, GsoKind, LegId, Offload, Packet};
use crate::wire::fields::tcp_field;
use crate::wire::headers::{TCP, V4_CHECKSUM};
use crate::wire::{Address, Family, TcpFlags, Tuple, checksum};

/// The longest IP and TCP headers without extensions: an IPv6 header, and a TCP header full of options.
pub(super) const MAX_LEN: usize = 100;

const HOP_LIMIT: u8 = 64;

/// What of a TCP header its tuple does not give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) seq: u32,
    /// Meaningful with the ACK flag.
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
    /// The field: already shifted.
    pub(super) window: u16,
}

/// Length of an IP header without options or extensions.
pub(super) const fn ip_len(family: Family) -> usize {
    match family {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

/// Writes both headers for `payload_len` bytes of payload towards the source of `tuple`, which is named
/// as incoming packets name it; gives their length. `bytes` must hold [`MAX_LEN`] bytes, and `options`
/// be whole words, at most 40 bytes. The TCP checksum field is zero.
pub(super) fn write(
    bytes: &mut [u8],
    tuple: &Tuple,
    header: &Header,
    options: &[u8],
    payload_len: usize,
) -> usize {
    let start = ip_len(tuple.dst.family());
    let tcp_len = tcp_field::MIN_LEN + options.len();
    write_ip(bytes, tuple.dst, tuple.src, tcp_len + payload_len);
    let tcp = &mut bytes[start..start + tcp_len];
    tcp[0..2].copy_from_slice(&tuple.dst_port.to_be_bytes());
    tcp[2..4].copy_from_slice(&tuple.src_port.to_be_bytes());
    tcp[tcp_field::SEQ].copy_from_slice(&header.seq.to_be_bytes());
    let ack = if header.flags.contains(TcpFlags::ACK) { header.ack } else { 0 };
    tcp[tcp_field::ACK].copy_from_slice(&ack.to_be_bytes());
    tcp[12] = ((tcp_len / 4) as u8) << 4;
    tcp[tcp_field::FLAGS] = header.flags.0;
    tcp[tcp_field::WINDOW].copy_from_slice(&header.window.to_be_bytes());
    tcp[tcp_field::CHECKSUM].fill(0);
    tcp[18..20].fill(0);
    tcp[tcp_field::MIN_LEN..].copy_from_slice(options);
    start + tcp_len
}

fn write_ip(bytes: &mut [u8], local: Address, remote: Address, len: usize) {
    match local.family() {
        Family::V4 => {
            let ip = &mut bytes[..20];
            ip.fill(0);
            ip[0] = 0x45;
            ip[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
            ip[6] = 0x40; // Don't fragment.
            ip[8] = HOP_LIMIT;
            ip[9] = TCP;
            ip[12..16].copy_from_slice(local.octets());
            ip[16..20].copy_from_slice(remote.octets());
            let sum = !checksum::sum(ip);
            ip[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        }
        Family::V6 => {
            let ip = &mut bytes[..40];
            ip.fill(0);
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            ip[6] = TCP;
            ip[7] = HOP_LIMIT;
            ip[8..24].copy_from_slice(local.octets());
            ip[24..40].copy_from_slice(remote.octets());
        }
    }
}

/// The flags of a segment that smoltcp or [`write`] wrote, or nothing if it is not that.
pub(super) fn flags(data: &[u8]) -> Option<TcpFlags> {
    let start = match *data {
        [0x45, _, _, _, _, _, _, _, _, TCP, ..] => 20,
        [0x60..=0x6f, _, _, _, _, _, TCP, ..] => 40,
        _ => return None,
    };
    data.get(start + tcp_field::FLAGS).map(|&flags| TcpFlags(flags))
}

/// Begins a packet with both headers and room for `payload_len` bytes behind them, and declares its
/// checksum partial; gives the length of the headers. A packet with more payload than `segment` bytes
/// is a super-packet, to be cut into segments of that size.
pub(super) fn begin(
    packet: &mut Packet,
    tuple: &Tuple,
    header: &Header,
    options: &[u8],
    payload_len: usize,
    segment: u16,
) -> usize {
    let (local, remote) = (tuple.dst, tuple.src);
    let start = ip_len(local.family());
    let tcp_len = tcp_field::MIN_LEN + options.len();
    let len = start + tcp_len + payload_len;
    debug_assert!(len <= packet::MAX_PACKET_LEN, "the sender's bound");
    packet.set_len(len);
    packet.leg = LegId::default();
    let header_len = write(packet.data_mut(), tuple, header, options, payload_len);
    let pseudo = checksum::pseudo_header(local, remote, TCP, tcp_len + payload_len);
    let field = start + tcp_field::CHECKSUM.start;
    packet.data_mut()[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
    let kind = match local.family() {
        Family::V4 => GsoKind::TcpV4,
        Family::V6 => GsoKind::TcpV6,
    };
    let gso = Gso { kind, size: segment, header_len: header_len as u16, ecn: false };
    packet.offload = Offload {
        checksum: Checksum::Partial {
            start: start as u16,
            offset: tcp_field::CHECKSUM.start as u16,
        },
        gso: (payload_len > usize::from(segment)).then_some(gso),
    };
    header_len
}
