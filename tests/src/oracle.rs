//! A second opinion on packets, by a library that shares no code with ours.

use netstack::Packet;
use netstack::packet::Checksum;
use pnet_packet::Packet as _;
use pnet_packet::icmp::IcmpPacket;
use pnet_packet::icmpv6::Icmpv6Packet;
use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;
use pnet_packet::{icmp, icmpv6, ipv4, tcp, udp};

/// Asserts that every checksum in `packet` that can be judged is the one that pnet computes.
///
/// Fragments, super-packets and partial checksums cannot be judged, nor can IPv6 extension headers.
///
/// # Panics
/// If one is not.
pub fn assert_checksums(packet: &Packet) {
    let whole = packet.offload.gso.is_none()
        && !matches!(packet.offload.checksum, Checksum::Partial { .. });
    match packet.data().first().map(|byte| byte >> 4) {
        Some(4) => assert_v4(packet.data(), whole),
        Some(6) if whole => assert_v6(packet.data()),
        _ => {}
    }
}

fn assert_v4(data: &[u8], whole: bool) {
    let Some(ip) = Ipv4Packet::new(data) else { panic!("too short for IPv4") };
    assert_eq!(ip.get_checksum(), ipv4::checksum(&ip), "IPv4 header");
    if !whole || ip.get_fragment_offset() != 0 || ip.get_flags() & 1 != 0 {
        return;
    }
    let (src, dst) = (ip.get_source(), ip.get_destination());
    let payload = ip.payload();
    let (found, expected) = match ip.get_next_level_protocol() {
        IpNextHeaderProtocols::Tcp => {
            let Some(p) = TcpPacket::new(payload) else { panic!("too short for TCP") };
            (p.get_checksum(), tcp::ipv4_checksum(&p, &src, &dst))
        }
        IpNextHeaderProtocols::Udp => {
            let Some(p) = UdpPacket::new(payload) else { panic!("too short for UDP") };
            (p.get_checksum(), udp_sum(p.get_checksum(), udp::ipv4_checksum(&p, &src, &dst)))
        }
        IpNextHeaderProtocols::Icmp => {
            let Some(p) = IcmpPacket::new(payload) else { panic!("too short for ICMP") };
            (p.get_checksum(), icmp::checksum(&p))
        }
        _ => return,
    };
    assert_eq!(found, expected, "transport, protocol {}", ip.get_next_level_protocol());
}

fn assert_v6(data: &[u8]) {
    let Some(ip) = Ipv6Packet::new(data) else { panic!("too short for IPv6") };
    let (src, dst) = (ip.get_source(), ip.get_destination());
    let payload = ip.payload();
    let protocol: IpNextHeaderProtocol = ip.get_next_header();
    let (found, expected) = match protocol {
        IpNextHeaderProtocols::Tcp => {
            let Some(p) = TcpPacket::new(payload) else { panic!("too short for TCP") };
            (p.get_checksum(), tcp::ipv6_checksum(&p, &src, &dst))
        }
        IpNextHeaderProtocols::Udp => {
            let Some(p) = UdpPacket::new(payload) else { panic!("too short for UDP") };
            (p.get_checksum(), udp_sum(0xffff, udp::ipv6_checksum(&p, &src, &dst)))
        }
        IpNextHeaderProtocols::Icmpv6 => {
            let Some(p) = Icmpv6Packet::new(payload) else { panic!("too short for ICMPv6") };
            (p.get_checksum(), icmpv6::checksum(&p, &src, &dst))
        }
        _ => return,
    };
    assert_eq!(found, expected, "transport, protocol {protocol}");
}

/// RFC 768: a sum of zero is sent as all ones, and a zero field means that there is none.
fn udp_sum(found: u16, computed: u16) -> u16 {
    match (found, computed) {
        (0, _) => 0,
        (_, 0) => 0xffff,
        (_, sum) => sum,
    }
}
