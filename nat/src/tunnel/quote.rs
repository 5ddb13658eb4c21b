//! What an ICMP error quotes of a packet that was wrapped here.

use netstack::wire::fields::udp_field;
use netstack::wire::headers::UDP;
use netstack::wire::{Address, Family, checksum};

use super::outer::{GUE_HEADER, IPV4, IPV6};
use super::{Encapsulation, Outer};

/// An outer packet as far as it is quoted, and the beginning of what it carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried<'a> {
    /// Source of the outer packet.
    pub src: Address,
    /// Its destination.
    pub dst: Address,
    /// Its length by its own header.
    pub len: usize,
    /// How it was wrapped.
    pub encapsulation: Encapsulation,
    /// What is quoted of the client's packet: often nothing, or a part of its IP header (RFC 792).
    pub inner: &'a [u8],
}

impl<'a> Carried<'a> {
    /// Reads a quote; nothing if it is no packet that [`Outer::wrap`] makes, or its header's sum is
    /// wrong, or it is a fragment other than the first.
    pub fn parse(quote: &'a [u8]) -> Option<Self> {
        let ip = match quote.first()? >> 4 {
            4 => Ip::parse_v4(quote)?,
            6 => Ip::parse_v6(quote)?,
            _ => return None,
        };
        let (encapsulation, inner) = match ip.protocol {
            IPV4 | IPV6 => (Encapsulation::Ipip, ip.payload),
            UDP => {
                let port = word(ip.payload, udp_field::DST_PORT.start)?;
                let gue = ip.payload.get(udp_field::LEN..).unwrap_or_default();
                let inner = match gue {
                    [0, IPV4 | IPV6, 0, 0, ..] => &gue[GUE_HEADER..],
                    [] | [_] | [_, _] | [_, _, _] => &[],
                    _ => return None,
                };
                (Encapsulation::Gue { port }, inner)
            }
            _ => return None,
        };
        Some(Self { src: ip.src, dst: ip.dst, len: ip.len, encapsulation, inner })
    }

    /// Bytes that wrapping had added.
    pub fn overhead(&self) -> usize {
        let Self { src, dst, encapsulation, .. } = *self;
        Outer { encapsulation, src, dst, entropy: 0 }.overhead()
    }

    /// Length of the client's packet and whether it was carried whole if it had to be: IPv6, or IPv4
    /// that forbids fragments. Nothing if too little is quoted.
    pub fn inner_len(&self) -> Option<(Family, usize, bool)> {
        let data = self.inner;
        match data.first()? >> 4 {
            4 => {
                let no_fragments = data.get(6)? & 0x40 != 0;
                Some((Family::V4, usize::from(word(data, 2)?), no_fragments))
            }
            6 => Some((Family::V6, 40 + usize::from(word(data, 4)?), true)),
            _ => None,
        }
    }
}

struct Ip<'a> {
    src: Address,
    dst: Address,
    protocol: u8,
    len: usize,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn parse_v4(data: &'a [u8]) -> Option<Self> {
        let header = data.get(..usize::from(data.first()? & 0xf) * 4)?;
        let (src, dst) = (header.get(12..16)?, header.get(16..20)?);
        if word(header, 6)? & 0x1fff != 0 || checksum::sum(header) != 0xffff {
            return None;
        }
        let len = usize::from(word(header, 2)?);
        Some(Self {
            src: Address::from_v4(src.try_into().ok()?),
            dst: Address::from_v4(dst.try_into().ok()?),
            protocol: header[9],
            len,
            payload: data.get(header.len()..len.min(data.len()))?,
        })
    }

    fn parse_v6(data: &'a [u8]) -> Option<Self> {
        let (src, dst) = (data.get(8..24)?, data.get(24..40)?);
        let len = 40 + usize::from(word(data, 4)?);
        let payload = data.get(40..len.min(data.len()))?;
        let (protocol, payload) = match data[6] {
            // One that we have cut ourselves.
            44 if word(payload, 2)? & 0xfff8 == 0 => (*payload.first()?, payload.get(8..)?),
            protocol => (protocol, payload),
        };
        Some(Self {
            src: Address::from_v6(src.try_into().ok()?),
            dst: Address::from_v6(dst.try_into().ok()?),
            protocol,
            len,
            payload,
        })
    }
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2).map(|field| u16::from_be_bytes([field[0], field[1]]))
}
