//! Every way in which a packet can be refused, at its exact limit, and what is learnt from the rest.

use proptest::prelude::*;

use super::*;
use crate::packet::{Gso, HEADROOM};
use crate::wire::text;

const TCP4: &str = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1 mss=1460 len=20";
const TCP6: &str = "tcp [fd99::1]:40000 > [fd99::2]:80 S seq=1 mss=1460 len=20";
const UDP4: &str = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20";
const UDP6: &str = "udp [fd99::1]:5000 > [fd99::2]:53 len=20";
const ECHO4: &str = "icmp 10.1.0.5 > 10.99.0.1 echo id=7 len=8";
const ECHO6: &str = "icmp fd99::1 > fd99::2 echo id=7 len=8";

fn packet(line: &str) -> Packet {
    text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

fn bytes(line: &str) -> Vec<u8> {
    packet(line).data().to_vec()
}

/// Makes the header checksum of an IPv4 packet right, over the header that its IHL claims.
fn resum(data: &mut [u8]) {
    let header = (usize::from(data[0] & 0xf) * 4).min(data.len());
    data[V4_CHECKSUM..V4_CHECKSUM + 2].fill(0);
    let sum = !checksum::sum(&data[..header]);
    data[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
}

fn parse(data: &[u8]) -> Result<Headers, Malformed> {
    Headers::parse_bytes(data, false)
}

fn refused(data: &[u8]) -> Option<Malformed> {
    parse(data).err()
}

/// The packet of `line` after `change`, with the IPv4 header checksum made right again.
fn after(line: &str, change: impl FnOnce(&mut Vec<u8>)) -> Option<Malformed> {
    let mut data = bytes(line);
    change(&mut data);
    if data.first().is_some_and(|b| b >> 4 == 4) && data.len() >= 20 {
        resum(&mut data);
    }
    refused(&data)
}

fn set_len(data: &mut [u8], len: usize) {
    match data[0] >> 4 {
        4 => data[2..4].copy_from_slice(&(len as u16).to_be_bytes()),
        _ => data[4..6].copy_from_slice(&(len as u16 - 40).to_be_bytes()),
    }
}

/// Cuts the packet and makes its IP length agree.
fn cut(data: &mut Vec<u8>, len: usize) {
    data.truncate(len);
    set_len(data, len);
}

#[test]
fn the_version_is_looked_at_first() {
    assert_eq!(refused(&[]), Some(Malformed::Truncated));
    for version in 0..16u8 {
        let expected = match version {
            4 | 6 => Malformed::Truncated,
            _ => Malformed::IpVersion,
        };
        assert_eq!(refused(&[version << 4 | 5]), Some(expected), "version {version}");
    }
}

#[test]
fn an_ipv4_header_that_does_not_fit_is_refused() {
    let data = bytes(TCP4);
    for len in 1..20 {
        assert_eq!(refused(&data[..len]), Some(Malformed::Truncated), "{len} bytes");
    }
    for ihl in 0..5 {
        let found = after(TCP4, |d| d[0] = 0x40 | ihl);
        assert_eq!(found, Some(Malformed::IpHeaderLength), "IHL {ihl}");
    }
    // An IHL of 15 needs 60 bytes; a bare header of 59 does not have them.
    let long = |len: usize| {
        let mut data = vec![0; len];
        data[0] = 0x4f;
        data[9] = 47;
        set_len(&mut data, len);
        resum(&mut data);
        parse(&data).map(|h| (h.l4(), h.total_len(), h.transport))
    };
    assert_eq!(long(59), Err(Malformed::IpHeaderLength));
    assert_eq!(long(60), Ok((60, 60, Transport::Other)));
}

#[test]
fn an_ipv4_length_that_lies_is_refused_at_the_exact_byte() {
    let len = bytes(UDP4).len();
    for total in [0, 19, len + 1, 65_535] {
        let found = after(UDP4, |d| set_len(d, total));
        assert_eq!(found, Some(Malformed::IpTotalLength), "total length {total}");
    }
    // A bare header is a packet, as far as IP goes.
    assert_eq!(after("ip 10.0.0.1 > 10.0.0.2 proto=47 len=9", |d| set_len(d, 20)), None);
    let with_options = "ip 10.0.0.1 > 10.0.0.2 proto=47 ipopt=01010101";
    assert_eq!(after(with_options, |d| set_len(d, 23)), Some(Malformed::IpTotalLength));
    assert_eq!(after(with_options, |d| set_len(d, 24)), None);
}

#[test]
fn any_wrong_bit_of_an_ipv4_header_is_found() {
    let good = bytes(TCP4);
    assert!(parse(&good).is_ok());
    for byte in 4..20 {
        for bit in 0..8 {
            let mut data = good.clone();
            data[byte] ^= 1 << bit;
            assert_eq!(refused(&data), Some(Malformed::IpChecksum), "byte {byte} bit {bit}");
        }
    }
}

#[test]
fn bytes_behind_the_packet_are_no_part_of_it() {
    for line in [TCP4, TCP6, UDP4, UDP6, ECHO4, ECHO6] {
        let mut data = bytes(line);
        let before = parse(&data).unwrap();
        data.extend([0; 46]);
        let behind = parse(&data).unwrap();
        assert_eq!(behind.total_len(), before.total_len(), "{line}");
        assert_eq!(behind.transport, before.transport, "{line}");
    }
}

#[test]
fn ipv4_options_are_skipped() {
    for words in 1..=10 {
        let line = format!("{UDP4} ipopt={}", "01".repeat(words * 4));
        let headers = parse(&bytes(&line)).unwrap();
        assert_eq!(headers.l4(), 20 + words * 4);
        assert_eq!(headers.transport, Transport::Udp { src_port: 5000, dst_port: 53 });
    }
}

#[test]
fn an_ipv6_header_that_does_not_fit_is_refused() {
    let data = bytes(UDP6);
    for len in 1..40 {
        assert_eq!(refused(&data[..len]), Some(Malformed::Truncated), "{len} bytes");
    }
    assert_eq!(refused(&data[..data.len() - 1]), Some(Malformed::IpTotalLength));
    assert_eq!(after(UDP6, |d| set_len(d, 40)), Some(Malformed::IpTotalLength));
    assert_eq!(after("ip fd99::1 > fd99::2 proto=59", |_| {}), None);
    assert_eq!(after("ip fd99::1 > fd99::2 proto=6", |_| {}), Some(Malformed::TcpHeader));
}

#[test]
fn mapped_addresses_are_refused_in_either_place() {
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
    for at in [8, 24] {
        let found = after(UDP6, |d| d[at..at + 16].copy_from_slice(&mapped));
        assert_eq!(found, Some(Malformed::MappedAddress));
        // One bit less and it is an address like any other.
        assert_eq!(
            after(UDP6, |d| {
                d[at..at + 16].copy_from_slice(&mapped);
                d[at + 10] = 0xfe;
            }),
            None
        );
    }
}

#[test]
fn extension_headers_are_walked() {
    let small = "ext=60:010400000000";
    let large = format!("ext=60:{}", "00".repeat(2046));
    for (words, length) in [
        (String::new(), 0),
        ("ext=0:010400000000".into(), 8),
        ("ext=0:010400000000 ext=60:010400000000 ext=43:000000000000".into(), 24),
        (format!("{small} {large}"), 8 + 2048),
        ([small; MAX_EXTENSION_HEADERS].join(" "), 64),
        // RFC 6946: a fragment header on a packet that is whole.
        ("ext=0:010400000000 frag=0 ipid=9".into(), 16),
    ] {
        let headers = parse(&bytes(&format!("{UDP6} {words}"))).unwrap();
        assert_eq!(headers.l4(), 40 + length, "{words}");
        assert_eq!(headers.protocol, UDP);
        assert_eq!(headers.transport, Transport::Udp { src_port: 5000, dst_port: 53 });
    }
}

#[test]
fn extension_headers_that_break_a_rule_are_refused() {
    let small = "ext=60:010400000000";
    for words in [
        "ext=60:010400000000 ext=0:010400000000".to_owned(),
        "ext=0:010400000000 ext=0:010400000000".to_owned(),
        [small; MAX_EXTENSION_HEADERS + 1].join(" "),
    ] {
        let found = after(&format!("{UDP6} {words}"), |_| {});
        assert_eq!(found, Some(Malformed::ExtensionHeader), "{words}");
    }
    // The header ends exactly at the end of the packet, or one byte behind it.
    let line = "ip fd99::1 > fd99::2 proto=59 ext=60:010400000000";
    assert_eq!(after(line, |_| {}), None);
    for len in 40..48 {
        let found = after(line, |d| cut(d, len));
        assert_eq!(found, Some(Malformed::ExtensionHeader), "{len} bytes");
    }
    let fragment = "ip fd99::1 > fd99::2 proto=17 frag=8";
    assert_eq!(after(fragment, |_| {}), None);
    assert_eq!(after(fragment, |d| cut(d, 47)), Some(Malformed::ExtensionHeader));
}

#[test]
fn a_fragment_is_a_fragment_whatever_it_holds() {
    // The data of each would be no header of the protocol that it names.
    for (line, l4, protocol) in [
        ("udp 10.1.0.5:1 > 10.99.0.1:2 frag=0+ ipid=7 len=16", 20, UDP),
        ("tcp 10.1.0.5 > 10.99.0.1 frag=0+ ipid=7 len=8", 20, TCP),
        ("udp 10.1.0.5 > 10.99.0.1 frag=1480 ipid=7 len=1", 20, UDP),
        ("udp 10.1.0.5 > 10.99.0.1 frag=1480+ ipid=7 len=8 ipopt=01010101", 24, UDP),
        ("ip 10.1.0.5 > 10.99.0.1 proto=51 frag=8 len=3", 20, 51),
        ("udp [fd99::1]:1 > [fd99::2]:2 frag=0+ ipid=7 len=16", 48, UDP),
        ("tcp fd99::1 > fd99::2 frag=1448 ipid=7 len=1", 48, TCP),
        ("tcp fd99::1 > fd99::2 frag=1448 ipid=7 len=1 ext=0:010400000000", 56, TCP),
        ("ip fd99::1 > fd99::2 proto=60 frag=8 ipid=7 len=1", 48, 60),
        ("ip fd99::1 > fd99::2 proto=51 frag=8 ipid=7", 48, 51),
        ("ip fd99::1 > fd99::2 proto=44 frag=8+ ipid=7 len=3", 48, 44),
    ] {
        let headers = parse(&bytes(line)).unwrap();
        assert_eq!(headers.transport, Transport::Fragment, "{line}");
        assert_eq!((headers.l4(), headers.protocol), (l4, protocol), "{line}");
        assert_eq!(headers.tuple(), None, "{line}");
    }
}

#[test]
fn nothing_behind_authentication_or_encryption_is_looked_at() {
    for (line, l4) in [
        ("ip 10.1.0.5 > 10.99.0.1 proto=51 data=0604000000000001000000010000000000000000", 20),
        ("ip 10.1.0.5 > 10.99.0.1 proto=51 len=3", 20),
        ("ip 10.1.0.5 > 10.99.0.1 proto=50 len=40", 20),
        ("ip fd99::1 > fd99::2 proto=51 data=0604000000000001000000010000000000000000", 40),
        ("ip fd99::1 > fd99::2 proto=51 len=3 ext=0:010400000000", 48),
        ("ip fd99::1 > fd99::2 proto=50 len=40", 40),
    ] {
        let data = bytes(line);
        let headers = parse(&data).unwrap();
        assert_eq!(headers.transport, Transport::Other, "{line}");
        assert_eq!((headers.l4(), headers.tuple()), (l4, None), "{line}");
        assert!(matches!(headers.protocol, 50 | 51), "{line}");
    }
}

#[test]
fn tcp_headers_at_their_limits() {
    for (line, l4) in [(TCP4, 20), (TCP6, 40)] {
        // 24 bytes of header and 20 of payload: 11 words, so 12 do not fit.
        for (words, fits) in
            [(0, false), (4, false), (5, true), (11, true), (12, false), (15, false)]
        {
            let found = after(line, |d| d[l4 + tcp_field::DATA_OFFSET] = words << 4);
            let expected = (!fits).then_some(Malformed::TcpHeader);
            assert_eq!(found, expected, "{line}: data offset {words}");
        }
        let found = after(line, |d| {
            d[l4 + tcp_field::DATA_OFFSET] = 5 << 4;
            cut(d, l4 + 19);
        });
        assert_eq!(found, Some(Malformed::TcpHeader));
    }
}

#[test]
fn udp_lengths_at_their_limits() {
    for (line, l4) in [(UDP4, 20), (UDP6, 40)] {
        for (length, fits) in
            [(0, false), (7, false), (8, false), (27, false), (28, true), (29, false)]
        {
            let set =
                |d: &mut Vec<u8>| d[l4 + 4..l4 + 6].copy_from_slice(&u16::to_be_bytes(length));
            let expected = (!fits).then_some(Malformed::UdpLength);
            assert_eq!(after(line, set), expected, "{line}: length {length}");
        }
        // A super-packet's length is that of all datagrams or of one, but never less than a header.
        for (length, fits) in [(7, false), (8, true), (18, true), (28, true)] {
            let packet = packet(&format!("{line} udplen={length} gso=10"));
            let expected = (!fits).then_some(Malformed::UdpLength);
            assert_eq!(Headers::parse(&packet).err(), expected, "{line}: gso, length {length}");
        }
        assert_eq!(after(line, |d| cut(d, l4 + 7)), Some(Malformed::UdpLength));
    }
    assert_eq!(after("udp 10.1.0.5:1 > 10.99.0.1:2", |_| {}), None);
}

#[test]
fn icmp_messages_at_their_limits() {
    for (line, l4) in [(ECHO4, 20), (ECHO6, 40)] {
        assert_eq!(after(line, |d| cut(d, l4 + 8)), None);
        assert_eq!(after(line, |d| cut(d, l4 + 7)), Some(Malformed::IcmpLength));
    }
    // The other family's ICMP is just a protocol that nobody knows.
    for line in ["ip 10.1.0.5 > 10.99.0.1 proto=58 len=3", "ip fd99::1 > fd99::2 proto=1 len=3"] {
        assert_eq!(parse(&bytes(line)).unwrap().transport, Transport::Other);
    }
}

#[test]
fn icmp_messages_are_told_apart() {
    let kind = |family: &str, kind: u8| {
        let data = bytes(&format!("icmp {family} type={kind} rest=0x70001"));
        parse(&data).unwrap().transport
    };
    let (v4, v6) = ("10.1.0.5 > 10.99.0.1", "fd99::1 > fd99::2");
    for n in 0..=255 {
        let expected4 = match n {
            0 | 8 => Transport::Echo { id: 7, request: n == 8 },
            3 | 4 | 5 | 11 | 12 => Transport::IcmpError,
            _ => Transport::IcmpOther,
        };
        let expected6 = match n {
            128 | 129 => Transport::Echo { id: 7, request: n == 128 },
            0..=127 => Transport::IcmpError,
            _ => Transport::IcmpOther,
        };
        assert_eq!((kind(v4, n), kind(v6, n)), (expected4, expected6), "type {n}");
    }
}

#[test]
fn a_partial_checksum_must_be_where_the_header_says() {
    for (line, l4, field) in
        [(TCP4, 20, 16), (TCP6, 40, 16), (UDP4, 20, 6), (UDP6, 40, 6), (ECHO6, 40, 2)]
    {
        let mut packet = packet(line);
        let mut with = |start, offset| {
            packet.offload.checksum = Checksum::Partial { start, offset };
            Headers::parse(&packet).err()
        };
        assert_eq!(with(l4, field), None, "{line}");
        for (start, offset) in
            [(l4 - 1, field), (l4 + 1, field), (l4, field - 1), (l4, field + 1), (0, 0)]
        {
            assert_eq!(with(start, offset), Some(Malformed::ChecksumOffload), "{line}");
        }
    }
    // No pseudo-header, no transport header in view, no protocol that has a checksum.
    for line in [
        ECHO4,
        "udp 10.1.0.5:1 > 10.99.0.1:2 frag=0+ len=8",
        "icmp fd99::1 > fd99::2 frag=0+ len=8",
        "ip 10.1.0.5 > 10.99.0.1 proto=58 len=8",
        "ip 10.1.0.5 > 10.99.0.1 proto=47 len=20",
    ] {
        let mut packet = packet(line);
        let start = parse(packet.data()).unwrap().l4() as u16;
        packet.offload.checksum = Checksum::Partial { start, offset: 2 };
        assert_eq!(Headers::parse(&packet).err(), Some(Malformed::ChecksumOffload), "{line}");
    }
}

#[test]
fn a_segmentation_kind_must_be_that_of_the_packet() {
    let kinds = [GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp];
    for (line, right) in [
        (TCP4, Some(GsoKind::TcpV4)),
        (TCP6, Some(GsoKind::TcpV6)),
        (UDP4, Some(GsoKind::Udp)),
        (UDP6, Some(GsoKind::Udp)),
        (ECHO4, None),
        (ECHO6, None),
        ("ip 10.1.0.5 > 10.99.0.1 proto=47 len=20", None),
        ("tcp 10.1.0.5:1 > 10.99.0.1:2 S frag=0+ len=4", None),
        ("udp [fd99::1]:1 > [fd99::2]:2 frag=0+ len=8", None),
    ] {
        for kind in kinds {
            let mut packet = packet(line);
            packet.offload.gso = Some(Gso { kind, size: 10, header_len: 0, ecn: false });
            let expected = (right != Some(kind)).then_some(Malformed::GsoKind);
            assert_eq!(Headers::parse(&packet).err(), expected, "{line}: {kind:?}");
        }
    }
}

#[test]
fn the_tuple_is_that_of_the_line() {
    for (line, expected) in [
        (TCP4, "tcp 10.1.0.5:40000 > 10.99.0.1:80"),
        (TCP6, "tcp [fd99::1]:40000 > [fd99::2]:80"),
        (UDP4, "udp 10.1.0.5:5000 > 10.99.0.1:53"),
        (UDP6, "udp [fd99::1]:5000 > [fd99::2]:53"),
        (ECHO4, "icmp 10.1.0.5 > 10.99.0.1 id=7"),
        ("icmp fd99::1 > fd99::2 reply id=9", "icmp fd99::1 > fd99::2 id=9"),
    ] {
        let headers = Headers::parse(&packet(line)).unwrap();
        assert_eq!(headers.tuple().unwrap().to_string(), expected);
        assert_eq!(headers.ttl, 64);
    }
    assert_eq!(
        Headers::parse(&packet("icmp 10.1.0.5 > 10.99.0.1 ttl-exceeded")).unwrap().tuple(),
        None
    );
}

/// Offsets inside the packet, and a transport that has its header there.
fn check(data: &[u8], headers: &Headers) {
    let smallest = match headers.transport {
        Transport::Tcp { .. } => 20,
        Transport::Udp { .. }
        | Transport::Echo { .. }
        | Transport::IcmpError
        | Transport::IcmpOther => 8,
        Transport::Fragment | Transport::Other => 0,
    };
    assert!(headers.total_len() <= data.len());
    assert!(headers.l4() + smallest <= headers.total_len());
    assert_eq!(headers.src.family(), headers.family);
    assert_eq!(headers.dst.family(), headers.family);
    if headers.tuple().is_some_and(|tuple| tuple.protocol == Protocol::Tcp) {
        let tcp = Tcp::new_checked(&data[headers.l4()..headers.total_len()]).unwrap();
        assert!(headers.l4() + tcp.header_len() <= headers.total_len());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        mut data in proptest::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(0x45u8), Just(0x46), Just(0x4f), Just(0x60), any::<u8>()],
        gso in any::<bool>(),
        right_sum in any::<bool>(),
    ) {
        if let Some(first) = data.first_mut() {
            *first = version;
        }
        if right_sum && data.len() >= 20 {
            let len = data.len();
            data[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            resum(&mut data);
        }
        if let Ok(headers) = Headers::parse_bytes(&data, gso) {
            check(&data, &headers);
        }
    }

    #[test]
    fn mutated_packets_never_panic(
        line in proptest::sample::select(vec![
            TCP4, TCP6, UDP4, UDP6, ECHO4, ECHO6,
            "udp fd99::1 > fd99::2 frag=8+ ipid=7 len=16",
            "udp [fd99::1]:1 > [fd99::2]:2 ext=0:010400000000 ext=60:010400000000 len=16",
            "icmp 10.0.0.9 > 10.1.0.5 unreachable about=(udp 10.1.0.5:1 > 10.99.0.1:2 len=9)",
        ]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        keep in any::<prop::sample::Index>(),
        offload in proptest::collection::vec(any::<u8>(), 10..=10),
    ) {
        let mut data = bytes(line);
        for (at, value) in changes {
            let at = at.index(data.len());
            data[at] = value;
        }
        if data[0] >> 4 == 4 {
            resum(&mut data);
        }
        data.truncate(data.len() - keep.index(data.len()) / 4);
        let mut packet = Packet::from_ip(&data);
        if let Ok(offload) = crate::packet::Offload::decode(&offload, data.len()) {
            packet.offload = offload;
        }
        prop_assert!(packet.capacity() + HEADROOM > packet.len());
        if let Ok(headers) = Headers::parse(&packet) {
            check(packet.data(), &headers);
            checksum::verify_transport(&packet, &headers);
            checksum::complete(&mut packet);
        }
        // Whatever it is, it prints.
        prop_assert!(!text::Line::of(&packet).to_string().is_empty());
    }
}
