//! Packets that nobody should send.

use std::time::Duration;

use netstack::packet::{Checksum, Gso, GsoKind, Offload};
use netstack::wire::{Family, Headers, Transport, checksum};
use netstack::{LegId, Packet};

use crate::builder::packet;
use crate::choices::Choices;

/// Lines of packets that mean something to the network of `topology`; `{p}` stands for a port that
/// varies.
pub const TOPOLOGY: &[&str] = &[
    "tcp 10.1.0.5:{p} > 10.99.0.1:90 S mss=1460",
    "tcp 10.1.0.5:{p} > 10.99.0.1:91 S mss=1460",
    "tcp 10.1.0.5:{p} > 10.99.0.1:92 S mss=1460",
    "tcp 10.1.0.5:{p} > 10.99.0.1:83 S mss=1460",
    "tcp [fd01::5]:{p} > [fd99::1]:90 S mss=1440",
    "tcp [fd01::5]:{p} > [fd99::1]:92 S mss=1440",
    "tcp [fd01::5]:{p} > [fd99::1]:83 S mss=1440",
    "tcp 10.1.0.5:{p} > 10.99.0.1:90 . ack=1",
    "tcp 10.1.0.5:{p} > 10.99.0.1:92 P. ack=1 len=100",
    "tcp 10.1.0.5:{p} > 10.99.0.1:83 F. ack=1",
    "tcp 10.1.0.5:{p} > 10.99.0.1:90 R",
    "tcp 10.1.0.5:{p} > 10.99.0.1:91 P. ack=1 len=30000 gso=1448",
    "tcp 10.2.1.11:9000 > 10.99.0.250:{p} S. ack=1 mss=1460",
    "tcp 10.2.1.11:9000 > 10.99.0.250:{p} R. ack=1",
    "tcp 10.2.1.11:9000 > 10.1.0.5:{p} S. ack=1 mss=1460",
    "tcp [fd02:0:0:1::11]:9000 > [fd99::250]:{p} . ack=1 len=10",
    "udp 10.1.0.5:{p} > 10.99.0.1:53 len=40",
    "udp [fd01::5]:{p} > [fd99::1]:54 len=40",
    "udp 10.2.1.11:7000 > 10.99.0.250:{p} len=40",
    "icmp 10.1.0.5 > 10.99.0.4 echo id={p} seq=1 len=30",
    "icmp fd01::5 > fd99::4 echo id={p} seq=1 len=30",
    "icmp 10.1.0.5 > 10.99.0.1 echo id={p} seq=1 len=30",
];

/// Ports that take part: few, so that packets meet flows.
const PORTS: u64 = 48;

/// A packet of one of `lines`, on a leg of which there are `legs`.
pub fn plausible(rng: &mut impl Choices, lines: &[&str], legs: u64) -> Packet {
    let line = lines[rng.below(lines.len() as u64) as usize];
    let mut packet = packet(&line.replace("{p}", &(40_000 + rng.below(PORTS)).to_string()));
    packet.leg = LegId(rng.below(legs) as u16);
    packet
}

/// A stretch of time: mostly a batch's, at times a timeout's.
pub fn pause(rng: &mut impl Choices) -> Duration {
    match rng.below(100) {
        0 => Duration::from_secs(rng.below(600)),
        1..5 => Duration::from_millis(rng.below(2_000)),
        _ => Duration::from_micros(rng.below(300)),
    }
}

/// Turns a packet that leaves into something like an answer, so that handshakes get somewhere.
pub fn answer(packet: &mut Packet) {
    let Ok(headers) = Headers::parse(packet) else { return };
    let (l4, end) = (headers.l4(), headers.total_len());
    let bytes = &mut packet.data_mut()[..end];
    match headers.family {
        Family::V4 => swap(bytes, 12, 4),
        Family::V6 => swap(bytes, 8, 16),
    }
    match headers.transport {
        Transport::Udp { .. } => swap(bytes, l4, 2),
        Transport::Tcp { .. } => answer_segment(&mut bytes[l4..l4 + 20]),
        _ => {}
    }
}

fn answer_segment(tcp: &mut [u8]) {
    swap(tcp, 0, 2);
    // Acknowledge what came, a SYN too, and say what was expected.
    let (seq, ack) = (word(tcp, 4), word(tcp, 8));
    let syn = tcp[13] & 2;
    tcp[4..8].copy_from_slice(&ack.to_be_bytes());
    tcp[8..12].copy_from_slice(&seq.wrapping_add(u32::from(syn > 0)).to_be_bytes());
    tcp[13] = match (syn > 0, ack) {
        (true, 0) => 0x12,
        _ => 0x10,
    };
}

fn swap(bytes: &mut [u8], at: usize, len: usize) {
    let (a, b) = bytes[at..at + 2 * len].split_at_mut(len);
    a.swap_with_slice(b);
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Spoils a packet in one of many ways, most of them small. Its checksums may be made good again, so
/// that it gets further.
pub fn spoil(rng: &mut impl Choices, packet: &mut Packet) {
    let len = packet.len() as u64;
    match rng.below(10) {
        0 => packet.set_len(rng.below(len + 1) as usize),
        1 => packet.set_len((len + rng.below(100)) as usize),
        2 => packet.data_mut().iter_mut().for_each(|byte| *byte = rng.next_u64() as u8),
        3 => packet.offload = offload(rng),
        _ => {
            for _ in 0..=rng.below(4) {
                // Mostly in the headers.
                let within = if rng.below(4) == 0 { len } else { len.min(60) };
                let at = rng.below(within) as usize;
                if let Some(byte) = packet.data_mut().get_mut(at) {
                    *byte = match rng.below(3) {
                        0 => *byte ^ 1 << rng.below(8),
                        1 => [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
                        _ => rng.next_u64() as u8,
                    };
                }
            }
        }
    }
    if rng.below(2) == 0 {
        mend(packet);
    }
}

/// Makes the IPv4 header checksum right, and then that of the transport if there is one to be found.
pub fn mend(packet: &mut Packet) {
    let header = usize::from(packet.data().first().map_or(0, |byte| byte & 0xf)) * 4;
    if packet.data().first().is_some_and(|byte| byte >> 4 == 4)
        && let Some(bytes) = packet.data_mut().get_mut(..header)
        && header >= 20
    {
        bytes[10..12].fill(0);
        let sum = !checksum::sum(bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let Ok(headers) = Headers::parse(packet) else { return };
    let offset: u16 = match headers.protocol {
        6 => 16,
        17 => 6,
        _ => return,
    };
    if packet.offload.gso.is_none() && headers.total_len() > headers.l4() + usize::from(offset) + 1
    {
        let (l4, end) = (headers.l4(), headers.total_len());
        let pseudo = checksum::pseudo_header(headers.src, headers.dst, headers.protocol, end - l4);
        let field = l4 + usize::from(offset);
        packet.data_mut()[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        packet.offload.checksum = Checksum::Partial { start: l4 as u16, offset };
    }
}

fn offload(rng: &mut impl Choices) -> Offload {
    let checksum = match rng.below(4) {
        0 => Checksum::Complete,
        1 => Checksum::Verified,
        2 => Checksum::Partial { start: rng.below(80) as u16, offset: rng.below(20) as u16 },
        _ => Checksum::Partial { start: rng.next_u64() as u16, offset: rng.next_u64() as u16 },
    };
    let kind = [GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp][rng.below(3) as usize];
    let (size, header_len) = (rng.next_u64() as u16, rng.next_u64() as u16);
    let gso = (rng.below(2) == 0).then_some(Gso { kind, size, header_len, ecn: rng.below(2) == 0 });
    Offload { checksum, gso }
}
