//! Addresses, protocols and the tuple that names one direction of a flow.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IPv4 or IPv6 address in 16 bytes.
///
/// IPv4 is held as its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2), so that one key type serves
/// both families. A mapped address has no business on a wire; [`Headers::parse`] refuses IPv6 packets
/// that carry one, which keeps the two families apart.
///
/// [`Headers::parse`]: super::Headers::parse
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 16]);

/// The IP version of an address or a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl Address {
    /// `::`, which stands for no address.
    pub const UNSPECIFIED: Self = Self([0; 16]);

    /// An IPv4 address from its four bytes in network order.
    pub const fn from_v4(octets: [u8; 4]) -> Self {
        // As one number: what is written in parts cannot be read as a whole for some cycles.
        Self((0xffff_0000_0000 | u32::from_be_bytes(octets) as u128).to_be_bytes())
    }

    /// An IPv6 address from its bytes in network order.
    pub const fn from_v6(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The family.
    pub fn family(self) -> Family {
        if self.0[..12] == MAPPED { Family::V4 } else { Family::V6 }
    }

    /// True for IPv4.
    pub fn is_v4(self) -> bool {
        self.family() == Family::V4
    }

    /// The address as it stands in a header: 4 or 16 bytes, in network order.
    pub fn octets(&self) -> &[u8] {
        if self.is_v4() { &self.0[12..] } else { &self.0 }
    }

    /// The address in 16 bytes, IPv4 in its mapped form.
    pub const fn mapped_octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// True for an address that can name one host: not unspecified, not multicast, not the limited
    /// broadcast (RFC 1812 section 5.3.7, RFC 4291 section 2.7).
    pub fn is_unicast(self) -> bool {
        match IpAddr::from(self) {
            IpAddr::V4(a) => !(a.is_unspecified() || a.is_multicast() || a.is_broadcast()),
            IpAddr::V6(a) => !(a.is_unspecified() || a.is_multicast()),
        }
    }

    /// True for an address that an answer can be sent to: that of one host by itself. Not so are, beyond
    /// those that are not [`is_unicast`](Self::is_unicast), the loopback, "this network" and class E
    /// (RFC 1812 section 4.3.2.7).
    pub fn is_host(self) -> bool {
        let v4 = |a: Ipv4Addr| !matches!(a.octets()[0], 0 | 240..);
        self.is_unicast()
            && !self.is_loopback()
            && match IpAddr::from(self) {
                IpAddr::V4(a) => v4(a),
                IpAddr::V6(_) => true,
            }
    }

    /// True for an address that must not be seen outside a host (RFC 1122 section 3.2.1.3).
    pub fn is_loopback(self) -> bool {
        IpAddr::from(self).is_loopback()
    }
}

impl From<IpAddr> for Address {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(a) => Self::from_v4(a.octets()),
            IpAddr::V6(a) => Self::from_v6(a.octets()),
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(addr: Ipv4Addr) -> Self {
        Self::from_v4(addr.octets())
    }
}

impl From<Ipv6Addr> for Address {
    fn from(addr: Ipv6Addr) -> Self {
        Self::from_v6(addr.octets())
    }
}

impl From<Address> for IpAddr {
    fn from(addr: Address) -> Self {
        if addr.is_v4() {
            let [.., a, b, c, d] = addr.0;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(addr.0))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A transport that flows are tracked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
    /// Echo of `ICMPv4` (1) or `ICMPv6` (58), by the family of the addresses.
    Icmp,
}

impl Protocol {
    /// The lower-case name: `tcp`, `udp`, `icmp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One direction of a flow, as its packets name it. For ICMP echo both ports are the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Transport.
    pub protocol: Protocol,
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// Source port, or echo identifier.
    pub src_port: u16,
    /// Destination port, or echo identifier.
    pub dst_port: u16,
}

impl Tuple {
    /// The tuple of the answers.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }

    /// Source address and port.
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.src.into(), self.src_port)
    }

    /// Destination address and port.
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.dst.into(), self.dst_port)
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Icmp => {
                write!(f, "icmp {} > {} id={}", self.src, self.dst, self.src_port)
            }
            p => write!(f, "{p} {} > {}", self.source(), self.destination()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["10.99.0.1", "255.255.255.255", "fd99::1", "::1", "::"] {
            let addr: IpAddr = text.parse().unwrap();
            let back = Address::from(addr);
            assert_eq!(IpAddr::from(back), addr);
            assert_eq!(back.to_string(), text);
            assert_eq!(back.is_v4(), addr.is_ipv4());
            assert_eq!(back.octets().len(), if addr.is_ipv4() { 4 } else { 16 });
        }
    }

    #[test]
    fn unicast_is_what_can_name_one_host() {
        let unicast = |text: &str| Address::from(text.parse::<IpAddr>().unwrap()).is_unicast();
        assert!(unicast("10.0.0.1") && unicast("fd99::1"));
        for text in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"] {
            assert!(!unicast(text), "{text}");
        }
    }

    #[test]
    fn an_answer_can_be_sent_to_a_host() {
        let host = |text: &str| Address::from(text.parse::<IpAddr>().unwrap()).is_host();
        assert!(host("10.0.0.1") && host("fd99::1") && host("223.255.255.254"));
        for text in ["0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "::", "::1", "ff02::1"] {
            assert!(!host(text), "{text}");
        }
    }
}
