//! Neighbour solicitation and advertisement (RFC 4861 sections 4.3 and 4.4), with the IPv6 header around
//! them.

use super::Mac;
use crate::packet::{Checksum, Packet};
use crate::wire::{Address, checksum};

const IPV6_LEN: usize = 40;
/// Header of a message and its target.
const MESSAGE_LEN: usize = 24;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;
/// What no router has forwarded (RFC 4861 section 3.1).
const HOP_LIMIT: u8 = 255;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// `ff02::1`.
pub const ALL_NODES: Address =
    Address::from_v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ndp {
    /// "Who has the target?"
    Solicitation {
        /// Who asks; [`Address::UNSPECIFIED`] asks whether the target is taken (RFC 4862 section 5.4).
        source: Address,
        /// The address that is asked for.
        target: Address,
        /// The hardware address of who asks.
        mac: Option<Mac>,
    },
    /// "The target is here."
    Advertisement {
        /// The address that it is about.
        target: Address,
        /// The hardware address of the target.
        mac: Option<Mac>,
        /// It is an answer to a question of who it is sent to.
        solicited: bool,
        /// It should replace what is known.
        overrides: bool,
    },
}

/// What an IPv6 packet is to neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not of this protocol.
    Not,
    /// A message.
    Message(Ndp),
    /// Of routers and redirects, which a leg with fixed routes has no use for.
    Unused,
    /// It breaks a rule of RFC 4861 section 7.1.
    Malformed,
}

/// Looks at an IPv6 packet.
pub fn parse(packet: &Packet) -> Parsed {
    let data = packet.data();
    match (data.get(6), data.get(IPV6_LEN)) {
        (Some(&ICMPV6), Some(&(SOLICITATION | ADVERTISEMENT))) => {}
        (Some(&ICMPV6), Some(&(133 | 134 | 137))) => return Parsed::Unused,
        _ => return Parsed::Not,
    }
    message(packet).map_or(Parsed::Malformed, Parsed::Message)
}

fn message(packet: &Packet) -> Option<Ndp> {
    let data = packet.data();
    let body = data.get(IPV6_LEN..)?;
    let address = |at: usize| Some(Address::from_v6(*data.get(at..)?.first_chunk()?));
    let (source, destination) = (address(8)?, address(24)?);
    let target = address(IPV6_LEN + 8)?;
    let pseudo = checksum::pseudo_header(source, destination, ICMPV6, body.len());
    let sound = packet.offload.checksum != Checksum::Complete
        || checksum::add(pseudo, checksum::sum(body)) == 0xffff;
    let whole =
        data.get(4..6)? == (body.len() as u16).to_be_bytes() && packet.offload.gso.is_none();
    if !sound || !whole || *data.get(7)? != HOP_LIMIT || *body.get(1)? != 0 || !target.is_unicast()
    {
        return None;
    }
    let options = body.get(MESSAGE_LEN..)?;
    if *body.first()? == SOLICITATION {
        let mac = option(options, SOURCE_OPTION)?;
        let duplicate_detection = source == Address::UNSPECIFIED;
        if duplicate_detection && (mac.is_some() || destination != solicited_node(target)) {
            return None;
        }
        return Some(Ndp::Solicitation { source, target, mac });
    }
    let mac = option(options, TARGET_OPTION)?;
    let flags = *body.get(4)?;
    let solicited = flags & SOLICITED != 0;
    if solicited && !destination.is_unicast() {
        return None;
    }
    Some(Ndp::Advertisement { target, mac, solicited, overrides: flags & OVERRIDE != 0 })
}

/// The hardware address in the first option of this type; nothing at all if an option has no length, or
/// does not fit.
#[expect(clippy::option_option, reason = "without the option, and malformed, are two things")]
fn option(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while !options.is_empty() {
        let len = usize::from(*options.get(1)?) * 8;
        let (option, rest) = options.split_at_checked(len).filter(|_| len > 0)?;
        if option[0] == wanted && found.is_none() {
            found = Some(Mac(*option.get(2..)?.first_chunk()?)).filter(|mac| mac.is_host());
        }
        options = rest;
    }
    Some(found)
}

/// The group that hosts whose addresses end alike are in (RFC 4291 section 2.7.1).
pub fn solicited_node(target: Address) -> Address {
    let [.., a, b, c] = *target.mapped_octets();
    Address::from_v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The hardware address of a group (RFC 2464 section 7).
pub const fn group_mac(group: Address) -> Mac {
    let [.., a, b, c, d] = *group.mapped_octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// A question of `source` for `target`, to `destination`: the target itself, or its
/// [group](solicited_node). An unspecified source asks whether the target is taken.
pub fn solicitation(source: Address, mac: Mac, destination: Address, target: Address) -> Packet {
    let from = (source != Address::UNSPECIFIED).then_some((SOURCE_OPTION, mac));
    build(source, destination, [SOLICITATION, 0], target, from)
}

/// That `target` is at `mac`, to who asked, or with `solicited` unset to a group.
pub fn advertisement(target: Address, mac: Mac, destination: Address, solicited: bool) -> Packet {
    let flags = OVERRIDE | if solicited { SOLICITED } else { 0 };
    build(target, destination, [ADVERTISEMENT, flags], target, Some((TARGET_OPTION, mac)))
}

fn build(
    source: Address,
    destination: Address,
    [kind, flags]: [u8; 2],
    target: Address,
    option: Option<(u8, Mac)>,
) -> Packet {
    let mut body = [0; MESSAGE_LEN + 8];
    body[0] = kind;
    body[4] = flags;
    body[8..MESSAGE_LEN].copy_from_slice(target.mapped_octets());
    if let Some((kind, mac)) = option {
        body[MESSAGE_LEN] = kind;
        body[MESSAGE_LEN + 1] = 1;
        body[MESSAGE_LEN + 2..].copy_from_slice(&mac.0);
    }
    let len = if option.is_some() { body.len() } else { MESSAGE_LEN };
    let pseudo = checksum::pseudo_header(source, destination, ICMPV6, len);
    let sum = !checksum::add(pseudo, checksum::sum(&body[..len]));
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = [0; IPV6_LEN + MESSAGE_LEN + 8];
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    ip[6] = ICMPV6;
    ip[7] = HOP_LIMIT;
    ip[8..24].copy_from_slice(source.mapped_octets());
    ip[24..40].copy_from_slice(destination.mapped_octets());
    ip[IPV6_LEN..IPV6_LEN + len].copy_from_slice(&body[..len]);
    Packet::from_ip(&ip[..IPV6_LEN + len])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 5]);

    fn address(text: &str) -> Address {
        text.parse::<std::net::IpAddr>().unwrap().into()
    }

    fn question() -> Packet {
        let target = address("fd01::1");
        solicitation(address("fd01::5"), MAC, solicited_node(target), target)
    }

    #[test]
    fn groups_are_made_of_the_last_bytes() {
        let group = solicited_node(address("fd01::12:3456"));
        assert_eq!(group, address("ff02::1:ff12:3456"));
        assert_eq!(group_mac(group).to_string(), "33:33:ff:12:34:56");
        assert_eq!(group_mac(ALL_NODES).to_string(), "33:33:00:00:00:01");
    }

    #[test]
    fn what_is_built_is_read() {
        let (source, target) = (address("fd01::5"), address("fd01::1"));
        let wanted = Ndp::Solicitation { source, target, mac: Some(MAC) };
        assert_eq!(parse(&question()), Parsed::Message(wanted));
        let probe = solicitation(Address::UNSPECIFIED, MAC, solicited_node(target), target);
        let wanted = Ndp::Solicitation { source: Address::UNSPECIFIED, target, mac: None };
        assert_eq!(parse(&probe), Parsed::Message(wanted));
        for (to, solicited) in [(source, true), (ALL_NODES, false)] {
            let answer = advertisement(target, MAC, to, solicited);
            let wanted = Ndp::Advertisement { target, mac: Some(MAC), solicited, overrides: true };
            assert_eq!(parse(&answer), Parsed::Message(wanted));
        }
    }

    /// Changes a byte and mends the checksum.
    fn changed(mut packet: Packet, at: usize, value: u8) -> Packet {
        packet.data_mut()[at] = value;
        packet.data_mut()[42..44].fill(0);
        let data = packet.data();
        let (source, destination) =
            (data[8..24].try_into().unwrap(), data[24..40].try_into().unwrap());
        let pseudo = checksum::pseudo_header(
            Address::from_v6(source),
            Address::from_v6(destination),
            ICMPV6,
            data.len() - 40,
        );
        let sum = !checksum::add(pseudo, checksum::sum(&data[40..]));
        packet.data_mut()[42..44].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn each_rule_of_section_7_1_is_kept() {
        let target = address("fd01::1");
        let probe = || solicitation(Address::UNSPECIFIED, MAC, solicited_node(target), target);
        for (what, packet) in [
            ("forwarded by a router", changed(question(), 7, 254)),
            ("a code", changed(question(), 41, 1)),
            ("an option without length", changed(question(), 65, 0)),
            ("an option beyond the end", changed(question(), 65, 2)),
            ("a target that is a group", changed(question(), 48, 0xff)),
            ("an answer to a group", advertisement(target, MAC, ALL_NODES, true)),
            ("a probe to another group", changed(probe(), 39, 9)),
        ] {
            assert_eq!(parse(&packet), Parsed::Malformed, "{what}");
        }
        let mut wrong = question();
        wrong.data_mut()[42] ^= 1;
        assert_eq!(parse(&wrong), Parsed::Malformed, "a wrong checksum");
        let whole = question();
        for len in 0..whole.len() {
            let cut = Packet::from_ip(&whole.data()[..len]);
            assert!(!matches!(parse(&cut), Parsed::Message(_)), "{len}");
        }
    }

    #[test]
    fn other_packets_are_let_pass() {
        assert_eq!(parse(&changed(question(), 40, 128)), Parsed::Not);
        assert_eq!(parse(&changed(question(), 40, 134)), Parsed::Unused);
        assert_eq!(parse(&Packet::from_ip(&[])), Parsed::Not);
    }
}
