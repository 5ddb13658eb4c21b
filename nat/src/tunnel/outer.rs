//! The headers in front of what is carried.

use netstack::Packet;
use netstack::packet::Offload;
use netstack::wire::fields::udp_field;
use netstack::wire::headers::{UDP, V4_CHECKSUM};
use netstack::wire::{Address, Family, checksum};

use crate::icmp::TTL;

/// Protocol number of IPv4 in IP.
pub(super) const IPV4: u8 = 4;
/// Protocol number of IPv6 in IP.
pub(super) const IPV6: u8 = 41;

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
/// Length of a GUE header without flags and extensions.
pub(super) const GUE_HEADER: usize = 4;

/// How packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// IP in IP.
    Ipip,
    /// IP in Generic UDP Encapsulation.
    Gue {
        /// The UDP port that backends listen on.
        port: u16,
    },
}

/// The outer headers of one flow's packets.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// What the headers are.
    pub encapsulation: Encapsulation,
    /// Our address.
    pub src: Address,
    /// The backend's, of the same family.
    pub dst: Address,
    /// A hash of the flow, for those who spread load by what they see.
    pub entropy: u32,
}

impl Outer {
    /// Bytes that wrapping adds.
    pub fn overhead(&self) -> usize {
        let ip = match self.dst.family() {
            Family::V4 => V4_HEADER,
            Family::V6 => V6_HEADER,
        };
        match self.encapsulation {
            Encapsulation::Ipip => ip,
            Encapsulation::Gue { .. } => ip + udp_field::LEN + GUE_HEADER,
        }
    }

    /// Protocol number of the outer packet around one of this family.
    pub const fn protocol(&self, inner: Family) -> u8 {
        match (self.encapsulation, inner) {
            (Encapsulation::Gue { .. }, _) => UDP,
            (Encapsulation::Ipip, Family::V4) => IPV4,
            (Encapsulation::Ipip, Family::V6) => IPV6,
        }
    }

    /// Wraps a packet whose checksums are complete. With an identification the outer packet may be
    /// fragmented, if it is of IPv4; without one it may not.
    ///
    /// The caller has made sure that the whole is no longer than the longest packet.
    pub fn wrap(&self, packet: &mut Packet, identification: Option<u16>) {
        let (inner_len, overhead) = (packet.len(), self.overhead());
        packet.set_len(inner_len + overhead);
        packet.offload = Offload::default();
        let data = packet.data_mut();
        data.copy_within(..inner_len, overhead);
        let (front, inner) = data.split_at_mut(overhead);
        let (family, traffic_class) = match inner {
            [first, second, ..] if *first >> 4 == 6 => (Family::V6, *first << 4 | *second >> 4),
            [_, tos, ..] => (Family::V4, *tos),
            _ => (Family::V4, 0),
        };
        front.fill(0);
        let protocol = self.protocol(family);
        match self.dst.family() {
            Family::V4 => self.write_v4(data, protocol, traffic_class, identification),
            Family::V6 => self.write_v6(data, protocol, traffic_class),
        }
        if let Encapsulation::Gue { port } = self.encapsulation {
            let carried = if family == Family::V4 { IPV4 } else { IPV6 };
            self.write_gue(data, port, carried);
        }
    }

    fn write_v4(&self, data: &mut [u8], protocol: u8, tos: u8, identification: Option<u16>) {
        let len = data.len() as u16;
        let header = &mut data[..V4_HEADER];
        header[..2].copy_from_slice(&[0x45, tos]);
        header[2..4].copy_from_slice(&len.to_be_bytes());
        match identification {
            Some(identification) => header[4..6].copy_from_slice(&identification.to_be_bytes()),
            None => header[6] = 0x40,
        }
        header[8..10].copy_from_slice(&[TTL, protocol]);
        header[12..16].copy_from_slice(self.src.octets());
        header[16..20].copy_from_slice(self.dst.octets());
        let sum = !checksum::header_sum(header);
        header[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    }

    fn write_v6(&self, data: &mut [u8], protocol: u8, traffic_class: u8) {
        let len = (data.len() - V6_HEADER) as u16;
        let label = self.entropy & 0xf_ffff;
        let first = 6 << 28 | u32::from(traffic_class) << 20 | label;
        data[..4].copy_from_slice(&first.to_be_bytes());
        data[4..6].copy_from_slice(&len.to_be_bytes());
        data[6..8].copy_from_slice(&[protocol, TTL]);
        data[8..24].copy_from_slice(self.src.octets());
        data[24..40].copy_from_slice(self.dst.octets());
    }

    fn write_gue(&self, data: &mut [u8], port: u16, carried: u8) {
        let family = self.dst.family();
        let datagram = match family {
            Family::V4 => &mut data[V4_HEADER..],
            Family::V6 => &mut data[V6_HEADER..],
        };
        let len = datagram.len();
        // The upper half, where no other service of a host listens.
        let source = 0x8000 | (self.entropy >> 16) as u16;
        datagram[udp_field::SRC_PORT].copy_from_slice(&source.to_be_bytes());
        datagram[udp_field::DST_PORT].copy_from_slice(&port.to_be_bytes());
        datagram[udp_field::LENGTH].copy_from_slice(&(len as u16).to_be_bytes());
        datagram[udp_field::LEN + 1] = carried;
        if family == Family::V6 {
            let pseudo = checksum::pseudo_header(self.src, self.dst, UDP, len);
            let sum = match !checksum::add(pseudo, checksum::sum(datagram)) {
                0 => 0xffff,
                sum => sum,
            };
            datagram[udp_field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        }
    }
}
