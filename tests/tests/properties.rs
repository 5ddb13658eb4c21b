//! What holds for every packet: an answer to a translated packet is translated back to an answer to the
//! packet itself, whatever the mode, the family and the offload state.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use nat::Verdict;
use netstack::packet::{Checksum, Offload};
use netstack::wire::{Family, Headers, checksum, text};
use netstack::{LegId, Packet};
use proptest::prelude::*;
use tests::bed::{Bed, config, is_good, with_identification_of};
use tests::mutate::mend;

/// How a packet's checksum and segmentation stand.
const OFFLOADS: [&str; 4] = ["", " csum=partial", " gso=500", " csum=none"];

fn line(v6: bool, dnat: bool, protocol: &str, host: u8, port: u16, rest: &str) -> String {
    let client = if v6 { format!("fd01::{host:x}") } else { format!("10.1.0.{host}") };
    let (vip, echo) = if v6 { ("fd99::1", "fd99::4") } else { ("10.99.0.1", "10.99.0.4") };
    let bracket = |address: &str| if v6 { format!("[{address}]") } else { address.to_owned() };
    let (client_at, vip_at) = (bracket(&client), bracket(vip));
    match protocol {
        "icmp" => format!("icmp {client} > {echo} echo id={port} seq=3{rest}"),
        "udp" => format!("udp {client_at}:{port} > {vip_at}:53{rest}"),
        _ => {
            format!("tcp {client_at}:{port} > {vip_at}:{}{rest}", if dnat { 81 } else { 80 })
        }
    }
}

/// The packet as its receiver would send it back: ends swapped, all else the same.
fn mirrored(packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    let headers = Headers::parse(&packet).unwrap();
    let l4 = headers.l4();
    let bytes = packet.data_mut();
    let (at, len) = if headers.family == Family::V4 { (12, 4) } else { (8, 16) };
    let (src, dst) = bytes[at..at + 2 * len].split_at_mut(len);
    src.swap_with_slice(dst);
    match headers.protocol {
        // Sums do not see the order of what they add up.
        6 | 17 => {
            let (src, dst) = bytes[l4..l4 + 4].split_at_mut(2);
            src.swap_with_slice(dst);
        }
        protocol => {
            bytes[l4] = if protocol == 1 { 0 } else { 129 };
            let end = headers.total_len();
            let (src, dst) = (headers.dst, headers.src);
            if packet.offload.checksum == Checksum::Complete {
                let message = &mut packet.data_mut()[l4..end];
                nat::icmp::set_checksum(message, protocol, 2, src, dst);
            }
        }
    }
    packet
}

/// The same packet with another TTL.
fn with_ttl(mut packet: Packet, ttl: u8) -> Packet {
    let v4 = packet.data()[0] >> 4 == 4;
    packet.data_mut()[if v4 { 8 } else { 7 }] = ttl;
    if v4 {
        let header = &mut packet.data_mut()[..20];
        header[10..12].fill(0);
        let sum = !checksum::sum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_answer_to_a_translated_packet_is_translated_back(
        v6: bool,
        dnat: bool,
        protocol in prop_oneof![Just("tcp"), Just("udp"), Just("icmp")],
        host in 2_u8..250,
        port in 1_u16..,
        offload in 0..OFFLOADS.len(),
        len in 0_usize..1_300,
    ) {
        let offload = match (protocol, OFFLOADS[offload]) {
            // What there is no such thing as.
            ("icmp", " gso=500" | " csum=none") | ("tcp", " csum=none") => "",
            ("icmp", " csum=partial") if !v6 => "",
            ("udp", " csum=none") if v6 => "",
            (_, offload) => offload,
        };
        let mut bed = Bed::new(config());
        if protocol == "tcp" {
            let syn = line(v6, dnat, protocol, host, port, " S seq=0");
            prop_assert_eq!(bed.send(0, &syn).verdict, Verdict::Forward);
        }
        let flags = if protocol == "tcp" { " P. seq=1 ack=1" } else { "" };
        let text = line(v6, dnat, protocol, host, port, &format!("{flags} len={len}{offload}"));
        let sent = text::packet(&text).unwrap_or_else(|e| panic!("{}", e.underline(&text)));

        let mut there = sent.clone();
        there.leg = LegId(0);
        prop_assert_eq!(bed.engine.handle_packet(bed.now, &mut there), Verdict::Forward);
        prop_assert_eq!(there.leg, LegId(1));

        let mut back = mirrored(&there);
        prop_assert_eq!(bed.engine.handle_packet(bed.now, &mut back), Verdict::Forward);
        prop_assert_eq!(back.leg, LegId(0));
        let back = with_identification_of(back, &sent);
        let expected = with_ttl(mirrored(&sent), 62);
        prop_assert_eq!(back.data(), expected.data(), "{}", text::Line::of(&back));
        prop_assert_eq!(back.offload, sent.offload);
        bed.engine.assert_consistent();
    }

    /// The same with the checksum completed on the way, as another device would find the packet.
    #[test]
    fn a_translated_packet_is_as_good_as_the_one_that_came(
        v6: bool,
        dnat: bool,
        host in 2_u8..250,
        port in 1_u16..,
        data: u64,
    ) {
        let mut bed = Bed::new(config());
        let syn = line(v6, dnat, "tcp", host, port, " S seq=0");
        prop_assert_eq!(bed.send(0, &syn).verdict, Verdict::Forward);
        let text = line(v6, dnat, "tcp", host, port, &format!(" P. seq=1 ack=1 data={data:016x}"));
        let complete = text::packet(&text).unwrap();
        let mut partial = complete.clone();
        mend(&mut partial);
        prop_assert_ne!(partial.offload, complete.offload);
        let mut results = [complete, partial].map(|mut packet| {
            let verdict = bed.engine.handle_packet(bed.now, &mut packet);
            assert_eq!(verdict, Verdict::Forward);
            assert!(is_good(&packet));
            checksum::complete(&mut packet);
            packet.offload = Offload::default();
            packet
        });
        // Both zeros mean the same sum.
        for packet in &mut results {
            let l4 = Headers::parse(packet).unwrap().l4();
            let sum = &mut packet.data_mut()[l4 + 16..l4 + 18];
            if sum == [0xff, 0xff] {
                sum.fill(0);
            }
        }
        let [complete, partial] = results;
        let partial = with_identification_of(partial, &complete);
        prop_assert_eq!(complete.data(), partial.data());
    }
}
