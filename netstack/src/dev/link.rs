//! What stands in front of an IP packet in a capture, by link type.
//!
//! Numbers are those of the registry of link-layer header types (LINKTYPE values of libpcap, which
//! pcapng shares).

use crate::packet::MAX_PACKET_LEN;

/// VLAN tags that may stand between an Ethernet header and its packet.
pub const MAX_VLAN_TAGS: usize = 2;

/// A link type whose frames can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// BSD loopback: four bytes of address family, in the byte order of the machine (0).
    Null,
    /// Ethernet, with up to [`MAX_VLAN_TAGS`] tags (1).
    Ethernet,
    /// An IP packet and nothing else, of either family (101).
    Raw,
    /// OpenBSD loopback: as [`Null`](Self::Null), in network byte order (108).
    Loop,
    /// Linux "cooked" capture, as of the device `any`: 16 bytes (113).
    LinuxSll,
    /// An IPv4 packet and nothing else (228).
    Ipv4,
    /// An IPv6 packet and nothing else (229).
    Ipv6,
    /// Linux "cooked" capture, version 2: 20 bytes (276).
    LinuxSll2,
}

impl LinkType {
    /// Every link type, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Null,
        Self::Ethernet,
        Self::Raw,
        Self::Loop,
        Self::LinuxSll,
        Self::Ipv4,
        Self::Ipv6,
        Self::LinuxSll2,
    ];

    /// The numbers, for a message.
    pub const KNOWN: &str =
        "raw IP (101, 228, 229), Ethernet (1), Linux cooked (113, 276) and loopback (0, 108)";

    /// Its number in a file.
    pub const fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::Loop => 108,
            Self::LinuxSll => 113,
            Self::Ipv4 => 228,
            Self::Ipv6 => 229,
            Self::LinuxSll2 => 276,
        }
    }

    /// The link type of a number, if it can be read.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|link| u32::from(link.number()) == number)
    }

    /// The IP packet in `frame`; nothing if it holds none, or one longer than IP packets can be.
    pub fn ip(self, frame: &[u8]) -> Option<&[u8]> {
        let at = match self {
            Self::Raw | Self::Ipv4 | Self::Ipv6 => Some(0),
            Self::Ethernet => after_ether_type(frame, 12, 14),
            Self::LinuxSll => after_ether_type(frame, 14, 16),
            Self::LinuxSll2 => after_ether_type(frame, 0, 20),
            Self::Null | Self::Loop => after_family(frame),
        };
        frame.get(at?..).filter(|ip| is_ip(ip))
    }
}

/// Where the packet begins behind a header whose `EtherType` is at `type_at` and which ends at `body_at`.
fn after_ether_type(frame: &[u8], mut type_at: usize, mut body_at: usize) -> Option<usize> {
    for _ in 0..=MAX_VLAN_TAGS {
        match (frame.get(type_at)?, frame.get(type_at + 1)?) {
            (0x08, 0x00) | (0x86, 0xdd) => return Some(body_at),
            // A tag is two bytes of control information and the type of what it is in front of.
            (0x81, 0x00) | (0x88, 0xa8) => {
                type_at = body_at + 2;
                body_at += 4;
            }
            _ => return None,
        }
    }
    None
}

/// Where the packet begins behind an address family. Who wrote the file may have had another byte order
/// and another number for IPv6 than this machine.
fn after_family(frame: &[u8]) -> Option<usize> {
    let ([family, 0, 0, 0] | [0, 0, 0, family]) = *frame.first_chunk()? else { return None };
    // AF_INET; AF_INET6 of Linux, of NetBSD and OpenBSD, of FreeBSD, and of macOS.
    matches!(family, 2 | 10 | 24 | 28 | 30).then_some(4)
}

fn is_ip(data: &[u8]) -> bool {
    matches!(data.first().map(|b| b >> 4), Some(4 | 6)) && data.len() <= MAX_PACKET_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_is_taken_off() {
        let front = |front: &[u8]| [front, &[0x45, 7]].concat();
        let sll = |tail: &[u8]| front(&[&[0; 14], tail].concat());
        let sll2 = |head: &[u8], tail: &[u8]| front(&[head, &[0; 18], tail].concat());
        for (link, frame) in [
            (LinkType::Raw, front(&[])),
            (LinkType::Ipv4, front(&[])),
            (LinkType::Ipv6, front(&[])),
            (LinkType::Null, front(&[2, 0, 0, 0])),
            (LinkType::Null, front(&[0, 0, 0, 30])),
            (LinkType::Loop, front(&[0, 0, 0, 24])),
            (LinkType::LinuxSll, sll(&[8, 0])),
            (LinkType::LinuxSll, sll(&[0x81, 0, 0, 9, 8, 0])),
            (LinkType::LinuxSll2, sll2(&[0x86, 0xdd], &[])),
            (LinkType::LinuxSll2, sll2(&[0x81, 0], &[0, 9, 8, 0])),
        ] {
            assert_eq!(link.ip(&frame), Some(&[0x45, 7][..]), "{link:?} {frame:?}");
            for len in 0..frame.len() - 1 {
                // Cut anywhere in front of the packet, there is none.
                assert!(link.ip(&frame[..len]).is_none_or(|ip| ip == [0x45]), "{link:?} {len}");
            }
        }
    }

    #[test]
    fn frames_of_other_protocols_hold_no_packet() {
        let arp = [&[0; 12][..], &[8, 6, 0x45, 0]].concat();
        assert_eq!(LinkType::Ethernet.ip(&arp), None);
        assert_eq!(LinkType::Null.ip(&[7, 0, 0, 0, 0x45]), None);
        assert_eq!(LinkType::Null.ip(&[2, 2, 0, 0, 0x45]), None);
        assert_eq!(LinkType::Raw.ip(&[0x15]), None);
        assert_eq!(LinkType::Raw.ip(&[]), None);
    }

    #[test]
    fn numbers_name_link_types() {
        for link in LinkType::ALL {
            assert_eq!(LinkType::of(link.number().into()), Some(link));
            assert!(LinkType::KNOWN.contains(&link.number().to_string()));
        }
        assert_eq!(LinkType::of(147), None);
    }
}
