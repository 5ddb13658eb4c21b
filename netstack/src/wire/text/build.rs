//! From words to bytes.

use super::{
    Body, BuildError, ChecksumSpec, Extension, IcmpSpec, IpSpec, PacketSpec, Payload, TcpSpec,
};
use crate::packet::{Checksum, Gso, GsoKind, MAX_PACKET_LEN, Offload, Packet};
use crate::wire::checksum;
use crate::wire::fields::{icmp_field, tcp_field, udp_field};
use crate::wire::headers::{ICMPV4, ICMPV6, TCP, UDP, V4_CHECKSUM};
use crate::wire::{Address, Family};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// The most options that a header length of four bits leaves room for.
const MAX_OPTIONS: usize = 40;
/// Protocol number of the IPv6 fragment header.
pub(super) const FRAGMENT: u8 = 44;

impl PacketSpec {
    /// The packet.
    ///
    /// # Errors
    /// [`BuildError`] if no packet can be so.
    pub fn build(&self) -> Result<Packet, BuildError> {
        let bytes = self.ip_bytes()?;
        let mut packet = Packet::from_ip(&bytes);
        let headers = bytes.len() - self.payload.len;
        let start = self.l4() as u16;
        packet.offload = Offload {
            checksum: match (self.checksum, self.checksum_field()) {
                (ChecksumSpec::Partial, Some(offset)) => {
                    Checksum::Partial { start, offset: offset as u16 }
                }
                (ChecksumSpec::Verified, _) => Checksum::Verified,
                _ => Checksum::Complete,
            },
            gso: self.gso(headers)?,
        };
        Ok(packet)
    }

    /// The bytes of the IP packet.
    pub(super) fn ip_bytes(&self) -> Result<Vec<u8>, BuildError> {
        if self.src.family() != self.dst.family() {
            return Err(BuildError::Families);
        }
        // Checked before anything is allocated: a length is cheap to write.
        if self.payload.len > MAX_PACKET_LEN {
            return Err(BuildError::TooLong);
        }
        let mut segment = self.segment()?;
        self.put_checksum(&mut segment);
        let mut bytes = match self.src.family() {
            Family::V4 => self.v4_header(segment.len())?,
            Family::V6 => self.v6_headers(segment.len())?,
        };
        bytes.extend(segment);
        Ok(bytes)
    }

    /// The IP protocol number of the body.
    pub fn protocol(&self) -> u8 {
        match (&self.body, self.src.family()) {
            (Body::Tcp(_), _) => TCP,
            (Body::Udp { .. }, _) => UDP,
            (Body::Icmp(_), Family::V4) => ICMPV4,
            (Body::Icmp(_), Family::V6) => ICMPV6,
            (Body::Raw { protocol }, _) => *protocol,
        }
    }

    /// Offset of the transport header.
    fn l4(&self) -> usize {
        match self.src.family() {
            Family::V4 => IPV4_HEADER + padded(&self.ip.options).len(),
            Family::V6 => {
                let extensions: usize = self.ip.extensions.iter().map(|e| e.body.len() + 2).sum();
                IPV6_HEADER + extensions + if self.ip.frag.is_some() { 8 } else { 0 }
            }
        }
    }

    /// Offset of the checksum field in the transport header.
    pub(super) const fn checksum_field(&self) -> Option<usize> {
        match self.body {
            Body::Tcp(_) => Some(tcp_field::CHECKSUM.start),
            Body::Udp { .. } => Some(udp_field::CHECKSUM.start),
            Body::Icmp(_) => Some(icmp_field::CHECKSUM.start),
            Body::Raw { .. } => None,
        }
    }

    fn gso(&self, header_len: usize) -> Result<Option<Gso>, BuildError> {
        let Some(gso) = self.gso else { return Ok(None) };
        let kind = match (&self.body, self.src.family()) {
            (Body::Tcp(_), Family::V4) => GsoKind::TcpV4,
            (Body::Tcp(_), Family::V6) => GsoKind::TcpV6,
            (Body::Udp { .. }, _) => GsoKind::Udp,
            _ => return Err(BuildError::Gso),
        };
        if gso.size == 0 {
            return Err(BuildError::Gso);
        }
        Ok(Some(Gso { kind, size: gso.size, header_len: header_len as u16, ecn: gso.ecn }))
    }

    /// Transport header and payload, with a zero for the checksum.
    fn segment(&self) -> Result<Vec<u8>, BuildError> {
        let mut segment = match &self.body {
            Body::Tcp(tcp) => tcp_header(tcp)?,
            Body::Udp { src_port, dst_port, length } => {
                let length = length.unwrap_or((udp_field::LEN + self.payload.len) as u16);
                [src_port.to_be_bytes(), dst_port.to_be_bytes(), length.to_be_bytes(), [0, 0]]
                    .concat()
            }
            Body::Icmp(icmp) => icmp_header(icmp)?,
            Body::Raw { .. } => Vec::new(),
        };
        put_payload(&mut segment, &self.payload);
        if segment.len() > MAX_PACKET_LEN { Err(BuildError::TooLong) } else { Ok(segment) }
    }

    fn put_checksum(&self, segment: &mut [u8]) {
        let Some(field) = self.checksum_field() else { return };
        let pseudo = match self.protocol() {
            ICMPV4 => 0,
            protocol => checksum::pseudo_header(self.src, self.dst, protocol, segment.len()),
        };
        let right = match !checksum::add(pseudo, checksum::sum(segment)) {
            // RFC 768: a computed zero is sent as all ones.
            0 if matches!(self.body, Body::Udp { .. }) => 0xffff,
            value => value,
        };
        let value = match self.checksum {
            ChecksumSpec::Complete | ChecksumSpec::Verified => right,
            ChecksumSpec::Partial => pseudo,
            // One more, and neither of the two zeros of one's complement.
            ChecksumSpec::Bad => {
                if right >= 0xfffe {
                    1
                } else {
                    right + 1
                }
            }
            ChecksumSpec::None => 0,
        };
        let value = self.sum.unwrap_or(value);
        segment[field..field + 2].copy_from_slice(&value.to_be_bytes());
    }

    fn v4_header(&self, payload: usize) -> Result<Vec<u8>, BuildError> {
        let IpSpec { ttl, tos, id, df, reserved, frag, .. } = self.ip;
        let options = padded(&self.ip.options);
        let header_len = IPV4_HEADER + options.len();
        if options.len() > MAX_OPTIONS {
            return Err(BuildError::Options);
        }
        if header_len + payload > MAX_PACKET_LEN {
            return Err(BuildError::TooLong);
        }
        let more = frag.is_some_and(|frag| frag.more);
        let place = frag.map_or(0, |frag| frag.offset / 8)
            | u16::from(more) << 13
            | u16::from(df) << 14
            | u16::from(reserved) << 15;
        let mut header = vec![0x40 | (header_len / 4) as u8, tos];
        header.extend(((header_len + payload) as u16).to_be_bytes());
        header.extend((id as u16).to_be_bytes());
        header.extend(place.to_be_bytes());
        header.extend([ttl, self.protocol(), 0, 0]);
        header.extend(self.src.octets());
        header.extend(self.dst.octets());
        header.extend(options);
        let sum = self.ip.header_sum.unwrap_or(!checksum::sum(&header));
        header[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        Ok(header)
    }

    fn v6_headers(&self, payload: usize) -> Result<Vec<u8>, BuildError> {
        let IpSpec { ttl, tos, id, flow_label, frag, .. } = self.ip;
        let mut extensions = Vec::new();
        // Last first: each header names the one behind it.
        let mut next = self.protocol();
        if let Some(frag) = frag {
            let place = (frag.offset / 8 * 8) | u16::from(frag.more);
            extensions.extend([next, 0]);
            extensions.extend(place.to_be_bytes());
            extensions.extend(id.to_be_bytes());
            next = FRAGMENT;
        }
        for Extension { protocol, body } in self.ip.extensions.iter().rev() {
            let units = (body.len() + 2) / 8;
            if (body.len() + 2) % 8 != 0 || !(1..=256).contains(&units) {
                return Err(BuildError::Extension);
            }
            let head = [next, (units - 1) as u8];
            extensions.splice(..0, head.into_iter().chain(body.iter().copied()));
            next = *protocol;
        }
        let len = extensions.len() + payload;
        if IPV6_HEADER + len > MAX_PACKET_LEN {
            return Err(BuildError::TooLong);
        }
        let word = 6 << 28 | u32::from(tos) << 20 | flow_label & 0xf_ffff;
        let mut header = word.to_be_bytes().to_vec();
        header.extend((len as u16).to_be_bytes());
        header.extend([next, ttl]);
        header.extend(self.src.octets());
        header.extend(self.dst.octets());
        header.extend(extensions);
        Ok(header)
    }
}

impl IcmpSpec {
    /// The identifier and the sequence number of an echo, in one field.
    pub const fn echo(id: u16, seq: u16) -> u32 {
        (id as u32) << 16 | seq as u32
    }
}

/// Options with zeros behind them, to a multiple of four bytes.
pub(super) fn padded(options: &[u8]) -> Vec<u8> {
    let mut bytes = options.to_vec();
    bytes.resize(options.len().next_multiple_of(4), 0);
    bytes
}

fn tcp_header(tcp: &TcpSpec) -> Result<Vec<u8>, BuildError> {
    let options = padded(&tcp.options);
    if options.len() > MAX_OPTIONS {
        return Err(BuildError::Options);
    }
    let mut header = Vec::with_capacity(tcp_field::MIN_LEN + options.len());
    header.extend(tcp.src_port.to_be_bytes());
    header.extend(tcp.dst_port.to_be_bytes());
    header.extend(tcp.seq.to_be_bytes());
    header.extend(tcp.ack.to_be_bytes());
    let words = ((tcp_field::MIN_LEN + options.len()) / 4) as u8;
    header.extend([words << 4 | tcp.reserved & 0xf, tcp.flags.0]);
    header.extend(tcp.window.to_be_bytes());
    header.extend([0, 0]);
    header.extend(tcp.urgent.to_be_bytes());
    header.extend(options);
    Ok(header)
}

fn icmp_header(icmp: &IcmpSpec) -> Result<Vec<u8>, BuildError> {
    let mut header = vec![icmp.kind, icmp.code, 0, 0];
    header.extend(icmp.rest.to_be_bytes());
    if let Some(quote) = &icmp.about {
        let quoted = quote.packet.ip_bytes()?;
        header.extend(&quoted[..quote.len.min(quoted.len())]);
    }
    Ok(header)
}

fn put_payload(segment: &mut Vec<u8>, payload: &Payload) {
    let bytes = &payload.bytes[..payload.bytes.len().min(payload.len)];
    segment.extend(bytes);
    segment.extend(Payload::pattern_bytes(bytes.len()).take(payload.len - bytes.len()));
}

/// True if the checksum in `segment` is right.
pub(super) fn sums_up(src: Address, dst: Address, protocol: u8, segment: &[u8]) -> bool {
    let pseudo = match protocol {
        ICMPV4 => 0,
        _ => checksum::pseudo_header(src, dst, protocol, segment.len()),
    };
    checksum::add(pseudo, checksum::sum(segment)) == 0xffff
}
