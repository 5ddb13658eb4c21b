//! Checksums after translation (RFC 1624).

use nat::{Config, Engine, Mode, Nat, Verdict};
use netstack::wire::{Headers, text};
use netstack::{Instant, Packet};
use tests::bed::{Bed, leg, pool, service};
use tests::oracle;

/// Services on every port, to backends on one: a client's choice of port chooses what is added to the
/// checksum.
fn engine() -> Engine {
    let legs = vec![leg(&["10.1.0.0/24", "fd01::/64"]), leg(&["10.2.0.0/24", "fd02::/64"])];
    let pools = vec![pool("v4", &["10.2.0.11:8080"]), pool("v6", &["[fd02::11]:8080"])];
    let services = vec![
        service("tcp 10.99.0.1:*, udp 10.99.0.1:*", Mode::Nat(Nat::Dnat), 0),
        service("tcp [fd99::1]:*, udp [fd99::1]:*", Mode::Nat(Nat::Dnat), 1),
    ];
    let config = Config::new(1, legs, pools, services);
    Engine::new(config).unwrap_or_else(|e| panic!("{e}"))
}

/// `packet`, translated.
fn translated(engine: &mut Engine, packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    let verdict = engine.handle_packet(Instant::from_secs(1), &mut packet);
    assert_eq!(verdict, Verdict::Forward, "{}", text::Line::of(&packet));
    packet
}

fn packet(line: &str) -> Packet {
    text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

/// Gives a packet other ports and another last word of payload, and the checksum of these.
fn refill(packet: &mut Packet, ports: u16, word: u16, field: usize) {
    let headers = Headers::parse(packet).unwrap_or_else(|e| panic!("{e:?}"));
    let protocol = if field == TCP_FIELD { 6 } else { 17 };
    let segment = &mut packet.data_mut()[headers.l4()..];
    segment[..2].copy_from_slice(&ports.to_be_bytes());
    segment[2..4].copy_from_slice(&ports.to_be_bytes());
    let end = segment.len() - 2;
    segment[end..].copy_from_slice(&word.to_be_bytes());
    nat::icmp::set_checksum(segment, protocol, field, headers.src, headers.dst);
    if protocol == 17 && segment[field..field + 2] == [0, 0] {
        segment[field..field + 2].fill(0xff);
    }
}

/// Where the checksum stands in a TCP header.
const TCP_FIELD: usize = 16;
/// And in a UDP header.
const UDP_FIELD: usize = 6;

/// The field of a TCP or UDP packet's checksum.
fn field(packet: &Packet, offset: usize) -> u16 {
    let headers = Headers::parse(packet).unwrap_or_else(|e| panic!("{e:?}"));
    let at = headers.l4() + offset;
    u16::from_be_bytes([packet.data()[at], packet.data()[at + 1]])
}

tests::conforms! {
    /// The checksum changed in place is the one computed afresh, for every possible change, also where
    /// the sum comes out as zero; a UDP checksum that comes out as zero is sent as 0xFFFF.
    L2 Always "RFC 1624"
    fn every_delta_gives_the_sum_computed_afresh() {
        for (line, offset) in [
            ("tcp 10.1.0.5:1 > 10.99.0.1:1 S data=0000", TCP_FIELD),
            ("tcp [fd01::5]:1 > [fd99::1]:1 S data=0000", TCP_FIELD),
            ("udp 10.1.0.5:1 > 10.99.0.1:1 data=0000", UDP_FIELD),
            ("udp [fd01::5]:1 > [fd99::1]:1 data=0000", UDP_FIELD),
        ] {
            let (mut engine, mut packet) = (engine(), packet(line));
            for port in 1..=u16::MAX {
                refill(&mut packet, port, 0, offset);
                // With this word the packet that leaves sums up to 0xFFFF, whose complement is zero;
                // the other two are its neighbours.
                let word = field(&translated(&mut engine, &packet), offset);
                for data in [word.wrapping_sub(1), word, word.wrapping_add(1)] {
                    refill(&mut packet, port, data, offset);
                    let after = translated(&mut engine, &packet);
                    oracle::assert_checksums(&after);
                    if data == word {
                        let zero = if offset == UDP_FIELD { 0xffff } else { 0 };
                        assert_eq!(field(&after, offset), zero, "{line} {port}");
                    }
                }
            }
        }
    }

    /// A UDP checksum of zero says that there is none, and stays zero.
    L2 Always "RFC 1624, RFC 768"
    fn no_checksum_stays_none() {
        let mut engine = engine();
        for port in 1..=u16::MAX {
            let line = format!("udp 10.1.0.5:{port} > 10.99.0.1:{port} len=4 csum=none");
            assert_eq!(field(&translated(&mut engine, &packet(&line)), UDP_FIELD), 0);
        }
    }

    /// A TCP checksum that is wrong stays wrong: translation does not cover up a damaged packet.
    L2 Always "RFC 1624, RFC 5382 section 3"
    fn a_wrong_checksum_stays_wrong() {
        let mut bed = Bed::new(tests::bed::config());
        let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S csum=bad");
        assert_eq!(seen.verdict, Verdict::Forward);
        assert!(seen.line.contains("csum=bad"), "{}", seen.line);
    }
}
