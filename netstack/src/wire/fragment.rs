//! What a fragment says (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! [`Headers::parse`] tells that a packet is a fragment and looks no further, so that packets which
//! are none cost nothing more. [`Fragment::of`] reads the rest, [`first`] the transport header that
//! only the first fragment has, and [`join`] puts a whole together.

use super::checksum::{self, Delta};
use super::headers::{Chain, V4_CHECKSUM, V6_HEADER, transport};
use super::{Family, Headers, Malformed, Transport};
use crate::packet::{MAX_PACKET_LEN, Offload, Packet};

/// Length of an IPv6 fragment header.
pub const HEADER_LEN: usize = 8;

const V4_TOTAL_LENGTH: usize = 2;
const V4_IDENTIFICATION: usize = 4;
const V4_FLAGS: usize = 6;
const V4_MORE: u16 = 0x2000;
const V4_DONT_FRAGMENT: u16 = 0x4000;
const V4_OFFSET: u16 = 0x1fff;
const V6_PAYLOAD_LENGTH: usize = 4;
const V6_NEXT_HEADER: usize = 6;

/// A fragment's place in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What all fragments of one datagram share; of 16 bits in IPv4, 32 in IPv6.
    pub identification: u32,
    /// Where its first byte is in what was fragmented, in bytes: a multiple of eight.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Bytes of what was fragmented.
    pub len: u16,
}

impl Fragment {
    /// The place of a packet that was parsed as `headers`; nothing if it is no fragment. An IPv6
    /// packet that is whole in spite of its fragment header is none (RFC 6946).
    pub fn of(data: &[u8], headers: &Headers) -> Option<Self> {
        if headers.transport != Transport::Fragment {
            return None;
        }
        let len = headers.total_len().checked_sub(headers.l4())? as u16;
        match headers.family {
            Family::V4 => {
                let flags = u16_at(data, V4_FLAGS)?;
                Some(Self {
                    identification: u16_at(data, V4_IDENTIFICATION)?.into(),
                    offset: (flags & V4_OFFSET) * 8,
                    more: flags & V4_MORE != 0,
                    len,
                })
            }
            Family::V6 => {
                let header: &[u8; HEADER_LEN] =
                    data.get(headers.l4().checked_sub(HEADER_LEN)?..)?.first_chunk()?;
                let [_, _, hi, lo, identification @ ..] = *header;
                let place = u16::from_be_bytes([hi, lo]);
                Some(Self {
                    identification: u32::from_be_bytes(identification),
                    offset: place & !7,
                    more: place & 1 != 0,
                    len,
                })
            }
        }
    }

    /// True for the one that has the transport header.
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// Where its last byte ends in what was fragmented.
    pub const fn end(&self) -> u32 {
        self.offset as u32 + self.len as u32
    }

    /// False if no sender cuts like this: a fragment of no bytes, one in the middle that does not end
    /// at a multiple of eight, or one that would make the datagram longer than a packet can be.
    pub fn is_sound(&self, headers: &Headers) -> bool {
        // What counts into the length field of the whole, in front of what was fragmented.
        let before = match headers.family {
            Family::V4 => headers.l4(),
            Family::V6 => headers.l4().saturating_sub(V6_HEADER + HEADER_LEN),
        };
        self.len > 0
            && (!self.more || self.len.is_multiple_of(8))
            && before + self.end() as usize <= MAX_PACKET_LEN
    }
}

/// The headers of a first fragment with its transport header, as if it were the whole packet.
///
/// The UDP length is not compared: it is that of the whole.
///
/// # Errors
/// What is wrong with the transport header or, in IPv6, the extension headers in front of it; most
/// often that it does not end in this fragment (RFC 7112 section 5, RFC 1858 section 2).
pub fn first(data: &[u8], headers: &Headers) -> Result<Headers, Malformed> {
    let mut whole = *headers;
    let rest = &data[headers.l4()..headers.total_len()];
    if headers.family == Family::V6 {
        let chain = Chain::walk(headers.protocol, rest)?;
        if chain.fragment {
            return Err(Malformed::ExtensionHeader);
        }
        whole.protocol = chain.protocol;
        whole.l4 += chain.len as u16;
    }
    let segment = &data[whole.l4()..headers.total_len()];
    whole.transport = transport(headers.family, whole.protocol, segment, true)?;
    Ok(whole)
}

/// True if an IPv4 packet is atomic: whole, and never to be fragmented. Its identification then means
/// nothing (RFC 6864 section 4).
#[inline]
pub fn is_atomic_v4(data: &[u8]) -> bool {
    // The reserved bit is not looked at.
    u16_at(data, V4_FLAGS).is_some_and(|flags| flags & !0x8000 == V4_DONT_FRAGMENT)
}

/// Gives an IPv4 packet another identification.
pub fn set_identification_v4(data: &mut [u8], identification: u16) {
    let (Some(old), Some(sum)) = (u16_at(data, V4_IDENTIFICATION), u16_at(data, V4_CHECKSUM))
    else {
        return;
    };
    let sum = Delta::default().replace_u16(old, identification).apply(sum);
    put(data, V4_IDENTIFICATION, &identification.to_be_bytes());
    put(data, V4_CHECKSUM, &sum.to_be_bytes());
}

/// Gives a fragment another identification, of which IPv4 has the lower half.
pub fn set_identification(data: &mut [u8], headers: &Headers, identification: u32) {
    match headers.family {
        Family::V4 => set_identification_v4(data, identification as u16),
        Family::V6 => put(data, headers.l4().saturating_sub(4), &identification.to_be_bytes()),
    }
}

/// Makes `whole` of all fragments of a datagram, in the order of their offsets.
///
/// Its headers are those of the first; that it could be fragmented is forgotten. Nothing if a
/// fragment is missing or cannot be parsed.
pub fn join<'a>(pieces: impl IntoIterator<Item = &'a Packet>, whole: &mut Packet) -> Option<()> {
    let mut pieces = pieces.into_iter();
    let first = pieces.next()?;
    let headers = Headers::parse(first).ok()?;
    let mut end = Fragment::of(first.data(), &headers).filter(Fragment::is_first)?.end();
    let head = headers.l4() - if headers.family == Family::V6 { HEADER_LEN } else { 0 };

    let mut bytes = first.data()[..head].to_vec();
    bytes.extend_from_slice(&first.data()[headers.l4()..headers.total_len()]);
    for piece in pieces {
        let headers = Headers::parse(piece).ok()?;
        let fragment = Fragment::of(piece.data(), &headers)?;
        if u32::from(fragment.offset) != end {
            return None;
        }
        end = fragment.end();
        bytes.extend_from_slice(&piece.data()[headers.l4()..headers.total_len()]);
    }
    close(&mut bytes, &headers, head)?;
    whole.set_len(bytes.len());
    whole.data_mut().copy_from_slice(&bytes);
    whole.leg = first.leg;
    whole.offload = Offload::default();
    Some(())
}

/// Makes the header of a first fragment that of the whole.
fn close(bytes: &mut [u8], headers: &Headers, head: usize) -> Option<()> {
    match headers.family {
        Family::V4 => {
            let len = u16::try_from(bytes.len()).ok()?;
            put(bytes, V4_TOTAL_LENGTH, &len.to_be_bytes());
            put(bytes, V4_FLAGS, &[0, 0]);
            put(bytes, V4_CHECKSUM, &[0, 0]);
            let sum = !checksum::header_sum(bytes.get(..head)?);
            put(bytes, V4_CHECKSUM, &sum.to_be_bytes());
        }
        Family::V6 => {
            let len = u16::try_from(bytes.len() - V6_HEADER).ok()?;
            put(bytes, V6_PAYLOAD_LENGTH, &len.to_be_bytes());
            // The header that named the fragment header names what was behind it.
            let (mut field, mut next) = (V6_NEXT_HEADER, V6_HEADER);
            while next < head {
                field = next;
                next += (usize::from(*bytes.get(next + 1)?) + 1) * 8;
            }
            put(bytes, field, &[headers.protocol]);
        }
    }
    Some(())
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|field| u16::from_be_bytes(*field))
}

fn put(data: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = data.get_mut(at..at + value.len()) {
        field.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::text;

    fn packet(line: &str) -> Packet {
        text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
    }

    fn place(line: &str) -> Option<(Headers, Fragment)> {
        let packet = packet(line);
        let headers = Headers::parse(&packet).unwrap();
        Some((headers, Fragment::of(packet.data(), &headers)?))
    }

    #[test]
    fn a_fragment_says_where_it_is() {
        for (line, identification, offset, more, len) in [
            ("udp 10.1.0.5 > 10.99.0.1 frag=1480 ipid=65535 len=20", 0xffff, 1480, false, 20),
            ("udp 10.1.0.5 > 10.99.0.1 frag=1480+ ipid=7 len=24 ipopt=01010101", 7, 1480, true, 24),
            ("udp 10.1.0.5:1 > 10.99.0.1:2 frag=0+ ipid=7 len=16 df", 7, 0, true, 24),
            ("udp fd99::1 > fd99::2 frag=65528+ ipid=4294967295 len=3", u32::MAX, 65_528, true, 3),
            ("tcp fd99::1 > fd99::2 frag=8 ipid=7 len=1 ext=0:010400000000", 7, 8, false, 1),
        ] {
            let (_, fragment) = place(line).unwrap();
            assert_eq!(fragment, Fragment { identification, offset, more, len }, "{line}");
        }
        for whole in [
            "udp 10.1.0.5:1 > 10.99.0.1:2 ipid=7",
            "udp [fd99::1]:5000 > [fd99::2]:53 frag=0 ipid=9",
        ] {
            assert_eq!(place(whole), None, "{whole}");
        }
    }

    #[test]
    fn what_no_sender_cuts_is_unsound() {
        for (line, sound) in [
            ("udp 10.1.0.5 > 10.99.0.1 frag=8 len=1", true),
            ("udp 10.1.0.5 > 10.99.0.1 frag=8 len=0", false),
            ("udp 10.1.0.5 > 10.99.0.1 frag=8+ len=8", true),
            ("udp 10.1.0.5 > 10.99.0.1 frag=8+ len=9", false),
            ("udp 10.1.0.5 > 10.99.0.1 frag=65504 len=11", true),
            ("udp 10.1.0.5 > 10.99.0.1 frag=65504 len=12", false),
            ("udp 10.1.0.5 > 10.99.0.1 frag=65504 len=8 ipopt=01010101", false),
            ("udp fd99::1 > fd99::2 frag=65528 len=7", true),
            ("udp fd99::1 > fd99::2 frag=65528 len=8", false),
            ("udp fd99::1 > fd99::2 frag=65528 len=1 ext=0:010400000000", false),
            ("udp fd99::1 > fd99::2 frag=65520 len=7 ext=0:010400000000", true),
        ] {
            let (headers, fragment) = place(line).unwrap();
            assert_eq!(fragment.is_sound(&headers), sound, "{line}");
        }
    }

    #[test]
    fn only_a_first_fragment_with_its_whole_header_has_ports() {
        let transport_of = |line: &str| {
            let packet = packet(line);
            let headers = Headers::parse(&packet).unwrap();
            first(packet.data(), &headers).map(|whole| (whole.l4(), whole.transport))
        };
        let udp = Transport::Udp { src_port: 1, dst_port: 2 };
        assert_eq!(
            transport_of("udp 10.1.0.5:1 > 10.99.0.1:2 frag=0+ udplen=99 len=16"),
            Ok((20, udp))
        );
        assert_eq!(transport_of("udp [fd99::1]:1 > [fd99::2]:2 frag=0+ len=16"), Ok((48, udp)));
        // Destination options behind the fragment header: RFC 8200 section 4.1 has them there.
        let behind = "ip fd99::1 > fd99::2 proto=60 frag=0+ data=1100010400000000\
                      0001000200630000";
        assert_eq!(transport_of(behind), Ok((56, udp)));
        for (line, malformed) in [
            ("ip 10.1.0.5 > 10.99.0.1 proto=17 frag=0+ len=4", Malformed::UdpLength),
            ("ip 10.1.0.5 > 10.99.0.1 proto=6 frag=0+ len=16", Malformed::TcpHeader),
            ("ip 10.1.0.5 > 10.99.0.1 proto=1 frag=0+ len=7", Malformed::IcmpLength),
            ("ip fd99::1 > fd99::2 proto=60 frag=0+ len=8", Malformed::ExtensionHeader),
            (
                "ip fd99::1 > fd99::2 proto=44 frag=0+ data=1100000100000000",
                Malformed::ExtensionHeader,
            ),
        ] {
            assert_eq!(transport_of(line), Err(malformed), "{line}");
        }
    }

    #[test]
    fn atomic_is_whole_and_never_to_be_cut() {
        for (words, atomic) in [
            ("df", true),
            ("df reserved", true),
            ("", false),
            ("df frag=0+", false),
            ("df frag=8", false),
            ("frag=8", false),
        ] {
            let line = format!("udp 10.1.0.5:1 > 10.99.0.1:2 len=8 {words}");
            let line = if words.contains("frag=8") {
                line.replace(":1 ", " ").replace(":2", "")
            } else {
                line
            };
            assert_eq!(is_atomic_v4(packet(&line).data()), atomic, "{words}");
        }
    }

    #[test]
    fn joined_fragments_are_the_whole() {
        for (line, pieces) in [
            (
                "udp 10.1.0.5:1 > 10.99.0.1:2 sum=4660 udplen=24 data=\"0123456789abcdef\" ipid=7",
                [
                    "udp 10.1.0.5:1 > 10.99.0.1:2 sum=4660 udplen=24 data=\"01234567\" ipid=7 frag=0+",
                    "udp 10.1.0.5 > 10.99.0.1 data=\"89abcdef\" ipid=7 frag=16",
                ],
            ),
            (
                "udp [fd99::1]:1 > [fd99::2]:2 sum=4660 udplen=24 data=\"0123456789abcdef\" \
                 ext=0:010400000000 ext=43:010400000000",
                [
                    "udp [fd99::1]:1 > [fd99::2]:2 sum=4660 udplen=24 data=\"01234567\" \
                     ext=0:010400000000 ext=43:010400000000 ipid=7 frag=0+",
                    "udp fd99::1 > fd99::2 data=\"89abcdef\" ext=0:010400000000 \
                     ext=43:010400000000 ipid=7 frag=16",
                ],
            ),
        ] {
            let pieces = pieces.map(packet);
            let mut whole = Packet::with_capacity(0);
            assert_eq!(join(&pieces, &mut whole), Some(()));
            assert_eq!(whole.data(), packet(line).data(), "{line}");
            assert_eq!(join(&pieces[1..], &mut whole), None);
            assert_eq!(join([&pieces[0], &pieces[0]], &mut whole), None);
        }
    }

    #[test]
    fn a_new_identification_leaves_the_header_right() {
        for (line, identification) in [
            ("udp 10.1.0.5 > 10.99.0.1 frag=1480 ipid=65535 len=20", 0xbeef),
            ("udp fd99::1 > fd99::2 frag=1480 ipid=1 len=20 ext=0:010400000000", 0xdead_beef),
        ] {
            let mut packet = packet(line);
            let headers = Headers::parse(&packet).unwrap();
            set_identification(packet.data_mut(), &headers, identification);
            let headers = Headers::parse(&packet).unwrap();
            let fragment = Fragment::of(packet.data(), &headers).unwrap();
            assert_eq!(fragment.identification, identification);
        }
    }
}
