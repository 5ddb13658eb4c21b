//! The packet that an ICMP error quotes: often cut short behind the first eight bytes of its
//! transport header (RFC 792), so checked apart from whole packets.

use etherparse::LaxIpSlice;

use super::address::{Address, Family, Protocol, Tuple};
use super::checksum;
use super::headers::{ICMPV4, ICMPV6, TCP, UDP};

/// What a quote says of the packet that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// IP version.
    pub family: Family,
    /// Transport protocol number.
    pub protocol: u8,
    /// The tuple of the quoted packet, as its sender sent it.
    pub tuple: Tuple,
    /// Offset of the transport header from the start of the quote.
    pub l4: usize,
}

impl Quote {
    /// Reads a quote; nothing if it is not of a tracked transport, or is a fragment other than the
    /// first, or too short to name ports, or an IPv4 header whose sum is wrong (RFC 5508 REQ-3a).
    ///
    /// The transport checksum is not looked at (RFC 5508 REQ-3c): the quote may end before it.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (slice, _) = LaxIpSlice::from_slice(data).ok()?;
        let payload = slice.payload();
        let (family, src, dst) = match &slice {
            LaxIpSlice::Ipv4(v4) => {
                let header = v4.header();
                if checksum::sum(header.slice()) != 0xffff || header.fragments_offset().value() != 0
                {
                    return None;
                }
                let (src, dst) = (header.source(), header.destination());
                (Family::V4, Address::from_v4(src), Address::from_v4(dst))
            }
            LaxIpSlice::Ipv6(v6) => {
                let header = v6.header();
                if payload.fragmented {
                    return None;
                }
                let (src, dst) = (header.source(), header.destination());
                (Family::V6, Address::from_v6(src), Address::from_v6(dst))
            }
        };
        let segment = payload.payload;
        let word = |at: usize| {
            segment.get(at..at + 2).map(|field| u16::from_be_bytes([field[0], field[1]]))
        };
        let number = payload.ip_number.0;
        let (protocol, src_port, dst_port) = match (number, family) {
            (TCP, _) => (Protocol::Tcp, word(0)?, word(2)?),
            (UDP, _) => (Protocol::Udp, word(0)?, word(2)?),
            (ICMPV4, Family::V4) if matches!(segment.first(), Some(0 | 8)) => {
                (Protocol::Icmp, word(4)?, word(4)?)
            }
            (ICMPV6, Family::V6) if matches!(segment.first(), Some(128 | 129)) => {
                (Protocol::Icmp, word(4)?, word(4)?)
            }
            _ => return None,
        };
        // Where the transport header starts, by address: the slice lies inside `data`.
        let l4 = segment.as_ptr() as usize - data.as_ptr() as usize;
        let tuple = Tuple { protocol, src, dst, src_port, dst_port };
        Some(Self { family, protocol: number, tuple, l4 })
    }
}
