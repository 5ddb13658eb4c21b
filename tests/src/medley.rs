//! Packets of all kinds, in any order.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "its lines are right")]

use nat::Engine;
use nat::rng::Rng;
use netstack::wire::text;
use netstack::{LegId, Packet};

use crate::bed::config;
use crate::mutate::answer;

/// What a few clients and both backends send, in any order: flows begin, end, are reset, begin anew on
/// the same tuple, and give way at the limit, in the middle of a batch.
const LINES: [(u16, &str); 18] = [
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 S seq={s} mss=1460"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 S seq={s} mss=1460"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:81 S seq={s}"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 . seq=2 ack=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 P. seq=2 ack=1 len=30"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 F. seq=2 ack=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:81 R seq=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.1:80 R seq=1"),
    (0, "tcp 10.1.0.5:{p} > 10.99.0.2:80 S seq={s}"),
    (0, "udp 10.1.0.5:{p} > 10.99.0.1:53 len=40"),
    (0, "udp 10.1.0.5:{p} > 10.99.0.1:53 len=1800"),
    (0, "udp 10.1.0.5 > 10.99.0.1 frag=24 ipid=7 len=20"),
    (0, "udp 10.1.0.5 > 10.99.0.1 frag=0+ ipid=7 data=9c40003500300000 len=24"),
    (0, "icmp 10.1.0.5 > 10.99.0.4 echo id={p} seq=1 len=30"),
    (1, "tcp 10.2.0.11:8080 > 10.1.0.5:{p} R. ack=2"),
    (1, "tcp 10.2.0.11:8080 > 10.1.0.5:{p} S. seq=9 ack=2"),
    (0, "malformed truncated len=3 data=450000"),
    (1, "tcp 10.2.0.12:8080 > 10.1.0.5:{p} F. seq=9 ack=2"),
];

/// An engine with little room.
pub fn engine() -> Engine {
    let mut config = config();
    config.limits.flows = 12;
    config.limits.half_open = 6;
    Engine::new(config).unwrap()
}

/// A packet of them, or the answer of its receiver to one that was sent: as often as not, that of a flow.
pub fn packet(rng: &mut Rng, sent: &[Packet]) -> Packet {
    let answered = sent.get(rng.below(2 * sent.len() as u64 + 1) as usize);
    if let Some(mut packet) = answered.cloned() {
        answer(&mut packet);
        return packet;
    }
    let (leg, line) = LINES[rng.below(LINES.len() as u64) as usize];
    let port = (40_000 + rng.below(6)).to_string();
    let line = line.replace("{p}", &port).replace("{s}", &rng.below(2).to_string());
    let mut packet = text::packet(&line).unwrap();
    packet.leg = LegId(leg);
    packet
}
