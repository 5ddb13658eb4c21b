//! The PROXY protocol's header: who the client is, told before the first byte
//! (`HAProxy`'s `proxy-protocol.txt`, sections 2.1 and 2.2).
//!
//! Here it is written, for backends; [`read`] takes the one that a balancer in front of us sends.

mod crc32c;
pub mod read;

pub use read::{Ends, ProxyFrom};

use std::net::{IpAddr, SocketAddr};

/// The version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY: on behalf of somebody else.
const PROXY: u8 = 0x21;
/// Stream over IPv4, and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

impl Version {
    /// The header of a connection that `client` made to `service`.
    ///
    /// Of two addresses of different families the IPv4 one is written as a mapped IPv6 address.
    pub fn header(self, client: SocketAddr, service: SocketAddr) -> Vec<u8> {
        match self {
            Self::V1 => text(client, service).into_bytes(),
            Self::V2 => binary(client, service),
        }
    }
}

fn text(client: SocketAddr, service: SocketAddr) -> String {
    let (ports, both) = ((client.port(), service.port()), (client.ip(), service.ip()));
    let (family, from, to) = match both {
        (IpAddr::V4(from), IpAddr::V4(to)) => ("TCP4", from.to_string(), to.to_string()),
        (from, to) => ("TCP6", v6(from).to_string(), v6(to).to_string()),
    };
    format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1)
}

fn binary(client: SocketAddr, service: SocketAddr) -> Vec<u8> {
    let (family, addresses) = match (client.ip(), service.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (TCP4, [from.octets(), to.octets()].concat()),
        (from, to) => (TCP6, [v6(from).octets(), v6(to).octets()].concat()),
    };
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXY, family]);
    header.extend((addresses.len() as u16 + 4).to_be_bytes());
    header.extend(addresses);
    header.extend(client.port().to_be_bytes());
    header.extend(service.port().to_be_bytes());
    header
}

const fn v6(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: Version, client: &str, service: &str) -> Vec<u8> {
        version.header(client.parse().unwrap(), service.parse().unwrap())
    }

    #[test]
    fn text_names_both_ends() {
        let line =
            |client, service| String::from_utf8(header(Version::V1, client, service)).unwrap();
        assert_eq!(
            line("10.1.0.5:4000", "10.99.0.1:80"),
            "PROXY TCP4 10.1.0.5 10.99.0.1 4000 80\r\n"
        );
        assert_eq!(line("[fd01::5]:1", "[fd99::1]:2"), "PROXY TCP6 fd01::5 fd99::1 1 2\r\n");
        assert_eq!(line("10.1.0.5:1", "[fd99::1]:2"), "PROXY TCP6 ::ffff:10.1.0.5 fd99::1 1 2\r\n");
    }

    #[test]
    fn binary_is_the_specifications_layout() {
        let four = header(Version::V2, "10.1.0.5:4000", "10.99.0.1:80");
        assert_eq!(
            four[..12],
            [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
        );
        assert_eq!(four[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(four[16..], [10, 1, 0, 5, 10, 99, 0, 1, 0x0f, 0xa0, 0, 80]);
        let six = header(Version::V2, "[fd01::5]:4000", "[fd99::1]:80");
        assert_eq!(six[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(six.len(), 16 + 36);
    }
}
