//! Where a packet leaves: the longest prefix wins.

use std::fmt;

use netstack::LegId;
use netstack::wire::{Address, Family};

use crate::prefix_map::PrefixMap;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: Address,
    len: u8,
}

impl Prefix {
    /// The prefix of `len` bits of `addr`; nothing if the family has fewer bits. Bits beyond `len`
    /// are cleared.
    pub fn new(addr: Address, len: u8) -> Option<Self> {
        let bits = addr.octets().len() * 8;
        if usize::from(len) > bits {
            return None;
        }
        let mut octets = *addr.mapped_octets();
        let kept = 128 - bits + usize::from(len);
        for (i, byte) in octets.iter_mut().enumerate() {
            let keep = kept.saturating_sub(i * 8).min(8);
            *byte &= !(0xff_u16 >> keep) as u8;
        }
        // An IPv4 address keeps its mapped form: at least the 96 bits in front stay as they are.
        Some(Self { addr: Address::from_v6(octets), len })
    }

    /// The prefix that holds `addr` alone.
    pub fn host(addr: Address) -> Self {
        Self { addr, len: (addr.octets().len() * 8) as u8 }
    }

    /// Length in bits.
    pub const fn len(self) -> u8 {
        self.len
    }

    /// True for a prefix that holds a whole family.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Family of the addresses in it.
    pub fn family(self) -> Family {
        self.addr.family()
    }

    /// Length in bits of the same prefix among addresses in their 16-byte form.
    pub(crate) fn mapped_len(self) -> u8 {
        128 - (self.addr.octets().len() * 8) as u8 + self.len
    }

    /// The first and the last address in it, as numbers of their 16-byte form.
    pub(crate) fn bounds(self) -> (u128, u128) {
        let first = u128::from_be_bytes(*self.addr.mapped_octets());
        let rest = u128::MAX.checked_shr(self.mapped_len().into()).unwrap_or(0);
        (first, first | rest)
    }

    /// True if it holds one address alone.
    pub fn is_host(self) -> bool {
        self == Self::host(self.addr)
    }

    /// The first address in it.
    pub const fn first(self) -> Address {
        self.addr
    }

    /// True if `addr` lies in it.
    pub fn contains(self, addr: Address) -> bool {
        let (first, last) = self.bounds();
        let number = u128::from_be_bytes(*addr.mapped_octets());
        self.family() == addr.family() && (first..=last).contains(&number)
    }

    /// True if `addr` is the broadcast address of this network (RFC 1812 section 5.3.5.2). IPv6 has
    /// none, and a network of two hosts neither (RFC 3021).
    pub fn is_broadcast(self, addr: Address) -> bool {
        let bits = |octets: &[u8]| octets.try_into().map(u32::from_be_bytes);
        let (Ok(network), Ok(host)) = (bits(self.addr.octets()), bits(addr.octets())) else {
            return false;
        };
        self.len <= 30 && host == network | u32::MAX >> self.len
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prefixes and the legs that lead to them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    prefixes: PrefixMap<(Prefix, LegId)>,
    /// With a single leg everything leaves by it, whatever the prefixes.
    only: Option<LegId>,
}

impl Routes {
    /// The routes of these legs. The first of two equal prefixes wins.
    pub fn new(legs: &[Vec<Prefix>]) -> Self {
        let prefixes = (0..)
            .zip(legs)
            .flat_map(|(leg, prefixes)| prefixes.iter().map(move |&p| (p, (p, LegId(leg)))))
            .collect();
        Self { prefixes, only: (legs.len() == 1).then_some(LegId(0)) }
    }

    /// The leg that leads to `addr`.
    pub fn lookup(&self, addr: Address) -> Option<LegId> {
        self.only.or_else(|| self.prefixes.lookup(addr).map(|&(_, leg)| leg))
    }

    /// True if `leg` itself leads to `addr`, whether or not another has a longer prefix.
    pub fn leads(&self, leg: LegId, addr: Address) -> bool {
        self.prefixes.matches(addr).any(|&(_, its)| its == leg)
    }

    /// True if `addr` is every host of a network that lies behind a leg.
    pub fn is_broadcast(&self, addr: Address) -> bool {
        self.prefixes.matches(addr).any(|(prefix, _)| prefix.is_broadcast(addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn addr(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn prefix(text: &str) -> Prefix {
        let (a, len) = text.split_once('/').unwrap();
        Prefix::new(addr(a), len.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_in_both_families() {
        let routes = Routes::new(&[
            vec![prefix("10.0.0.0/8"), prefix("::/0")],
            vec![prefix("10.2.0.0/16"), prefix("fd99::/64")],
        ]);
        for (to, leg) in [("10.1.0.1", 0), ("10.2.255.255", 1), ("fd99::1", 1), ("fd98::1", 0)] {
            assert_eq!(routes.lookup(addr(to)), Some(LegId(leg)), "{to}");
        }
        assert_eq!(routes.lookup(addr("192.0.2.1")), None);
    }

    #[test]
    fn a_default_route_of_one_family_holds_nothing_of_the_other() {
        assert!(prefix("0.0.0.0/0").contains(addr("192.0.2.1")));
        assert!(!prefix("0.0.0.0/0").contains(addr("fd99::1")));
        assert!(!prefix("::/0").contains(addr("192.0.2.1")));
    }

    #[test]
    fn a_networks_last_address_is_all_of_its_hosts() {
        for (network, last) in [("10.0.0.0/24", "10.0.0.255"), ("10.0.0.4/30", "10.0.0.7")] {
            assert!(prefix(network).is_broadcast(addr(last)), "{network}");
        }
        for (network, other) in [
            ("10.0.0.0/24", "10.0.0.254"),
            ("10.0.0.0/24", "10.0.1.255"),
            ("10.0.0.0/31", "10.0.0.1"),
            ("10.0.0.1/32", "10.0.0.1"),
            ("fd99::/64", "fd99::ffff:ffff:ffff:ffff"),
        ] {
            assert!(!prefix(network).is_broadcast(addr(other)), "{network} {other}");
        }
    }

    #[test]
    fn host_bits_are_cleared_and_lengths_bounded() {
        assert_eq!(prefix("10.99.0.254/24").to_string(), "10.99.0.0/24");
        assert_eq!(prefix("fd99::fe/64").to_string(), "fd99::/64");
        assert_eq!(Prefix::new(addr("10.0.0.1"), 33), None);
        assert_eq!(Prefix::new(addr("fd99::1"), 129), None);
        assert_eq!(prefix("10.1.2.3/32"), Prefix::host(addr("10.1.2.3")));
    }
}
