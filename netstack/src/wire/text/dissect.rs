//! From bytes to words: of a whole packet that was checked, and of the part of one that an ICMP
//! error quotes, which nobody has checked.

use super::build::{FRAGMENT, sums_up};
use super::{
    Body, ChecksumSpec, Description, Extension, Frag, GsoSpec, IcmpSpec, IpSpec, PacketSpec,
    Payload, Quote, RawPacket, TcpSpec, icmp,
};
use crate::packet::{Checksum, Packet};
use crate::wire::fields::{icmp_field, tcp_field, udp_field};
use crate::wire::headers::{ICMPV4, ICMPV6, TCP, UDP, V4_CHECKSUM};
use crate::wire::{Address, Family, Headers, Icmp, Tcp, TcpFlags, Udp, checksum};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// How a packet's line is made.
pub(super) fn describe(packet: &Packet, exact: bool) -> Description {
    let raw = |reason| Description::Raw(RawPacket { reason, packet: packet.clone() });
    let headers = match Headers::parse(packet) {
        Ok(headers) => headers,
        Err(reason) => return raw(Some(reason)),
    };
    let data = &packet.data()[..headers.total_len()];
    let Some(mut spec) = Dissector { exact, quoted: false }.packet(data) else { return raw(None) };
    put_offload(&mut spec, packet, &headers);
    if exact && !is_exact(&spec, packet) {
        return raw(None);
    }
    Description::Packet(Box::new(spec))
}

/// Takes over what the offload state says, and what that makes of the checksum field.
fn put_offload(spec: &mut PacketSpec, packet: &Packet, headers: &Headers) {
    let field = spec.checksum_field();
    if field.is_some() {
        spec.gso = packet.offload.gso.map(|gso| GsoSpec { size: gso.size, ecn: gso.ecn });
    }
    match (packet.offload.checksum, field) {
        (Checksum::Verified, _) => {
            // A checksum that is absent is not what a device verifies, but it may say so.
            spec.sum = if spec.checksum == ChecksumSpec::None { Some(0) } else { spec.sum };
            spec.checksum = ChecksumSpec::Verified;
        }
        (Checksum::Partial { .. }, Some(field)) => {
            let segment = &packet.data()[headers.l4()..headers.total_len()];
            let found = u16::from_be_bytes([segment[field], segment[field + 1]]);
            let right =
                checksum::pseudo_header(spec.src, spec.dst, headers.protocol, segment.len());
            spec.checksum = ChecksumSpec::Partial;
            spec.sum = (found != right).then_some(found);
        }
        _ => {}
    }
}

/// True if the words make the same packet.
fn is_exact(spec: &PacketSpec, packet: &Packet) -> bool {
    let Ok(built) = spec.build() else { return false };
    let hint = |packet: &Packet| packet.offload.gso.map(|gso| (gso.kind, gso.size, gso.ecn));
    built.data() == packet.data()
        && built.offload.checksum == packet.offload.checksum
        && hint(&built) == hint(packet)
}

#[derive(Clone, Copy)]
struct Dissector {
    /// Keep payload bytes and odd checksums.
    exact: bool,
    /// The bytes are a quote: they may end early, and lengths and checksums may lie.
    quoted: bool,
}

/// What is known from the IP headers.
struct Ip {
    src: Address,
    dst: Address,
    spec: IpSpec,
    protocol: u8,
    l4: usize,
    total_len: usize,
}

impl Dissector {
    fn packet(self, data: &[u8]) -> Option<PacketSpec> {
        let ip = match data.first()? >> 4 {
            4 => v4(data)?,
            6 => v6(data)?,
            _ => return None,
        };
        let segment = data.get(ip.l4..ip.total_len.min(data.len()))?;
        let whole = ip.total_len.checked_sub(ip.l4)?;
        let hidden = ip.spec.frag.is_some_and(|frag| frag.offset != 0);
        let (body, header_len) = match ip.protocol {
            _ if hidden => None,
            TCP => self.tcp(segment, whole),
            UDP => udp(segment, whole),
            ICMPV4 if ip.src.is_v4() => self.icmp(segment, Family::V4),
            ICMPV6 if !ip.src.is_v4() => self.icmp(segment, Family::V6),
            _ => None,
        }
        .unwrap_or((Body::Raw { protocol: ip.protocol }, 0));
        let payload =
            self.payload(segment.get(header_len..).unwrap_or_default(), whole - header_len);
        let mut spec = PacketSpec {
            src: ip.src,
            dst: ip.dst,
            ip: ip.spec,
            body,
            payload,
            checksum: ChecksumSpec::Complete,
            sum: None,
            gso: None,
        };
        self.checksum(&mut spec, segment, whole);
        Some(spec)
    }

    fn payload(self, bytes: &[u8], len: usize) -> Payload {
        let bytes = if self.exact && !is_pattern(bytes) { bytes.to_vec() } else { Vec::new() };
        Payload { bytes, len }
    }

    fn tcp(self, segment: &[u8], whole: usize) -> Option<(Body, usize)> {
        if let Some(tcp) = Tcp::new_checked(segment) {
            let fixed = tcp_field::MIN_LEN..tcp.header_len();
            let body = TcpSpec {
                src_port: tcp.src_port(),
                dst_port: tcp.dst_port(),
                flags: tcp.flags(),
                seq: tcp.seq(),
                ack: tcp.ack(),
                window: tcp.window(),
                urgent: u16::from_be_bytes([segment[18], segment[19]]),
                reserved: segment[tcp_field::DATA_OFFSET] & 0xf,
                options: segment[fixed].to_vec(),
            };
            return Some((Body::Tcp(body), tcp.header_len()));
        }
        // RFC 792: eight bytes are all that an error must quote: ports and sequence number.
        let head: &[u8; 8] = segment.first_chunk()?;
        if !self.quoted || whole < tcp_field::MIN_LEN {
            return None;
        }
        let body = TcpSpec {
            src_port: u16::from_be_bytes([head[0], head[1]]),
            dst_port: u16::from_be_bytes([head[2], head[3]]),
            flags: TcpFlags(0),
            seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ack: 0,
            window: u16::MAX,
            urgent: 0,
            reserved: 0,
            options: Vec::new(),
        };
        Some((Body::Tcp(body), tcp_field::MIN_LEN))
    }

    fn icmp(self, segment: &[u8], family: Family) -> Option<(Body, usize)> {
        let icmp = Icmp::new_checked(segment)?;
        let (kind, code) = (icmp.kind(), icmp.code());
        let rest = IcmpSpec::echo(icmp.id(), icmp.seq());
        let quote = &segment[icmp_field::LEN..];
        let about = if self.quoted || !icmp::quotes(family, kind) {
            None
        } else {
            self.quote(quote, family)
        };
        let header_len = icmp_field::LEN + about.as_ref().map_or(0, |quote| quote.len);
        Some((Body::Icmp(IcmpSpec { kind, code, rest, about }), header_len))
    }

    fn quote(self, bytes: &[u8], family: Family) -> Option<Box<Quote>> {
        // The payload pattern begins like an IPv6 header.
        if is_pattern(bytes) {
            return None;
        }
        let packet = Self { quoted: true, ..self }.packet(bytes)?;
        if packet.src.family() != family {
            return None;
        }
        let built = packet.ip_bytes().ok()?;
        let len = built.len().min(bytes.len());
        if self.exact && built[..len] != bytes[..len] {
            return None;
        }
        Some(Box::new(Quote { packet, len }))
    }

    fn checksum(self, spec: &mut PacketSpec, segment: &[u8], whole: usize) {
        let Some(field) = spec.checksum_field() else { return };
        let Some(&[high, low]) = segment.get(field..field + 2) else { return };
        let found = u16::from_be_bytes([high, low]);
        if found == 0 && matches!(spec.body, Body::Udp { .. }) {
            spec.checksum = ChecksumSpec::None;
        } else if self.exact {
            let field_of = |bytes: Vec<u8>| {
                let at = bytes.len().checked_sub(whole)? + field;
                bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
            };
            let built = spec.ip_bytes().ok().and_then(field_of);
            spec.sum = (built != Some(found)).then_some(found);
        } else if spec.ip.frag.is_none() && segment.len() == whole {
            let right = sums_up(spec.src, spec.dst, spec.protocol(), segment);
            spec.checksum = if right { ChecksumSpec::Complete } else { ChecksumSpec::Bad };
        }
    }
}

fn is_pattern(bytes: &[u8]) -> bool {
    bytes.iter().copied().eq(Payload::pattern_bytes(0).take(bytes.len()))
}

fn v4(data: &[u8]) -> Option<Ip> {
    let fixed: &[u8; 20] = data.first_chunk()?;
    let header = data.get(..usize::from(fixed[0] & 0xf) * 4).filter(|h| h.len() >= 20)?;
    let place = u16::from_be_bytes([fixed[6], fixed[7]]);
    let (offset, more) = ((place & 0x1fff) * 8, place & 0x2000 != 0);
    let sum = u16::from_be_bytes([fixed[V4_CHECKSUM], fixed[V4_CHECKSUM + 1]]);
    let right = checksum::sum(header) == 0xffff;
    Some(Ip {
        src: Address::from_v4([fixed[12], fixed[13], fixed[14], fixed[15]]),
        dst: Address::from_v4([fixed[16], fixed[17], fixed[18], fixed[19]]),
        spec: IpSpec {
            ttl: fixed[8],
            tos: fixed[1],
            id: u16::from_be_bytes([fixed[4], fixed[5]]).into(),
            df: place & 0x4000 != 0,
            reserved: place & 0x8000 != 0,
            frag: (offset != 0 || more).then_some(Frag { offset, more }),
            options: header[20..].to_vec(),
            header_sum: (!right).then_some(sum),
            ..IpSpec::default()
        },
        protocol: fixed[9],
        l4: header.len(),
        total_len: usize::from(u16::from_be_bytes([fixed[2], fixed[3]])),
    })
}

fn v6(data: &[u8]) -> Option<Ip> {
    let fixed: &[u8; 40] = data.first_chunk()?;
    let word = u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
    let address = |at: usize| data[at..].first_chunk().copied().map(Address::from_v6);
    let mut ip = Ip {
        src: address(8)?,
        dst: address(24)?,
        spec: IpSpec {
            ttl: fixed[7],
            tos: (word >> 20) as u8,
            flow_label: word & 0xf_ffff,
            ..IpSpec::default()
        },
        protocol: fixed[6],
        l4: 40,
        total_len: usize::from(u16::from_be_bytes([fixed[4], fixed[5]])) + 40,
    };
    if ip.src.is_v4() || ip.dst.is_v4() {
        return None;
    }
    loop {
        let rest = &data[ip.l4..];
        match ip.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS if ip.spec.frag.is_none() => {
                let len = (usize::from(*rest.get(1)?) + 1) * 8;
                let header = rest.get(..len)?;
                let body = header[2..].to_vec();
                ip.spec.extensions.push(Extension { protocol: ip.protocol, body });
                ip.protocol = header[0];
                ip.l4 += len;
            }
            FRAGMENT if ip.spec.frag.is_none() => {
                let header: &[u8; 8] = rest.first_chunk()?;
                let place = u16::from_be_bytes([header[2], header[3]]);
                ip.spec.frag = Some(Frag { offset: place & 0xfff8, more: place & 1 != 0 });
                ip.spec.id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                ip.protocol = header[0];
                ip.l4 += 8;
            }
            _ => return Some(ip),
        }
    }
}

fn udp(segment: &[u8], whole: usize) -> Option<(Body, usize)> {
    let udp = Udp::new_checked(segment)?;
    let length = (usize::from(udp.length()) != whole).then(|| udp.length());
    let body = Body::Udp { src_port: udp.src_port(), dst_port: udp.dst_port(), length };
    Some((body, udp_field::LEN))
}
