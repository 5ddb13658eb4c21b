//! A packet at a glance.

use netstack::packet::Checksum;
use netstack::wire::fields::{icmp_field, tcp_field, udp_field};
use netstack::wire::headers::{ICMPV4, ICMPV6, TCP, UDP, V4_CHECKSUM};
use netstack::wire::{Address, Family, Headers, Protocol, Tcp, Transport};
use netstack::{LegId, Packet};

/// What rewriting may change of a packet, and what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The leg that it came by, or leaves by.
    pub leg: LegId,
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// Transport protocol; nothing for one that is not tracked.
    pub protocol: Option<Protocol>,
    /// Source and destination port, or the identifier of an echo twice.
    pub ports: Option<(u16, u16)>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The identification of the IPv4 header.
    pub ip_id: Option<u16>,
    /// The sum of the IPv4 header.
    pub ip_sum: Option<u16>,
    /// The sum of the transport header, complete or not.
    pub transport_sum: Option<u16>,
    /// True if that is only the pseudo-header's.
    pub is_partial: bool,
    /// The MSS option of a SYN.
    pub mss: Option<u16>,
    /// Length in bytes.
    pub len: usize,
}

const KIND_MSS: u8 = 2;
const V4_IDENTIFICATION: usize = 4;

impl View {
    /// What `packet` looks like; nothing if its headers are broken.
    pub fn of(packet: &Packet) -> Option<Self> {
        Headers::parse(packet).ok().map(|headers| Self::with(packet, &headers))
    }

    /// What `packet`, whose headers are these, looks like.
    pub fn with(packet: &Packet, headers: &Headers) -> Self {
        let data = packet.data();
        let transport = data.get(headers.l4()..headers.total_len()).unwrap_or_default();
        let is_whole = headers.transport != Transport::Fragment;
        let field = match headers.protocol {
            TCP => Some(tcp_field::CHECKSUM),
            UDP => Some(udp_field::CHECKSUM),
            ICMPV4 | ICMPV6 => Some(icmp_field::CHECKSUM),
            _ => None,
        };
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u16::from_be_bytes);
        let of_v4 = |at: usize| {
            data.get(at..at + 2).filter(|_| headers.family == Family::V4).and_then(word)
        };
        let is_syn = matches!(headers.transport, Transport::Tcp { flags, .. } if flags.contains(netstack::wire::TcpFlags::SYN));
        Self {
            leg: packet.leg,
            src: headers.src,
            dst: headers.dst,
            protocol: match headers.protocol {
                TCP => Some(Protocol::Tcp),
                UDP => Some(Protocol::Udp),
                ICMPV4 | ICMPV6 => Some(Protocol::Icmp),
                _ => None,
            },
            ports: headers.tuple().map(|tuple| (tuple.src_port, tuple.dst_port)),
            ttl: headers.ttl,
            ip_id: of_v4(V4_IDENTIFICATION),
            ip_sum: of_v4(V4_CHECKSUM),
            transport_sum: field
                .filter(|_| is_whole)
                .and_then(|at| transport.get(at))
                .and_then(word),
            is_partial: matches!(packet.offload.checksum, Checksum::Partial { .. }),
            mss: is_syn.then(|| mss(transport)).flatten(),
            len: packet.len(),
        }
    }
}

fn mss(segment: &[u8]) -> Option<u16> {
    Tcp::new_checked(segment)?.options().find_map(|option| match (option.kind, option.data) {
        (KIND_MSS, &[high, low]) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    })
}
