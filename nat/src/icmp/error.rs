//! Refusals that the engine makes: ICMP errors, and TCP's own, the RST. Each turns the packet that it
//! is about into itself, in place.

use netstack::Packet;
use netstack::packet::{MAX_PACKET_LEN, Offload};
use netstack::segment::segment;
use netstack::wire::checksum;
use netstack::wire::fields::{icmp_field, tcp_field};
use netstack::wire::headers::{ICMPV4, ICMPV6, TCP, V4_CHECKSUM, V4_TTL, V6_HOP_LIMIT};
use netstack::wire::{Address, Family, Headers, Tcp, TcpFlags, Transport};

use super::TTL;

/// TOS of an `ICMPv4` error: precedence 6, internetwork control (RFC 1812 section 4.3.2.5).
const ERROR_TOS: u8 = 0xc0;
/// Type of the redirect of `ICMPv6` (RFC 4861 section 4.5).
const V6_REDIRECT: u8 = 137;
/// The longest `ICMPv4` error (RFC 1812 section 4.3.2.3).
const MAX_V4_ERROR: usize = 576;
/// The longest `ICMPv6` error: the minimum MTU (RFC 4443 section 2.4 c).
const MAX_V6_ERROR: usize = 1280;

/// An error that the engine can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// TTL or hop limit ran out here.
    TimeExceeded,
    /// Nothing listens on this port.
    PortUnreachable,
    /// There is no way to this host.
    HostUnreachable,
    /// A policy or a limit forbids it (RFC 5508 REQ-8, RFC 6888 REQ-11).
    Prohibited,
    /// It does not fit the link on which it would go on (RFC 1191, RFC 4443 section 3.2).
    TooBig {
        /// The MTU of that link.
        mtu: u16,
    },
}

impl IcmpError {
    const fn type_and_code(self, family: Family) -> (u8, u8) {
        match (family, self) {
            (Family::V4, Self::TimeExceeded) => (11, 0),
            (Family::V4, Self::PortUnreachable) => (3, 3),
            (Family::V4, Self::HostUnreachable) => (3, 1),
            (Family::V4, Self::Prohibited) => (3, 13),
            (Family::V4, Self::TooBig { .. }) => (3, 4),
            (Family::V6, Self::TimeExceeded) => (3, 0),
            (Family::V6, Self::PortUnreachable) => (1, 4),
            (Family::V6, Self::HostUnreachable) => (1, 0),
            (Family::V6, Self::Prohibited) => (1, 1),
            (Family::V6, Self::TooBig { .. }) => (2, 0),
        }
    }

    /// The four bytes behind the checksum.
    const fn rest(self) -> u32 {
        match self {
            Self::TooBig { mtu } => mtu as u32,
            _ => 0,
        }
    }
}

/// True if there may be an ICMP error about this packet: it is itself no error and no redirect, no
/// fragment but the first, and source and destination can each be one host (RFC 1812 section 4.3.2.7,
/// RFC 4443 section 2.4 e).
pub fn may_report(packet: &Packet, headers: &Headers) -> bool {
    let is_message = match headers.transport {
        Transport::IcmpError => false,
        Transport::Fragment => !is_later_fragment(packet, headers),
        Transport::IcmpOther => {
            headers.family == Family::V4
                || packet.data().get(headers.l4() + icmp_field::TYPE) != Some(&V6_REDIRECT)
        }
        _ => true,
    };
    is_message && headers.src.is_host() && headers.dst.is_unicast()
}

/// True for a fragment other than the first of its packet.
fn is_later_fragment(packet: &Packet, headers: &Headers) -> bool {
    let (at, mask) = match headers.family {
        Family::V4 => (6, 0x1fff),
        // In the fragment header, the last that was looked at.
        Family::V6 => (headers.l4().saturating_sub(6), 0xfff8),
    };
    let field = packet.data().get(at..at + 2).map_or(0, |f| u16::from_be_bytes([f[0], f[1]]));
    field & mask != 0
}

/// Turns a packet into an ICMP error about it, sent from `source` to its sender.
///
/// The error is no longer than `mtu`. The caller has made sure that there [may be one](may_report).
pub fn error(
    packet: &mut Packet,
    headers: &Headers,
    source: Address,
    error: IcmpError,
    mtu: usize,
) {
    as_on_the_wire(packet);
    error_about(packet, headers.src, source, error, mtu);
}

/// [`error`] to `sender` about a packet of which the first bytes are there, in the form that a wire
/// carries.
pub fn error_about(
    packet: &mut Packet,
    sender: Address,
    source: Address,
    error: IcmpError,
    mtu: usize,
) {
    let family = sender.family();
    let (header_len, protocol, most) = match family {
        Family::V4 => (20, ICMPV4, MAX_V4_ERROR),
        Family::V6 => (40, ICMPV6, MAX_V6_ERROR),
    };
    let quote_len = packet.len().min(most.min(mtu).saturating_sub(header_len + icmp_field::LEN));
    let quote = packet.data()[..quote_len].to_vec();

    packet.set_len(header_len + icmp_field::LEN + quote_len);
    packet.offload = Offload::default();
    let (kind, code) = error.type_and_code(family);
    let icmp = &mut packet.data_mut()[header_len..];
    icmp[..icmp_field::LEN].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
    icmp[4..icmp_field::LEN].copy_from_slice(&error.rest().to_be_bytes());
    icmp[icmp_field::LEN..].copy_from_slice(&quote);
    let ends = (source, sender);
    finish(packet, header_len, protocol, icmp_field::CHECKSUM.start, ends, ERROR_TOS);
}

/// Makes a packet what a wire would have carried of it first: one segment, with its own lengths and a
/// complete checksum.
fn as_on_the_wire(packet: &mut Packet) {
    if packet.offload.gso.is_some() {
        let first = segment(packet, MAX_PACKET_LEN).ok().and_then(|mut segments| segments.next());
        if let Some(first) = first {
            packet.copy_from(&first);
        }
    }
    checksum::complete(packet);
}

/// Turns a TCP segment into the RST that a closed port answers it with (RFC 9293 section 3.10.7.1).
///
/// The caller has made sure that it is not itself a RST.
pub fn reset(packet: &mut Packet, headers: &Headers) {
    let Some(tcp) = Tcp::new_checked(&packet.data()[headers.l4()..headers.total_len()]) else {
        return;
    };
    let (seq, ack, flags) = if tcp.flags().contains(TcpFlags::ACK) {
        (tcp.ack(), 0, TcpFlags::RST)
    } else {
        (0, tcp.seq().wrapping_add(tcp.sequence_len()), TcpFlags::RST | TcpFlags::ACK)
    };
    let (src_port, dst_port) = (tcp.dst_port(), tcp.src_port());

    let header_len = if headers.family == Family::V4 { 20 } else { 40 };
    packet.set_len(header_len + tcp_field::MIN_LEN);
    packet.offload = Offload::default();
    let segment = &mut packet.data_mut()[header_len..];
    segment.fill(0);
    segment[tcp_field::SRC_PORT].copy_from_slice(&src_port.to_be_bytes());
    segment[tcp_field::DST_PORT].copy_from_slice(&dst_port.to_be_bytes());
    segment[tcp_field::SEQ].copy_from_slice(&seq.to_be_bytes());
    segment[tcp_field::ACK].copy_from_slice(&ack.to_be_bytes());
    segment[tcp_field::DATA_OFFSET] = 5 << 4;
    segment[tcp_field::FLAGS] = flags.0;
    finish(packet, header_len, TCP, tcp_field::CHECKSUM.start, (headers.dst, headers.src), 0);
}

/// Writes the IP header of a packet whose transport part is in place, and both checksums. `tos` is for
/// IPv4 alone.
pub(crate) fn finish(
    packet: &mut Packet,
    header_len: usize,
    protocol: u8,
    field: usize,
    (src, dst): (Address, Address),
    tos: u8,
) {
    let data = packet.data_mut();
    let len = data.len();
    let (ip, segment) = data.split_at_mut(header_len);
    ip.fill(0);
    match src.family() {
        Family::V4 => {
            ip[0] = 0x45;
            ip[1] = tos;
            ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            ip[6] = 0x40; // Don't fragment: an atomic datagram needs no unique ID (RFC 6864).
            ip[V4_TTL] = TTL;
            ip[V4_TTL + 1] = protocol;
            ip[12..16].copy_from_slice(src.octets());
            ip[16..20].copy_from_slice(dst.octets());
            let sum = !checksum::sum(ip);
            ip[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        }
        Family::V6 => {
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&((len - header_len) as u16).to_be_bytes());
            ip[6] = protocol;
            ip[V6_HOP_LIMIT] = TTL;
            ip[8..24].copy_from_slice(src.octets());
            ip[24..40].copy_from_slice(dst.octets());
        }
    }
    set_checksum(segment, protocol, field, src, dst);
}

/// Computes the checksum of a transport part afresh.
pub fn set_checksum(segment: &mut [u8], protocol: u8, field: usize, src: Address, dst: Address) {
    segment[field..field + 2].fill(0);
    let pseudo = match protocol {
        ICMPV4 => 0,
        _ => checksum::pseudo_header(src, dst, protocol, segment.len()),
    };
    let sum = !checksum::add(pseudo, checksum::sum(segment));
    segment[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}
