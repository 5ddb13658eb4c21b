//! The packet that an ICMP error quotes: often cut short behind the first eight bytes of its
//! transport header (RFC 792), so checked apart from whole packets.

use super::address::{Address, Family, Protocol, Tuple};
use super::checksum;
use super::fields::{icmp_field, tcp_field};
use super::headers::{Chain, ICMPV4, ICMPV6, TCP, UDP, V6_HEADER};

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
    /// False for an IPv4 header whose sum is wrong: nothing that it says is to be relied on.
    pub header_sum_ok: bool,
    /// Offset behind the last byte that is known to be the quoted packet's. At least four bytes of its
    /// transport header lie before it.
    pub end: usize,
}

impl Quote {
    /// Reads the quote of an ICMP error; nothing if the message has no room for one, and as
    /// [`parse`](Self::parse).
    ///
    /// Padding and extension objects behind the quote are left out as far as the message says where
    /// they begin (RFC 4884).
    pub fn of_message(family: Family, message: &[u8]) -> Option<Self> {
        Self::parse(Self::bytes(family, message)?).filter(|quote| quote.family == family)
    }

    /// The bytes that an ICMP error quotes, without what the message says to lie behind them.
    pub fn bytes(family: Family, message: &[u8]) -> Option<&[u8]> {
        let rest = message.get(icmp_field::LEN..)?;
        let said = original_len(family, message);
        Some(if said == 0 { rest } else { rest.get(..said).unwrap_or(rest) })
    }

    /// Reads a quote; nothing if it is not of a tracked transport, or is a fragment other than the
    /// first, or too short to name ports.
    ///
    /// IPv4 options and IPv6 extension headers are skipped (RFC 5508 REQ-3b). The transport checksum is
    /// not looked at (RFC 5508 REQ-3c): the quote may end before it.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let ip = match data.first()? >> 4 {
            4 => Ip::parse_v4(data)?,
            6 => Ip::parse_v6(data)?,
            _ => return None,
        };
        let segment = data.get(ip.l4..ip.end)?;
        let (protocol, src_port, dst_port) = match (ip.protocol, ip.family) {
            (TCP, _) => (Protocol::Tcp, word(segment, 0)?, word(segment, 2)?),
            (UDP, _) => (Protocol::Udp, word(segment, 0)?, word(segment, 2)?),
            (ICMPV4, Family::V4) if matches!(segment.first(), Some(0 | 8)) => {
                let id = word(segment, icmp_field::ID.start)?;
                (Protocol::Icmp, id, id)
            }
            (ICMPV6, Family::V6) if matches!(segment.first(), Some(128 | 129)) => {
                let id = word(segment, icmp_field::ID.start)?;
                (Protocol::Icmp, id, id)
            }
            _ => return None,
        };
        // Who pads without saying so leaves a TCP header without a length: there is none.
        let ghost = ip.protocol == TCP
            && segment.get(tcp_field::DATA_OFFSET).is_some_and(|&words| words >> 4 < 5);
        let end = if ghost { ip.l4 + tcp_field::SEQ.end } else { ip.end };
        let tuple = Tuple { protocol, src: ip.src, dst: ip.dst, src_port, dst_port };
        let Ip { family, protocol, l4, header_sum_ok, .. } = ip;
        Some(Self { family, protocol, tuple, l4, header_sum_ok, end })
    }

    /// The sequence number of a quoted TCP segment, which who never saw the segment can only guess
    /// (RFC 5927 section 4.1). `message` is the one that the quote was read from.
    pub fn tcp_seq(&self, message: &[u8]) -> Option<u32> {
        self.tcp_seq_in(message.get(icmp_field::LEN..)?)
    }

    /// [`tcp_seq`](Self::tcp_seq) in the quote itself.
    pub fn tcp_seq_in(&self, quote: &[u8]) -> Option<u32> {
        let field = self.l4 + tcp_field::SEQ.start..self.l4 + tcp_field::SEQ.end;
        if self.protocol != TCP || field.end > self.end {
            return None;
        }
        Some(u32::from_be_bytes(quote.get(field)?.try_into().ok()?))
    }
}

/// Bytes of the original datagram by the length field of RFC 4884; zero if the message says nothing.
///
/// The field stands in other places and counts other words in the two families, and only some types
/// have it.
fn original_len(family: Family, message: &[u8]) -> usize {
    match (family, message) {
        (Family::V4, &[3 | 11 | 12, _, _, _, _, words, ..]) => usize::from(words) * 4,
        (Family::V6, &[1 | 3, _, _, _, words, ..]) => usize::from(words) * 8,
        _ => 0,
    }
}

/// The IP headers of a quote.
struct Ip {
    family: Family,
    protocol: u8,
    src: Address,
    dst: Address,
    l4: usize,
    header_sum_ok: bool,
    end: usize,
}

impl Ip {
    fn parse_v4(data: &[u8]) -> Option<Self> {
        let l4 = usize::from(data[0] & 0xf) * 4;
        let header = data.get(..l4)?;
        let (&[len_high, len_low], &[frag_high, frag_low]) = (header.get(2..4)?, header.get(6..8)?)
        else {
            return None;
        };
        let offset = u16::from_be_bytes([frag_high, frag_low]) & 0x1fff;
        let (src, dst) =
            (header.get(12..16)?.try_into().ok()?, header.get(16..20)?.try_into().ok()?);
        if offset != 0 {
            return None;
        }
        Some(Self {
            family: Family::V4,
            protocol: header[9],
            src: Address::from_v4(src),
            dst: Address::from_v4(dst),
            l4,
            header_sum_ok: checksum::sum(header) == 0xffff,
            end: usize::from(u16::from_be_bytes([len_high, len_low])).min(data.len()),
        })
    }

    fn parse_v6(data: &[u8]) -> Option<Self> {
        let header = data.get(..V6_HEADER)?;
        let (src, dst) = (header[8..24].try_into().ok()?, header[24..40].try_into().ok()?);
        let (src, dst) = (Address::from_v6(src), Address::from_v6(dst));
        // An IPv4-mapped address would name a flow of the other family.
        if src.is_v4() || dst.is_v4() {
            return None;
        }
        let end = (V6_HEADER + usize::from(word(header, 4)?)).min(data.len());
        let chain = Chain::walk(header[6], &data[V6_HEADER..end]).ok()?;
        let l4 = V6_HEADER + chain.len;
        // The fragment header is the last of the chain; its offset is in units of eight bytes.
        if chain.fragment && word(data, l4 - 6)? >> 3 != 0 {
            return None;
        }
        Some(Self {
            family: Family::V6,
            protocol: chain.protocol,
            src,
            dst,
            l4,
            header_sum_ok: true,
            end,
        })
    }
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2).map(|field| u16::from_be_bytes([field[0], field[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::text;

    /// The ICMP message of a line's packet, whose IP header has no options.
    fn message(line: &str) -> Vec<u8> {
        let packet = text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)));
        let header = if packet.data()[0] >> 4 == 4 { 20 } else { V6_HEADER };
        packet.data()[header..].to_vec()
    }

    fn v4(about: &str) -> Option<Quote> {
        Quote::of_message(Family::V4, &message(&format!("icmp 10.0.0.9 > 10.0.0.1 {about}")))
    }

    fn v6(about: &str) -> Option<Quote> {
        Quote::of_message(Family::V6, &message(&format!("icmp fd00::9 > fd00::1 {about}")))
    }

    #[test]
    fn headers_of_any_length_are_skipped() {
        let found = |quote: Option<Quote>| {
            quote.map(|q| (q.l4, q.tuple.protocol, q.tuple.src_port, q.tuple.dst_port))
        };
        let quote = v4("unreachable about=(udp 10.0.0.1:7 > 10.0.0.2:8 ipopt=01010101)");
        assert_eq!(found(quote), Some((24, Protocol::Udp, 7, 8)));
        let quote = v4("unreachable about=(icmp 10.0.0.1 > 10.0.0.2 echo id=9)");
        assert_eq!(found(quote), Some((20, Protocol::Icmp, 9, 9)));
        let quote = v6("unreachable about=(tcp [fd00::1]:7 > [fd00::2]:8 S ext=0:000000000000)");
        assert_eq!(found(quote), Some((48, Protocol::Tcp, 7, 8)));
        let quote = v6("unreachable about=(icmp fd00::1 > fd00::2 reply id=9)");
        assert_eq!(found(quote), Some((40, Protocol::Icmp, 9, 9)));
    }

    #[test]
    fn of_fragments_only_the_first_names_ports() {
        let first = v4("too-big mtu=900 about=(udp 10.0.0.1:7 > 10.0.0.2:8 frag=0+ len=64)");
        assert_eq!(first.map(|q| q.tuple.dst_port), Some(8));
        let first = v6("too-big mtu=1280 about=(udp [fd00::1]:7 > [fd00::2]:8 frag=0+ len=64)");
        assert_eq!(first.map(|q| (q.tuple.dst_port, q.l4)), Some((8, 48)));
        assert_eq!(v4("too-big mtu=900 about=(udp 10.0.0.1 > 10.0.0.2 frag=64 len=64)"), None);
        assert_eq!(v6("too-big mtu=1280 about=(udp fd00::1 > fd00::2 frag=64 len=64)"), None);
    }

    #[test]
    fn what_names_no_tracked_packet_is_no_quote() {
        for about in [
            "unreachable about=(tcp 10.0.0.1:7 > 10.0.0.2:8 S) cut=23",
            "unreachable about=(tcp 10.0.0.1:7 > 10.0.0.2:8 S) cut=19",
            "unreachable about=(icmp 10.0.0.1 > 10.0.0.2 unreachable)",
            "unreachable about=(ip 10.0.0.1 > 10.0.0.2 proto=47 len=20)",
            "unreachable",
        ] {
            assert_eq!(v4(about), None, "{about}");
        }
        assert_eq!(v6("unreachable about=(udp [fd00::1]:7 > [fd00::2]:8) cut=39"), None);
        assert_eq!(
            Quote::of_message(
                Family::V6,
                &message(
                    "icmp 10.0.0.9 > 10.0.0.1 unreachable about=(udp 10.0.0.1:7 > 10.0.0.2:8)"
                )
            ),
            None
        );
    }

    #[test]
    fn the_end_is_that_of_the_datagram_and_not_of_the_padding() {
        let udp = "about=(udp 10.0.0.1:7 > 10.0.0.2:8 len=4)";
        assert_eq!(v4(&format!("unreachable {udp} data=00000000")).map(|q| q.end), Some(32));
        // Ten words of four bytes, by RFC 4884's field.
        let long = "about=(udp 10.0.0.1:7 > 10.0.0.2:8 len=90) cut=48";
        assert_eq!(v4(&format!("type=3 code=1 rest=0xa0000 {long}")).map(|q| q.end), Some(40));
        // Seven words of eight bytes: the field is in another place.
        let long = "about=(udp [fd00::1]:7 > [fd00::2]:8 len=90) cut=64";
        assert_eq!(v6(&format!("type=3 code=0 rest=0x7000000 {long}")).map(|q| q.end), Some(56));
        // A TCP header of no words is eight bytes of header, then padding.
        let cut = "about=(tcp 10.0.0.1:7 > 10.0.0.2:8 S len=90) cut=28";
        let zeros = "00".repeat(100);
        assert_eq!(v4(&format!("unreachable {cut} data={zeros}")).map(|q| q.end), Some(28));
    }
}
