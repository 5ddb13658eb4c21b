//! The Ethernet edge: what a leg needs to speak that is an Ethernet interface and no TUN.
//!
//! # Theory of operation
//!
//! The kernel has no address on such an interface, so nobody but us answers there. An [`Edge`] does what
//! a host does below IP, and no more: it answers "who has" for the addresses that are ours, finds out
//! the hardware address of each next hop, and takes IP packets out of frames and puts them into such.
//! It is a machine without I/O: frames and time come in as arguments, and whoever drives it sends
//! what [`Edge::poll_transmit`] gives.
//!
//! ```text
//!   frame ──► Edge::receive ── ARP, NDP ──► own addresses: answer ──► poll_transmit
//!                 │                    └──► neighbours: learn ──────► poll_transmit (what waited)
//!                 └── IP ──► the engine
//!
//!   packet ─► Edge::route ── known ───────► the header to send it behind
//!                 ├── unknown ────────────► waits, and the neighbour is asked for
//!                 └── asked in vain ──────► poll_lost: who sent it should hear of it
//! ```
//!
//! What is believed: the answer to a question of our own while it is open, and a question that is put to
//! one of our addresses, which tells of the asker. An announcement that nobody asked for never changes
//! what is known; one that contradicts it makes the neighbour be asked again before long.
//!
//! RFC 826 (ARP), RFC 5227 (conflicts of IPv4 addresses), RFC 4861 (neighbour discovery), RFC 4862
//! (duplicate IPv6 addresses), RFC 1122 section 2.3.2 (queues and timeouts).
//!
//! | module | what it holds |
//! |---|---|
//! | [`arp`], [`ndp`] | the messages: parsed and built |
//! | [`neighbors`] | who is on the link: what is known, asked and waiting |
//! | [`own`] | our addresses: probed, announced, answered for, defended |
//! | [`edge`] | [`Edge`]: all of it together |

pub mod arp;
pub mod edge;
#[cfg(test)]
mod edge_tests;
mod ip;
pub mod ndp;
pub mod neighbors;
#[cfg(test)]
mod neighbors_tests;
pub mod own;

pub use edge::{Edge, EdgeConfig, EdgeDrop, EdgeStats, Egress, Ingress, Outgoing};

use std::fmt;

use crate::wire::Family;

/// Length of an Ethernet header without a tag: destination, source, type.
pub const HEADER_LEN: usize = 14;

/// The header in front of each frame's body.
pub type Header = [u8; HEADER_LEN];

/// A hardware address (MAC-48, EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every host of the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No host: what a question has in place of what it asks for.
    pub const ZERO: Self = Self([0; 6]);

    /// True for broadcast and multicast: the group bit is set.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// True for an address that one host can have.
    pub fn is_host(self) -> bool {
        !self.is_group() && self != Self::ZERO
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// An IP packet.
    Ip(Family),
    /// An ARP message.
    Arp,
    /// A VLAN tag, and something behind it (IEEE 802.1Q, 802.1ad).
    Vlan,
    /// Something that balun has no use for.
    Other,
}

const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Destination of a frame.
pub fn destination(header: &Header) -> Mac {
    mac_at(header, 0)
}

/// Source of a frame.
pub fn source(header: &Header) -> Mac {
    mac_at(header, 6)
}

fn mac_at(header: &Header, at: usize) -> Mac {
    header.get(at..).and_then(|rest| rest.first_chunk()).map_or(Mac::ZERO, |mac| Mac(*mac))
}

/// The type of what a frame holds.
pub const fn ether_type(header: &Header) -> EtherType {
    match [header[12], header[13]] {
        IPV4 => EtherType::Ip(Family::V4),
        IPV6 => EtherType::Ip(Family::V6),
        ARP => EtherType::Arp,
        [0x81, 0x00] | [0x88, 0xa8] => EtherType::Vlan,
        _ => EtherType::Other,
    }
}

/// The header of a frame with an IP packet.
pub fn ip_header(to: Mac, from: Mac, family: Family) -> Header {
    match family {
        Family::V4 => header(to, from, IPV4),
        Family::V6 => header(to, from, IPV6),
    }
}

/// The header of a frame with an ARP message.
pub fn arp_header(to: Mac, from: Mac) -> Header {
    header(to, from, ARP)
}

fn header(to: Mac, from: Mac, kind: [u8; 2]) -> Header {
    let mut header = [0; HEADER_LEN];
    header[..6].copy_from_slice(&to.0);
    header[6..12].copy_from_slice(&from.0);
    header[12..].copy_from_slice(&kind);
    header
}
