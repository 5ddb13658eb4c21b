//! As much of IP as an edge looks at: where a packet goes, how long it is, what is on the link.

use crate::packet::Packet;
use crate::wire::{Address, Family};

/// The number that IP packets of this family begin with.
pub(super) const fn version(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// Where an IP packet goes; nothing if it is cut short, or no IP.
pub(super) fn destination_of(packet: &Packet) -> Option<Address> {
    let data = packet.data();
    match data.first()? >> 4 {
        4 => Some(Address::from_v4(*data.get(16..)?.first_chunk()?)),
        6 => Some(Address::from_v6(*data.get(24..)?.first_chunk()?)),
        _ => None,
    }
}

/// Takes the padding of a short frame off. What is wrong with the length otherwise the engine finds.
pub(super) fn trim(packet: &mut Packet, family: Family) {
    let field = |at: usize| {
        let bytes = packet.data().get(at..)?.first_chunk()?;
        Some(usize::from(u16::from_be_bytes(*bytes)))
    };
    let len = match family {
        Family::V4 => field(2),
        Family::V6 => field(4).filter(|payload| *payload > 0).map(|payload| payload + 40),
    };
    if let Some(len) = len.filter(|len| packet.offload.gso.is_none() && *len < packet.len()) {
        packet.set_len(len);
    }
}

/// The address in one number, IPv4 in its mapped form.
const fn number(address: Address) -> u128 {
    u128::from_be_bytes(*address.mapped_octets())
}

/// The bits of the network of a link. A mapped IPv4 network has 96 bits more.
fn mask(link: Address, len: u8) -> u128 {
    let len = u32::from(len) + if link.is_v4() { 96 } else { 0 };
    u128::MAX.checked_shl(128_u32.saturating_sub(len)).unwrap_or(0)
}

/// True for the two addresses of an IPv4 network that name no host (RFC 1812 section 5.3.5); networks of
/// two and of one have none such (RFC 3021).
pub(super) fn is_broadcast((link, len): (Address, u8), address: Address) -> bool {
    let mask = mask(link, len);
    let host = number(address) & !mask;
    link.is_v4() && len < 31 && contains((link, len), address) && (host == 0 || host == !mask)
}

/// True if the address is on the link of this address and prefix length.
pub(super) fn contains((link, len): (Address, u8), address: Address) -> bool {
    (number(address) ^ number(link)) & mask(link, len) == 0
}
