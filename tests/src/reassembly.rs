//! A receiver of fragments that shares no code with ours.

use netstack::Packet;
use pnet_packet::Packet as _;
use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet_packet::ipv4::{Ipv4Packet, MutableIpv4Packet, checksum};
use pnet_packet::ipv6::{FragmentPacket, Ipv6Packet, MutableIpv6Packet};

use crate::oracle;

/// The datagram that these fragments are of, in whatever order they came; its checksums have been
/// verified.
///
/// # Errors
/// Why a receiver would not accept them as one datagram.
///
/// # Panics
/// If the whole's checksum is wrong.
pub fn reassemble(fragments: &[Packet]) -> Result<Packet, String> {
    let mut pieces = fragments.iter().map(Piece::read).collect::<Result<Vec<_>, _>>()?;
    pieces.sort_by_key(|piece| piece.offset);
    let Some((first, last)) = pieces.first().zip(pieces.last()) else {
        return Err("no fragment".into());
    };
    if let Some(other) = pieces.iter().find(|piece| piece.key() != first.key()) {
        return Err(format!("fragments of two: {first:?}, {other:?}"));
    }
    if last.more {
        return Err("the last is missing".into());
    }
    let mut payload = Vec::new();
    for piece in &pieces {
        if piece.offset != payload.len() {
            return Err(format!("at {}, not {}", piece.offset, payload.len()));
        }
        payload.extend_from_slice(&piece.payload);
    }
    let mut whole = first.whole(&payload);
    whole.leg = fragments[0].leg;
    oracle::assert_checksums(&whole);
    Ok(whole)
}

/// A fragment as pnet reads it.
#[derive(Debug)]
struct Piece {
    v4: bool,
    addresses: (String, String),
    protocol: IpNextHeaderProtocol,
    identification: u32,
    ttl: u8,
    offset: usize,
    more: bool,
    header: Vec<u8>,
    payload: Vec<u8>,
}

impl Piece {
    fn read(packet: &Packet) -> Result<Self, String> {
        let data = packet.data();
        match data.first().map(|byte| byte >> 4) {
            Some(4) => {
                let ip = Ipv4Packet::new(data).ok_or("no IPv4 header")?;
                if ip.get_checksum() != checksum(&ip) {
                    return Err("IPv4 header checksum".into());
                }
                Ok(Self {
                    v4: true,
                    addresses: (ip.get_source().to_string(), ip.get_destination().to_string()),
                    protocol: ip.get_next_level_protocol(),
                    identification: ip.get_identification().into(),
                    ttl: ip.get_ttl(),
                    offset: usize::from(ip.get_fragment_offset()) * 8,
                    more: ip.get_flags() & 1 != 0,
                    header: data[..usize::from(ip.get_header_length()) * 4].to_vec(),
                    payload: ip.payload().to_vec(),
                })
            }
            Some(6) => {
                let ip = Ipv6Packet::new(data).ok_or("no IPv6 header")?;
                if ip.get_next_header() != IpNextHeaderProtocols::Ipv6Frag {
                    return Err(format!("{} behind the IPv6 header", ip.get_next_header()));
                }
                let fragment = FragmentPacket::new(ip.payload()).ok_or("no fragment header")?;
                Ok(Self {
                    v4: false,
                    addresses: (ip.get_source().to_string(), ip.get_destination().to_string()),
                    protocol: fragment.get_next_header(),
                    identification: fragment.get_id(),
                    ttl: ip.get_hop_limit(),
                    // In bytes already.
                    offset: fragment.get_fragment_offset().into(),
                    more: !fragment.is_last_fragment(),
                    header: data[..40].to_vec(),
                    payload: ip.payload()[8..].to_vec(),
                })
            }
            _ => Err("no IP packet".into()),
        }
    }

    /// What all fragments of a datagram share.
    const fn key(&self) -> (&(String, String), IpNextHeaderProtocol, u32, u8) {
        (&self.addresses, self.protocol, self.identification, self.ttl)
    }

    fn whole(&self, payload: &[u8]) -> Packet {
        let mut bytes = self.header.clone();
        bytes.extend_from_slice(payload);
        let len = bytes.len() as u16;
        if self.v4 {
            if let Some(mut ip) = MutableIpv4Packet::new(&mut bytes) {
                ip.set_total_length(len);
                ip.set_flags(0);
                ip.set_fragment_offset(0);
                let sum = checksum(&ip.to_immutable());
                ip.set_checksum(sum);
            }
        } else if let Some(mut ip) = MutableIpv6Packet::new(&mut bytes) {
            ip.set_payload_length(len - 40);
            ip.set_next_header(self.protocol);
        }
        Packet::from_ip(&bytes)
    }
}
