//! The packets of probes.

use netstack::Packet;
use netstack::packet::Offload;
use netstack::wire::fields::{icmp_field, tcp_field, udp_field};
use netstack::wire::headers::{ICMPV4, ICMPV6, TCP, UDP};
use netstack::wire::{Address, Family, TcpFlags};

use crate::flow::TransportAddr;
use crate::icmp;

/// Bytes of an echo request that its answer must repeat: enough that nobody guesses them.
pub(crate) const TOKEN: usize = 16;
/// The window that a probe's SYN offers: nothing is ever sent into it.
const WINDOW: u16 = 65_535;

/// An echo request.
pub(crate) fn echo(from: TransportAddr, to: Address, seq: u16, token: [u8; TOKEN]) -> Packet {
    let (protocol, kind) = match to.family() {
        Family::V4 => (ICMPV4, 8),
        Family::V6 => (ICMPV6, 128),
    };
    let mut message = [0; icmp_field::LEN + TOKEN];
    message[icmp_field::TYPE] = kind;
    message[icmp_field::ID].copy_from_slice(&from.port.to_be_bytes());
    message[icmp_field::SEQ].copy_from_slice(&seq.to_be_bytes());
    message[icmp_field::LEN..].copy_from_slice(&token);
    wrap(&message, protocol, icmp_field::CHECKSUM.start, from.address, to)
}

/// A SYN without options.
pub(crate) fn syn(from: TransportAddr, to: TransportAddr, seq: u32) -> Packet {
    let mut segment = [0; tcp_field::MIN_LEN];
    segment[tcp_field::SRC_PORT].copy_from_slice(&from.port.to_be_bytes());
    segment[tcp_field::DST_PORT].copy_from_slice(&to.port.to_be_bytes());
    segment[tcp_field::SEQ].copy_from_slice(&seq.to_be_bytes());
    segment[tcp_field::DATA_OFFSET] = 5 << 4;
    segment[tcp_field::FLAGS] = TcpFlags::SYN.0;
    segment[tcp_field::WINDOW].copy_from_slice(&WINDOW.to_be_bytes());
    wrap(&segment, TCP, tcp_field::CHECKSUM.start, from.address, to.address)
}

/// A datagram.
pub(crate) fn datagram(from: TransportAddr, to: TransportAddr, payload: &[u8]) -> Packet {
    let mut datagram = vec![0; udp_field::LEN + payload.len()];
    let length = datagram.len() as u16;
    datagram[udp_field::SRC_PORT].copy_from_slice(&from.port.to_be_bytes());
    datagram[udp_field::DST_PORT].copy_from_slice(&to.port.to_be_bytes());
    datagram[udp_field::LENGTH].copy_from_slice(&length.to_be_bytes());
    datagram[udp_field::LEN..].copy_from_slice(payload);
    let mut packet = wrap(&datagram, UDP, udp_field::CHECKSUM.start, from.address, to.address);
    let at = packet.len() - datagram.len() + udp_field::CHECKSUM.start;
    let sum = &mut packet.data_mut()[at..at + 2];
    // RFC 768: a sum of zero is sent as all ones, for zero means none.
    if sum == [0, 0] {
        sum.fill(0xff);
    }
    packet
}

fn wrap(part: &[u8], protocol: u8, checksum: usize, src: Address, dst: Address) -> Packet {
    let header_len = match dst.family() {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    let len = header_len + part.len();
    let mut packet = Packet::with_capacity(len);
    packet.set_len(len);
    packet.offload = Offload::default();
    packet.data_mut()[header_len..].copy_from_slice(part);
    icmp::finish(&mut packet, header_len, protocol, checksum, (src, dst), 0);
    packet
}
