//! One check of a whole packet, and what was learnt from it.

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::address::{Address, Family, Protocol, Tuple};
use super::fields::{Icmp, Tcp, TcpFlags, icmp_field, tcp_field, udp_field};
use super::{Udp, checksum};
use crate::packet::{Checksum, GsoKind, Packet};

/// Protocol number of `ICMPv4`.
pub const ICMPV4: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of `ICMPv6`.
pub const ICMPV6: u8 = 58;

/// The most extension headers of one IPv6 packet: each that RFC 8200 section 4.1 lists, once more.
pub const MAX_EXTENSION_HEADERS: usize = 8;

const V4_HEADER: usize = 20;
/// Length of the fixed IPv6 header.
pub(super) const V6_HEADER: usize = 40;
const FRAGMENT: u8 = 44;

/// Offset of the TTL in an IPv4 header.
pub const V4_TTL: usize = 8;
/// Offset of the header checksum in an IPv4 header.
pub const V4_CHECKSUM: usize = 10;
/// Offset of the hop limit in an IPv6 header.
pub const V6_HOP_LIMIT: usize = 7;

/// Why a packet cannot be understood. Each is the name of a drop, never an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The IP version is neither 4 nor 6.
    IpVersion,
    /// Fewer bytes than the headers need.
    Truncated,
    /// IHL below 5, or a header longer than the packet.
    IpHeaderLength,
    /// The length field reaches beyond the bytes that came, or not even over its own header.
    IpTotalLength,
    /// The sum over the IPv4 header is wrong (RFC 1812 section 5.2.2).
    IpChecksum,
    /// An IPv6 extension header that does not fit, a hop-by-hop header that is not first, or more
    /// than [`MAX_EXTENSION_HEADERS`].
    ExtensionHeader,
    /// An IPv6 packet with an IPv4-mapped address (RFC 4291 section 2.5.5.2 keeps them off wires).
    MappedAddress,
    /// A TCP header shorter than 20 bytes or longer than the segment.
    TcpHeader,
    /// A UDP header that does not fit, or whose length is not that of the datagram.
    UdpLength,
    /// An ICMP message of fewer than eight bytes.
    IcmpLength,
    /// The offloaded checksum starts or lies elsewhere than the transport header says.
    ChecksumOffload,
    /// The segmentation kind is not that of the packet's protocol and family.
    GsoKind,
}

impl Malformed {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 12] = [
        Self::IpVersion,
        Self::Truncated,
        Self::IpHeaderLength,
        Self::IpTotalLength,
        Self::IpChecksum,
        Self::ExtensionHeader,
        Self::MappedAddress,
        Self::TcpHeader,
        Self::UdpLength,
        Self::IcmpLength,
        Self::ChecksumOffload,
        Self::GsoKind,
    ];
}

/// What follows the IP headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Control bits.
        flags: TcpFlags,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// An echo request or reply.
    Echo {
        /// Identifier.
        id: u16,
        /// True for a request.
        request: bool,
    },
    /// An ICMP error: it quotes the packet that it is about (behind eight bytes of its own).
    IcmpError,
    /// Any other ICMP message, neighbour discovery among them.
    IcmpOther,
    /// A fragment, first or not; its transport header is not looked at. See
    /// [`Fragment::of`](super::Fragment::of).
    Fragment,
    /// A protocol that balun does not track.
    Other,
}

/// A packet that was checked: every length in it fits.
///
/// The order of the fields lets the addresses lie at whole words, and apart from where a failure's
/// [`Malformed`] would lie: what a move has to take in parts cannot be read as a whole for some cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Headers {
    /// IP version.
    pub family: Family,
    /// The protocol behind the last extension header that was looked at: 51 and 50 are never looked
    /// behind, and a fragment's header is the last that is.
    pub protocol: u8,
    pub(super) l4: u16,
    total_len: u32,
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// The transport header.
    pub transport: Transport,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl Headers {
    /// Checks `packet`: IP header, its checksum, extension headers, transport header, and that the
    /// offload state agrees with them.
    ///
    /// Transport checksums are not verified: translation is incremental, so a wrong one stays wrong
    /// and the receiver finds it ([`checksum::verify_transport`] is for who ends a connection).
    ///
    /// # Errors
    /// The first [`Malformed`] found, outermost header first.
    #[inline]
    pub fn parse(packet: &Packet) -> Result<Self, Malformed> {
        // Looked at where it lies: moving it costs more than all the checks.
        let parsed = Self::parse_bytes(packet.data(), packet.offload.gso.is_some());
        if let Ok(headers) = &parsed {
            headers.check_offload(packet)?;
        }
        parsed
    }

    /// [`parse`](Self::parse) of bare bytes with a complete checksum.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    #[inline]
    pub fn parse_bytes(data: &[u8], gso: bool) -> Result<Self, Malformed> {
        match data.first().map(|b| b >> 4) {
            None => Err(Malformed::Truncated),
            Some(4) => Self::parse_v4(data, gso),
            Some(6) => Self::parse_v6(data, gso),
            Some(_) => Err(Malformed::IpVersion),
        }
    }

    /// Offset of the transport header.
    pub const fn l4(&self) -> usize {
        self.l4 as usize
    }

    /// Length of the packet by its IP header; no more than the bytes that came.
    pub const fn total_len(&self) -> usize {
        self.total_len as usize
    }

    /// The tuple, if this is a packet that can belong to a flow by itself.
    pub fn tuple(&self) -> Option<Tuple> {
        let (protocol, src_port, dst_port) = match self.transport {
            Transport::Tcp { src_port, dst_port, .. } => (Protocol::Tcp, src_port, dst_port),
            Transport::Udp { src_port, dst_port } => (Protocol::Udp, src_port, dst_port),
            Transport::Echo { id, .. } => (Protocol::Icmp, id, id),
            _ => return None,
        };
        Some(Tuple { protocol, src: self.src, dst: self.dst, src_port, dst_port })
    }

    #[inline]
    fn parse_v4(data: &[u8], gso: bool) -> Result<Self, Malformed> {
        use etherparse::err::ipv4::HeaderSliceError;
        let header = Ipv4HeaderSlice::from_slice(data).map_err(|e| match e {
            HeaderSliceError::Len(_) if data.len() < V4_HEADER => Malformed::Truncated,
            HeaderSliceError::Len(_) | HeaderSliceError::Content(_) => Malformed::IpHeaderLength,
        })?;
        let (l4, total_len) = (header.slice().len(), usize::from(header.total_len()));
        if !(l4..=data.len()).contains(&total_len) {
            return Err(Malformed::IpTotalLength);
        }
        if checksum::header_sum(header.slice()) != 0xffff {
            return Err(Malformed::IpChecksum);
        }
        let protocol = header.protocol().0;
        let transport = if header.is_fragmenting_payload() {
            Transport::Fragment
        } else {
            transport(Family::V4, protocol, &data[l4..total_len], gso)?
        };
        Ok(Self {
            family: Family::V4,
            protocol,
            ttl: header.ttl(),
            src: Address::from_v4(header.source()),
            dst: Address::from_v4(header.destination()),
            transport,
            l4: l4 as u16,
            total_len: total_len as u32,
        })
    }

    fn parse_v6(data: &[u8], gso: bool) -> Result<Self, Malformed> {
        use etherparse::err::ipv6::HeaderSliceError;
        let header = Ipv6HeaderSlice::from_slice(data).map_err(|e| match e {
            HeaderSliceError::Len(_) => Malformed::Truncated,
            HeaderSliceError::Content(_) => Malformed::IpVersion,
        })?;
        let payload_len = usize::from(header.payload_length());
        let total_len = V6_HEADER + payload_len;
        // A payload length of zero stands for "see the jumbo option", which nothing sends here.
        if total_len > data.len() || payload_len == 0 && data.len() > V6_HEADER {
            return Err(Malformed::IpTotalLength);
        }
        let (src, dst) =
            (Address::from_v6(header.source()), Address::from_v6(header.destination()));
        if src.is_v4() || dst.is_v4() {
            return Err(Malformed::MappedAddress);
        }
        let chain = Chain::walk(header.next_header().0, &data[V6_HEADER..total_len])?;
        let l4 = V6_HEADER + chain.len;
        let transport = if chain.fragment {
            Transport::Fragment
        } else {
            transport(Family::V6, chain.protocol, &data[l4..total_len], gso)?
        };
        Ok(Self {
            family: Family::V6,
            protocol: chain.protocol,
            ttl: header.hop_limit(),
            src,
            dst,
            transport,
            l4: l4 as u16,
            total_len: total_len as u32,
        })
    }

    #[inline]
    fn check_offload(&self, packet: &Packet) -> Result<(), Malformed> {
        if let Checksum::Partial { start, offset } = packet.offload.checksum {
            let field = match self.transport {
                Transport::Tcp { .. } => tcp_field::CHECKSUM.start,
                Transport::Udp { .. } => udp_field::CHECKSUM.start,
                Transport::Echo { .. } | Transport::IcmpError | Transport::IcmpOther
                    if self.family == Family::V6 =>
                {
                    icmp_field::CHECKSUM.start
                }
                _ => return Err(Malformed::ChecksumOffload),
            };
            if start != self.l4 || usize::from(offset) != field {
                return Err(Malformed::ChecksumOffload);
            }
        }
        let Some(gso) = packet.offload.gso else { return Ok(()) };
        let fits = match gso.kind {
            GsoKind::TcpV4 => self.protocol == TCP && self.family == Family::V4,
            GsoKind::TcpV6 => self.protocol == TCP && self.family == Family::V6,
            GsoKind::Udp => self.protocol == UDP,
        };
        // Pieces of no size are refused when a device is read; others make packets too.
        if fits && gso.size > 0 && self.transport != Transport::Fragment {
            Ok(())
        } else {
            Err(Malformed::GsoKind)
        }
    }
}

/// Checks a transport header.
#[inline]
pub(super) fn transport(
    family: Family,
    protocol: u8,
    segment: &[u8],
    gso: bool,
) -> Result<Transport, Malformed> {
    match (protocol, family) {
        (TCP, _) => {
            let tcp = Tcp::new_checked(segment).ok_or(Malformed::TcpHeader)?;
            let (src_port, dst_port) = (tcp.src_port(), tcp.dst_port());
            Ok(Transport::Tcp { src_port, dst_port, flags: tcp.flags() })
        }
        (UDP, _) => {
            let udp = Udp::new_checked(segment).ok_or(Malformed::UdpLength)?;
            let length = usize::from(udp.length());
            // A super-packet of datagrams carries the length of all or of one, by kernel.
            if !gso && length != segment.len() || length < udp_field::LEN {
                return Err(Malformed::UdpLength);
            }
            Ok(Transport::Udp { src_port: udp.src_port(), dst_port: udp.dst_port() })
        }
        (ICMPV4, Family::V4) | (ICMPV6, Family::V6) => {
            let icmp = Icmp::new_checked(segment).ok_or(Malformed::IcmpLength)?;
            Ok(classify_icmp(family, &icmp))
        }
        _ => Ok(Transport::Other),
    }
}

/// The extension headers of an IPv6 packet (RFC 8200 section 4).
pub(super) struct Chain {
    /// What is behind them.
    pub(super) protocol: u8,
    /// Their length.
    pub(super) len: usize,
    /// The last is a fragment header, and what is behind it is not the whole.
    pub(super) fragment: bool,
}

impl Chain {
    /// Walks up to a transport header, or to a header behind which nothing may be looked at or
    /// translated: that of a fragment, authentication (51) or encryption (50).
    pub(super) fn walk(first: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut chain = Self { protocol: first, len: 0, fragment: false };
        for count in 0.. {
            let rest = &bytes[chain.len..];
            let len = match IpNumber(chain.protocol) {
                // RFC 8200 section 4.1: directly behind the IPv6 header or nowhere.
                IpNumber::IPV6_HEADER_HOP_BY_HOP if count > 0 => break,
                IpNumber::IPV6_HEADER_HOP_BY_HOP
                | IpNumber::IPV6_ROUTE_HEADER
                | IpNumber::IPV6_DESTINATION_OPTIONS => {
                    rest.get(1).map_or(usize::MAX, |units| (usize::from(*units) + 1) * 8)
                }
                IpNumber::IPV6_FRAGMENTATION_HEADER => 8,
                _ => return Ok(chain),
            };
            if len > rest.len() || count == MAX_EXTENSION_HEADERS {
                break;
            }
            // RFC 6946: a fragment that is the whole is treated as no fragment.
            chain.fragment = chain.protocol == FRAGMENT && (rest[2], rest[3] & !0b110) != (0, 0);
            chain.protocol = rest[0];
            chain.len += len;
            if chain.fragment {
                return Ok(chain);
            }
        }
        Err(Malformed::ExtensionHeader)
    }
}

fn classify_icmp<B: AsRef<[u8]>>(family: Family, icmp: &Icmp<B>) -> Transport {
    let (request, reply) = match family {
        Family::V4 => (8, 0),
        Family::V6 => (128, 129),
    };
    match (family, icmp.kind()) {
        (_, kind) if kind == request || kind == reply => {
            Transport::Echo { id: icmp.id(), request: kind == request }
        }
        // RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem. RFC 4443
        // section 2.1: error messages have a zero in the high-order bit of the type.
        (Family::V4, 3 | 4 | 5 | 11 | 12) | (Family::V6, 0..=127) => Transport::IcmpError,
        _ => Transport::IcmpOther,
    }
}

const _: () = assert!(IpNumber::TCP.0 == TCP && IpNumber::IPV6_ICMP.0 == ICMPV6);

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
