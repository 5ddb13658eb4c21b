//! Completing and verifying transport checksums in every state, on packets written as lines.

use super::checksum::{Delta, complete, pseudo_header, verify_transport};
use super::headers::{TCP, UDP};
use super::text;
use super::{Address, Headers};
use crate::packet::{Checksum, Packet};

/// Every protocol that has a checksum, in both families, with payloads of even and odd length.
const LINES: [&str; 10] = [
    "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1000 mss=1460",
    "tcp 10.1.0.5:40000 > 10.99.0.1:80 P. seq=1 ack=1 len=101",
    "tcp [fd99::1]:40000 > [fd99::2]:80 S seq=1000 mss=1440",
    "tcp [fd99::1]:40000 > [fd99::2]:80 P. seq=1 ack=1 len=101 ext=60:010400000000",
    "udp 10.1.0.5:5000 > 10.99.0.1:53",
    "udp 10.1.0.5:5000 > 10.99.0.1:53 len=7 ipopt=01010101",
    "udp [fd99::1]:5000 > [fd99::2]:53 len=7",
    "icmp 10.1.0.5 > 10.99.0.1 echo id=7 seq=1 len=57",
    "icmp fd99::1 > fd99::2 echo id=7 seq=1 len=57",
    "icmp fd99::9 > fd99::1 too-big mtu=1280 about=(tcp [fd99::1]:1 > [fd99::2]:2 . seq=9 len=3)",
];

fn packet(line: &str) -> Packet {
    text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

fn verifies(packet: &Packet) -> bool {
    verify_transport(packet, &Headers::parse(packet).unwrap())
}

/// The same packet, as a device without a vouching word would have given it.
fn on_a_wire(packet: &Packet) -> Packet {
    Packet::from_ip(packet.data())
}

/// ICMP over IPv4 has no pseudo-header, so nothing makes it partial.
fn can_be_partial(line: &str) -> bool {
    !line.starts_with("icmp 10.")
}

#[test]
fn a_complete_checksum_is_verified_and_a_bad_one_found() {
    for line in LINES {
        assert!(verifies(&packet(line)), "{line}");
        assert!(!verifies(&packet(&format!("{line} csum=bad"))), "{line}");
    }
}

#[test]
fn any_flipped_bit_behind_the_ip_header_is_found() {
    for line in LINES {
        let good = packet(line);
        let l4 = Headers::parse(&good).unwrap().l4();
        for byte in l4..good.len() {
            for bit in 0..8 {
                let mut flipped = good.clone();
                flipped.data_mut()[byte] ^= 1 << bit;
                // Some bits make a packet that is no longer understood: that is found, too.
                let found =
                    Headers::parse(&flipped).map_or(true, |h| !verify_transport(&flipped, &h));
                assert!(found, "{line}: byte {byte} bit {bit}");
            }
        }
    }
}

#[test]
fn a_partial_checksum_cannot_be_wrong_until_it_is_completed() {
    for line in LINES.into_iter().filter(|line| can_be_partial(line)) {
        let mut partial = packet(&format!("{line} csum=partial"));
        assert!(verifies(&partial), "{line}");
        assert!(!verifies(&on_a_wire(&partial)), "{line}: the field holds a part of the sum only");
        complete(&mut partial);
        assert_eq!(partial.offload.checksum, Checksum::Complete);
        assert_eq!(partial.data(), packet(line).data(), "{line}");
        assert!(verifies(&partial), "{line}");
    }
}

#[test]
fn a_sum_of_zero_is_sent_as_it_is_in_tcp_and_as_all_ones_in_udp() {
    for (line, zero) in [
        ("tcp 10.1.0.5:40000 > 10.99.0.1:80 . ack=1", 0),
        ("udp 10.1.0.5:5000 > 10.99.0.1:53 data=0000", 0xffff),
    ] {
        // Whatever the sum is of a packet whose last word is zero, as that word it makes it zero.
        let sum = |line: &str| {
            let mut packet = packet(&format!("{line} csum=partial"));
            complete(&mut packet);
            let headers = Headers::parse(&packet).unwrap();
            let at = headers.l4() + if line.starts_with("tcp") { 16 } else { 6 };
            u16::from_be_bytes([packet.data()[at], packet.data()[at + 1]])
        };
        let zeroed = match line.strip_suffix(" data=0000") {
            Some(udp) => format!("{udp} data={:04x}", sum(line)),
            None => format!("{line} urg={}", sum(line)),
        };
        assert_eq!(sum(&zeroed), zero, "{zeroed}");
    }
}

#[test]
fn completing_a_partial_sum_that_lies_gives_a_checksum_that_lies() {
    for line in LINES.into_iter().filter(|line| can_be_partial(line)) {
        let mut partial = packet(&format!("{line} csum=partial sum=0x1234"));
        complete(&mut partial);
        assert!(!verifies(&partial), "{line}");
    }
}

#[test]
fn completing_changes_nothing_that_is_complete() {
    for line in LINES {
        for state in ["complete", "verified", "bad"] {
            let before = packet(&format!("{line} csum={state}"));
            let mut after = before.clone();
            complete(&mut after);
            assert_eq!(after.data(), before.data(), "{line} {state}");
            assert_eq!(after.offload, before.offload, "{line} {state}");
        }
    }
}

#[test]
fn a_device_that_vouches_is_believed() {
    for line in LINES {
        let vouched = packet(&format!("{line} csum=verified sum=0x1234"));
        assert!(verifies(&vouched), "{line}");
        assert!(!verifies(&on_a_wire(&vouched)), "{line}");
    }
}

#[test]
fn an_absent_checksum_is_right_for_udp_over_ipv4_only() {
    for line in LINES {
        let absent = line.starts_with("udp 10.");
        assert_eq!(verifies(&packet(&format!("{line} csum=none"))), absent, "{line}");
    }
}

/// A UDP datagram whose checksum computes to zero: the payload's word takes what was missing.
fn udp_of_sum_zero(family: &str) -> String {
    let line = |word: u16| format!("udp {family} data={word:04x}");
    let of_zero = packet(&line(0));
    let l4 = Headers::parse(&of_zero).unwrap().l4();
    let field = u16::from_be_bytes([of_zero.data()[l4 + 6], of_zero.data()[l4 + 7]]);
    line(field)
}

#[test]
fn a_udp_checksum_that_computes_to_zero_is_sent_as_all_ones() {
    for family in ["10.1.0.5:5000 > 10.99.0.1:53", "[fd99::1]:5000 > [fd99::2]:53"] {
        let line = udp_of_sum_zero(family);
        let whole = packet(&line);
        let l4 = Headers::parse(&whole).unwrap().l4();
        assert_eq!(whole.data()[l4 + 6..l4 + 8], [0xff, 0xff], "{line}");
        assert!(verifies(&whole), "{line}");
        let mut partial = packet(&format!("{line} csum=partial"));
        complete(&mut partial);
        assert_eq!(partial.data(), whole.data(), "{line}");
    }
}

#[test]
fn a_partial_checksum_outside_the_packet_is_left_alone() {
    let mut p = packet("udp 10.1.0.5:5000 > 10.99.0.1:53 csum=partial");
    let before = p.data().to_vec();
    for (start, offset) in [(20, 7), (28, 0), (27, 0), (65_535, 65_535)] {
        p.offload.checksum = Checksum::Partial { start, offset };
        complete(&mut p);
        assert_eq!(p.data(), before, "{start} + {offset}");
        assert_eq!(p.offload.checksum, Checksum::Complete);
    }
}

#[test]
fn a_change_of_addresses_is_the_same_in_either_state() {
    for (from, to) in [
        (
            "tcp 10.1.0.5:40000 > 10.99.0.1:80 . seq=1 len=33",
            "tcp 10.1.0.5:40000 > 10.2.0.11:80 . seq=1 len=33",
        ),
        ("udp [fd99::1]:5 > [fd99::2]:6 len=33", "udp [fd99::1]:5 > [fd02::11]:6 len=33"),
    ] {
        for state in ["complete", "partial"] {
            let with = |line: &str| packet(&format!("{line} csum={state}"));
            let (mut changed, expected) = (with(from), with(to));
            let headers = Headers::parse(&changed).unwrap();
            let old = headers.dst;
            let new = Headers::parse(&expected).unwrap().dst;
            let delta = Delta::default().replace(old.octets(), new.octets());
            let field = headers.l4() + if headers.protocol == TCP { 16 } else { 6 };
            let data = changed.data_mut();
            let value = u16::from_be_bytes([data[field], data[field + 1]]);
            let value = match state {
                "complete" => delta.apply(value),
                _ => delta.apply_partial(value),
            };
            data[field..field + 2].copy_from_slice(&value.to_be_bytes());
            assert_eq!(
                changed.data()[headers.l4()..],
                expected.data()[headers.l4()..],
                "{from} {state}"
            );
        }
    }
}

#[test]
fn the_pseudo_header_is_that_of_the_rfc() {
    let (src, dst) = (Address::from_v4([10, 1, 0, 5]), Address::from_v4([10, 99, 0, 1]));
    // 0a01 + 0005 + 0a63 + 0001 + 0011 + 001c
    assert_eq!(pseudo_header(src, dst, UDP, 28), 0x1497);
    let mut octets = [0; 16];
    (octets[0], octets[1], octets[15]) = (0xfd, 0x99, 1);
    let address = Address::from_v6(octets);
    // 2 × (fd99 + 0001) = 1fb34, folded, + 0006 + ffff, folded.
    assert_eq!(pseudo_header(address, address, TCP, 0xffff), 0xfb3b);
}
