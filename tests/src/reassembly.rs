//! Fragments put together by the book (RFC 791 section 3.2), sharing no code with what cuts them.

use std::collections::BTreeMap;

use netstack::Packet;
use pnet_packet::Packet as _;
use pnet_packet::ipv4::{Ipv4Packet, MutableIpv4Packet, checksum};

const MORE_FRAGMENTS: u8 = 1;

/// The packet that these fragments of one IPv4 datagram make, in any order of arrival. Its header is
/// that of the first; one packet that is no fragment comes out as it is.
///
/// # Panics
/// If they are of several datagrams, overlap, leave a hole, or lack an end: a test's fragments do not.
pub fn reassemble(fragments: &[Packet]) -> Packet {
    let mut by_offset = BTreeMap::new();
    let mut names = Vec::new();
    for fragment in fragments {
        let Some(ip) = Ipv4Packet::new(fragment.data()) else { panic!("too short for IPv4") };
        names.push((
            ip.get_source(),
            ip.get_destination(),
            ip.get_next_level_protocol(),
            ip.get_identification(),
        ));
        let offset = usize::from(ip.get_fragment_offset()) * 8;
        let more = ip.get_flags() & MORE_FRAGMENTS != 0;
        let before = by_offset.insert(offset, (fragment, ip.payload().to_vec(), more));
        assert!(before.is_none(), "two fragments at offset {offset}");
    }
    names.dedup();
    assert_eq!(names.len(), 1, "fragments of several datagrams: {names:?}");
    let mut payload: Vec<u8> = Vec::new();
    for (offset, (_, bytes, _)) in &by_offset {
        assert_eq!(*offset, payload.len(), "a hole or an overlap");
        payload.extend(bytes);
    }
    let ends: Vec<_> = by_offset.values().map(|(.., more)| !more).collect();
    assert!(ends.iter().rev().skip(1).all(|end| !end) && ends.ends_with(&[true]), "{ends:?}");

    let Some((first, ..)) = by_offset.get(&0) else { panic!("no first fragment") };
    let header_len = usize::from(first.data()[0] & 0x0f) * 4;
    let mut whole = Packet::from_ip(&[&first.data()[..header_len], &payload].concat());
    whole.leg = first.leg;
    let len = whole.len() as u16;
    let Some(mut ip) = MutableIpv4Packet::new(whole.data_mut()) else { panic!("no header") };
    ip.set_total_length(len);
    ip.set_flags(ip.get_flags() & !MORE_FRAGMENTS);
    let sum = checksum(&ip.to_immutable());
    ip.set_checksum(sum);
    whole
}
